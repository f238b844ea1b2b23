"""Agent configurations for a lab of real calls, from what each provider knows of itself.

A lab directory has TOPOLOGY.json (per provider: addresses, trunks, the store and how it writes time, zone, clock
skew), a directory with each provider's store, and pcap/ with captures. This module reads only that: TRUTH.jsonl belongs
to the scorer. What it does is what an engineer does who sets up an agent: look at the store's tables, see which column
holds the called number, the time, the trunks, and write it down as a mapping.

A column's role is taken from the store's own description where that names it, else from its content (a column that
holds names of ingress trunks is the ingress trunk). A From host, Via or Record-Route is never used.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit

CAPTURES = "pcap"

_SIP_CODE = {"200": "answered", "487": "unanswered", "486": "unanswered", "480": "unanswered", "*": "failed"}

# Names that Kamailio operators give the columns which their description does not mention.
_CALLED = ("dst_ouser", "orig_called", "called", "dnis", "ruri_in", "callee", "Called-Station-Id", "dst_user", "ruser")
_CALL_ID = ("callid", "sip_callid", "call_id", "Acct-Session-Id")
_CODE = ("sip_code", "code", "Sip-Response-Code")
_METHOD = ("method", "Sip-Method")
_SETUP = ("start_time", "start_local", "start", "setup_time")
_REPLY = ("time_sec", "time", "timestamp", "Timestamp", "ts")
_RELEASE = ("end_time", "end_local", "end")
_FROM_HOST = ("src_domain", "from_domain", "dst_domain", "User-Name")


@dataclass(frozen=True)
class Table:
    """One table of a store: where it is, how it is read, its columns and some of its rows."""

    name: str
    path: Path
    format: str
    options: Mapping[str, Any]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    where: Mapping[str, Any] = field(default_factory=dict)

    def values(self, column: str) -> set[str]:
        """The distinct values of a column in the sampled rows, without the empty one."""
        at = self.columns.index(column)
        return {row[at] for row in self.rows} - {""}


class LabError(Exception):
    """The lab directory is not of the shape that this module reads; says what is missing."""


def topology(lab: Path) -> list[dict[str, Any]]:
    """The providers of TOPOLOGY.json.

    Raises:
        LabError: there is no such file.
    """
    file = lab / "TOPOLOGY.json"
    if not file.is_file():
        raise LabError(f"{lab} is no lab: it has no TOPOLOGY.json")
    return list(json.loads(file.read_text())["providers"])


def agent_tables(
    lab: Path, provider: Mapping[str, Any], note: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """The [[sources]] and [[trunks]] of one provider's agent, as data for TOML.

    A table that can't be mapped is left out and `note` hears why; where no table is left, the capture serves.

    Raises:
        LabError: neither a store nor a capture can be read.
    """
    sources = []
    for table in _store_tables(lab, provider):
        try:
            sources.append(_source(table, provider))
        except LabError as error:
            note(str(error))
    sources = sources or list(_capture_sources(lab, provider))
    if not sources:
        raise LabError(
            f"{provider['name']}: no store that can be mapped and no capture in {lab}; write its configuration"
        )
    return {"sources": sources, "trunks": [_trunk(t) for t in provider["trunks"]]}


def _trunk(trunk: Mapping[str, Any]) -> dict[str, Any]:
    peer = re.sub(r"[^a-z0-9]+", "-", str(trunk["peer"]).lower()).strip("-")
    kind = trunk.get("peer_kind", "provider")
    party = {
        "customer": f"customer:{trunk['peer']}",
        "subscriber": "subscribers",
        "foreign carrier": f"foreign:{peer}",
    }.get(kind, f"provider:{peer}")
    return {
        "name": trunk["trunk"],
        "addresses": list(trunk["peer_ips"]),
        "direction": trunk["direction"],
        "party": party,
        "called_format": trunk["called_format"],
    }


# --- captures ---------------------------------------------------------------------------------------------------------


def _capture_sources(lab: Path, provider: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for path in sorted((lab / CAPTURES).glob(f"{provider['name']}.pcap*")):
        yield {
            "name": "capture",
            "path": str(path),
            "format": "sip_pcap",
            "options": {"own_addresses": list(provider["addresses"])},
            "columns": {
                "called_in": {"column": "called_in", "format": "trunk"},
                "called_out": {"column": "called_out", "format": "trunk"},
                "calling": {"column": "calling", "format": "auto"},
                "seizure": {"column": "time", "format": "epoch_s"},
                "ingress_address": {"column": "ingress_address"},
                "egress_address": {"column": "egress_address"},
                "call_id": {"column": "call_id"},
                "disposition": {"column": "sip_code", "values": _SIP_CODE},
            },
        }


# --- stores -----------------------------------------------------------------------------------------------------------


def _store_tables(lab: Path, provider: Mapping[str, Any]) -> Iterator[Table]:
    """The tables with calls in them, native stores before their CSV exports."""
    home = lab / provider["name"]
    store = provider["store"]
    files = sorted(
        {path for name in store.get("files", ()) for path in home.glob(re.sub(r"<[^>]*>", "*", name)) if path.is_file()}
    )
    native = [path for path in files if path.suffix != ".csv"]
    for path in native or files:
        if "trace" not in path.stem:  # whole SIP messages, not call records
            yield from (table for table in _tables_of(path, store) if _holds_calls(table))


def _tables_of(path: Path, store: Mapping[str, Any]) -> Iterator[Table]:
    head = path.read_bytes()[:16]
    text = "" if head.startswith(b"SQLite format 3") else path.read_text(errors="replace")
    if not text:
        yield from _sqlite_tables(path)
    elif "\nCOPY " in text or "INSERT INTO" in text:
        yield from _dump_tables(path, text)
    elif re.search(r"^\tAcct-", text, re.M):
        yield _radius_table(path, text)
    elif re.search(r"\bACC: |acc_log_request|log_write_cdr", text) or re.search(r"^\w{3} +\d+ [\d:]{8} ", text):
        yield from _syslog_tables(path, text)
    elif text.startswith("{"):
        yield _jsonl_table(path, text)
    elif re.match(r"\w+\(\w+", text):
        yield _db_text_table(path, text)
    else:
        yield _delimited_table(path, text, store)


def _holds_calls(table: Table) -> bool:
    return bool(table.rows) and any(c in table.columns for c in (*_SETUP, *_REPLY))


def _sqlite_tables(path: Path) -> Iterator[Table]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"):
            cursor = db.execute(f'SELECT * FROM "{name}"')  # noqa: S608 - the name comes from the database itself
            columns = tuple(str(column[0]) for column in cursor.description)
            rows = tuple(tuple("" if v is None else str(v) for v in row) for row in cursor)
            yield Table(name, path, "sqlite", {"table": name}, columns, rows)


def _dump_tables(path: Path, text: str) -> Iterator[Table]:
    for found in re.finditer(r"^COPY (\S+) \(([^)]*)\) FROM stdin;\n(.*?)^\\\.$", text, re.M | re.S):
        columns = tuple(name.strip().strip('"') for name in found[2].split(","))
        rows = tuple(tuple("" if v == "\\N" else v for v in line.split("\t")) for line in found[3].splitlines())
        name = found[1].rpartition(".")[2]
        yield Table(name, path, "sqldump", {"table": name}, columns, rows)


def _records_table(
    name: str, path: Path, fmt: str, records: Sequence[Mapping[str, str]], where: Mapping[str, Any] | None = None
) -> Table:
    columns = tuple(dict.fromkeys(key for record in records for key in record))
    rows = tuple(tuple(record.get(column, "") for column in columns) for record in records)
    return Table(name, path, fmt, {}, columns, rows, where or {})


def _syslog_tables(path: Path, text: str) -> Iterator[Table]:
    acc, cdr, json_lines = [], [], []
    for line in text.splitlines():
        if (brace := line.find("{")) >= 0 and line.rstrip().endswith("}"):
            json_lines.append({key: str(value) for key, value in json.loads(line[brace:]).items()})
            continue
        pairs = dict(re.findall(r"[\s;]([\w.-]+)=([^;]*)", line))
        if "start_time" in pairs:
            cdr.append(pairs)
        elif "method" in pairs:
            acc.append(pairs)
    if acc:
        yield _records_table("acc", path, "kamailio_syslog", acc, {"kind": "acc"})
    if cdr:
        yield _records_table("cdr", path, "kamailio_syslog", cdr, {"kind": "cdr"})
    if json_lines:
        yield _records_table("json", path, "jsonl", json_lines)


def _jsonl_table(path: Path, text: str) -> Table:
    records = [{k: str(v) for k, v in json.loads(line).items()} for line in text.splitlines() if line.strip()]
    return _records_table("json", path, "jsonl", records)


def _radius_table(path: Path, text: str) -> Table:
    blocks = [
        {name: value.strip('"') for name, value in re.findall(r"^\t([\w-]+) = (.*)$", block, re.M)}
        for block in re.split(r"\n\s*\n", text)
        if block.strip()
    ]
    return _records_table("radius", path, "radius_detail", blocks)


def _db_text_table(path: Path, text: str) -> Table:
    header, *lines = text.splitlines()
    columns = tuple(re.findall(r"([\w-]+)\(", header))
    split = (tuple(re.split(r"(?<!\\):", line)) for line in lines if line)
    rows = tuple(row for row in split if len(row) == len(columns))
    return Table(path.stem, path, "kamailio_dbtext", {}, columns, rows)


def _delimited_table(path: Path, text: str, store: Mapping[str, Any]) -> Table:
    first, *rest = text.splitlines()
    delimiter = max("|,;\t", key=first.count)
    stem = re.sub(r"_\d+$", "", path.stem)  # acc_cdrs_129.log belongs to acc_cdrs
    described = store.get(f"columns_{stem}")
    columns = tuple((described or first).split("|" if described else delimiter))
    lines = [first, *rest] if described else rest
    rows = tuple(tuple(cell.strip('"') for cell in line.split(delimiter)) for line in lines)
    options = {"delimiter": delimiter, **({"names": list(columns), "header": False} if described else {})}
    return Table(path.stem, path, "delimited", options, columns, tuple(r for r in rows if len(r) == len(columns)))


# --- a table's mapping ------------------------------------------------------------------------------------------------


def _source(table: Table, provider: Mapping[str, Any]) -> dict[str, Any]:
    store = provider["store"]
    columns: dict[str, Any] = {}
    called_in, called_out = _called(table, store)
    columns["called_in"] = {**called_in, "format": _called_format(provider, "ingress", store)}
    if called_out:
        columns["called_out"] = {**called_out, "format": _called_format(provider, "egress", store)}
    if calling := _named(table, store.get("calling", "")):
        columns["calling"] = {"column": calling[0], "format": "auto"}
    columns |= _times(table, provider)
    columns |= _sides(table, provider)
    if call_id := _first(table, _CALL_ID):
        columns["call_id"] = {"column": call_id}
    if code := _first(table, _CODE):
        columns["disposition"] = {"column": code, "values": _SIP_CODE}
    where = dict(table.where)
    if method := _first(table, _METHOD):
        where[method] = "INVITE"
    return {
        "name": table.name,
        "path": str(table.path),
        "format": table.format,
        **({"options": dict(table.options)} if table.options else {}),
        **({"where": where} if where else {}),
        "zone": provider["process_timezone"] if _is_local(store) else "UTC",
        "clock_offset": f"{provider['clock_skew_s']}s",
        "columns": columns,
    }


def _is_local(store: Mapping[str, Any]) -> bool:
    time = str(store.get("time", ""))
    return "local" in time and "Julian" not in time and "epoch" not in time


def _first(table: Table, names: Iterable[str]) -> str | None:
    return next((name for name in names if name in table.columns), None)


def _named(table: Table, description: str) -> list[str]:
    """The table's columns that a description names, in its order."""
    words = re.findall(r"[\w-]+", description)
    return [word for word in dict.fromkeys(words) if word in table.columns]


