"""Documents of mod_json_cdr: as on disk, as posted, percent-encoded or not; A legs, B legs and calls begun here.

Field names after mod_json_cdr of FreeSWITCH 1.10. Synthetic, but for the file that CGRateS tests with.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from cdr_adapters.identify import claimants, identify
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.read import read_source
from cdr_adapters.schema import Rejected
from cdr_adapters.stream import MAX_LINE
from tests.adapters.formats import exports
from tests.adapters.formats.freeswitch_legs import A_LEG, B_LEG, UNANSWERED, as_json, document
from tests.adapters.reading import memory_peak_below, raw_rows, written
from tests.shared import SAMPLES as SHARED_SAMPLES
from tests.shared import needs_samples

ENCODED = as_json(A_LEG, encode=True)
POSTED = f"cdr={quote(as_json(A_LEG, encode=True, indent=None), safe='')}\n"

SAMPLES: list[bytes] = [as_json(A_LEG, UNANSWERED).encode(), ENCODED.encode(), POSTED.encode()]
MAPPING: dict[str, Any] = {}


def read(path: Path, **mapping: Any) -> tuple[list[exports.Call], list[Rejected], int]:
    return exports.read(path, "freeswitch_json", mapping)


class TestALegThatCameIn:
    def test_names_the_peer_the_numbers_and_the_times(self, tmp_path: Path) -> None:
        [call], rejected, skipped = read(written(tmp_path, as_json(A_LEG)))
        assert (rejected, skipped) == ([], 0)
        assert (call["called_in"], call["called_out"], call["calling"]) == (
            "+12025550143",
            "+12025550143",
            "+12025550199",
        )
        assert (call["ingress_trunk"], call["ingress_address"]) == ("carrier-east", "198.51.100.20")
        assert call["egress_address"] == "203.0.113.30"
        assert call["seizure_earliest"].timestamp() == 1795321361.25
        assert (call["answer"].timestamp(), call["release"].timestamp()) == (1795321364.5, 1795321400.75)
        assert (call["call_id"], call["leg"], call["disposition"]) == ("one@203.0.113.21", "A", "answered")

    def test_has_the_number_that_was_called_first(self, tmp_path: Path) -> None:
        leg = {name: value for name, value in A_LEG.items() if name != "sip_req_user"}
        [call], _, _ = read(written(tmp_path, as_json(leg)))
        assert call["called_in"] == "+12025550143"

    def test_that_nobody_answered_says_so(self, tmp_path: Path) -> None:
        [call], _, _ = read(written(tmp_path, as_json(UNANSWERED)))
        assert (call["disposition"], call["answer"]) == ("unanswered", None)

    def test_that_failed_says_so(self, tmp_path: Path) -> None:
        leg = {**UNANSWERED, "hangup_cause": "NO_ROUTE_DESTINATION"}
        assert read(written(tmp_path, as_json(leg)))[0][0]["disposition"] == "failed"

    def test_may_have_one_profile_or_none(self, tmp_path: Path) -> None:
        one = document(A_LEG)
        one["callflow"] = one["callflow"][1]
        none = document(A_LEG)
        del none["callflow"]
        calls, rejected, _ = read(written(tmp_path, json.dumps(one) + "\n" + json.dumps(none)))
        assert rejected == []
        assert [call["calling"] for call in calls] == ["+12025550199", None]

    def test_carries_the_verdict_on_its_passport(self, tmp_path: Path) -> None:
        leg = {**A_LEG, "sip_verstat_detailed": "TN-Validation-Passed-B"}
        [call], _, _ = read(written(tmp_path, as_json(leg)))
        assert (call["attestation"], call["verstat"]) == ("B", "TN-Validation-Passed-B")


class TestALegThatWentOut:
    def test_is_skipped_when_another_leg_gave_rise_to_it(self, tmp_path: Path) -> None:
        calls, rejected, skipped = read(written(tmp_path, as_json(A_LEG, B_LEG)))
        assert (len(calls), rejected, skipped) == (1, [], 1)

    def test_never_gives_the_other_side_as_upstream(self, tmp_path: Path) -> None:
        [call], _, _ = read(written(tmp_path, as_json(B_LEG)), where={})
        assert (call["ingress_address"], call["ingress_trunk"]) == (None, None)
        assert (call["egress_address"], call["egress_trunk"], call["leg"]) == ("203.0.113.30", "carrier-west", "B")

    def test_for_a_call_that_began_here_is_kept_without_an_upstream(self, tmp_path: Path) -> None:
        leg = {name: value for name, value in B_LEG.items() if name != "originating_leg_uuid"}
        [call], _, skipped = read(written(tmp_path, as_json(leg)))
        assert (call["ingress_address"], call["ingress_trunk"], skipped) == (None, None, 0)

    def test_is_known_by_its_profile_too(self, tmp_path: Path) -> None:
        leg = {name: value for name, value in B_LEG.items() if name not in ("originating_leg_uuid", "direction")}
        profile = {
            "destination_number": "12025550143",
            "originator": {"originator_caller_profiles": [{"uuid": A_LEG["uuid"]}]},
        }
        path = written(tmp_path, json.dumps(document(leg, profile)))
        assert read(path)[2] == 1
        assert read(path, where={})[0][0]["ingress_address"] is None


class TestEncoding:
    def test_of_the_values_is_seen(self, tmp_path: Path) -> None:
        assert read(written(tmp_path, ENCODED)) == read(written(tmp_path, as_json(A_LEG), "plain"))

    def test_of_values_may_be_said(self, tmp_path: Path) -> None:
        leg = {"sip_req_user": "+12025550143", "start_epoch": "1795321361", "note": "100%25"}
        path = written(tmp_path, as_json(leg))
        columns = frozenset({"note"})
        notes = {
            encoded: raw_rows(path, "freeswitch_json", {"encoded": encoded}, columns)[0][0][1]["note"]
            for encoded in (True, False, None)
        }
        assert notes == {True: "100%", False: "100%25", None: "100%"}

    @pytest.mark.parametrize("prefix", ["cdr=", "uuid=1&cdr=", ""])
    def test_of_a_whole_post_is_undone(self, tmp_path: Path, prefix: str) -> None:
        body = quote(as_json(A_LEG, encode=True, indent=None), safe="")
        path = written(tmp_path, f"{prefix}{body}\n" * 2)
        calls, rejected, _ = read(path)
        assert ([call["row"] for call in calls], rejected) == ([1, 2], [])
        assert identify(path) == "freeswitch_json"

    def test_in_base64_is_undone(self, tmp_path: Path) -> None:
        path = written(tmp_path, b"cdr=" + base64.b64encode(as_json(A_LEG).encode()))
        assert len(read(path)[0]) == 1
        assert identify(path) == "freeswitch_json"

    def test_that_breaks_off_is_rejected(self, tmp_path: Path) -> None:
        calls, rejected, _ = read(written(tmp_path, POSTED[:300] + "\n" + POSTED))
        assert ([call["row"] for call in calls], [reject.row for reject in rejected]) == ([2], [1])


class TestFiles:
    @pytest.mark.parametrize("indent", [None, 1])
    def test_hold_documents_one_behind_the_other(self, tmp_path: Path, indent: int | None) -> None:
        path = written(tmp_path, as_json(A_LEG, UNANSWERED, indent=indent))
        assert [call["row"] for call in read(path)[0]] == [1, 2]
        assert identify(path) == "freeswitch_json"

    def test_hold_an_array_of_documents(self, tmp_path: Path) -> None:
        path = written(tmp_path, json.dumps([document(A_LEG), document(UNANSWERED)]))
        assert len(read(path)[0]) == 2
        assert identify(path) == "freeswitch_json"

    @pytest.mark.parametrize("broken", ["{}", '{"variables": 1}', "[1, 2]", "nonsense", '{"variables": {'])
    def test_with_what_is_no_document_have_a_reject_for_it(self, tmp_path: Path, broken: str) -> None:
        calls, rejected, _ = read(written(tmp_path, f"{broken}\n{as_json(A_LEG)}"))
        assert len(rejected) >= 1
        assert len(calls) == 1

    def test_hold_a_path_that_a_column_names(self, tmp_path: Path) -> None:
        path = written(tmp_path, as_json(A_LEG))
        columns = frozenset({"callflow.0.caller_profile.destination_number", "core-uuid"})
        [(_, row)], _, _ = raw_rows(path, "freeswitch_json", columns=columns)
        assert row["callflow.0.caller_profile.destination_number"] == "9999"
        assert row["core-uuid"] == "22222222-0000-4000-8000-000000000000"

    def test_of_any_length_take_little_memory(self, tmp_path: Path) -> None:
        path = written(tmp_path, as_json(A_LEG) * 4000)
        with memory_peak_below(48 << 20):
            assert sum(len(batch.calls) for batch in _batches(path)) == 4000

    def test_with_an_endless_document_are_refused_in_bounded_memory(self, tmp_path: Path) -> None:
        path = written(tmp_path, '{"variables": {"a": "' + "x" * (8 * MAX_LINE))
        with memory_peak_below(24 << 20):
            calls, rejected, _ = read(path)
        assert (calls, len(rejected)) == ([], 1)


def _batches(path: Path) -> Any:
    source = SourceMapping.model_validate({"name": "x", "path": "x", "format": "freeswitch_json"})
    return read_source(path, source, TrunkFormats())


class TestIdentify:
    @pytest.mark.parametrize(
        "content", ['{"variables": {"a": "1"}}', '{"call_id": "x"}\n', "cdr=1\n", "cdr=%7B%22a%22%3A1%7D", "cdr=AAAA"]
    )
    def test_claims_no_other_json(self, tmp_path: Path, content: str) -> None:
        assert "freeswitch_json" not in claimants(written(tmp_path, content))


@needs_samples
class TestTheRealFile:
    def test_names_the_call_and_its_upstream(self) -> None:
        path = SHARED_SAMPLES / "freeswitch_json_cdr/cgrates__cgrates__fscdr_test_body.json"
        assert identify(path) == "freeswitch_json"
        wanted = frozenset(
            {"sip_req_user", "start_uepoch", "incoming:sip_received_ip", "sip_call_id", "leg", "outcome"}
        )
        [(_, row)], _, _ = raw_rows(path, "freeswitch_json", columns=wanted)
        assert (row["sip_req_user"], row["start_uepoch"]) == ("1002", "1515666344534355")
        assert (row["incoming:sip_received_ip"], row["leg"], row["outcome"]) == ("10.10.10.100", "A", "answered")
        assert row["sip_call_id"] == "818e26f805701988c1a330175d7d2629@0:0:0:0:0:0:0:0"
