"""What can be wrong with a store, as errors that name it and say what to do; never with a number or a password in them.

A database's own words are shown only after whatever could be a telephone number is taken out of them: a statement's
parameters travel in such messages.
"""

from __future__ import annotations

import re
from typing import Final

from agent.index.errors import IndexUnusableError
from protos.printable import printable

_NUMBER: Final = re.compile(r"\d(?:[\s().-]?\d){6,}")
_LONGEST: Final = 300


class StoreError(IndexUnusableError):
    """A store can't be read now; an absence of records can't be told from this."""

    def __init__(self, store: str, problem: str) -> None:
        super().__init__(f"store {store!r}: {problem}")
        self.problem = problem


class StoreSetupError(StoreError):
    """A store can't be used as it is configured, or as its table is; waiting won't help."""


class ConnectionLostError(Exception):
    """A connection broke under a statement, or could not be made; says why."""


class TooManyRowsError(Exception):
    """A statement gave more rows than one may."""


def harmless(words: object) -> str:
    """A database's words on one line, without what could be a number."""
    first = next((line for line in str(words).splitlines() if line.strip()), "no reason given")
    return _NUMBER.sub("(number)", printable(first.strip(), _LONGEST))
