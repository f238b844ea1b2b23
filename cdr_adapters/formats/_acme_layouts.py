"""Which column is which in a row of an Oracle (Acme Packet) session border controller's local CDR.

The order depends on the release, on the kind of record and on the configuration (vsa-id-range, cdr-output-inclusive),
and no row says which it is. So a row's columns are found by what stands in them: an order that is known is tried on the
row, and else the row's own shape is read, from anchors outwards. The anchors, in the order of the guides (accounting
guides S-C6.1.0 to S-CX6.4.0, S-D7.1.0, S-CZ7.1.2, S-Cz8.4.0, S-Cz9.0.0):

- the kind of record (1 start, 2 stop, 3 interim) and the SBC's own address stand first;
- the numbers, calling then called, stand before the h323 times: right before in a start, before the termination cause
  and the session time in a stop; setup, connect and disconnect time stand in that order;
- the realms stand behind the times (and the cause), egress first, with or without the four columns of the interfaces;
- the four signalling addresses (ingress local, ingress remote, egress local, egress remote) are the only four columns
  in a row that hold addresses, for in a flow each address is followed by its port.

Refused: a row in which an anchor is missing or could be in two places. Nothing is counted from the left alone: a column
more or less before the addresses would give the SBC's own address as the peer's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from cdr_adapters.formats._acme_orders import (
    ADDRESSES,
    AFTER_MEDIA,
    ENDING,
    INTERFACES,
    ORDERS,
    REALMS,
    ROUTING,
    SESSION,
    Kind,
    Release,
)

KINDS: Final[Mapping[str, Kind]] = {
    "1": "start",
    "2": "stop",
    "3": "interim",
    "Start": "start",
    "Stop": "stop",
    "Interim-Update": "interim",
}
OTHER_RECORDS: Final = frozenset(("7", "8", "Accounting-On", "Accounting-Off"))
"""Records about the SBC itself (RFC 2866 5.1)."""

TIME: Final = (
    r"[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})? [-+:A-Za-z0-9]{1,12} "
    r"(?:[A-Za-z]{3} )?[A-Za-z]{3} [0-9]{1,2} [0-9]{4}"
)
"""A time as in h323-setup-time, `15:54:56.868 PST DEC 18 2017`."""
_SIX: Final = r"(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}|[0-9A-Fa-f:]*::[0-9A-Fa-f:.]*"
ADDRESS: Final = rf"(?:[0-9]{{1,3}}\.){{3}}[0-9]{{1,3}}(?::[0-9]{{1,5}})?|\[(?:{_SIX})\](?::[0-9]{{1,5}})?|{_SIX}"
NUMBER: Final = r"[0-9]{1,10}"

_IS_TIME = re.compile(TIME, re.ASCII)
_IS_ADDRESS = re.compile(ADDRESS, re.ASCII)
_IS_NUMBER = re.compile(NUMBER, re.ASCII)
_IS_STATION = re.compile(r'.*(?:sips?:|tel:|[@<]).*|"?\+?[0-9*#]{3,}"?', re.ASCII | re.IGNORECASE | re.DOTALL)
_IS_URI = re.compile(r".*(?:sips?:|tel:|[@<])", re.ASCII | re.IGNORECASE | re.DOTALL)


class ShapeError(ValueError):
    """A row's columns can't be told apart; the message says why and what to configure."""


_CONFIGURE = "give the columns' order in options.columns (the SBC's command dump_csv_format prints it)"


Checks = tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the attributes of one kind of record stand, and what proves that a row is written so.

    Attributes:
        kind: of which records.
        at: the column, from 0, of each attribute that could be found.
        fits: pairs of a column and a regular expression (RE2 knows it, too) that its value fits as a whole.
        misfits: the same, for what it must not fit.
        twins: pairs of columns of which both are empty or none.
    """

    kind: Kind
    at: Mapping[str, int]
    fits: Checks
    misfits: Checks = ()
    twins: tuple[tuple[int, int], ...] = ()

    @property
    def last(self) -> int:
        """The last column that has a meaning."""
        return max(self.at.values())


