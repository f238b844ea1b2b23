"""Which column of a store's table is what: the mapping that an engineer would write who sets up an agent.

A column's role is taken from the store's own description where that names it, else from the names that operators
commonly give, and the content has the last word: a column that holds names of ingress trunks is the ingress trunk,
times are read by the form that they all have, a technical prefix is taken off where it stands. What stays open is
refused, not guessed. A From host, Via or Record-Route is never used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cdr_adapters.numbers import number_of
from deploy.lab.siplab_tables import METHOD, SETUP, LabError, Table

SIP_CODE = {"200": "answered", "487": "unanswered", "486": "unanswered", "480": "unanswered", "*": "failed"}

# Names that operators give the columns which their description does not mention.
_CALLED = ("dst_ouser", "orig_called", "called", "dnis", "ruri_in", "callee", "Called-Station-Id", "dst_user", "ruser")
_CALLING = ("src_user", "caller", "calling", "ani", "Calling-Station-Id", "from_user")
_CALL_ID = ("callid", "sip_callid", "call_id", "sip_call_id", "callId", "Call-ID", "Acct-Session-Id")
_CODE = ("sip_code", "code", "Sip-Response-Code", "response_code", "status_code")
_REPLY = ("time_sec", "time", "timestamp", "Timestamp", "ts", "event_time", "created")
_RELEASE = ("end_time", "end_local", "end", "release_time", "stop_time")
_FROM_HOST = ("src_domain", "from_domain", "dst_domain", "User-Name")
_INGRESS = re.compile(r"(?:^|[_-])(?:in|i|src|from|orig|source|itrunk|ingress|inbound|peer)(?:[_-]|$)", re.IGNORECASE)

_DATE_FORMS = (
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "%Y-%m-%d %H:%M:%S"),
    (r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d", "%Y/%m/%d %H:%M:%S"),
    (r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}", "%a %b %d %H:%M:%S %Y"),
    (r"[A-Z][a-z]{2} [ \d]\d \d{4} \d\d:\d\d:\d\d [A-Z]{3,4}", "%b %d %Y %H:%M:%S %Z"),
)
_JULIAN_EPOCH, _DAY_S = 2440587.5, 86400


def may_hold_calls(table: Table, provider: Mapping[str, Any]) -> bool:
    """Whether anything in the table looks like a called number or a time; a switch keeps other tables too."""
    store: Mapping[str, Any] = provider.get("store") or {}
    described = [*_named(table, store.get("called")), *_named(table, store.get("time"))]
    return table.first((*_CALLED, *SETUP, *_REPLY, *described)) is not None


def source_of(table: Table, provider: Mapping[str, Any]) -> dict[str, Any]:
    """The [[sources]] table that reads `table`, as data for TOML.

    Raises:
        LabError: no called number or no time is to be found, or a form of either is not known here.
    """
    store: Mapping[str, Any] = provider.get("store") or {}
    sides = _sides(table, provider)
    columns = _called(table, provider, sides)
    if calling := _chosen(table, store.get("calling"), _CALLING):
        columns["calling"] = {"column": calling, "format": "auto"}
    columns |= _times(table, provider) | sides
    if call_id := table.first(_CALL_ID):
        columns["call_id"] = {"column": call_id}
    if code := table.first(_CODE):
        columns["disposition"] = {"column": code, "values": SIP_CODE}
    where = dict(table.where)
    if method := table.first(METHOD):
        where[method] = "INVITE"
    return {
        "name": re.sub(r"[^A-Za-z0-9._-]+", "_", table.name).strip("._-") or "table",
        "path": str(table.path),
        "format": table.format,
        **({"options": dict(table.options)} if table.options else {}),
        **({"where": where} if where else {}),
        "zone": _zone(provider),
        "clock_offset": f"{provider.get('clock_skew_s') or 0}s",
        "columns": columns,
    }


def _zone(provider: Mapping[str, Any]) -> str:
    """The zone of times that don't say theirs: the process's, unless the description speaks of UTC alone."""
    time = str((provider.get("store") or {}).get("time", ""))
    utc_alone = re.search(r"\b(?:UTC|GMT)\b", time) and not re.search(r"\blocal\b", time, re.IGNORECASE)
    return "UTC" if utc_alone else provider.get("process_timezone") or "UTC"


def _named(table: Table, description: object) -> list[str]:
    """The table's columns that a description names, in its order."""
    words = dict.fromkeys(re.findall(r"[\w-]+", str(description or "")))
    return [word for word in words if word in table.columns and table.values(word)]


