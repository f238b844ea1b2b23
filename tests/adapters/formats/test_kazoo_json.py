"""Kazoo's call detail records: who was authorised for an incoming leg is the upstream; times from the year 0.

Fields after the CDR schema of Kazoo 3.21 to 5 (docs.2600hz.com, Call Detail Records). Synthetic, but for the document
that Kazoo's own tests have.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.identify import claimants, identify
from cdr_adapters.schema import Rejected, RejectReason
from tests.adapters.formats import exports
from tests.adapters.reading import raw_rows, written
from tests.shared import SAMPLES as SHARED_SAMPLES
from tests.shared import needs_samples

YEAR_0 = 62167219200
CUSTOMER: dict[str, Any] = {
    "call_id": "a@198.51.100.20",
    "call_direction": "inbound",
    "caller_id_number": "2025550199",
    "request": "12025550143@sip.example.com",
    "timestamp": 1795321400 + YEAR_0,
    "duration_seconds": 39,
    "billing_seconds": 36,
    "hangup_cause": "NORMAL_CLEARING",
    "pvt_type": "cdr",
    "custom_channel_vars": {"account_id": "acc1", "authorizing_id": "dev1", "authorizing_type": "device"},
}
CARRIER = {
    **CUSTOMER,
    "call_id": "b@198.51.100.30",
    "channel_created_time": 1795321361250000,
    "custom_channel_vars": {"account_id": "acc2", "resource_id": "carrier-east", "authorizing_type": "device"},
}
REST = {
    **CARRIER,
    "call_id": "c@203.0.113.1",
    "call_direction": "outbound",
    "custom_channel_vars": {"bridge_id": CARRIER["call_id"], "resource_id": "carrier-west", "account_id": "acc2"},
}

SAMPLES: list[bytes] = ["".join(json.dumps(one) + "\n" for one in (CUSTOMER, CARRIER, REST)).encode()]
MAPPING: dict[str, Any] = {}


def read(path: Path, **mapping: Any) -> tuple[list[exports.Call], list[Rejected], int]:
    return exports.read(path, "kazoo_json", mapping)


class TestALegThatCameIn:
    def test_from_a_customer_names_its_account(self, tmp_path: Path) -> None:
        [call], rejected, _ = read(written(tmp_path, json.dumps(CUSTOMER)))
        assert rejected == []
        assert (call["called_in"], call["calling"], call["ingress_trunk"]) == ("+12025550143", "+12025550199", "acc1")
        assert call["disposition"] == "answered"
        assert call["release"].timestamp() == 1795321400
        assert call["seizure_earliest"].timestamp() <= 1795321361 <= call["seizure_latest"].timestamp()

    def test_from_a_carrier_names_the_carrier_and_never_the_called_account(self, tmp_path: Path) -> None:
        [call], _, _ = read(written(tmp_path, json.dumps(CARRIER)))
        assert call["ingress_trunk"] == "carrier-east"
        assert call["seizure_earliest"].timestamp() == 1795321361.25
        by_type = {"account_id": "acc2", "authorizing_id": "carrier-east", "authorizing_type": "resource"}
        [call], _, _ = read(written(tmp_path, json.dumps({**CARRIER, "custom_channel_vars": by_type})))
        assert call["ingress_trunk"] == "carrier-east"
        unknown = {"account_id": "acc2"}
        [call], _, _ = read(written(tmp_path, json.dumps({**CARRIER, "custom_channel_vars": unknown})))
        assert call["ingress_trunk"] is None

    @pytest.mark.parametrize(
        ("changes", "disposition"),
        [
            ({"billing_seconds": 0}, "unanswered"),
            ({"billing_seconds": 0, "hangup_cause": "NO_ROUTE_DESTINATION"}, "failed"),
            ({"billing_seconds": None}, None),
        ],
    )
    def test_says_how_it_ended(self, tmp_path: Path, changes: dict[str, Any], disposition: str | None) -> None:
        [call], _, _ = read(written(tmp_path, json.dumps({**CARRIER, **changes})))
        assert call["disposition"] == disposition


class TestALegThatWentOut:
    def test_is_skipped_when_it_is_the_rest_of_a_call(self, tmp_path: Path) -> None:
        calls, _, skipped = read(written(tmp_path, json.dumps([CARRIER, REST])))
        assert (len(calls), skipped) == (1, 1)

    def test_has_no_upstream(self, tmp_path: Path) -> None:
        [call], _, _ = read(written(tmp_path, json.dumps(REST)), where={})
        assert (call["ingress_trunk"], call["egress_trunk"], call["called_out"]) == (
            None,
            "carrier-west",
            "+12025550143",
        )
        assert call["call_id"] == CARRIER["call_id"]

    def test_alone_is_a_call_that_began_here(self, tmp_path: Path) -> None:
        alone = {**REST, "custom_channel_vars": {"account_id": "acc1"}}
        [call], _, skipped = read(written(tmp_path, json.dumps(alone)))
        assert (call["ingress_trunk"], skipped) == (None, 0)


class TestFiles:
    def test_of_the_api_hold_their_records_in_data(self, tmp_path: Path) -> None:
        path = written(tmp_path, json.dumps({"page_size": 2, "data": [CUSTOMER, CARRIER], "status": "success"}))
        assert len(read(path)[0]) == 2
        assert identify(path) == "kazoo_json"

    def test_may_hold_what_is_no_record(self, tmp_path: Path) -> None:
        calls, rejected, _ = read(written(tmp_path, "nonsense\n" + json.dumps(CARRIER)))
        assert ([call["row"] for call in calls], rejected[0].reason) == ([2], RejectReason.MALFORMED_ROW)

    @pytest.mark.parametrize("content", ['{"call_id": "x", "call_direction": "inbound"}', '{"a": 1}', "[]", "x"])
    def test_of_others_are_not_claimed(self, tmp_path: Path, content: str) -> None:
        assert "kazoo_json" not in claimants(written(tmp_path, content))


@needs_samples
class TestTheRealFile:
    def test_names_the_account_and_the_time(self) -> None:
        path = SHARED_SAMPLES / "kazoo_cdr_json/2600hz__kazoo__cdr.json"
        assert identify(path) == "kazoo_json"
        wanted = frozenset({"incoming:request", "upstream_account", "pvt_created", "call_id"})
        [(_, row)], _, _ = raw_rows(path, "kazoo_json", columns=wanted)
        assert (row["incoming:request"], row["upstream_account"]) == (
            "*97@accountrealm.com",
            "7f89565344e3e6302df60168420e9265",
        )
        assert row["pvt_created"] == "63542353959"

    def test_gives_a_call_once_its_service_code_is_a_number(self, tmp_path: Path) -> None:
        path = SHARED_SAMPLES / "kazoo_cdr_json/2600hz__kazoo__cdr.json"
        [call], rejected, _ = read(written(tmp_path, path.read_text().replace("*97@", "12025550143@")))
        assert rejected == []
        assert call["release"].isoformat() == "2013-07-29T21:52:39+00:00"
        assert call["ingress_trunk"] == "7f89565344e3e6302df60168420e9265"
