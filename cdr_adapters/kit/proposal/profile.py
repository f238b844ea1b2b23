"""What a column holds, told from its values: numbers and how they are written, times, addresses, words, identifiers.

A value is looked at as text, as the reader gives it. No value of a column of numbers goes further than this module:
what is said of it is its form.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

from cdr_adapters.addresses import canonical_address
from cdr_adapters.kit.number_forms import NO_NUMBER, called_format_of, form_of
from cdr_adapters.kit.proposal.times import CLOCK_FORMATS, DATE_FORMATS, TimeFit, fits

_MOST_DISTINCT: Final = 400
_FEW: Final = 60
_MOSTLY: Final = 0.9
_INTEGER: Final = re.compile(r"-?[0-9]{1,12}", re.ASCII)
_LENGTH: Final = re.compile(r"[0-9]{1,7}(?:\.[0-9]{1,6})?|[0-9]{1,3}:[0-5][0-9]:[0-5][0-9]", re.ASCII)
_BARE_NUMBER: Final = re.compile(r"(?P<digits>[0-9]+) digits")


@dataclass(frozen=True)
class Profile:
    """A column and what it holds.

    Attributes:
        name: as the reader calls it. `values`: those of the sample, None where there is none.
        now: times must not lie after it.
    """

    name: str
    values: Sequence[str | None]
    now: datetime

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each value occurs, without the empty ones."""
        return Counter(text for value in self.values if value is not None and (text := value.strip()))

    @cached_property
    def filled(self) -> float:
        """The share of records that have a value."""
        return sum(self.counts.values()) / len(self.values) if self.values else 0.0

    @cached_property
    def distinct(self) -> list[str]:
        """Distinct values from the whole sample, not only its beginning."""
        every = list(self.counts)
        step = max(1, len(every) // _MOST_DISTINCT)
        return every[::step]

    @cached_property
    def forms(self) -> Counter[str]:
        """How its values are written, if they are numbers; by distinct value."""
        return Counter(form_of(text) for text in self.distinct)

    @cached_property
    def numbers(self) -> float:
        """The share of values that can be telephone numbers: in a known form, or seven to fifteen digits."""
        if not self.distinct or self.times or self.addresses >= _MOSTLY:
            return 0.0
        good = sum(count for form, count in self.forms.items() if _is_telephone_form(form))
        return good / len(self.distinct)

    @cached_property
    def readable_numbers(self) -> float:
        """The share of values in a form that says beyond doubt that it is a telephone number."""
        if not self.distinct or self.times:
            return 0.0
        return sum(n for form, n in self.forms.items() if called_format_of(form)) / len(self.distinct)

    @cached_property
    def times(self) -> list[TimeFit]:
        """The formats in which its values are times."""
        return fits(self.distinct, self.now) if self.distinct else []

    @cached_property
    def only_dates(self) -> list[str]:
        """Date formats that all values fit, when they hold no time of day."""
        return [one for one in DATE_FORMATS if _all_fit(self.distinct, one)] if self.distinct else []

    @cached_property
    def only_clocks(self) -> list[str]:
        """Formats of times of day that all values fit, when they hold no date."""
        return [one for one in CLOCK_FORMATS if _all_fit(self.distinct, one)] if self.distinct else []

    @cached_property
    def addresses(self) -> float:
        """The share of values that are IP addresses."""
        if not self.distinct:
            return 0.0
        return sum(canonical_address(text) is not None for text in self.distinct) / len(self.distinct)

    @cached_property
    def lengths(self) -> float:
        """The share of values that can be a duration."""
        return sum(_LENGTH.fullmatch(text) is not None for text in self.distinct) / max(len(self.distinct), 1)

    @cached_property
    def integers(self) -> float:
        """The share of whole numbers."""
        return sum(_INTEGER.fullmatch(text) is not None for text in self.distinct) / max(len(self.distinct), 1)

    @property
    def words(self) -> list[str]:
        """The values, most frequent first, when they are few; else none."""
        return [text for text, _ in self.counts.most_common()] if len(self.counts) <= _FEW else []

    @cached_property
    def variety(self) -> float:
        """Distinct values for each record that has one: 1 for what is never the same twice."""
        return len(self.counts) / max(sum(self.counts.values()), 1)


def _is_telephone_form(form: str) -> bool:
    plain = form.partition(" in ")[0]
    digits = _BARE_NUMBER.fullmatch(plain)
    if digits is not None:
        return 7 <= int(digits["digits"]) <= 15
    return plain != NO_NUMBER and (called_format_of(form) is not None or plain.startswith("prefix "))


def _all_fit(values: Sequence[str], time_format: str) -> bool:
    for text in values:
        try:
            datetime.strptime(text, time_format.replace("%Z", ""))  # noqa: DTZ007 - only its shape is asked for
        except ValueError:
            return False
    return True