_NEEDED: Final = ("Called-Station-Id", "h323-setup-time")


def configured_layout(kind: Kind, names: Sequence[str]) -> Layout:
    """The layout that a person gives: the attributes from the left; of a name that comes twice, the first column.

    Raises:
        ShapeError: the called number or the setup time isn't among them.
    """
    at = _places(names)
    missing = [name for name in _NEEDED if name not in at]
    if missing:
        raise ShapeError(f"columns.{kind} lacks {' and '.join(missing)}")
    fits = [(at["h323-setup-time"], TIME), *((at[name], ADDRESS + "|") for name in ADDRESSES if name in at)]
    return Layout(kind, at, tuple(fits))


def _places(names: Sequence[str]) -> dict[str, int]:
    at: dict[str, int] = {}
    for index, name in enumerate(names):
        at.setdefault(plain_name(name), index)
    return at


def plain_name(name: str) -> str:
    """An attribute's name as written here; guides and releases write some with two hyphens, or in another case."""
    folded = name.strip().replace("--", "-")
    return _BY_FOLD.get(_fold(folded), folded)


def _fold(name: str) -> str:
    return name.lower().replace("_", "-")


_BY_FOLD: Final = {_fold(name): name for order in ORDERS.values() for name in order}


# --- what a row must hold where -------------------------------------------------------------------------------------


def _layout(kind: Kind, at: Mapping[str, int]) -> Layout:
    """A layout with its proof; see the module's docstring."""
    fits = [(at["Acct-Status-Type"], "|".join(code for code, its_kind in KINDS.items() if its_kind == kind))]
    fits += [(at["NAS-IP-Address"], ADDRESS), (at["h323-setup-time"], TIME)]
    fits += [(at[name], TIME + "|0|") for name in ("h323-connect-time", "h323-disconnect-time") if name in at]
    fits += [(at[name], NUMBER + "|") for name in (INTERFACES[1], INTERFACES[3], "Acct-Session-Time") if name in at]
    fits += [(at[name], NUMBER + "|") for name in ("Acme-Post-Dial-Delay", *ENDING) if name in at]
    misfits = [(at[name], f"{NUMBER}|{ADDRESS}|{TIME}") for name in REALMS]
    twins: tuple[tuple[int, int], ...] = ()
    if all(name in at for name in ADDRESSES):
        first = at[ADDRESSES[0]]
        fits += [(first, ADDRESS), (first + 1, ADDRESS), (first + 2, ADDRESS + "|"), (first + 3, ADDRESS + "|")]
        # a column more or less, and the peer's address would stand where the SBC's own is
        misfits += [(first - 1, ADDRESS), (first + 4, ADDRESS)]
        twins = ((first + 2, first + 3),)
    return Layout(kind, at, tuple(fits), tuple(misfits), twins)


_KNOWN: Final = {key: (len(order), _layout(key[1], _places(order))) for key, order in ORDERS.items()}


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)


def proves(layout: Layout, fields: Sequence[str]) -> bool:
    """Whether one row is proved to have the layout."""
    width = len(fields)
    return (
        layout.last < width
        and all(_compiled(pattern).fullmatch(fields[column]) for column, pattern in layout.fits)
        and not any(c < width and _compiled(pattern).fullmatch(fields[c]) for c, pattern in layout.misfits)
        and all(bool(fields[one]) == bool(fields[other]) for one, other in layout.twins)
    )


