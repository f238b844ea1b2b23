"""The listing of the FCC's Robocall Mitigation Database (47 CFR 64.6305) as it is published: CSV with a header. Pure.

Columns are known by their names, in any order, as the database calls them (`business_name`, `frn`, `other_dba_names`,
`previous_dba_names`, `foreign_voice_provider`, `voice_service_provider_choice` ...) or as its pages label them
("Business Name", "FCC Registration Number (FRN)", "Other DBA Name(s)" ...). The business name and the number or the
FRN must be there; columns that are not known are passed over, for the listing gets new ones. A row stands for itself:
a bad one is rejected with its line and the reason.

A listing proves nothing about who is on the wire, and its contacts are not taken for addresses that requests may go to:
who sends them is bound out of band.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from coordinator.registry.aliases import LONGEST_NAME, AliasError, AliasKind, parse_alias_value
from coordinator.registry.names import LEGAL_FORMS, split_dba

_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "number": ("number", "rmd_number", "robocall_mitigation_database_number", "confirmation_number", "rmd"),
    "frn": ("frn", "fcc_registration_number_frn", "fcc_registration_number"),
    "business_name": ("business_name", "business", "company_name"),
    "country": ("country",),
    "foreign": ("foreign_voice_provider", "foreign_voice_service_provider"),
    "other_frns": ("other_frns", "other_frn", "other_frn_s"),
    "dbas": ("other_dba_names", "other_dba_name_s", "other_dba_name", "dba", "dba_names"),
    "former": ("previous_dba_names", "previous_business_names", "previous_business_name_s", "previous_names"),
    "ocn": ("ocn", "ocns", "operating_company_number_ocn", "operating_company_number"),
    "voice": ("voice_service_provider_choice", "voice_service_provider"),
    "gateway": ("gateway_provider_choice", "gateway_provider"),
    "intermediate": (*("intermediate_provider_choice", "intermediate_provider", "non_gateway_intermediate_provider"),),
    "implementation": ("implementation",),
    "updated": ("last_updated", "sys_updated_on", "updated"),
    "recertified": ("last_recertified", "recertified"),
}
_BY_HEADER = {spelling: column for column, spellings in _COLUMNS.items() for spelling in spellings}
_NOT_A_NAME = frozenset({"", "n/a", "na", "none", "null", "nan", "no", "not applicable", "-", "--", "."})
_YES, _NO = frozenset({"yes", "true", "y", "1"}), frozenset({"no", "false", "n", "0", ""})
_HEADER_WORD = re.compile(r"[^a-z0-9]+")
_BREAKS = re.compile(r"[;|\r\n]+")
_FLAGS, _DATES = ("foreign", "voice", "gateway", "intermediate"), ("updated", "recertified")
_MOST_FIELD = 100_000


class RmdFileError(Exception):
    """The file as a whole is no listing."""


@dataclass(frozen=True, slots=True)
class RmdRow:
    """One filing. `number` and `frn`: at least one is there. Dates are the listing's own, without a time."""

    line: int
    number: str | None
    frn: str | None
    business_name: str
    dbas: tuple[str, ...] = ()
    former: tuple[str, ...] = ()
    other_frns: tuple[str, ...] = ()
    ocns: tuple[str, ...] = ()
    country: str = ""
    foreign: bool | None = None
    voice: bool | None = None
    gateway: bool | None = None
    intermediate: bool | None = None
    implementation: str = ""
    updated: date | None = None
    recertified: date | None = None

    @property
    def key(self) -> str:
        """What the filing is known by: the number, or the FRN in a listing without numbers."""
        return self.number or f"FRN{self.frn}"

    @property
    def roles(self) -> tuple[str, ...]:
        """What it says it does, in the registry's words."""
        said = (("voice", self.voice), ("gateway", self.gateway), ("intermediate", self.intermediate))
        return tuple(role for role, yes in said if yes)


@dataclass(frozen=True, slots=True)
class RejectedFiling:
    """A row that was not taken: its line in the file, from 1, and everything that is wrong with it."""

    line: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RmdReading:
    """What a listing holds; `ignored` are the columns that nothing is known of."""

    rows: tuple[RmdRow, ...]
    rejected: tuple[RejectedFiling, ...]
    ignored: tuple[str, ...]