def _chosen(table: Table, description: object, names: Iterable[str]) -> str | None:
    return next(iter(_named(table, description)), None) or table.first(names)


def _called(table: Table, provider: Mapping[str, Any], sides: Mapping[str, Any]) -> dict[str, Any]:
    """Where the called number stands, as received and (if told) as sent, and how it is written."""
    store: Mapping[str, Any] = provider.get("store") or {}
    description = str(store.get("called", ""))
    named = _named(table, description)
    as_received = [name for name in named if _said_of(description, name, "received")]
    as_sent = [name for name in named if _said_of(description, name, "sent") and name not in as_received]
    sent = next(iter(as_sent), None)
    received = next(iter([*as_received, *(name for name in named if name != sent)]), None)
    received = received or table.first(name for name in _CALLED if name != sent)
    if received is None:
        raise LabError(f"{table.path} table {table.name}: no column of it is named by {description!r} as called number")
    if sent is None and received == "ruri_in":
        sent = table.first(["ruri_out"])
    columns: dict[str, Any] = {"called_in": {"column": received}}
    if sent is not None:
        columns["called_out"] = {"column": sent}
    elif (packed := _packed(table, store)) and "dst" in packed[1]:
        columns["called_out"] = {"column": packed[0], "pattern": _inside("dst")}
    for role, side in (("called_in", "ingress"), ("called_out", "egress")):
        if role in columns:
            columns[role]["format"] = _called_format(table, provider, columns[role], sides, side)
    return columns


def _said_of(description: str, column: str, word: str) -> bool:
    """Whether a clause of the description says `word` of the column."""
    clauses = re.split(r"[;,]", description)
    return any(re.search(rf"\b{re.escape(column)}\b", clause) and word in clause for clause in clauses)


def _called_format(
    table: Table, provider: Mapping[str, Any], column: Mapping[str, Any], sides: Mapping[str, Any], side: str
) -> str:
    """Whether numbers are written as on their trunks, prefixes and all, or normalised: as more of them make sense."""
    formats = {t["trunk"]: t["called_format"] for t in provider["trunks"] if t["direction"] in (side, "both")}
    numbers = _cells(table, column)
    trunks = _cells(table, sides.get(f"{side}_trunk"))
    if not any(trunks):
        by_address = {a: t["called_format"] for t in provider["trunks"] for a in t["peer_ips"] if t["trunk"] in formats}
        formats, trunks = by_address, _cells(table, sides.get(f"{side}_address"))
    pairs = [(number, formats.get(trunk, "auto")) for number, trunk in zip(numbers, trunks, strict=True) if number]
    by_trunk = sum(number_of(number, called_format) is not None for number, called_format in pairs)
    automatic = sum(number_of(number, "auto") is not None for number, _ in pairs)
    return "trunk" if by_trunk > automatic else "auto"


def _cells(table: Table, column: Mapping[str, Any] | None) -> list[str]:
    """One value a row, as the mapping will read it."""
    if column is None:
        return [""] * len(table.rows)
    at = table.columns.index(column["column"])
    cells = [row[at] for row in table.rows]
    if (pattern := column.get("pattern")) is None:
        return cells
    found = (re.search(pattern, cell) for cell in cells)
    return [match[1] if match else "" for match in found]


def _packed(table: Table, store: Mapping[str, Any]) -> tuple[str, list[str]] | None:
    """An attribute that packs several values: "in Connect-Info (src=;in=;out=;dst=)"."""
    found = re.search(r"in ([\w-]+) \(((?:\w+=[^;)]*;?)+)\)", str(store.get("source", "")))
    if found is None or found[1] not in table.columns:
        return None
    return found[1], re.findall(r"(\w+)=", found[2])


def _inside(key: str) -> str:
    return rf"(?:^|;)\s*{key}=([^;]*)"


