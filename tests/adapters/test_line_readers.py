"""Formats that are read line by line: syslog accounting, JSON lines, RADIUS detail, db_text. All is synthetic."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_adapters.json_documents import records
from cdr_adapters.raw import AdapterError
from cdr_adapters.registry import adapter
from cdr_adapters.schema import RejectReason
from cdr_adapters.stream import MAX_LINE
from tests.adapters.reading import memory_peak_below, raw_rows, written

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)

HEADER = "Nov 22 04:22:42 sbc1 kamailio[238]: NOTICE: acc [acc.c:287]: acc_log_request(): "
ACC = HEADER + (
    "ACC: transaction answered: timestamp=1795321362;method=INVITE;from_tag=a;to_tag=b;call_id=1@203.0.113.21;code=200;"
    "reason=OK;src_ip=198.51.100.20;ruri_in=sip:+12025550143@198.51.100.30:5060;itrunk=tg1"
)
CDR = (
    "Nov 22 04:22:42 sbc1 kamailio[237]: NOTICE: acc [acc_cdr.c:395]: log_write_cdr(): start_time=1795321361.867; "
    "end_time=1795321362.863; duration=0.996; callid=2@203.0.113.12; caller=+12025550199; callee=+12025550143"
)
NOISE = "Nov 22 04:24:44 sbc1 kamailio[205]: NOTICE: <core> [main.c:733]: handle_sigs(): a=b; c=d"


class TestSyslogAccounting:
    def test_acc_and_cdr_lines_are_records_of_their_kind(self, tmp_path: Path) -> None:
        rows, rejected, skipped = raw_rows(written(tmp_path, f"{ACC}\n{NOISE}\n\n{CDR}\n"), "kamailio_syslog")
        (acc_row, acc), (cdr_row, cdr) = rows
        assert (acc_row, acc["kind"], acc["event"], acc["method"]) == (1, "acc", "transaction answered", "INVITE")
        assert acc["ruri_in"] == "sip:+12025550143@198.51.100.30:5060"
        assert (cdr_row, cdr["kind"], cdr["start_time"], cdr["callee"]) == (4, "cdr", "1795321361.867", "+12025550143")
        assert (acc["syslog_time"], acc["syslog_host"]) == ("Nov 22 04:22:42", "sbc1")
        assert (rejected, skipped) == ([], 1)

    def test_missed_calls_and_failures_are_records(self, tmp_path: Path) -> None:
        line = "ACC: call missed: timestamp=1795321362;method=INVITE;code=404;reason=Not Found;dst=2025550143"
        [(_, fields)], _, _ = raw_rows(written(tmp_path, line), "kamailio_syslog")
        assert (fields["event"], fields["reason"], fields["dst"]) == ("call missed", "Not Found", "2025550143")

    def test_parameters_of_a_uri_belong_to_it(self, tmp_path: Path) -> None:
        uri = "sip:+12025550143;npdi;rn=+15715550199@198.51.100.1;user=phone"
        line = f"ACC: call missed: method=INVITE;ruri={uri};code=404"
        [(_, fields)], _, _ = raw_rows(written(tmp_path, line), "kamailio_syslog")
        assert fields["ruri"] == uri
        assert fields["code"] == "404"

    def test_old_releases_put_commas(self, tmp_path: Path) -> None:
        line = "ACC: transaction answered: method=INVITE, i-uri=sip:2025550143@203.0.113.1, call_id=x, code=200"
        [(_, fields)], _, _ = raw_rows(written(tmp_path, line), "kamailio_syslog")
        assert (fields["i-uri"], fields["code"]) == ("sip:2025550143@203.0.113.1", "200")

    def test_json_after_the_syslog_header_is_a_record(self, tmp_path: Path) -> None:
        line = (
            '2026-11-22T04:22:42.123+00:00 gw1 cdr[7]: {"called": "+12025550143", "start": 1795321360.5, "x": {"y": 1}}'
        )
        columns = frozenset({"kind", "called", "start", "x.y", "syslog_host", "none"})
        [(_, fields)], _, _ = raw_rows(written(tmp_path, line), "kamailio_syslog", columns=columns)
        assert fields == {
            "kind": "json",
            "called": "+12025550143",
            "start": "1795321360.5",
            "x.y": "1",
            "syslog_host": "gw1",
            "none": None,
        }

    def test_an_accounting_line_without_fields_is_rejected(self, tmp_path: Path) -> None:
        rows, rejected, skipped = raw_rows(written(tmp_path, f"{HEADER}ACC: call missed: \n{ACC}"), "kamailio_syslog")
        assert len(rows) == 1
        assert [(reject.row, reject.reason) for reject in rejected] == [(1, RejectReason.MALFORMED_ROW)]
        assert skipped == 0


class TestJsonLines:
    def test_nested_fields_have_their_path_as_name(self, tmp_path: Path) -> None:
        path = written(tmp_path, '{"a": {"b": [{"c": "x"}, {"c": 1.50}]}, "d.e": true, "f": null}\n\n{"a": 12}\n')
        rows, _, _ = raw_rows(path, "jsonl")
        assert rows[0] == (1, {"a.b.0.c": "x", "a.b.1.c": "1.50", "d.e": "true", "f": None, "a": None})
        assert rows[1] == (3, {"a.b.0.c": None, "a.b.1.c": None, "d.e": None, "f": None, "a": "12"})
        wanted = frozenset({"a.b.1.c", "d.e", "a.b.7.c", "a"})
        rows, _, _ = raw_rows(path, "jsonl", columns=wanted)
        assert rows[0] == (1, {"a.b.1.c": "1.50", "d.e": "true", "a.b.7.c": None, "a": None})

    def test_no_digit_of_a_number_is_lost(self, tmp_path: Path) -> None:
        path = written(tmp_path, '{"n": 120255501430000000001, "t": 1795321360.779388}')
        assert raw_rows(path, "jsonl")[0] == [(1, {"n": "120255501430000000001", "t": "1795321360.779388"})]

    def test_a_syslog_header_is_passed_over(self, tmp_path: Path) -> None:
        path = written(tmp_path, 'Nov 22 04:22:42 gw1 cdr[7]: {"a": "1"}\nNov 22 04:22:43 gw1 cdr[7]: bye\n')
        rows, rejected, _ = raw_rows(path, "jsonl")
        assert rows == [(1, {"a": "1"})]
        assert [reject.row for reject in rejected] == [2]

    @pytest.mark.parametrize(
        "line", ["{", "[1]", "1", '{"a": 1} x', '{"a": ' * 100_000, "x" * (MAX_LINE + 2), '{"a": "\t"}']
    )
    def test_what_is_no_object_is_rejected(self, tmp_path: Path, line: str) -> None:
        rows, rejected, _ = raw_rows(written(tmp_path, line + '\n{"a": "1"}\n'), "jsonl")
        assert rows == [(2, {"a": "1"})]
        assert [reject.row for reject in rejected] == [1]

    def test_a_line_without_end_is_rejected_in_bounded_memory(self, tmp_path: Path) -> None:
        path = written(tmp_path, gzip.compress(b'{"a": "' + b"x" * (40 << 20) + b'"}\n{"a": "1"}\n'))
        with memory_peak_below(16 << 20):
            rows, rejected, _ = raw_rows(path, "jsonl")
        assert rows == [(2, {"a": "1"})]
        assert [(reject.row, len(reject.raw)) for reject in rejected] == [(1, 4096)]

    def test_half_a_surrogate_pair_is_no_text(self, tmp_path: Path) -> None:
        rows, _, _ = raw_rows(written(tmp_path, r'{"a": "\ud800", "\ud800": 1}'), "jsonl")
        assert rows == [(1, {"a": "?", "?": "1"})]


PRETTY = """{
  "id": "1",
  "leg": {"called": "+12025550143"}
}
{
  "id": "2"
}
"""
PAGES = """{"@odata.context": "x", "value": [{"id": "1", "leg": {"called": "+12025550143"}}], "next": {"value": [1]}}
{"value": [{"id": 2.50}], "count": 12}
"""


class TestJsonDocuments:
    @pytest.mark.parametrize(
        ("text", "options"),
        [
            (PRETTY, {}),
            ('[{"id": "1", "leg": {"called": "+12025550143"}}, {"id": "2"}]', {}),
            ('[\n  {\n    "id": "1", "leg": {"called": "+12025550143"}\n  },\n  {"id": "2"}\n]\n', {}),
            ('{"a": {"b": [{"id": "1", "leg": {"called": "+12025550143"}}, {"id": "2"}]}, "c": 1}', {"records": "a.b"}),
        ],
        ids=["objects over several lines", "an array on a line", "an array", "an array within an object"],
    )
    def test_hold_records_that_are_counted(self, tmp_path: Path, text: str, options: dict[str, str]) -> None:
        rows, rejected, _ = raw_rows(written(tmp_path, text), "jsonl", options)
        assert rows == [(1, {"id": "1", "leg.called": "+12025550143"}), (2, {"id": "2", "leg.called": None})]
        assert rejected == []

    def test_may_be_pages_behind_each_other(self, tmp_path: Path) -> None:
        rows, rejected, _ = raw_rows(written(tmp_path, PAGES), "jsonl", {"records": "value"}, frozenset({"id"}))
        assert rows == [(1, {"id": "1"}), (2, {"id": "2.50"})]
        assert rejected == []

    @pytest.mark.parametrize("text", ["", PRETTY, '{"value": []}', '{"value": {"x": [{"id": 1}]}}', "[]"])
    def test_without_an_array_at_the_place_that_is_said_are_an_error(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(AdapterError, match="no array with anything in it at 'value'"):
            raw_rows(written(tmp_path, text), "jsonl", {"records": "value"})

    @pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b"])
    def test_are_not_searched_for_a_place_that_is_none(self, tmp_path: Path, path: str) -> None:
        with pytest.raises(AdapterError, match="records"):
            raw_rows(written(tmp_path, PAGES), "jsonl", {"records": path})

    def test_an_element_that_is_no_object_is_rejected_in_its_place(self, tmp_path: Path) -> None:
        rows, rejected, _ = raw_rows(written(tmp_path, '[{"id": "1"}, 5, {"id": "3"}]'), "jsonl")
        assert [row for row, _ in rows] == [1, 3]
        assert [(reject.row, reject.detail, reject.raw) for reject in rejected] == [(2, "not a JSON object", "5")]

    @pytest.mark.parametrize("broken", ['{"id": "2"', '{"id": "2"},]', '{"id": "2"} {"id": "3"}]', '{"id": nonsense}]'])
    def test_an_array_that_breaks_says_that_the_rest_is_lost(self, tmp_path: Path, broken: str) -> None:
        rows, rejected, _ = raw_rows(written(tmp_path, '[{"id": "1"}, ' + broken), "jsonl")
        assert rows[0] == (1, {"id": "1"})
        assert "not read from here on" in rejected[-1].detail

    def test_an_object_that_breaks_costs_only_itself(self, tmp_path: Path) -> None:
        text = PRETTY + '{\n  "id": broken\n}\n' + PRETTY
        rows, rejected, _ = raw_rows(written(tmp_path, text), "jsonl")
        assert [fields["id"] for _, fields in rows] == ["1", "2", "1", "2"]
        assert [reject.row for reject in rejected] == [3]

    def test_one_that_is_cut_off_says_so(self, tmp_path: Path) -> None:
        rows, rejected, _ = raw_rows(written(tmp_path, PRETTY[:-4]), "jsonl")
        assert len(rows) == 1
        assert "cut off" in rejected[0].detail

    def test_a_large_one_takes_little_memory(self, tmp_path: Path) -> None:
        element = b'{"id": "1", "pad": "' + b"x" * 1000 + b'"}'
        path = written(tmp_path, gzip.compress(b'{"value": [' + b",\n".join([element] * 40_000) + b"]}", 1))
        with memory_peak_below(40 << 20):
            found = sum(
                batch.columns.num_rows for batch in adapter("jsonl").read(path, {"records": "value"}, frozenset(["id"]))
            )
        assert found == 40_000

    def test_a_record_without_end_or_bottom_is_rejected_in_bounded_memory(self, tmp_path: Path) -> None:
        for text in (b'{"id": "' + b"x" * (60 << 20), b"[" * (5 << 20), b'{"a":' * (1 << 20)):
            path = written(tmp_path, gzip.compress(b'[{"id": "1"},' + text))
            with memory_peak_below(24 << 20):
                rows, rejected, _ = raw_rows(path, "jsonl")
            assert rows == [(1, {"id": "1"})]
            assert [(reject.row, reject.detail) for reject in rejected] == [
                (2, "not JSON, or cut off, or too long; the file is not read from here on")
            ]

    @given(st.lists(st.dictionaries(st.text(max_size=3), JSON, max_size=3), max_size=5), st.integers(1, 9))
    @settings(max_examples=60, deadline=None)
    def test_are_the_same_in_pieces_of_any_size(self, found: list[dict[str, object]], size: int) -> None:
        text = json.dumps({"x": [1, {"y": 2}], "value": found, "z": "}"}, ensure_ascii=False)
        pieces = (text[start : start + size] for start in range(0, len(text), size))
        expected = json.loads(text, parse_int=str, parse_float=str)["value"]
        assert list(records(pieces, ["value"])) == expected


RADIUS = """Sat Nov 21 21:22:42 2026
\tAcct-Status-Type = Start
\tSip-Response-Code = 200
\tEvent-Timestamp = "Nov 21 2026 21:22:42 MST"
\tCalled-Station-Id = "2025550143"
\tCisco-AVPair = "h323-remote-address=198.51.100.10"
\tCisco-AVPair = "note=say \\"hi\\"\\t\\101"
\tTimestamp = 1795321362

