"""One guess about a mapping: what would be written, how sure that is, and why."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any


class Sure(enum.Enum):
    """How sure a guess is. Only what is sure or likely is written; the rest is left to the person, as a comment."""

    SURE = "sure"
    LIKELY = "likely"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Guess:
    """A key of the mapping with what it would be.

    Attributes:
        key: such as `zone`, `options`, or `columns.called_in`.
        value: what TOML would hold; None when there is nothing but candidates.
        why: the evidence, in words, without any telephone number.
        candidates: what else it could be; written as comments.
    """

    key: str
    sure: Sure
    why: str
    value: Any = None
    candidates: tuple[Any, ...] = ()

    @property
    def written(self) -> bool:
        """Whether the mapping says it, or leaves it to be settled."""
        return self.sure is not Sure.UNSURE and self.value is not None
