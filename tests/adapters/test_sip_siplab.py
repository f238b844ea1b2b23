"""Real captures of ten providers' borders, held against the stores of the same providers and the known truth."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.registry import adapter
from tests.shared import needs_siplab

LAB = Path(__file__).parents[2] / "../shared/siplab"

pytestmark = [
    needs_siplab,
    pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed"),
]

PROVIDERS = ["alder", "birch", "cedar", "dogwood", "elm", "fir", "ginkgo", "hazel", "ivy", "juniper"]
Row = dict[str, Any]


@cache
def providers() -> dict[str, Any]:
    return {p["name"]: p for p in json.loads((LAB / "TOPOLOGY.json").read_text())["providers"]}


@cache
def truth() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (LAB / "TRUTH.jsonl").read_text().splitlines()]


@cache
def rows(provider: str) -> list[Row]:
    (path,) = (LAB / "pcap").glob(f"{provider}.pcap*")
    options = {"own_addresses": providers()[provider]["addresses"]}
    found: list[Row] = []
    for batch in adapter("sip_pcap").read(path, options, None):
        assert batch.rejected == ()
        records = zip(batch.rows.to_pylist(), batch.columns.to_pylist(), strict=True)
        found += [{"frame": frame, **values} for frame, values in records]
    return found


def legs(provider: str) -> Counter[tuple[str, str]]:
    """(Call-ID at origin, neighbour that handed it in) -> how many ingress legs, route attempts not counted."""
    distinct = {(row["frame"], row["call_id"], row["ingress_address"]) for row in rows(provider)}
    return Counter((call_id, address) for _, call_id, address in distinct)


def neighbour(provider: str, trunk: str | None) -> set[str]:
    return {
        address for entry in providers()[provider]["trunks"] if entry["trunk"] == trunk for address in entry["peer_ips"]
    }


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as db:
        return db.execute(sql).fetchall()


class TestTruth:
    @pytest.mark.parametrize("provider", PROVIDERS)
    def test_every_hop_has_exactly_one_ingress_leg_from_the_true_upstream(self, provider: str) -> None:
        hops = Counter(
            (call["sip_call_id_at_origin"], hop["upstream_ip"])
            for call in truth()
            for hop in call["hops"]
            if hop["provider"] == provider
        )
        assert hops
        found = legs(provider)
        assert {hop: found[hop] for hop in hops} == dict(hops)

    @pytest.mark.parametrize("provider", PROVIDERS)
    def test_every_other_leg_is_an_attempt_that_failed(self, provider: str) -> None:
        hops = {
            (call["sip_call_id_at_origin"], hop["upstream_ip"])
            for call in truth()
            for hop in call["hops"]
            if hop["provider"] == provider
        }
        failed = {
            call["sip_call_id_at_origin"]
            for call in truth()
            for path in call["failed_attempt_paths"]
            if provider in path[1:]
        }
        assert {call_id for call_id, _ in set(legs(provider)) - hops} <= failed

    @pytest.mark.parametrize("provider", PROVIDERS)
    def test_every_call_goes_out_to_the_next_provider_or_ends_here(self, provider: str) -> None:
        addresses = {name: set(entry["addresses"]) for name, entry in providers().items()}
        everybody = set().union(*addresses.values())
        for call in truth():
            mine = [row for row in rows(provider) if row["call_id"] == call["sip_call_id_at_origin"]]
            for hop, following in zip(call["hops"], [*call["hops"][1:], None], strict=True):
                if hop["provider"] != provider:
                    continue
                out = {row["egress_address"] for row in mine if row["ingress_address"] == hop["upstream_ip"]}
                if following is not None:
                    assert out & addresses[following["provider"]], call["call"]
                elif call["final_code"] == 200:
                    assert out - everybody - {None}, call["call"]

    def test_a_loop_is_two_legs_each_with_its_own_egress(self) -> None:
        looped = [call for call in truth() if len(set(call["path"])) < len(call["path"])]
        assert looped
        for call in looped:
            twice = next(name for name in call["path"] if call["path"].count(name) == 2)
            passes = [row for row in rows(twice) if row["call_id"] == call["sip_call_id_at_origin"]]
            upstreams = [hop["upstream_ip"] for hop in call["hops"] if hop["provider"] == twice]
            assert [row["ingress_address"] for row in sorted(passes, key=lambda row: row["time"])] == upstreams
            assert len({row["egress_address"] for row in passes}) == 2

    def test_times_run_downstream(self) -> None:
        seen = {(p, row["call_id"], row["ingress_address"]): float(row["time"]) for p in PROVIDERS for row in rows(p)}
        for call in truth():
            times = [seen[h["provider"], call["sip_call_id_at_origin"], h["upstream_ip"]] for h in call["hops"]]
            assert times == sorted(times), call["call"]


class TestStores:
    def test_alders_database_tells_the_same_attempts(self) -> None:
        told = Counter(
            (call_id, source, called_in, called_out, str(code) if code != "408" else None)
            for table in ("acc", "missed_calls")
            for call_id, source, called_in, called_out, code in query(
                LAB / "alder/alder.db",
                f"SELECT callid, src_ip, dst_ouser, dst_user, sip_code FROM {table} WHERE method = 'INVITE'",
            )
        )
        seen = Counter(
            (row["call_id"], row["ingress_address"], row["called_in"], row["called_out"], row["sip_code"])
            for row in rows("alder")
        )
        key = Counter[tuple[Any, ...]]
        without_code = key(entry[:4] for entry in told.elements()), key(entry[:4] for entry in seen.elements())
        assert set(without_code[0]) == set(without_code[1])
        answered = {entry for entry in told if entry[4] == "200"}
        assert answered == {entry for entry in seen if entry[4] == "200"}

    def test_ginkgos_database_tells_the_same_sources_and_callers(self) -> None:
        told = query(
            LAB / "ginkgo/ginkgo.db", "SELECT callid, peer_ip, caller, sip_code FROM acc WHERE method = 'INVITE'"
        )
        seen = {(row["call_id"], row["ingress_address"], row["calling"], row["sip_code"]) for row in rows("ginkgo")}
        plain = {entry for entry in told if entry[2] != "anonymous"}
        assert plain <= seen
        # where From is anonymous, the capture has whom the network asserts
        withheld = {(call_id, source, code) for call_id, source, _, code in set(told) - plain}
        assert withheld == {(call_id, source, code) for call_id, source, _, code in seen - plain}

    def test_ginkgos_own_trace_holds_the_same_invites(self) -> None:
        trace = query(
            LAB / "ginkgo/ginkgo_siptrace.db",
            "SELECT callid, msg, fromip FROM sip_trace"
            " WHERE method = 'INVITE' AND direction = 'in' AND status = '' AND totag IS NULL",
        )
        told = {
            (call_id, re.match(rb"INVITE sips?:([^@;]+)", message)[1].decode(), source.split(":")[1])  # type: ignore[index]
            for call_id, message, source in trace
        }
        seen = {(row["call_id"], row["called_in"], row["ingress_address"]) for row in rows("ginkgo")}
        assert told
        assert told <= seen

    def test_dogwoods_calls_have_the_same_translation(self) -> None:
        told = query(
            LAB / "dogwood/dogwood.db",
            "SELECT sip_callid, orig_addr, orig_called, xlated_called, term_trunk FROM cdrs",
        )
        seen = {
            (row["call_id"], row["ingress_address"], row["called_in"], row["called_out"], row["egress_address"])
            for row in rows("dogwood")
        }
        assert told
        for call_id, source, called_in, called_out, trunk in told:
            assert any((call_id, source, called_in, called_out, to) in seen for to in neighbour("dogwood", trunk)), (
                call_id
            )

    def test_elms_accounting_has_the_same_sources_and_egress(self) -> None:
        lines = [line for path in (LAB / "elm/flat").glob("acc_[0-9]*.log") for line in path.read_text().splitlines()]
        told = [line.split("|") for line in lines if line.startswith("INVITE|")]
        assert told
        seen = {(row["call_id"], row["ingress_address"], row["calling"], row["egress_address"]) for row in rows("elm")}
        for entry in told:
            call_id, calling, source, trunk = entry[3], entry[7], entry[9], entry[11]
            out = neighbour("elm", trunk) if trunk else {None}
            assert any((call_id, source, calling, to) in seen for to in out), call_id
