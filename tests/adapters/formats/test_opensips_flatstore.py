"""Flatstore files of Kamailio and OpenSIPS: columns by position, the operator's own by the option `columns`.

Layouts after the acc modules of Kamailio 5.8 and OpenSIPS 2.2 to 3.4 and db_flatstore of OpenSIPS 2.4. Synthetic.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.identify import claimants, identify
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from cdr_adapters.schema import RejectReason
from tests.adapters.reading import memory_peak_below, raw_rows, written
from tests.shared import SAMPLES as SHARED_SAMPLES
from tests.shared import SIPLAB, needs_samples, needs_siplab

EXTRAS = ["src_user", "dst_ouser", "src_ip", "src_trunk"]
INVITE = "INVITE|a1|b1|1@203.0.113.21|200|OK|1795321362|2025550199|12025550143|198.51.100.20|TG1\n"
BYE = "BYE|a1|b1|1@203.0.113.21|200|OK|1795321392||||\n"
MISSED = "INVITE|a2||2@203.0.113.21|487|Request Terminated|1795321370|2025550199|12025550144|198.51.100.20|TG1\n"
DIALOG = "1795321360|1795321392|32.100000|3@203.0.113.21|2025550199|12025550145|198.51.100.20|TG1\n"

SAMPLES: list[bytes] = [(INVITE + MISSED + BYE).encode()]
MAPPING: dict[str, Any] = {"options": {"columns": EXTRAS}}


def read(path: Path, named: list[str] | None = EXTRAS, **mapping: Any) -> tuple[list[dict[str, Any]], list[Any], int]:
    options = {} if named is None else {"columns": named}
    source = SourceMapping.model_validate(
        {"name": "x", "path": "x", "format": "opensips_flatstore", "options": options, **mapping}
    )
    batches = list(read_source(path, source, TrunkFormats()))
    return (
        [call for batch in batches for call in batch.calls.to_pylist()],
        [reject for batch in batches for reject in batch.rejected],
        sum(batch.skipped for batch in batches),
    )


class TestTheOperatorsColumns:
    def test_are_named_in_their_order(self, tmp_path: Path) -> None:
        [call], rejected, skipped = read(written(tmp_path, INVITE + BYE))
        assert (call["called_in"], call["calling"], call["call_id"]) == (
            "+12025550143",
            "+12025550199",
            "1@203.0.113.21",
        )
        assert (call["ingress_trunk"], call["ingress_address"]) == ("TG1", "198.51.100.20")
        assert (call["disposition"], call["answer"].timestamp()) == ("answered", 1795321362)
        assert (rejected, skipped) == ([], 1)

    def test_may_be_named_with_those_before_them(self, tmp_path: Path) -> None:
        whole = ["method", "from_tag", "to_tag", "callid", "sip_code", "sip_reason", "time", *EXTRAS]
        path = written(tmp_path, INVITE)
        assert read(path, whole) == read(path)

    def test_must_be_named_unless_a_mapping_goes_by_position(self, tmp_path: Path) -> None:
        path = written(tmp_path, INVITE)
        with pytest.raises(AdapterError, match="db_extra"):
            read(path, None)
        columns = {"called_in": "9", "answer": {"column": "time", "format": "epoch_s"}, "ingress_trunk": "11"}
        [call], _, _ = read(path, None, columns=columns)
        assert (call["called_in"], call["ingress_trunk"]) == ("+12025550143", "TG1")

    def test_that_are_too_few_or_too_many_reject_the_line(self, tmp_path: Path) -> None:
        for columns in (EXTRAS[:3], [*EXTRAS, "more"]):
            calls, [reject], _ = read(written(tmp_path, INVITE), columns)
            assert calls == []
            assert (reject.reason, reject.row) == (RejectReason.MALFORMED_ROW, 1)
            assert "option columns" in reject.detail

    @pytest.mark.parametrize("columns", [["a", "a"], [], ["method", "callid"], ["start_time", "x"]])
    def test_that_can_t_be_are_refused(self, tmp_path: Path, columns: list[str]) -> None:
        with pytest.raises(AdapterError, match="columns"):
            read(written(tmp_path, INVITE), columns)


class TestRecordsOfDialogs:
    def test_of_opensips_have_four_more_columns(self, tmp_path: Path) -> None:
        path = written(tmp_path, INVITE.replace("\n", "|3|1795321359|30|30120\n"))
        [call], rejected, _ = read(path)
        assert rejected == []
        assert call["seizure_earliest"].timestamp() == 1795321359
        assert call["answer"].timestamp() == 1795321362

    def test_of_kamailio_begin_with_the_start_time(self, tmp_path: Path) -> None:
        [call], rejected, _ = read(written(tmp_path, DIALOG), ["callid", *EXTRAS])
        assert rejected == []
        assert call["seizure_earliest"].timestamp() == 1795321360
        assert call["release"].timestamp() == 1795321392
        assert call["called_in"] == "+12025550145"


class TestCalls:
    def test_that_were_missed_are_calls(self, tmp_path: Path) -> None:
        [call], _, _ = read(written(tmp_path, MISSED))
        assert (call["disposition"], call["answer"], call["release"].timestamp()) == ("unanswered", None, 1795321370)

    def test_whose_bye_is_in_another_file_are_calls(self, tmp_path: Path) -> None:
        assert len(read(written(tmp_path, INVITE))[0]) == 1
        assert read(written(tmp_path, BYE)) == ([], [], 1)


class TestLines:
    @pytest.mark.parametrize(
        "line",
        [
            "INVITE|a1|b1|1@203.0.113.21|200|OK|1795321362\n",
            "INVITE|a1|b1|1@203.0.113.21|20x|OK|1795321362|2025550199|12025550143|198.51.100.20|TG1\n",
            "a1|INVITE|b1|1@203.0.113.21|200|OK|1795321362|2025550199|12025550143|198.51.100.20|TG1\n",
            "INVITE|a1|b1|1@203.0.113.21|200|OK|2026-11-22|2025550199|12025550143|198.51.100.20|TG1\n",
            "INVITE|" + "|" * 600 + "\n",
            "INVITE\n",
            "x" * (1 << 21) + "\n",
        ],
    )
    def test_that_are_no_such_record_are_rejected_and_the_next_is_read(self, tmp_path: Path, line: str) -> None:
        calls, rejected, _ = read(written(tmp_path, line + INVITE))
        assert [call["row"] for call in calls] == [2]
        assert [(reject.row, reject.reason) for reject in rejected] == [(1, RejectReason.MALFORMED_ROW)]

    def test_without_end_are_rejected_in_bounded_memory(self, tmp_path: Path) -> None:
        path = written(tmp_path, gzip.compress(b"INVITE|" + b"x" * (60 << 20) + b"\n" + INVITE.encode()))
        with memory_peak_below(32 << 20):
            calls, rejected, _ = read(path)
        assert ([call["row"] for call in calls], [reject.row for reject in rejected]) == ([2], [1])

    def test_that_are_empty_are_nothing(self, tmp_path: Path) -> None:
        calls, rejected, skipped = read(written(tmp_path, "\n\n" + INVITE + "\n"))
        assert ([call["row"] for call in calls], rejected, skipped) == ([3], [], 0)

    def test_may_hold_quotes(self, tmp_path: Path) -> None:
        rows, _, _ = raw_rows(
            written(tmp_path, INVITE.replace("TG1", 'TG"1')), "opensips_flatstore", MAPPING["options"]
        )
        assert rows[0][1]["src_trunk"] == 'TG"1'


class TestIdentify:
    def test_claims_acc_and_acc_cdrs(self, tmp_path: Path) -> None:
        for content in (INVITE + MISSED + BYE, BYE, DIALOG):
            assert identify(written(tmp_path, content)) == "opensips_flatstore"

    @pytest.mark.parametrize(
        "content",
        [
            "a|b|c|d|200|OK|1795321362\n",
            "1795321360|1795321392|99.5|x|2025550199|12025550145\n",
            "id|called|time\n1|2025550143|1795321362\n",
        ],
    )
    def test_claims_no_other_table_with_bars(self, tmp_path: Path, content: str) -> None:
        assert "opensips_flatstore" not in claimants(written(tmp_path, content))


@needs_samples
class TestRealFiles:
    """Files of OpenSIPS that CGRateS tests with. They hold extensions, no E.164 numbers: the columns are looked at."""

    COLUMNS = ("reqtype", "account", "destination", "unused", "dialog")

    def rows(self, name: str, *more: str) -> list[dict[str, str | None]]:
        path = SHARED_SAMPLES / f"opensips_acc_flatstore/cgrates__cgrates__flatstore_{name}.log"
        assert identify(path) == "opensips_flatstore"
        rows, rejected, _ = raw_rows(path, "opensips_flatstore", {"columns": [*self.COLUMNS, *more]})
        assert rejected == []
        return [fields for _, fields in rows]

    def test_name_the_account_and_the_answer_of_a_call(self) -> None:
        rows = self.rows("fullSuccessfull")
        assert len(rows) == 8
        assert (rows[0]["destination"], rows[0]["account"], rows[0]["answered_at"]) == ("1002", "1001", "1436454408")
        assert (rows[1]["method"], rows[1]["callid"], rows[1]["time"]) == ("BYE", rows[0]["callid"], "1436454410")

    def test_name_the_end_of_a_missed_call(self) -> None:
        first = self.rows("fullMissed")[0]
        assert (first["destination"], first["account"]) == ("1002", "1001")
        assert (first["sip_code"], first["ended_at"], first["answered_at"]) == ("487", "1436454643", None)

    def test_may_hold_one_half_of_a_call(self) -> None:
        assert [row["method"] for row in self.rows("part1")] == ["BYE"]
        assert [str(row["callid"]).partition("@")[0][-3:] for row in self.rows("part2")] == ["ccb", "a9p"]

    def test_may_take_the_time_from_the_ack(self) -> None:
        rows = self.rows("ackSuccessfull", "agent")
        assert [row["method"] for row in rows[:3]] == ["INVITE", "ACK", "BYE"]
        assert [row["time"] for row in rows[:2]] == ["", "1436454408"]


@needs_siplab
class TestTheLab:
    def test_every_line_is_a_call_or_a_bye(self) -> None:
        extras = ["src_user", "dst_ouser", "src_ip", "src_trunk", "dst_trunk"]
        paths = sorted((SIPLAB / "elm/flat").glob("acc_1*.log"))
        assert paths
        for path in paths:
            lines = path.read_text().splitlines()
            formats = {"EL10I": "tech:77501:11d", "EL18I": "tech:0155#:11d"}
            columns = {
                "called_in": {"column": "dst_ouser", "format": "trunk"},
                "answer": {"column": "answered_at", "format": "epoch_s"},
                "release": {"column": "ended_at", "format": "epoch_s"},
                "ingress_trunk": "src_trunk",
            }
            source = SourceMapping.model_validate(
                {
                    "name": "elm",
                    "path": "x",
                    "format": "opensips_flatstore",
                    "options": {"columns": extras},
                    "columns": columns,
                }
            )
            batches = list(read_source(path, source, TrunkFormats(formats, {})))
            assert sum(batch.calls.num_rows for batch in batches) == sum(line.startswith("INVITE") for line in lines)
            assert sum(batch.calls.num_rows + batch.skipped for batch in batches) == len(lines)
