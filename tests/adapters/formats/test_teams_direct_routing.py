"""Teams direct routing: Graph's directRoutingLogRow and the PSTN usage report. Synthetic; the document's example."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cdr_adapters.identify import identify
from cdr_adapters.schema import RejectReason
from tests.adapters.formats.exports import NUMBERS, UPSTREAM, calls_of, read, some, utc
from tests.adapters.reading import raw_rows, written
from tests.shared import SAMPLES as SHARED_SAMPLES
from tests.shared import needs_samples

ROW: dict[str, Any] = {
    "id": "1",
    "correlationId": "c-1",
    "inviteDateTime": "2026-11-21T23:23:27.25Z",
    "startDateTime": "2026-11-21T23:23:34Z",
    "failureDateTime": "0001-01-01T00:00:00Z",
    "endDateTime": "2026-11-21T23:23:41Z",
    "callType": "ByotIn",
    "successfulCall": True,
    "callerNumber": "+12025550199",
    "calleeNumber": "+12025550143",
    "finalSipCode": 0,
    "trunkFullyQualifiedDomainName": "sbc1.example.net",
}
FAILED = {
    **ROW,
    "correlationId": "c-2",
    "startDateTime": "0001-01-01T00:00:00Z",
    "endDateTime": "0001-01-01T00:00:00Z",
    "failureDateTime": "2026-11-21T23:23:30Z",
    "successfulCall": False,
}
CSV = (
    "CorrelationId,SIP Address,Display Name,Invite Time (UTC),Start Time (UTC),Failure Time (UTC),End Time (UTC),"
    "Duration,Call Type,Caller Number,Callee Number,SBC FQDN,Final SIP Code\n"
    "c-1,,,2026-11-21T23:23:27.25Z,,2026-11-21T23:23:30Z,,0,ByotIn,+12025550199,+12025550143,sbc1.example.net,487\n"
)

SAMPLES: list[bytes] = [json.dumps({"@odata.count": 2, "value": [ROW, FAILED]}, indent=1).encode(), CSV.encode()]
MAPPING: dict[str, Any] = {}


def test_a_row_of_graph_is_a_call(tmp_path: Path) -> None:
    answered, failed = calls_of(tmp_path, SAMPLES[0], "teams_direct_routing")
    assert some(answered, *NUMBERS) == ("+12025550143", None, "+12025550199")
    assert some(answered, "seizure_earliest", "answer", "release") == (
        utc("2026-11-21 23:23:27.250"),
        utc("2026-11-21 23:23:34"),
        utc("2026-11-21 23:23:41"),
    )
    assert some(answered, "call_id", "leg", "disposition") == ("c-1", "ByotIn", "answered")
    assert some(failed, "answer", "release", "disposition") == (None, utc("2026-11-21 23:23:30"), "failed")


def test_the_tenants_own_border_controller_is_never_the_upstream(tmp_path: Path) -> None:
    for sample in SAMPLES:
        for call in calls_of(tmp_path, sample, "teams_direct_routing"):
            assert some(call, *UPSTREAM) == (None, None)


def test_the_usage_report_is_read_too(tmp_path: Path) -> None:
    [call] = calls_of(tmp_path, CSV, "teams_direct_routing")
    assert some(call, "called_in", "disposition", "answer") == ("+12025550143", "unanswered", None)


def test_a_masked_number_cannot_be_matched_and_is_rejected(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps({"value": [{**ROW, "calleeNumber": "+12025550***"}]}))
    calls, [reject], _ = read(path, "teams_direct_routing")
    assert (calls, reject.reason) == ([], RejectReason.BAD_CALLED_NUMBER)


@needs_samples
def test_the_documents_own_example_is_read() -> None:
    path = SHARED_SAMPLES / (
        "teams_direct_routing/microsoftgraph__microsoft-graph-docs__getDirectRoutingCalls_example.json"
    )
    assert identify(path) == "teams_direct_routing"
    [(_, row)], rejected, _ = raw_rows(path, "teams_direct_routing")
    assert not rejected
    assert (row["calleeNumber"], row["callerNumber"]) == ("+01234567***", "+12345678***")
    assert (row["inviteDateTime"], row["callType"]) == ("2019-11-01T00:00:21.949Z", "ByotIn")
    assert row["trunkFullyQualifiedDomainName"] == "tll-audiocodes01.adatum.biz"
    calls, [reject], _ = read(path, "teams_direct_routing")
    assert (calls, reject.reason) == ([], RejectReason.BAD_CALLED_NUMBER), "the number is masked"