def settle(fields: Sequence[str], configured: Mapping[Kind, Layout], release: Release | None) -> Layout:
    """Which column is which in this row.

    An order that is configured counts, then one that is known whole and fits the row, then the row's shape.

    Raises:
        ShapeError: none of them; or the row contradicts what is configured.
    """
    kind = KINDS.get(fields[0] if fields else "")
    if kind is None:
        raise ShapeError("the first column is no kind of record (1 start, 2 stop, 3 interim)")
    if (layout := configured.get(kind)) is not None:
        if layout.last >= len(fields):
            raise ShapeError(f"{len(fields)} columns, but options.columns.{kind} names {layout.last + 1}")
        if not proves(layout, fields):
            raise ShapeError(f"no setup time, or no address, where options.columns.{kind} has one")
        return layout
    for (known, its_kind), (width, layout) in _KNOWN.items():
        if its_kind == kind and width == len(fields) and release in (None, known) and proves(layout, fields):
            return layout
    return _by_shape(kind, fields)


# --- a row's own shape ----------------------------------------------------------------------------------------------


def _by_shape(kind: Kind, fields: Sequence[str]) -> Layout:
    if len(fields) < 8 or not _IS_ADDRESS.fullmatch(fields[1]):
        raise ShapeError(f"the second column is not the SBC's address; {_CONFIGURE}")
    setup = next((index for index, text in enumerate(fields) if index > 4 and _IS_TIME.fullmatch(text)), None)
    if setup is None:
        raise ShapeError(f"no setup time in the row; {_CONFIGURE}")
    at: dict[str, int] = {name: index for index, name in enumerate(SESSION[:4])}
    behind = _numbers_and_times(kind, fields, setup, at)
    _realms(fields, behind, at)
    _addresses(kind, fields, behind, at)
    return _layout(kind, at)


def _numbers_and_times(kind: Kind, fields: Sequence[str], setup: int, at: dict[str, int]) -> int:
    """Find the numbers and the times; the column behind them."""
    width = len(fields)
    ended = setup + 2 < width and _IS_TIME.fullmatch(fields[setup + 2]) is not None
    only_ended = (
        not ended
        and kind == "stop"
        and setup + 2 < width
        and _IS_TIME.fullmatch(fields[setup + 1]) is not None
        and _IS_NUMBER.fullmatch(fields[setup + 2]) is not None
    )
    if kind == "stop" and not ended and not only_ended:
        raise ShapeError(f"no disconnect time behind the setup time of a stop record; {_CONFIGURE}")
    called = _called(kind, fields, setup)
    if called < 6 or not (_IS_STATION.fullmatch(fields[called]) or not fields[called]):
        raise ShapeError(f"no called number before the times; {_CONFIGURE}")
    at["Called-Station-Id"], at["Calling-Station-Id"] = called, called - 1
    if called in (9, 10):  # the columns before the numbers are those that every guide gives
        at["Acme-Session-Ingress-CallId"], at["Acme-Session-Egress-CallId"] = 4, 5
    if called == setup - 3:
        at["Acct-Terminate-Cause"], at["Acct-Session-Time"] = setup - 2, setup - 1
    at["h323-setup-time"] = setup
    if only_ended:
        at["h323-disconnect-time"], at["h323-disconnect-cause"] = setup + 1, setup + 2
        return setup + 3
    at["h323-connect-time"] = setup + 1
    if ended:
        at["h323-disconnect-time"], at["h323-disconnect-cause"] = setup + 2, setup + 3
        return setup + 4
    return setup + 2


def _called(kind: Kind, fields: Sequence[str], setup: int) -> int:
    """The column of the called number: right before the times, or before cause and session time."""
    before, far = fields[setup - 1], fields[setup - 3]
    timed = _IS_NUMBER.fullmatch(before) is not None and _IS_STATION.fullmatch(far) is not None
    if kind == "stop":
        if not timed:
            raise ShapeError(f"no session time before the setup time of a stop record; {_CONFIGURE}")
        return setup - 3
    if _IS_URI.match(before):
        return setup - 1
    if kind == "start":
        return setup - 1
    if timed and _IS_URI.match(far):
        return setup - 3
    if timed:
        raise ShapeError(f"an interim record in which two columns could be the called number; {_CONFIGURE}")
    return setup - 1


