"""Transaction accounting in syslog: acc and cdr lines, and acc_json's objects."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from deploy.lab.stores.accounting import (
    EPOCH,
    Columns,
    Table,
    acc,
    calling,
    in_address,
    in_trunk,
    out_trunk,
    received,
    sent,
)
from deploy.lab.stores.records import DISPOSITIONS, Record, a_call, calling_text, daily, epoch_s, expected
from deploy.lab.stores.source import Log, Source


def proxy(log: Log, directory: Path) -> list[Source]:
    """A transit proxy: acc and cdr lines in syslog, the called number in the request URIs, before and after."""

    def uri(number: str, address: str) -> str:
        host = f"[{address}]" if ":" in address else address
        return f"sip:{number}@{host}:5060" if number else ""

    extras: Columns = {
        "src_user": calling,
        "src_ip": in_address,
        "ruri_in": lambda log, r: uri(r.received, log.provider.address),
        "ruri_out": lambda _log, r: uri(r.sent, r.out_address),
        "itrunk": in_trunk,
        "etrunk": out_trunk,
    }

    table, cdrs = acc(log, extras, epoch_s, call_id="call_id"), a_call(log)
    path = daily(log, directory, "proxy", ".log", sorted(_acc_lines(log, table) + _cdr_lines(log, cdrs, trunks=True)))
    sides = {
        "calling": {"column": "src_user"},
        "ingress_trunk": {"column": "itrunk"},
        "ingress_address": {"column": "src_ip"},
        "egress_trunk": {"column": "etrunk"},
    }
    acc_source = Source(
        name=f"{log.prefix}acc",
        path=path,
        format="kamailio_syslog",
        where={"kind": "acc", "method": "INVITE"},
        clock_offset=log.clock_offset,
        columns={
            **sides,
            "called_in": {"column": "ruri_in", "format": "trunk"},
            "called_out": {"column": "ruri_out", "format": "trunk"},
            "answer": {"column": "timestamp", **EPOCH},
            "call_id": {"column": "call_id"},
            "disposition": {"column": "code", "values": DISPOSITIONS},
        },
        expected=tuple(expected(r) for r in table.setups),
        skipped=table.skipped + (len(cdrs) if log.several_rows else 0),
    )
    if not log.several_rows:
        return [acc_source]
    cdr_source = Source(
        name=f"{log.prefix}cdr",
        path=path,
        format="kamailio_syslog",
        where={"kind": "cdr"},
        clock_offset=log.clock_offset,
        columns={
            **sides,
            "calling": {"column": "caller"},
            "called_in": {"column": "callee", "format": "trunk"},
            "seizure": {"column": "start_time", "format": "epoch_s"},
            "release": {"column": "end_time", "format": "epoch_s"},
            "call_id": {"column": "callid"},
        },
        expected=tuple(expected(r, out=False, disposition=False) for r in cdrs),
        skipped=len(table.rows),
    )
    return [acc_source, cdr_source]


def address_syslog(log: Log, directory: Path) -> list[Source]:
    """A terminating proxy: cdr lines alone, peers by address; a call that went on to a line names that address."""
    cdrs = a_call(log)
    path = daily(log, directory, "sbc", ".log", _cdr_lines(log, cdrs, trunks=False))
    return [
        Source(
            name=f"{log.prefix}cdr",
            path=path,
            format="kamailio_syslog",
            where={"kind": "cdr"},
            clock_offset=log.clock_offset,
            columns={
                "called_in": {"column": "callee", "format": "trunk"},
                "calling": {"column": "caller"},
                "seizure": {"column": "start_time", "format": "epoch_s"},
                "release": {"column": "end_time", "format": "epoch_s"},
                "ingress_address": {"column": "src_ip"},
                "egress_address": {"column": "dst_ip"},
                "call_id": {"column": "callid"},
            },
            expected=tuple(expected(r, out=False, trunks=False, disposition=False) for r in cdrs),
        )
    ]


def _stamp(log: Log, written: datetime) -> str:
    reading = log.switch.reads(written).astimezone(UTC)
    return f"{reading:%b} {reading.day:2d} {reading:%H:%M:%S} {log.provider.id}-sbc1 proxy[{200 + reading.second % 5}]"


def _acc_lines(log: Log, table: Table) -> list[tuple[datetime, str]]:
    lines = []
    for written, row in table.rows:
        pairs = {"timestamp": row["time"]} | {k: v for k, v in row.items() if k != "time"}
        pairs = {{"sip_code": "code", "sip_reason": "reason"}.get(k, k): v for k, v in pairs.items()}
        said = ";".join(f"{name}={value}" for name, value in pairs.items())
        text = f"NOTICE: acc [acc.c:287]: acc_log_request(): ACC: transaction answered: {said}\n"
        lines.append((written, f"{_stamp(log, written)}: {text}"))
    return lines


def _cdr_lines(log: Log, records: Iterable[Record], *, trunks: bool) -> list[tuple[datetime, str]]:
    if trunks and not log.several_rows:
        return []
    lines = []
    for r in records:
        begin, end = log.switch.reads(r.passage.seized), log.switch.reads(r.ended)
        pairs = {
            "start_time": f"{begin.timestamp():.3f}",
            "end_time": f"{end.timestamp():.3f}",
            "duration": f"{(end - begin).total_seconds():.3f}",
            "callid": r.passage.record_id,
            "caller": calling_text(log, r.passage.calling),
            "callee": r.received,
            "src_ip": r.in_address,
            **({"itrunk": r.in_trunk, "etrunk": r.out_trunk} if trunks else {"dst_ip": r.out_address}),
        }
        said = "; ".join(f"{name}={value}" for name, value in pairs.items())
        text = f"NOTICE: acc [acc_cdr.c:395]: log_write_cdr(): {said}\n"
        lines.append((r.written, f"{_stamp(log, r.written)}: {text}"))
    return lines


def json_syslog(log: Log, directory: Path) -> list[Source]:
    """A gateway: acc_json's objects in syslog, one a transaction, with the time of the final reply alone."""

    extras: Columns = {
        "from_user": calling,
        "to_user": received,
        "sent_user": sent,
        "peer": in_address,
        "tg_in": in_trunk,
        "tg_out": out_trunk,
    }

    table = acc(log, extras, lambda reading: str(epoch_s(reading)))
    lines = (
        (written, f"{_stamp(log, written)}: NOTICE: acc_json: {json.dumps(row, separators=(',', ':'))}\n")
        for written, row in table.rows
    )
    return [
        Source(
            name=f"{log.prefix}acc",
            path=daily(log, directory, "gateway", ".log", lines),
            format="kamailio_syslog",
            where={"kind": "json", "method": "INVITE"},
            clock_offset=log.clock_offset,
            columns={
                "called_in": {"column": "to_user", "format": "trunk"},
                "called_out": {"column": "sent_user", "format": "trunk"},
                "calling": {"column": "from_user"},
                "answer": {"column": "time", **EPOCH},
                "ingress_trunk": {"column": "tg_in"},
                "ingress_address": {"column": "peer"},
                "egress_trunk": {"column": "tg_out"},
                "call_id": {"column": "callid"},
                "disposition": {"column": "sip_code", "values": DISPOSITIONS},
            },
            expected=tuple(expected(r) for r in table.setups),
            skipped=table.skipped,
        )
    ]
