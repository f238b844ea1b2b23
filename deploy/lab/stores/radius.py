"""RADIUS accounting as FreeRADIUS keeps it: `detail` files, a block a request (acc_radius of a SIP proxy).

Start when the call is answered, Stop at the BYE (without numbers), Failed for what nobody took. The header line and
Event-Timestamp are in local time; Timestamp, seconds since the epoch, is the only one to trust.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from deploy.lab.stores.records import DISPOSITIONS, Record, a_call, calling_text, daily, epoch_s, expected, replies
from deploy.lab.stores.source import Log, Source


def detail(log: Log, directory: Path) -> list[Source]:
    """An originating proxy's accounting; trunks and addresses stand packed in one attribute."""
    setups = replies(log)
    stops = [r for r in a_call(log) if r.released] if log.several_rows else []
    blocks = [(r.written, _block(log, r, "Start" if r.answered else "Failed")) for r in setups]
    blocks += [(r.written, _block(log, r, "Stop")) for r in stops]
    return [
        Source(
            name=f"{log.prefix}radius",
            path=daily(log, directory, "radius", ".detail", sorted(blocks)),
            format="radius_detail",
            where={"Acct-Status-Type": ["Start", "Failed"]},
            clock_offset=log.clock_offset,
            columns={
                "called_in": {"column": "Called-Station-Id", "format": "trunk"},
                "called_out": {"column": "Connect-Info", "pattern": _inside("dst"), "format": "trunk"},
                "calling": {"column": "Calling-Station-Id"},
                "answer": {"column": "Timestamp", "format": "epoch_s", "resolution": "1s"},
                "ingress_trunk": {"column": "Connect-Info", "pattern": _inside("in")},
                "egress_trunk": {"column": "Connect-Info", "pattern": _inside("out")},
                "ingress_address": {"column": "Connect-Info", "pattern": _inside("src")},
                "call_id": {"column": "Acct-Session-Id"},
                "disposition": {"column": "Sip-Response-Code", "values": DISPOSITIONS},
            },
            expected=tuple(expected(r) for r in setups),
            skipped=len(stops),
        )
    ]


def _inside(key: str) -> str:
    return f"(?:^|;){key}=([^;]*)"


def _block(log: Log, record: Record, status: str) -> str:
    reading = log.switch.reads(record.written)
    there = reading.astimezone(ZoneInfo(log.switch.zone))
    calling = calling_text(log, record.passage.calling)
    tag = record.passage.record_id[:8]
    attributes = {
        "Acct-Status-Type": status,
        "Service-Type": "Sip-Session",
        "Sip-Response-Code": str(record.code),
        "Sip-Method": "BYE" if status == "Stop" else "INVITE",
        "Event-Timestamp": f'"{_long(there)}"',
        "Sip-From-Tag": f'"f{tag}"',
        "Sip-To-Tag": f'"t{tag}"',
        "Acct-Session-Id": f'"{record.passage.record_id}"',
        "User-Name": f'"sip:{calling}@{record.in_address}"',
        "Calling-Station-Id": f'"{calling}"',
    }
    if status != "Stop":
        packed = f"src={record.in_address};in={record.in_trunk};out={record.out_trunk};dst={record.sent}"
        attributes |= {"Called-Station-Id": f'"{record.received}"', "Connect-Info": f'"{packed}"'}
    attributes |= {
        "NAS-Port": "5060",
        "Acct-Delay-Time": "0",
        "NAS-IP-Address": "127.0.0.1",
        "Timestamp": str(epoch_s(reading)),
    }
    lines = [f"{there:%a %b} {there.day:2d} {there:%H:%M:%S %Y}"]
    lines += [f"\t{name} = {value}" for name, value in attributes.items()]
    return "\n".join(lines) + "\n\n"


def _long(there: datetime) -> str:
    return f"{there:%b} {there.day:2d} {there:%Y %H:%M:%S %Z}"
