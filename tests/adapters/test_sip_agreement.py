"""Ten providers carried the same calls: what each capture and each store says of them, all others confirm.

Through the canonical columns, as an agent sees them. The truth of the laboratory is not asked here.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import cache
from itertools import permutations
from typing import Any

import pytest

from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.read import read_source
from tests.adapters.test_siplab_stores import (
    CEDAR_ACC,
    DOGWOOD,
    IVY,
    IVY_TRUNKS,
    Read,
    alder,
    birch,
    elm,
    ginkgo,
)
from tests.shared import SIPLAB, needs_siplab

pytestmark = [
    needs_siplab,
    pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed"),
    pytest.mark.slow,
]

PROVIDERS = ["alder", "birch", "cedar", "dogwood", "elm", "fir", "ginkgo", "hazel", "ivy", "juniper"]
Call = dict[str, Any]


@cache
def provider(name: str) -> dict[str, Any]:
    topology = json.loads((SIPLAB / "TOPOLOGY.json").read_text())
    return next(entry for entry in topology["providers"] if entry["name"] == name)


@cache
def captured(name: str, told: bool = True) -> tuple[Call, ...]:
    """The calls in a provider's capture; `told`: with its own addresses."""
    (path,) = (SIPLAB / "pcap").glob(f"{name}.pcap*")
    formats: dict[str, dict[str, str]] = {"ingress": {}, "egress": {}}
    for trunk in provider(name)["trunks"]:
        for address in trunk["peer_ips"]:
            formats[trunk["direction"]][address] = trunk["called_format"]
    own = {"own_addresses": provider(name)["addresses"]} if told else {}
    mapping = SourceMapping.model_validate({"name": name, "path": "x", "format": "sip_pcap", **own})
    batches = list(read_source(path, mapping, TrunkFormats(formats["ingress"], formats["egress"])))
    assert told is False or not any(
        reject.reason.value == "malformed-row" for batch in batches for reject in batch.rejected
    )
    return tuple(call for batch in batches for call in batch.calls.to_pylist())


def ivy() -> Read:
    answer = {"answer": {"column": "Timestamp", "format": "epoch_s"}}
    return Read("ivy/ivy_radius.detail", "radius_detail", IVY | answer, IVY_TRUNKS, where={"Sip-Method": "INVITE"})


def cedar() -> Read:
    return Read("cedar/cedar.syslog", "kamailio_syslog", CEDAR_ACC, where={"kind": "acc", "method": "INVITE"})


def dogwood() -> Read:
    return Read("dogwood/dogwood.db", "sqlite", DOGWOOD, options={"table": "cdrs"})


STORES: dict[str, Callable[[], list[Call]]] = {
    "alder": lambda: alder("acc").calls,
    "birch": lambda: birch("birch/birch.sql", "sqldump", options={"table": "acc"}).calls,
    "cedar": lambda: cedar().calls,
    "dogwood": lambda: dogwood().calls,
    "elm": lambda: [call for read in elm() if "cdrs" not in read.path.name for call in read.calls],
    "ginkgo": lambda: ginkgo().calls,
    "ivy": lambda: ivy().calls,
}


def handed_in(calls: Iterable[Call]) -> set[tuple[str | None, ...]]:
    """Which call came in from whom under which number."""
    return {(call["call_id"], call["ingress_address"], call["called_in"]) for call in calls if call["called_in"]}


def answered(calls: Iterable[Call]) -> list[Call]:
    return [call for call in calls if call["disposition"] == "answered"]


class TestCapturesOfNeighbours:
    @pytest.mark.parametrize(("one", "other"), list(permutations(PROVIDERS, 2)))
    def test_what_one_sent_the_other_received(self, one: str, other: str) -> None:
        sent = [call for call in captured(one) if call["egress_address"] in provider(other)["addresses"]]
        received = {
            (call["call_id"], call["called_in"]): call
            for call in captured(other)
            if call["ingress_address"] in provider(one)["addresses"]
        }
        assert {(call["call_id"], call["called_out"]) for call in sent} == set(received)
        for call in sent:
            later = received[call["call_id"], call["called_out"]]["seizure_earliest"] - call["seizure_earliest"]
            assert timedelta(0) <= later, call["call_id"]

    def test_together_they_saw_many(self) -> None:
        pairs = Counter(
            (one, other)
            for one, other in permutations(PROVIDERS, 2)
            for call in captured(one)
            if call["egress_address"] in provider(other)["addresses"]
        )
        assert len(pairs) > 20
        assert pairs.total() > 500


class TestStores:
    @pytest.mark.parametrize("name", STORES)
    def test_every_answered_call_that_was_captured_is_in_the_store(self, name: str) -> None:
        seen = handed_in(answered(captured(name)))
        assert seen
        assert seen <= handed_in(STORES[name]())

    @pytest.mark.parametrize("name", STORES)
    def test_every_call_in_the_store_that_was_captured_came_from_whom_the_capture_says(self, name: str) -> None:
        ids = {call["call_id"] for call in captured(name)}
        stored = [call for call in STORES[name]() if call["call_id"] in ids]
        assert len(stored) > 10
        assert handed_in(stored) <= handed_in(captured(name))

    @pytest.mark.parametrize("name", STORES)
    def test_the_seizure_that_was_captured_lies_where_the_store_says(self, name: str) -> None:
        seizures: dict[tuple[str | None, ...], list[Any]] = {}
        for call in captured(name):
            key = (call["call_id"], call["ingress_address"], call["called_in"])
            seizures.setdefault(key, []).append(call["seizure_earliest"])
        slack = timedelta(seconds=1)
        both = 0
        for call in STORES[name]():
            times = seizures.get((call["call_id"], call["ingress_address"], call["called_in"]), [])
            both += bool(times)
            assert not times or any(
                call["seizure_earliest"] - slack <= time <= call["seizure_latest"] + slack for time in times
            ), call["call_id"]
        assert both


class TestWithoutOwnAddresses:
    @pytest.mark.parametrize("name", PROVIDERS)
    def test_a_capture_names_no_upstream_that_it_would_not_name_with_them(self, name: str) -> None:
        told = {(call["call_id"], call["ingress_address"], call["egress_address"]) for call in captured(name)}
        own = set(provider(name)["addresses"])
        for call in captured(name, told=False):
            assert call["ingress_address"] not in own
            if call["ingress_address"] is not None:
                assert (call["call_id"], call["ingress_address"], call["egress_address"]) in told

    def test_some_prove_by_themselves_where_they_were_taken(self) -> None:
        proven = [name for name in PROVIDERS if any(call["ingress_address"] for call in captured(name, told=False))]
        assert proven
