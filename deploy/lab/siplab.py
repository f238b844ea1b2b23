"""Agent configurations for a lab of real calls, from what each provider knows of itself.

A lab directory has TOPOLOGY.json (per provider: addresses, trunks, the store and how it writes time, zone, clock
skew), a directory with each provider's store, and pcap/ with captures. This module reads only that: TRUTH.jsonl belongs
to the scorer. What it does is what an engineer does who sets up an agent: look at the store's tables
(`deploy.lab.siplab_tables`), see which column holds the called number, the time, the trunks, write it down as a mapping
(`deploy.lab.siplab_columns`), read the table with it, and mistrust a mapping that most records don't fit.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import ValidationError

from agent.config_tables import TrunkTable
from agent.trunks import Direction, TrunkMap
from cdr_adapters.mapping import SourceMapping, TrunkFormats, describe
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from deploy.lab.siplab_columns import SIP_CODE, may_hold_calls, source_of
from deploy.lab.siplab_tables import LabError, store_files, tables_of

CAPTURES = "pcap"

Note = Callable[[str], None]


def topology(lab: Path) -> list[dict[str, Any]]:
    """The providers of TOPOLOGY.json.

    Raises:
        LabError: there is no such file.
    """
    file = lab / "TOPOLOGY.json"
    if not file.is_file():
        raise LabError(f"{lab} is no lab: it has no TOPOLOGY.json")
    return list(json.loads(file.read_text())["providers"])


def agent_tables(lab: Path, provider: Mapping[str, Any], note: Note = lambda _: None) -> dict[str, Any]:
    """The [[sources]] and [[trunks]] of one provider's agent, as data for TOML.

    Native stores go before their CSV exports, and any store before the capture. A table that can't be mapped is left
    out and `note` hears why.

    Raises:
        LabError: neither a store nor a capture can be read.
    """
    trunks = [_trunk(t) for t in provider["trunks"]]
    formats = _formats(trunks)
    files = store_files(lab / provider["name"], provider.get("store") or {})
    native = [path for path in files if path.suffix != ".csv"]
    exported = [path for path in files if path.suffix == ".csv"]
    sources = (
        list(_store_sources(native, provider, formats, note))
        or list(_store_sources(exported, provider, formats, note))
        or list(_capture_sources(lab, provider))
    )
    if not sources:
        raise LabError(
            f"{provider['name']}: no store that can be mapped and no capture in {lab}; write its configuration"
        )
    return {"sources": _told_apart(sources), "trunks": trunks}


def _told_apart(sources: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The sources, each with a name of its own."""
    seen: Counter[str] = Counter()
    named = []
    for source in sources:
        seen[source["name"]] += 1
        number = seen[source["name"]]
        named.append(source if number == 1 else {**source, "name": f"{source['name']}-{number}"})
    return named


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


def _formats(trunks: Sequence[Mapping[str, Any]]) -> TrunkFormats:
    trunk_map = TrunkMap.from_entries(TrunkTable.model_validate(trunk).entry() for trunk in trunks)
    return TrunkFormats(trunk_map.called_formats(Direction.INGRESS), trunk_map.called_formats(Direction.EGRESS))


def _store_sources(
    files: Sequence[Path], provider: Mapping[str, Any], formats: TrunkFormats, note: Note
) -> Iterator[dict[str, Any]]:
    for path in files:
        try:
            tables = [t for t in tables_of(path, provider.get("store") or {}) if may_hold_calls(t, provider)]
        except LabError as error:
            note(str(error))
            continue
        for table in tables:
            try:
                source = source_of(table, provider)
                _try(source, formats)
            except LabError as error:
                note(str(error))
            else:
                yield source


def _try(source: Mapping[str, Any], formats: TrunkFormats) -> None:
    """Read the table as mapped.

    Raises:
        LabError: it can't be, or more of its records make no call than do.
    """
    where = f"{source['path']} table {source['name']}"
    reasons: Counter[str] = Counter()
    calls = 0
    try:
        for batch in read_source(Path(source["path"]), SourceMapping.model_validate(source), formats):
            calls += batch.calls.num_rows
            reasons.update(f"{rejected.reason.value} ({rejected.detail})" for rejected in batch.rejected)
    except ValidationError as error:
        raise LabError(f"{where}: {describe(error)}") from None
    except AdapterError as error:
        raise LabError(f"{where}: {error}") from None
    if reasons.total() > calls or not calls:
        most = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(2))
        raise LabError(
            f"{where}: {calls} calls can be read as its columns seem to be, the others not: {most or 'none'}"
        )


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
                "disposition": {"column": "sip_code", "values": SIP_CODE},
            },
        }


def to_toml(data: Mapping[str, Any]) -> str:
    """TOML text of a configuration."""
    return tomlkit.dumps(data)
