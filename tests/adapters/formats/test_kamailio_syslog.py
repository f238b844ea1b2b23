"""Accounting of Kamailio and OpenSIPS in syslog: lines of one shape together, others one by one, with the same result.

Wording and fields after the acc modules' READMEs (Kamailio 5.8, OpenSIPS 3.4). Synthetic: fictitious numbers and
documentation addresses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_adapters.identify import identify
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from cdr_adapters.schema import RejectReason
from tests.adapters.reading import raw_rows, written
from tests.shared import SAMPLES as SHARED_SAMPLES
from tests.shared import needs_samples

HEADER = "Nov 22 04:22:42 sbc1 kamailio[238]: NOTICE: acc [acc.c:287]: acc_log_request(): "
CDR_HEADER = "Nov 22 04:22:42 sbc1 kamailio[237]: NOTICE: acc [acc_cdr.c:395]: log_write_cdr(): "


def acc(number: int, *, code: str = "200", method: str = "INVITE", more: str = "") -> str:
    event = "transaction answered" if code == "200" else "call missed"
    return (
        f"{HEADER}ACC: {event}: timestamp={1795321362 + number};method={method};from_tag=a{number};to_tag=b;"
        f"call_id={number}@203.0.113.21;code={code};reason=OK;src_user=2025550199;src_ip=198.51.100.20;"
        f"dst_ouser=+1202555{number % 100 + 100:04};dst_user=1202555{number % 100 + 100:04}{more}"
    )


def cdr(number: int) -> str:
    return (
        f"{CDR_HEADER}start_time={1795321361 + number}.867; end_time={1795321362 + number}.863; duration=0.996; "
        f"callid={number}@203.0.113.12; caller=+12025550199; callee=+12025550143; src_ip=198.51.100.20"
    )


NOISE = "Nov 22 04:24:44 sbc1 kamailio[205]: NOTICE: <core> [main.c:733]: handle_sigs(): a=b; c=d"

SAMPLES: list[bytes] = [
    "".join(line + "\n" for line in (*map(acc, range(20)), NOISE, acc(30, code="487"), *map(cdr, range(10)))).encode()
]
MAPPING: dict[str, Any] = {}


def calls_of(path: Path, **mapping: Any) -> list[dict[str, Any]]:
    source = SourceMapping.model_validate({"name": "x", "path": "x", "format": "kamailio_syslog", **mapping})
    return [call for batch in read_source(path, source, TrunkFormats()) for call in batch.calls.to_pylist()]


class TestManyLinesAtATime:
    def test_give_what_each_line_alone_gives(self, tmp_path: Path) -> None:
        lines = [
            *(acc(n) for n in range(30)),
            NOISE,
            "",
            *(cdr(n) for n in range(20)),
            acc(77, code="404"),
            *(acc(n, more=f";ruri=sip:202555{n:04}@192.0.2.1;user=phone;x=1") for n in range(12)),
            *(acc(n, more=f";ruri=sip:202555{n:04};npdi;rn=1571555{n:04}@192.0.2.1") for n in range(12)),
            acc(5, more=";reason=twice"),
            f"{HEADER}ACC: call missed: ",
        ]
        rows, rejected, skipped = raw_rows(written(tmp_path, "\n".join(lines)), "kamailio_syslog")
        alone: dict[int, dict[str, str | None]] = {}
        for number, line in enumerate(lines, 1):
            [*one], _, _ = raw_rows(written(tmp_path, line, f"line{number}"), "kamailio_syslog")
            alone |= dict.fromkeys([number] * len(one), one[0][1] if one else {})
        assert {number: _filled(fields) for number, fields in rows} == {n: _filled(f) for n, f in alone.items()}
        assert [reject.row for reject in rejected] == [len(lines)]
        assert skipped == 1

    @given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.data())
    @settings(max_examples=60, deadline=None)
    def test_never_differ_from_lines_alone_whatever_is_between_them(
        self, tmp_path_factory: pytest.TempPathFactory, kinds: list[int], data: st.DataObject
    ) -> None:
        pieces = st.text(st.sampled_from(list("ab=;:, <>@")), max_size=12)
        lines = [
            (
                acc(n),
                cdr(n),
                acc(n, more=";uri=sip:x@192.0.2.1;user=phone"),
                NOISE,
                acc(n, more=";" + data.draw(pieces)),
            )[kind]
            if kind < 5
            else data.draw(pieces) + "ACC: x: " + data.draw(pieces)
            for n, kind in enumerate(kinds)
        ]
        directory = tmp_path_factory.mktemp("lines")
        wanted = frozenset({"kind", "event", "call_id", "src_ip", "uri", "a", "dst_user", "callid", "callee"})
        rows, rejected, skipped = raw_rows(written(directory, "\n".join(lines)), "kamailio_syslog", columns=wanted)
        together = {number: _filled(fields) for number, fields in rows}
        alone: dict[int, dict[str, str]] = {}
        lost = passed = 0
        for number, line in enumerate(lines, 1):
            one, one_rejected, one_skipped = raw_rows(
                written(directory, line, "one"), "kamailio_syslog", columns=wanted
            )
            alone |= dict.fromkeys([number] * len(one), _filled(one[0][1]) if one else {})
            lost, passed = lost + len(one_rejected), passed + one_skipped
        assert (together, len(rejected), skipped) == (alone, lost, passed)

    def test_number_their_rows_by_the_lines_of_the_file(self, tmp_path: Path) -> None:
        path = written(tmp_path, "".join(f"{NOISE}\n{acc(n)}\n" for n in range(50)))
        rows, _, skipped = raw_rows(path, "kamailio_syslog", columns=frozenset({"call_id"}))
        assert sorted(rows) == [(2 * n + 2, {"call_id": f"{n}@203.0.113.21"}) for n in range(50)]
        assert skipped == 50

    def test_may_have_any_end_of_line(self, tmp_path: Path) -> None:
        path = written(tmp_path, "\r\n".join(acc(n) for n in range(20)))
        rows, _, _ = raw_rows(path, "kamailio_syslog", columns=frozenset({"dst_user"}))
        assert rows[3][1]["dst_user"] == "12025550103"


def _filled(fields: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value}


class TestTheCustomaryNames:
    def test_need_no_mapping(self, tmp_path: Path) -> None:
        [call] = calls_of(written(tmp_path, acc(43)))
        assert (call["called_in"], call["called_out"], call["calling"]) == (
            "+12025550143",
            "+12025550143",
            "+12025550199",
        )
        assert (call["ingress_address"], call["call_id"]) == ("198.51.100.20", "43@203.0.113.21")
        assert (call["disposition"], call["answer"].timestamp()) == ("answered", 1795321405)

    def test_of_a_dialog_tell_the_seizure(self, tmp_path: Path) -> None:
        [call] = calls_of(written(tmp_path, cdr(0)))
        assert call["seizure_earliest"].timestamp() == 1795321361.867
        assert call["release"].timestamp() == 1795321362.863
        assert call["answer"] is None

    @pytest.mark.parametrize(
        ("code", "disposition"),
        [("486", "unanswered"), ("487", "unanswered"), ("404", "failed"), ("503", "failed")],
    )
    def test_of_a_call_that_was_not_answered_say_so(self, tmp_path: Path, code: str, disposition: str) -> None:
        [call] = calls_of(written(tmp_path, acc(1, code=code)))
        assert (call["disposition"], call["answer"]) == (disposition, None)
        assert call["release"].timestamp() == 1795321363

    def test_leave_out_the_bye(self, tmp_path: Path) -> None:
        assert calls_of(written(tmp_path, acc(1, method="BYE"))) == []

    def test_that_say_nothing_of_the_called_number_leave_a_reject(self, tmp_path: Path) -> None:
        path = written(tmp_path, f"{HEADER}ACC: transaction answered: timestamp=1795321362;method=INVITE;code=200")
        source = SourceMapping.model_validate({"name": "x", "path": "x", "format": "kamailio_syslog"})
        [batch] = read_source(path, source, TrunkFormats())
        assert [reject.reason for reject in batch.rejected] == [RejectReason.NO_CALLED_NUMBER]

    @needs_samples
    def test_of_the_kamailio_book_are_understood(self) -> None:
        path = SHARED_SAMPLES / "kamailio_acc_syslog/unknown__kamailio-book__acc_log_extra.log"
        rows, _, _ = raw_rows(path, "kamailio_syslog")
        found = [
            (number, fields["dst_ouser"], fields["src_ip"], fields["answered_at"], fields["src_user"])
            for number, fields in rows
            if fields["method"] == "INVITE"
        ]
        assert found == [(1, "carol", "192.168.178.46", "1374493797", "alice")]
        assert [_filled(fields).get("src_ip") for number, fields in rows if number == 3] == [None]
        assert identify(path) == "kamailio_syslog"


class TestBadInput:
    def test_an_overlong_line_is_rejected_and_the_next_one_read(self, tmp_path: Path) -> None:
        path = written(tmp_path, acc(1, more=";x=" + "y" * (1 << 21)) + "\n" + acc(2) + "\n")
        rows, rejected, _ = raw_rows(path, "kamailio_syslog", columns=frozenset({"call_id"}))
        assert rows == [(2, {"call_id": "2@203.0.113.21"})]
        assert [(reject.row, len(reject.raw)) for reject in rejected] == [(1, 4096)]

    def test_undecodable_bytes_don_t_stop_the_rest(self, tmp_path: Path) -> None:
        path = written(tmp_path, b"\xc3\xff ACC: \xff\n" + acc(2).encode() + b"\n\x00\xc3\n")
        assert len(calls_of(path, where={})) == 1

    def test_a_missing_file_is_the_documented_error(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="No such file"):
            raw_rows(tmp_path / "none", "kamailio_syslog")
