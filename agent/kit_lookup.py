"""One question answered from one file, explained: what `hopback-cdr lookup` decides and shows.

The decision is `agent.match`'s, over the legs of `agent.scan`. Without a trunk map a trunk or an address stands for the
neighbour itself. Where the records don't say how a call came in, the outcome says so; nothing stands in for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from agent.instances import Instance
from agent.match import Considered, Decision, Verdict, match
from agent.match_settings import MatchSettings
from agent.scan import AsWritten, Called, FileOfCalls, Scan
from agent.trunks import Party, PartyKind, TrunkMap, Unknown
from cdr_adapters.kit.inspection import iso
from cdr_adapters.kit.reading import completed_mapping
from cdr_adapters.kit.show import NARROW, console, table
from cdr_adapters.kit.subject import Subject
from protos.e164 import E164
from protos.identity import ProviderId
from protos.printable import printable
from protos.types import Question

_NOBODY: Final = ProviderId("this-file")
_MEANING: Final = {
    "FOUND": "the call came in here",
    "UPSTREAM": "another provider handed this call over",
    "ORIGINATED_HERE": "a customer of this provider placed the call",
    "FOREIGN_UPSTREAM": "a foreign carrier handed this call over: this provider is the gateway",
    "UPSTREAM_NOT_RECORDED": "the call is here, but no record of it says where it came in",
    "UNMAPPED": "found, but the trunk map does not say who is behind its trunk or address: add the trunk",
    "NOT_FOUND": "no call fits",
    "AMBIGUOUS": "several calls fit and came from different places: none of them is named",
}
_NAMED: Final = frozenset({"FOUND", "UPSTREAM", "ORIGINATED_HERE", "FOREIGN_UPSTREAM"})
_BY_KIND: Final = {
    PartyKind.PROVIDER: "UPSTREAM",
    PartyKind.FOREIGN: "FOREIGN_UPSTREAM",
    PartyKind.CUSTOMER: "ORIGINATED_HERE",
    PartyKind.SUBSCRIBERS: "ORIGINATED_HERE",
    PartyKind.INTERNAL: "UNMAPPED",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """The question."""

    called: Called
    at: datetime
    window: timedelta
    calling: E164 | None = None
    named_by: ProviderId | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The answer and all that led to it; `mapped` says whether there was a trunk map."""

    asked: Asked
    subject: Subject
    scan: Scan
    decision: Decision
    mapped: bool

    @property
    def outcome(self) -> str:
        """The answer in a word."""
        if self.decision.verdict is not Verdict.FOUND:
            return self.decision.verdict.name
        upstream = self.decision.upstream
        if upstream is Unknown.NOT_RECORDED:
            return "UPSTREAM_NOT_RECORDED"
        if not isinstance(upstream, Party):
            return "UNMAPPED"
        return _BY_KIND[upstream.kind] if self.mapped else "FOUND"

    @property
    def named(self) -> bool:
        """Whether somebody is named."""
        return self.outcome in _NAMED

    @property
    def came_in_by(self) -> list[tuple[str | None, str | None]]:
        """Trunk and address of the calls that were taken, where somebody is named or should be."""
        if self.decision.verdict is not Verdict.FOUND:
            return []
        legs = [leg for instance in self.decision.instances for leg in instance.rows]
        return [
            route
            for route in dict.fromkeys((leg.ingress_trunk, leg.ingress_address) for leg in legs)
            if route != (None, None)
        ]


def look_up(
    subject: Subject, asked: Asked, trunks: TrunkMap | None, progress: Callable[[int], None] = lambda _: None
) -> Found:
    """Answer one question from one file.

    Raises:
        AdapterError: the file can't be read as its mapping says.
    """
    source = completed_mapping(subject)
    file = FileOfCalls(subject, f"{source.name}:{subject.path.name}")
    shows_egress = source.columns is not None and {"egress_trunk", "egress_address"} & source.columns.specs.keys()
    settings = MatchSettings(
        longest_setup=source.max_setup,
        sources_with_egress=frozenset({source.name} if trunks is not None and shows_egress else ()),
    )
    reach = asked.window + settings.longest_setup
    scan = file.find(asked.called, asked.calling, asked.at, reach, progress)
    question = Question(
        question_id=UUID(int=0),
        target=_NOBODY,
        called=asked.called.asked,
        at=asked.at,
        window=asked.window,
        named_by=asked.named_by,
        calling=asked.calling,
        deadline=asked.at,
    )
    decision = match(
        question,
        scan.legs,
        trunks if trunks is not None else AsWritten.from_entries(()),
        lambda number: file.find(Called(number, number), asked.calling, asked.at, reach).legs,
        settings,
    )
    return Found(asked, subject, scan, decision, mapped=trunks is not None)


def notes(found: Found) -> list[str]:
    """What else the engineer should know about this answer."""
    scan, told = found.scan, []
    if found.asked.called.number is None:
        told.append("that is no E.164 number, so it was compared as it is written; no traceback can ask for it")
    if found.decision.verdict is Verdict.NOT_FOUND and not found.decision.considered:
        told += _absent(scan)
    if found.named and not found.mapped:
        told.append("without a trunk map nobody can say who is behind it: give --trunks or --config")
    if (only := scan.only_way_in) is not None:
        told.append(
            f"every call in this file came in by {printable(only)}: if that is your own gateway it is not the "
            "upstream; list it in own_addresses, or map another column"
        )
    return told


