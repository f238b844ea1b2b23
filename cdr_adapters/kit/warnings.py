"""What looks wrong about a file that was read without an error, in sentences with what to do.

A wrong mapping seldom fails: it reads answer times as setup times, or the own gateway as the one who handed the call
over. Each sentence is a suspicion with its reason, never a verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from cdr_adapters.kit.inspection import Inspection
from cdr_adapters.mapping import SourceMapping
from protos.e164 import masked

_ENOUGH = 20
"""Of fewer calls, that all have something in common means nothing."""
_WIDE = timedelta(minutes=10)


def warnings(found: Inspection, source: SourceMapping, *, show_numbers: bool) -> list[str]:
    """What an engineer should look at; `source` is the mapping with what its format brings."""
    if not found.calls:
        return list(_no_calls(found, source))
    return [*_upstream(found), *_times(found), *_numbers(found, show_numbers), *_rows(found, source)]


def _no_calls(found: Inspection, source: SourceMapping) -> Iterator[str]:
    if found.skipped and not found.rejects and source.where:
        yield f"where skips every record: does {', '.join(sorted(source.where))} hold what it asks for?"


def _upstream(found: Inspection) -> Iterator[str]:
    recorded = found.routes["ingress"]
    if not recorded:
        yield (
            "no call says where it came in: the upstream is not recorded here, and no question can be answered from "
            "this file alone. Map ingress_trunk or ingress_address if a column has it"
        )
        return
    silent = found.calls - sum(route.calls for route in recorded.values())
    if len(recorded) == 1 and found.calls >= _ENOUGH:
        (trunk, address), _ = next(iter(recorded.items()))
        kind = "address" if trunk is None else "trunk"
        yield (
            f"every call came in by the same {kind}, {trunk or address}: is it your own gateway? "
            "Then it is not the upstream: list it in own_addresses, or map another column"
        )
    elif silent * 2 > found.calls:
        yield f"{silent:,} of {found.calls:,} calls don't say where they came in"
    both = found.peers["ingress_address"].keys() & found.peers["egress_address"].keys()
    same = sum(found.peers["ingress_address"][address] for address in both)
    if (
        found.calls >= _ENOUGH
        and same == found.calls
        and found.peers["ingress_address"] == found.peers["egress_address"]
    ):
        yield "calls come in from and go out to the same addresses in the same numbers: are both columns the same one?"


def _times(found: Inspection) -> Iterator[str]:
    if found.future:
        yield f"{found.future:,} calls lie in the future: check the zone, clock_offset and the order of day and month"
    if found.answered_early:
        yield f"{found.answered_early:,} calls were answered before they were set up: are the time columns mixed up?"
    if found.widest >= _WIDE:
        yield (
            f"a setup time is known only to within {found.widest.total_seconds() / 60:,.0f} minutes at worst, because "
            "only later times are mapped: map seizure, or a duration, if a column has it"
        )


def _numbers(found: Inspection, show_numbers: bool) -> Iterator[str]:
    if found.calls >= _ENOUGH and found.dominating is not None:
        number, count = found.dominating
        shown = number if show_numbers else masked(number)
        yield (
            f"one called number, {shown}, has {count:,} or more of {found.calls:,} calls: is it a pilot number of "
            "yours, while another column has the number that was dialled?"
        )
    called, calling = found.forms["called_in"].counts, found.filled["calling"]
    if not calling and called and found.calls >= _ENOUGH and found.forms["calling"].counts:
        yield "no calling number could be read: calls to one number at the same time can't be told apart by it"


def _rows(found: Inspection, source: SourceMapping) -> Iterator[str]:
    mapped = source.columns.specs if source.columns else {}
    never = [name for name in mapped if name in found.filled and not found.filled[name]]
    if never:
        yield f"mapped, but without a value in any call: {', '.join(never)}"
    if found.rejects * 10 > found.records and found.records >= _ENOUGH:
        yield f"{found.rejects:,} of {found.records:,} records are rejected: the mapping hardly fits this file"
    if "call_id" not in mapped:
        yield "no call_id is mapped: rows of one call (legs, failed routes) can't be joined"