"""


class TestRadiusDetail:
    def test_a_block_is_a_record_and_attributes_are_its_columns(self, tmp_path: Path) -> None:
        rows, rejected, _ = raw_rows(written(tmp_path, RADIUS + "\n" + RADIUS), "radius_detail")
        assert [row for row, _ in rows] == [1, 11]
        assert rows[0][1] == {
            "header": "Sat Nov 21 21:22:42 2026",
            "Acct-Status-Type": "Start",
            "Sip-Response-Code": "200",
            "Event-Timestamp": "Nov 21 2026 21:22:42 MST",
            "Called-Station-Id": "2025550143",
            "Cisco-AVPair": 'h323-remote-address=198.51.100.10\nnote=say "hi"\tA',
            "Timestamp": "1795321362",
        }
        assert not rejected

    def test_the_last_record_needs_no_empty_line(self, tmp_path: Path) -> None:
        assert len(raw_rows(written(tmp_path, RADIUS.rstrip()), "radius_detail")[0]) == 1

    @pytest.mark.parametrize(
        "broken",
        [
            "Sat Nov 21 21:22:42 2026\n\n",
            'Sat Nov 21 21:22:42 2026\n\tCalled-Station-Id = "20255501\n\n',
            "Sat Nov 21 21:22:42 2026\n\tAcct-Status-Type = Start\nSat Nov 21 21:22:43 2026\n\tA = b\n\n",
            "\tAcct-Status-Type = Start\n\n",
            "Sat Nov 21 21:22:42 2026\n" + "".join(f"\tA{i} = b\n" for i in range(3000)) + "\n",
            "Sat Nov 21 21:22:42 2026\n" + "\tA = bbbbbbbbbbbbbbbbbbb\n" * 3000 + "\n",
        ],
    )
    def test_a_broken_record_is_rejected_whole_and_the_next_one_read(self, tmp_path: Path, broken: str) -> None:
        rows, rejected, _ = raw_rows(written(tmp_path, broken + RADIUS), "radius_detail")
        assert len(rows) == 1
        assert [(reject.row, reject.reason) for reject in rejected] == [(1, RejectReason.MALFORMED_ROW)]


DB_TEXT = "id(int,auto) method(string) time(int,null) uri(str)\n"


class TestDbText:
    def test_the_first_line_names_the_columns(self, tmp_path: Path) -> None:
        rows, rejected, _ = raw_rows(
            written(tmp_path, DB_TEXT + "1:INVITE:1795321362:sip\\:2025550143@203.0.113.1\n2:BYE::\n"),
            "kamailio_dbtext",
        )
        assert rows == [
            (2, {"id": "1", "method": "INVITE", "time": "1795321362", "uri": "sip:2025550143@203.0.113.1"}),
            (3, {"id": "2", "method": "BYE", "time": None, "uri": None}),
        ]
        assert not rejected

    @pytest.mark.parametrize("row", ["1:INVITE", "1:INVITE:3:4:5", "1:INVITE:3:x\\"])
    def test_a_row_that_does_not_fit_them_is_rejected(self, tmp_path: Path, row: str) -> None:
        rows, rejected, _ = raw_rows(written(tmp_path, f"{DB_TEXT}{row}\n2:BYE:0:\n"), "kamailio_dbtext")
        assert [row for row, _ in rows] == [3]
        assert [reject.row for reject in rejected] == [2]

    @pytest.mark.parametrize("first", ["id,method\n", "1:INVITE\n", "id(int) id(int)\n"])
    def test_a_first_line_that_defines_no_columns_is_an_error(self, tmp_path: Path, first: str) -> None:
        with pytest.raises(AdapterError, match="defines no db_text columns"):
            raw_rows(written(tmp_path, first), "kamailio_dbtext")

    def test_an_empty_file_has_no_records(self, tmp_path: Path) -> None:
        assert raw_rows(written(tmp_path, ""), "kamailio_dbtext") == ([], [], 0)
