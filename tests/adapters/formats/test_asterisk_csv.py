"""Master.csv of cdr_csv in all its widths, cdr_custom by its mapping; the upstream is in the channel's name.

Columns after cdr_csv.c and cdr_custom.conf.sample of Asterisk 1.4 to 22. Synthetic, but for Asterisk's own test files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.formats._asterisk import names_in
from cdr_adapters.identify import claimants, identify
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from cdr_adapters.schema import RejectReason
from tests.adapters.reading import raw_rows, written
from tests.shared import SAMPLES as SHARED_SAMPLES
from tests.shared import needs_samples

BASE = {
    "accountcode": "",
    "src": "2025550199",
    "dst": "12025550143",
    "dcontext": "from-trunk",
    "clid": '"Al "Q" ice" <2025550199>',
    "channel": "PJSIP/carrier-east-0000abcd",
    "dstchannel": "SIP/carrier-west-0000abce",
    "lastapp": "Dial",
    "lastdata": "SIP/carrier-west/12025550143,60,tT",
    "start": "2026-11-21 23:22:41",
    "answer": "2026-11-21 23:22:44",
    "end": "2026-11-21 23:23:20",
    "duration": "39",
    "billsec": "36",
    "disposition": "ANSWERED",
    "amaflags": "DOCUMENTATION",
}
UNIQUEID, USERFIELD = {"uniqueid": "sbc1-1795321361.7"}, {"userfield": "x, y"}
NEWER = {"peeraccount": "", "linkedid": "1795321361.7", "sequence": "12"}
WIDTHS = [
    BASE,
    {**BASE, **UNIQUEID},
    {**BASE, **USERFIELD},
    {**BASE, **UNIQUEID, **USERFIELD},
    {**BASE, **NEWER},
    {**BASE, **UNIQUEID, **NEWER},
    {**BASE, **USERFIELD, **NEWER},
    {**BASE, **UNIQUEID, **USERFIELD, **NEWER},
]
CUSTOM_ORDER = [
    *("clid", "src", "dst", "dcontext", "channel", "dstchannel", "lastapp", "lastdata", "start", "answer", "end"),
    *("duration", "billsec", "disposition", "amaflags", "accountcode", "uniqueid", "userfield", "sequence"),
]


def csv_line(values: dict[str, str], order: list[str] | None = None) -> str:
    def quoted(name: str) -> str:
        value = values.get(name, "")
        bare = name in ("duration", "billsec", "sequence") or (name == "answer" and not value)
        return value if bare else '"' + value.replace('"', '""') + '"'

    return ",".join(map(quoted, order or values)) + "\n"


SAMPLES: list[bytes] = ["".join(map(csv_line, WIDTHS)).encode()]
MAPPING: dict[str, Any] = {"zone": "America/New_York"}


def read(path: Path, **mapping: Any) -> tuple[list[dict[str, Any]], list[Any]]:
    table = {"name": "x", "path": "x", "format": "asterisk_csv", "zone": "America/New_York"}
    batches = list(read_source(path, SourceMapping.model_validate({**table, **mapping}), TrunkFormats()))
    return (
        [call for batch in batches for call in batch.calls.to_pylist()],
        [reject for batch in batches for reject in batch.rejected],
    )


class TestEveryWidth:
    @pytest.mark.parametrize("values", WIDTHS, ids=lambda values: str(len(values)))
    def test_gives_the_same_call(self, tmp_path: Path, values: dict[str, str]) -> None:
        [call], rejected = read(written(tmp_path, csv_line(values)))
        assert rejected == []
        assert (call["called_in"], call["called_out"], call["calling"]) == (
            "+12025550143",
            "+12025550143",
            "+12025550199",
        )
        assert (call["ingress_trunk"], call["egress_trunk"]) == ("carrier-east", "carrier-west")
        assert (call["ingress_address"], call["disposition"]) == (None, "answered")
        assert call["seizure_earliest"].timestamp() == 1795321361
        assert (call["answer"].timestamp(), call["release"].timestamp()) == (1795321364, 1795321400)
        assert call["call_id"] == (values.get("linkedid") or values.get("uniqueid"))

    def test_may_stand_in_one_file(self, tmp_path: Path) -> None:
        rows, rejected, _ = raw_rows(written(tmp_path, "".join(map(csv_line, WIDTHS))), "asterisk_csv")
        assert rejected == []
        for (_, row), values in zip(sorted(rows), WIDTHS, strict=True):
            assert {n: v for n, v in row.items() if v} == {n: v for n, v in values.items() if v}

    @pytest.mark.parametrize("order", [CUSTOM_ORDER, CUSTOM_ORDER[:18]])
    def test_of_cdr_custom_s_sample_is_told_by_where_the_times_stand(self, tmp_path: Path, order: list[str]) -> None:
        values = {**BASE, **UNIQUEID, **USERFIELD, "sequence": "12"}
        path = written(tmp_path, csv_line(values, order) * 5)
        calls, rejected = read(path)
        assert (len(calls), rejected) == (5, [])
        assert (calls[0]["called_in"], calls[0]["ingress_trunk"]) == ("+12025550143", "carrier-east")
        assert identify(path) == "asterisk_csv"

    def test_that_is_unknown_is_rejected(self, tmp_path: Path) -> None:
        short = csv_line({name: value for name, value in BASE.items() if name != "clid"})
        shuffled = csv_line(BASE, ["start", *(name for name in BASE if name != "start")])
        calls, rejected = read(written(tmp_path, short + shuffled + csv_line(BASE)))
        assert [call["row"] for call in calls] == [3]
        assert [(reject.row, reject.reason) for reject in rejected] == [
            (1, RejectReason.MALFORMED_ROW),
            (2, RejectReason.MALFORMED_ROW),
        ]
        assert all("cdr_custom.conf" in reject.detail for reject in rejected)


class TestTheTemplate:
    LEGACY = "Master.csv => ${CSV_QUOTE(${CDR(dst)})},${CSV_QUOTE(${CDR(start,u)})},${CDR(channel)},${EPOCH},x"

    def test_names_the_columns_in_their_order(self) -> None:
        assert names_in(self.LEGACY) == ["dst", "start", "channel", "epoch", "5"]
        assert names_in('fields = clid,"Some, Literal",src, start(%FT%T%z),uniqueid(noquote),ds_type(uservar)') == [
            *("clid", "2", "src", "start", "uniqueid", "ds_type"),
        ]
        assert names_in('"${CDR(dst)}"|"${CDR(src)}"', "|") == ["dst", "src"]
        assert names_in("${eventtype},${CALLERID(num)},${CHANNEL(exten)}") == ["eventtype", "cid_num", "exten"]

    def test_reads_what_the_operator_made_up(self, tmp_path: Path) -> None:
        path = written(tmp_path, '"12025550143","1795321361",PJSIP/carrier-00000001,1,x\n"12025550143"\n')
        columns = {
            "called_in": "dst",
            "seizure": {"column": "start", "format": "epoch_s"},
            "ingress_trunk": {"column": "channel", "pattern": "PJSIP/(.*)-"},
        }
        [call], [reject] = read(path, options={"template": self.LEGACY}, columns=columns)
        assert (call["called_in"], call["ingress_trunk"]) == ("+12025550143", "carrier")
        assert (reject.row, "option template" in reject.detail) == (2, True)

    def test_leaves_what_it_has_not_empty(self, tmp_path: Path) -> None:
        template = "${CDR(dst)};${CDR(start)};${CDR(channel)}"
        path = written(tmp_path, "12025550143;2026-11-21 23:22:41;DAHDI/i1/2025550199-1a\n")
        [call], rejected = read(path, options={"template": template, "delimiter": ";"})
        assert (call["ingress_trunk"], call["egress_trunk"], rejected) == ("DAHDI/i1", None, [])

    @pytest.mark.parametrize("template", ["", "1,2", "${}"])
    def test_without_fields_is_refused(self, tmp_path: Path, template: str) -> None:
        with pytest.raises(AdapterError, match="mapping"):
            read(written(tmp_path, csv_line(BASE)), options={"template": template})


class TestChannels:
    @pytest.mark.parametrize(
        ("channel", "trunk"),
        [
            ("SIP/carrier-0000abcd", "carrier"),
            ("PJSIP/carrier-east-00000001", "carrier-east"),
            ("IAX2/peer-1234", "peer"),
            ("SIP/carrier-b7a0<ZOMBIE>", "carrier"),
            ("AsyncGoto/SIP/carrier-0000abcd", "carrier"),
            ("SIP/198.51.100.20-00000003", "198.51.100.20"),
            ("DAHDI/i1/2025550199-1a", "DAHDI/i1"),
            ("DAHDI/3-1", "DAHDI/3"),
            ("Console/dsp", "Console/dsp"),
            ("Dongle/gsm0-0100000012", "Dongle/gsm0"),
            ("Local/12025550143@from-internal-00000005;1", None),
            ("", None),
        ],
    )
    def test_name_the_trunk(self, tmp_path: Path, channel: str, trunk: str | None) -> None:
        [call], _ = read(written(tmp_path, csv_line({**BASE, "channel": channel})))
        assert call["ingress_trunk"] == trunk


class TestTimes:
    def test_of_the_channel_s_creation_go_before_the_clock_on_the_wall(self, tmp_path: Path) -> None:
        """In the hour that is repeated in November the start has two readings, the uniqueid has one."""
        naive = {**BASE, "start": "2026-11-01 01:30:00", "answer": "", "end": "", "disposition": "NO ANSWER"}
        assert len(read(written(tmp_path, csv_line(naive)))[0]) == 2
        [call], _ = read(written(tmp_path, csv_line({**naive, "uniqueid": "1793514600.1"})))
        assert call["seizure_earliest"].timestamp() == 1793514600

    def test_need_a_zone(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="set zone"):
            read(written(tmp_path, csv_line(BASE)), zone=None)

    def test_of_an_answer_may_be_missing(self, tmp_path: Path) -> None:
        for word, disposition in (("NO ANSWER", "unanswered"), ("BUSY", "unanswered"), ("FAILED", "failed")):
            [call], _ = read(written(tmp_path, csv_line({**BASE, "answer": "", "disposition": word})))
            assert (call["answer"], call["disposition"]) == (None, disposition)


class TestBrokenLines:
    @pytest.mark.parametrize("broken", [csv_line(BASE).rstrip("\n")[:-1] + "\n", '"a","b\n', "x" * (1 << 21) + "\n"])
    def test_are_rejected_and_the_rest_is_read(self, tmp_path: Path, broken: str) -> None:
        calls, [reject] = read(written(tmp_path, csv_line(BASE) + broken + "\n" + csv_line(BASE)))
        assert ([call["row"] for call in calls], reject.row) == ([1, 4], 2)

    def test_with_an_extension_that_is_no_number_are_rejected(self, tmp_path: Path) -> None:
        _, [reject] = read(written(tmp_path, csv_line({**BASE, "dst": "s"})))
        assert reject.reason is RejectReason.BAD_CALLED_NUMBER


class TestIdentify:
    def test_claims_every_layout(self, tmp_path: Path) -> None:
        for values in WIDTHS:
            assert identify(written(tmp_path, csv_line(values) * 3)) == "asterisk_csv"

    @pytest.mark.parametrize(
        "content", [",".join("abcdefghijklmnop") + "\n", "a,b,c\n1,2,3\n", '"x","2026-11-21 23:22:41"\n']
    )
    def test_claims_no_other_csv(self, tmp_path: Path, content: str) -> None:
        assert "asterisk_csv" not in claimants(written(tmp_path, content))


@needs_samples
class TestRealFiles:
    """Asterisk's own tests call extensions, which are no E.164 numbers: the columns are looked at."""

    def rows(self, name: str) -> tuple[list[dict[str, str | None]], list[Any]]:
        path = SHARED_SAMPLES / f"asterisk_cdr_csv/asterisk__testsuite__{name}.csv"
        assert identify(path) == "asterisk_csv"
        rows, rejected, _ = raw_rows(path, "asterisk_csv")
        return [fields for _, fields in rows], rejected

    def test_name_the_channel_that_a_call_came_from(self) -> None:
        rows, rejected = self.rows("good")
        assert (len(rows), rejected) == (5, [])
        assert {(row["dst"], row["channel"], row["uniqueid"], row["start"]) for row in rows} == {
            ("100", "SIP/test-02897fd8", "1231977075.0", "2009-01-14 23:51:15")
        }

    def test_report_the_line_whose_quote_is_not_closed(self) -> None:
        rows, [reject] = self.rows("buggy")
        assert (rows, reject.row, reject.detail) == ([], 1, "quotes don't match")
        assert '"100"' in reject.raw
        assert "SIP/test-02897fd8" in reject.raw

    def test_may_come_from_the_console(self) -> None:
        rows, rejected = self.rows("Master")
        assert rejected == []
        assert [(row["dst"], row["channel"], row["uniqueid"]) for row in rows] == [
            ("1", "Console/dsp", "1270167992.0"),
            ("1", "Console/dsp", "1270168442.0"),
        ]
