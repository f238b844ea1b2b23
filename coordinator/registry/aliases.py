"""Aliases: numbers and names by which a provider is known beside its id, each with the time that it holds for. Pure.

    rmd      Robocall Mitigation Database number: RMD and seven digits
    frn      FCC Registration Number: ten digits; leading zeros that a spreadsheet has eaten are put back
    ocn      Operating Company Number: four letters or digits (ATIS-0300251)
    spc      Service Provider Code in a STIR/SHAKEN certificate's TNAuthList (RFC 8226): letters and digits
    name     legal name          dba      name that it does business under          former      name that it had

A number belongs to one provider at a time: a second holder is refused. Names may be shared; they only ever suggest.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from datetime import datetime

from protos.identity import ProviderId

LONGEST_NAME = 200


class AliasKind(enum.Enum):
    """What an alias is. Values are stable: they are stored, and shown in JSON."""

    RMD = "rmd"
    FRN = "frn"
    OCN = "ocn"
    SPC = "spc"
    NAME = "name"
    DBA = "dba"
    FORMER = "former"

    @property
    def is_number(self) -> bool:
        """Whether it identifies, so that it belongs to one provider at a time."""
        return self in _FORMS


_FORMS = {
    AliasKind.RMD: (re.compile(r"RMD[0-9]{7}", re.ASCII), "RMD and seven digits, such as RMD0001234"),
    AliasKind.FRN: (re.compile(r"[0-9]{10}", re.ASCII), "ten digits"),
    AliasKind.OCN: (re.compile(r"[0-9A-Z]{4}", re.ASCII), "four letters or digits"),
    AliasKind.SPC: (re.compile(r"[0-9A-Z]{1,15}", re.ASCII), "letters and digits"),
}
_EATEN_ZEROS = re.compile(r"[0-9]{6,10}", re.ASCII)


class AliasError(ValueError):
    """A text is no alias of that kind."""


@dataclass(frozen=True, slots=True)
class Alias:
    """An alias of `provider`, from `valid_from` (None: always) until before `valid_to` (None: still)."""

    provider: ProviderId
    kind: AliasKind
    value: str
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    source: str = ""

    def holds_at(self, at: datetime) -> bool:
        """Whether it is the provider's at `at`."""
        return (self.valid_from is None or self.valid_from <= at) and (self.valid_to is None or at < self.valid_to)

    def overlaps(self, other: Alias) -> bool:
        """Whether there is a time at which both hold."""
        begins = self.valid_from is None or other.valid_to is None or self.valid_from < other.valid_to
        return begins and (other.valid_from is None or self.valid_to is None or other.valid_from < self.valid_to)


def parse_alias_value(kind: AliasKind, text: str) -> str:
    """The value in the one form that is stored: numbers in capitals and in full, names with single blanks.

    Raises:
        AliasError: it is none of that kind.
    """
    if kind not in _FORMS:
        name = " ".join(text.split())
        if not name or len(name) > LONGEST_NAME or not name.isprintable():
            raise AliasError(f"a name must be 1 to {LONGEST_NAME} printable characters")
        return name
    value = text.strip().upper()
    if kind is AliasKind.FRN and _EATEN_ZEROS.fullmatch(value):
        value = value.zfill(10)
    pattern, form = _FORMS[kind]
    if pattern.fullmatch(value) is None:
        raise AliasError(f"no {kind.value.upper()}: it must be {form}")
    return value


def parse_alias(text: str) -> tuple[AliasKind, str]:
    """Kind and value from `kind:value`, such as `frn:0012345678`.

    Raises:
        AliasError: it is none.
    """
    word, colon, value = text.partition(":")
    try:
        kind = AliasKind(word.strip().lower())
    except ValueError:
        kind = None
    if not colon or kind is None:
        raise AliasError(f"write an alias as kind:value, with a kind of {', '.join(k.value for k in AliasKind)}")
    return kind, parse_alias_value(kind, value)