def _sides(table: Table, provider: Mapping[str, Any]) -> dict[str, Any]:
    """Ingress and egress, by trunk name and by address, wherever the table's content shows them."""
    store: Mapping[str, Any] = provider.get("store") or {}
    if packed := _packed(table, store):
        roles = {"ingress_trunk": "in", "egress_trunk": "out", "ingress_address": "src"}
        return {role: {"column": packed[0], "pattern": _inside(key)} for role, key in roles.items() if key in packed[1]}
    described = _named(table, store.get("source"))
    sides: dict[str, Any] = {}
    for side, wanted in (("ingress", True), ("egress", False)):
        trunks = {t["trunk"] for t in provider["trunks"] if t["direction"] in (side, "both")}
        fitting = [c for c in table.columns if c not in _FROM_HOST and _share(table, c, trunks.__contains__) > 0.5]
        # where trunks carry both directions, names must tell: the description speaks of the source
        fitting = [c for c in fitting if {"column": c} not in sides.values()]
        told = [c for c in fitting if (c in described or bool(_INGRESS.search(c))) is wanted]
        if column := next(iter(told or fitting), None):
            sides[f"{side}_trunk"] = {"column": column}
    addresses = [c for c in described if c not in _FROM_HOST and _share(table, c, _is_address) == 1]
    if addresses:
        sides["ingress_address"] = {"column": addresses[0]}
    if "egress_trunk" not in sides:
        peers = {a for t in provider["trunks"] if t["direction"] in ("egress", "both") for a in t["peer_ips"]}
        rest = [c for c in table.columns if c not in (*_FROM_HOST, *described) and not _INGRESS.search(c)]
        if column := next((c for c in rest if _share(table, c, peers.__contains__) == 1), None):
            sides["egress_address"] = {"column": column}
    return sides


def _share(table: Table, column: str, is_so: Callable[[str], bool]) -> float:
    values = table.values(column)
    return sum(map(is_so, values)) / len(values) if values else 0.0


def _is_address(text: str) -> bool:
    return re.fullmatch(r"[0-9a-fA-F.:\[\]]{3,}", text) is not None and not text.isdigit()  # digits alone: a port


def _times(table: Table, provider: Mapping[str, Any]) -> dict[str, Any]:
    """Setup time where the record has it; else only when the final reply came.

    Kamailio's acc rows carry the time of the final reply. Its CDRs begin with the dialog, at setup, or at the answer
    where the provider says so (cdr_start_on_confirmed).
    """
    described = _named(table, (provider.get("store") or {}).get("time"))
    times: dict[str, Any] = {}
    if setup := table.first(SETUP):
        times["answer" if provider.get("cdr_start_on_confirmed") else "seizure"] = _time(table, setup)
    elif reply := table.first((*_REPLY, *described)):
        times["answer"] = _time(table, reply)
    else:
        raise LabError(f"{table.path} table {table.name}: no column of it is known to hold the time")
    if release := table.first(_RELEASE):
        times["release"] = _time(table, release)
    return times


def _time(table: Table, column: str) -> dict[str, Any]:
    values = table.values(column)
    if column == "time_sec" and "time_usec" in table.columns:
        return {"column": column, "format": "epoch_s", "fraction_column": "time_usec", "fraction_unit": "us"}
    if _all(values, r"24\d{5}\.\d+"):
        # db_sqlite writes the Julian day of the truncated second, half a second low.
        offs = {round((float(v) - _JULIAN_EPOCH) * _DAY_S % 1, 1) % 1 for v in values}
        shift = {"shift": "0.5s"} if offs == {0.5} else {}
        whole = {"resolution": "1s"} if len(offs) == 1 else {}
        return {"column": column, "format": "julian", **shift, **whole}
    if _all(values, r"\d{10}"):
        return {"column": column, "format": "epoch_s", "resolution": "1s"}
    for pattern, form in ((r"\d{10}(?:\.\d+)?", "epoch_s"), (r"\d{13}", "epoch_ms"), (r"\d{16}", "epoch_us")):
        if _all(values, pattern):
            return {"column": column, "format": form}
    for pattern, form in _DATE_FORMS:
        if _all(values, pattern):
            return {"column": column, "format": form, "resolution": "1s"}
        if _all(values, rf"{pattern}\.\d+"):
            return {"column": column, "format": f"{form}.%f"}
    if _all(values, r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d.*"):
        return {"column": column, "format": "iso8601"}
    raise LabError(f"{table.path} table {table.name}: column {column} holds no time form that is known here")


def _all(values: Sequence[str], pattern: str) -> bool:
    return all(re.fullmatch(pattern, value) for value in values)