def _realms(fields: Sequence[str], behind: int, at: dict[str, int]) -> None:
    """Find the realms: behind the four columns of the interfaces, or where those would be."""
    found = []
    for names in (INTERFACES, ()):
        first = behind + len(names)
        if first + 1 >= len(fields):
            continue
        if names and not all(_IS_NUMBER.fullmatch(fields[behind + at_]) or not fields[behind + at_] for at_ in (1, 3)):
            continue
        egress, ingress = fields[first], fields[first + 1]
        if ingress and not any(_no_realm(text) for text in (egress, ingress)):
            found.append((names, first))
    if len(found) != 1:
        raise ShapeError(f"the realms can't be told from their neighbours; {_CONFIGURE}")
    names, first = found[0]
    at.update({name: behind + index for index, name in enumerate(names)})
    at.update({name: first + index for index, name in enumerate(REALMS)})


def _no_realm(text: str) -> bool:
    return any(shape.fullmatch(text) for shape in (_IS_NUMBER, _IS_ADDRESS, _IS_TIME))


def _addresses(kind: Kind, fields: Sequence[str], behind: int, at: dict[str, int]) -> None:
    """Find the signalling addresses and what stands around them; a row may have none.

    Four in a row are they, whatever is around them, for flows have only IPv6 addresses without ports so. Where one of
    the four is missing, the others might be shifted: then the columns around them decide, and must say something.
    """
    is_address = [_IS_ADDRESS.fullmatch(text) is not None for text in fields]
    width = len(fields)
    found = [
        index
        for index in range(behind + 2, width - 3)
        if is_address[index]
        and is_address[index + 1]
        and not is_address[index - 1]
        and not (index + 4 < width and is_address[index + 4])
        and all(is_address[index + more] or not fields[index + more] for more in (2, 3))
        and (_are_signalling(fields[index : index + 4]) or _in_context(kind, fields, index, certain=True))
    ]
    if len(found) > 1:
        found = [index for index in found if _in_context(kind, fields, index, certain=True)]
    if len(found) > 1:
        raise ShapeError(f"two groups of columns could be the signalling addresses; {_CONFIGURE}")
    if not found:
        if any(first and second for first, second in zip(is_address[behind:], is_address[behind + 1 :], strict=False)):
            raise ShapeError(f"the signalling addresses can't be told from others; {_CONFIGURE}")
        return
    first = found[0]
    at.update({name: first + index for index, name in enumerate(ADDRESSES)})
    if _in_context(kind, fields, first):
        before = first - len(AFTER_MEDIA)
        at.update({name: before + index for index, name in enumerate(AFTER_MEDIA) if index >= 3})
        after = ("Acme-SIP-Diversion", *ENDING, *ROUTING[:1]) if kind == "stop" else ("Acme-SIP-Diversion",)
        at.update({name: first + 4 + index for index, name in enumerate(after) if first + 4 + index < width})


def _are_signalling(four: Sequence[str]) -> bool:
    """Whether four columns can only be the signalling addresses: none is empty, and they aren't IPv6 without ports."""
    return all(four) and any("." in text or text.startswith("[") for text in four)


_IS_ZONE = re.compile(
    r"[A-Za-z][A-Za-z_/ ]{0,30}(?:[-+][0-9:]{1,6})?[A-Za-z()/_ -]{0,30}|[-+][0-9]{1,2}:?[0-9]{2}", re.ASCII
)


def _in_context(kind: Kind, fields: Sequence[str], first: int, certain: bool = False) -> bool:
    """Whether around the addresses stand the columns that every guide gives; `certain` takes no empty time zone."""
    delay, zone = first - 7, first - 8
    if zone < 0 or not (_IS_NUMBER.fullmatch(fields[delay]) or not fields[delay]):
        return False
    if not (_IS_ZONE.fullmatch(fields[zone]) if certain or fields[zone] else True):
        return False
    ending = fields[first + 5 : first + 9]
    return kind != "stop" or (len(ending) == 4 and all(not text or _IS_NUMBER.fullmatch(text) for text in ending))