def _absent(scan: Scan) -> list[str]:
    told = []
    if scan.others and scan.nearest is not None:
        told.append(
            f"{scan.others:,} records of that number lie at other times, the nearest at {iso(scan.nearest)}: "
            "check the zone of the file and of the question"
        )
    if scan.earliest is None or scan.latest is None:
        told.append("not one record of this file could be read as a call: see hopback-cdr inspect")
    else:
        told.append(f"the file's calls lie between {iso(scan.earliest)} and {iso(scan.latest)}")
    if scan.rejected:
        told.append(f"{scan.rejected:,} records were rejected and may hold it: see hopback-cdr inspect")
    return told


def as_data(found: Found) -> dict[str, Any]:
    """The answer and its explanation as plain values, without any telephone number."""
    upstream = found.decision.upstream
    party = str(upstream) if found.mapped and isinstance(upstream, Party) else None
    return {
        "file": found.subject.shown,
        "outcome": found.outcome,
        "meaning": _MEANING[found.outcome],
        "upstream": {
            "party": party,
            "came_in_by": [{"trunk": trunk, "address": address} for trunk, address in found.came_in_by],
        }
        if found.named
        else None,
        "number_changed_here": found.decision.called_in is not None,
        "calls": [_call(item) for item in found.decision.considered],
        "followed_inside": [[leg.row for leg in instance.rows] for instance in found.decision.via_internal],
        "notes": notes(found),
        "searched": {
            "calls": found.scan.records,
            "rejected": found.scan.rejected,
            "earliest": iso(found.scan.earliest),
            "latest": iso(found.scan.latest),
        },
    }


def _call(item: Considered) -> dict[str, Any]:
    instance = item.instance
    first = instance.rows[0]
    return {
        "taken": item.taken,
        "why": item.why,
        "rows": [leg.row for leg in instance.rows],
        "seizure": [iso(instance.earliest), iso(instance.latest)],
        "off_by_s": item.distance.total_seconds(),
        "ingress_trunk": first.ingress_trunk,
        "ingress_address": first.ingress_address,
        "upstream": str(instance.upstream) if not isinstance(instance.upstream, Party) else instance.upstream.name,
        "egress": _distinct(instance, "egress"),
        "dispositions": sorted({leg.disposition for leg in instance.rows if leg.disposition}),
        "calling_matches": instance.calling_matches,
    }


def _distinct(instance: Instance, side: str) -> list[str]:
    routes = (
        " ".join(filter(None, (getattr(leg, f"{side}_trunk"), getattr(leg, f"{side}_address"))))
        for leg in instance.rows
    )
    return [route for route in dict.fromkeys(routes) if route]


def _answer(found: Found) -> str:
    routes = "; ".join(
        " ".join(
            filter(
                None, (f"trunk {printable(trunk)}" if trunk else "", f"address {printable(address)}" if address else "")
            )
        )
        for trunk, address in found.came_in_by
    )
    upstream = found.decision.upstream
    who = f"{upstream}, " if found.mapped and isinstance(upstream, Party) else ""
    return f"{found.outcome}: {_MEANING[found.outcome]}" + (f": {who}{routes}" if routes else "")


def show(found: Found) -> None:
    """Print the answer and why."""
    screen = console()
    screen.print(_answer(found), style="bold green" if found.named else "bold yellow")
    for note in notes(found):
        screen.print(f"- {note}")
    if not found.decision.considered:
        return
    screen.print()
    if screen.width < NARROW:
        for item in found.decision.considered:
            screen.print(_in_short(item))
        return
    calls = table("", "rows", "seized (UTC)", "off by", "came in", "went out", "end", "calling", "why")
    for item in found.decision.considered:
        instance = item.instance
        off = f"{item.distance.total_seconds():g} s"
        calls.add_row(
            "taken" if item.taken else "not",
            ", ".join(str(leg.row) for leg in instance.rows),
            _interval(instance),
            off,
            printable("\n".join(_distinct(instance, "ingress"))) or "not recorded",
            printable(", ".join(_distinct(instance, "egress"))),
            ", ".join(sorted({leg.disposition for leg in instance.rows if leg.disposition})),
            {True: "matches", False: "differs", None: ""}[instance.calling_matches],
            item.why,
        )
    screen.print(calls)


def _in_short(item: Considered) -> str:
    """A call considered, in lines that fit a narrow terminal."""
    instance = item.instance
    rows = ", ".join(str(leg.row) for leg in instance.rows)
    went = printable(", ".join(_distinct(instance, "egress")))
    lines = [
        f"{'taken' if item.taken else 'not taken'}: row {rows}, off by {item.distance.total_seconds():g} s: {item.why}",
        f"    seized {' '.join(_interval(instance).split(chr(10)))}",
        f"    came in {printable(', '.join(_distinct(instance, 'ingress'))) or 'by what is not recorded'}"
        + (f"; went out {went}" if went else ""),
    ]
    return "\n".join(lines)


def _interval(instance: Instance) -> str:
    def ticks(moment: datetime) -> str:
        return f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03}"

    first = f"{instance.earliest:%Y-%m-%d} {ticks(instance.earliest)}"
    return first if instance.earliest == instance.latest else f"{first}\nto {ticks(instance.latest)}"