def _called(table: Table, store: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Where the called number stands, as received and (if told) as sent."""
    description = str(store.get("called", ""))
    named = _named(table, description)
    received = next(iter(named), None) or _first(table, _CALLED)
    sent = next((n for n in named[1:] if re.search(rf"{re.escape(n)}\b[^;]*\bsent", description)), None)
    if sent is None and len(named) > 1 and "ruri_out" in named:
        sent = "ruri_out"
    if received is None:
        raise LabError(f"{table.path} table {table.name}: no column of it is named by {description!r} as called number")
    if sent is None and (packed := _packed(table, store)) and "dst" in packed[1]:
        return {"column": received}, {"column": packed[0], "pattern": _inside("dst")}
    return {"column": received}, {"column": sent} if sent else None


def _called_format(provider: Mapping[str, Any], direction: str, store: Mapping[str, Any]) -> str:
    """Tech prefixes stand on trunks; a store that says it normalises has none left."""
    tech = any(t["direction"] == direction and t["called_format"].startswith("tech:") for t in provider["trunks"])
    return "trunk" if tech and "normalised" not in store.get("called", "") else "auto"


def _packed(table: Table, store: Mapping[str, Any]) -> tuple[str, list[str]] | None:
    """An attribute that packs several values: "in Connect-Info (src=;in=;out=;dst=)"."""
    found = re.search(r"in ([\w-]+) \(((?:\w+=;?)+)\)", str(store.get("source", "")))
    if found is None or found[1] not in table.columns:
        return None
    return found[1], re.findall(r"(\w+)=", found[2])


def _inside(key: str) -> str:
    return rf"(?:^|;){key}=([^;]*)"


def _sides(table: Table, provider: Mapping[str, Any]) -> dict[str, Any]:
    """Ingress and egress, by trunk name and by address, wherever the table's content shows them."""
    store = provider["store"]
    if packed := _packed(table, store):
        roles = {"ingress_trunk": "in", "egress_trunk": "out", "ingress_address": "src"}
        return {role: {"column": packed[0], "pattern": _inside(key)} for role, key in roles.items() if key in packed[1]}
    ingress = {t["trunk"] for t in provider["trunks"] if t["direction"] == "ingress"}
    egress = {t["trunk"] for t in provider["trunks"] if t["direction"] == "egress"}
    described = _named(table, store.get("source", ""))
    sides: dict[str, Any] = {}
    for column in table.columns:
        values = table.values(column)
        if column in _FROM_HOST or not values:
            continue
        if values <= ingress:
            sides.setdefault("ingress_trunk", {"column": column})
        elif values <= egress:
            sides.setdefault("egress_trunk", {"column": column})
        elif column in described and all(_is_address(v) for v in values):
            sides.setdefault("ingress_address", {"column": column})
    return sides


def _is_address(text: str) -> bool:
    return re.fullmatch(r"[0-9a-fA-F.:\[\]]{3,}", text) is not None and not text.isdigit()  # digits alone: a port


def _times(table: Table, provider: Mapping[str, Any]) -> dict[str, Any]:
    """Setup time where the record has it; else only when the final reply came.

    Kamailio's acc rows carry the time of the final reply. Its CDRs begin with the dialog, at setup, or at the answer
    where the provider says so (cdr_start_on_confirmed).
    """
    times: dict[str, Any] = {}
    if setup := _first(table, _SETUP):
        times["answer" if provider.get("cdr_start_on_confirmed") else "seizure"] = _time(table, setup)
    elif reply := _first(table, _REPLY):
        times["answer"] = _time(table, reply)
    if release := _first(table, _RELEASE):
        times["release"] = _time(table, release)
    return times


def _time(table: Table, column: str) -> dict[str, Any]:
    sample = next(iter(table.values(column)), "")
    if column == "time_sec" and "time_usec" in table.columns:
        return {"column": column, "format": "epoch_s", "fraction_column": "time_usec", "fraction_unit": "us"}
    if re.fullmatch(r"24\d{5}\.\d+", sample):
        # db_sqlite writes the Julian day of the truncated second, half a second low.
        return {"column": column, "format": "julian", "shift": "0.5s", "resolution": "1s"}
    if re.fullmatch(r"\d{10}", sample):
        return {"column": column, "format": "epoch_s", "resolution": "1s"}
    if re.fullmatch(r"\d{10}\.\d+", sample):
        return {"column": column, "format": "epoch_s"}
    if re.fullmatch(r"\d{13}", sample):
        return {"column": column, "format": "epoch_ms"}
    if re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", sample):
        return {"column": column, "format": "%Y-%m-%d %H:%M:%S", "resolution": "1s"}
    if re.fullmatch(r"\d{4}-\d\d-\d\dT.*", sample):
        return {"column": column, "format": "iso8601"}
    raise LabError(f"{table.path} table {table.name}: column {column} holds no time form that is known here")


def to_toml(data: Mapping[str, Any]) -> str:
    """TOML text of a configuration."""
    return tomlkit.dumps(data)