def read_rmd(text: str) -> RmdReading:
    """The filings of a listing.

    Raises:
        RmdFileError: it is no CSV, or its header names neither the columns nor the labels.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise RmdFileError(f"the first line is no CSV: {error}") from None
    columns = [_BY_HEADER.get(_HEADER_WORD.sub("_", name.strip().lower()).strip("_")) for name in header]
    named = [column for column in columns if column is not None]
    if "business_name" not in named or not {"number", "frn"} & set(named):
        raise RmdFileError("the first line must name the columns business_name and number or frn: is it the listing?")
    twice = sorted({column for column in named if named.count(column) > 1})
    if twice:
        raise RmdFileError(f"two columns mean {twice[0]}: leave one of them out")
    ignored = tuple(name for name, column in zip(header, columns, strict=True) if column is None)
    rows: list[RmdRow] = []
    rejected: list[RejectedFiling] = []
    lines: dict[str, int] = {}
    for line, cells in _records(reader):
        if len(cells) != len(columns):
            rejected.append(RejectedFiling(line, (f"{len(cells)} fields where the header names {len(columns)}",)))
            continue
        values = {column: cell.strip() for column, cell in zip(columns, cells, strict=True) if column is not None}
        row = _row(line, values)
        if isinstance(row, RmdRow) and row.key in lines:
            row = RejectedFiling(line, (f"{row.key} stands in line {lines[row.key]} already",))
        if isinstance(row, RejectedFiling):
            rejected.append(row)
        else:
            lines[row.key] = line
            rows.append(row)
    return RmdReading(tuple(rows), tuple(rejected), ignored)


def _records(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise RmdFileError(f"line {reader.line_num} is no CSV: {error}") from None  # type: ignore[attr-defined]
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells  # type: ignore[attr-defined]


def _row(line: int, values: Mapping[str, str]) -> RmdRow | RejectedFiling:
    problems: list[str] = []
    number = _number(AliasKind.RMD, values.get("number", ""), problems)
    frn = _number(AliasKind.FRN, values.get("frn", ""), problems)
    if number is None and frn is None and not problems:
        problems.append("neither number nor frn")
    name = " ".join(values.get("business_name", "").split())
    if name.lower() in _NOT_A_NAME or len(name) > LONGEST_NAME or not name.isprintable():
        problems.append(f"business_name: 1 to {LONGEST_NAME} printable characters")
    flags = {
        flag: _flag(flag, values.get(flag, ""), problems) for flag in ("foreign", "voice", "gateway", "intermediate")
    }
    dates = {day: _date(day, values.get(day, ""), problems) for day in ("updated", "recertified")}
    if problems:
        return RejectedFiling(line, tuple(problems))
    return RmdRow(
        line=line,
        number=number,
        frn=frn,
        business_name=name,
        dbas=_names(values.get("dbas", "")),
        former=_names(values.get("former", "")),
        other_frns=_numbers(AliasKind.FRN, values.get("other_frns", "")),
        ocns=_numbers(AliasKind.OCN, values.get("ocn", "")),
        country=values.get("country", "")[:100],
        implementation=values.get("implementation", "")[:200],
        foreign=flags["foreign"],
        voice=flags["voice"],
        gateway=flags["gateway"],
        intermediate=flags["intermediate"],
        updated=dates["updated"],
        recertified=dates["recertified"],
    )


def _number(kind: AliasKind, text: str, problems: list[str]) -> str | None:
    if text.lower() in _NOT_A_NAME:
        return None
    try:
        return parse_alias_value(kind, text)
    except AliasError as error:
        problems.append(f"{kind.value}: {error}")
        return None


def _numbers(kind: AliasKind, text: str) -> tuple[str, ...]:
    """The numbers of a cell that people fill in freely; what is none is passed over."""
    found = []
    for part in re.split(r"[\s,;|/]+", text[:_MOST_FIELD]):
        try:
            found.append(parse_alias_value(kind, part))
        except AliasError:
            continue
    return tuple(dict.fromkeys(found))


def _names(text: str) -> tuple[str, ...]:
    """The names of a cell that people fill in freely: parted by semicolons, bars, lines, or by commas.

    A comma before a legal form (`Acme, Inc.`) belongs to the name.
    """
    found: list[str] = []
    for part in _BREAKS.split(text[:_MOST_FIELD]):
        pieces: list[str] = []
        for piece in part.split(","):
            word = piece.strip().rstrip(".").lower().replace(".", "")
            if pieces and word in LEGAL_FORMS:
                pieces[-1] += f", {piece.strip()}"
            else:
                pieces.append(piece.strip())
        for piece in pieces:
            found += split_dba(piece)
    names = (" ".join(name.split()) for name in found)
    good = [n for n in names if n.lower() not in _NOT_A_NAME and len(n) <= LONGEST_NAME and n.isprintable()]
    return tuple(dict.fromkeys(good))


def _flag(name: str, text: str, problems: list[str]) -> bool | None:
    word = text.lower()
    if word in _NOT_A_NAME - {"no", "na"}:
        return None
    if word not in _YES | _NO:
        problems.append(f"{name}: yes or no")
    return word in _YES


def _date(name: str, text: str, problems: list[str]) -> date | None:
    if text.lower() in _NOT_A_NAME:
        return None
    day = text.split()[0].split("T")[0]
    for form in ("%Y-%m-%d", "%m/%d/%Y"):
        try:
            return datetime.strptime(day, form).date()  # noqa: DTZ007  a date has no zone
        except ValueError:
            continue
    problems.append(f"{name}: no date such as 2026-02-27")
    return None
