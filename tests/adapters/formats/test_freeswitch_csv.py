"""CSV of mod_cdr_csv, cut where the operator's template has its own text, for FreeSWITCH escapes nothing.

Templates after conf/vanilla/autoload_configs/cdr_csv.conf.xml of FreeSWITCH 1.10. Synthetic, but for the file of the
FreeSWITCH documentation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.formats.freeswitch_csv import TEMPLATES, template_of
from cdr_adapters.identify import claimants, identify
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from cdr_adapters.schema import RejectReason
from tests.adapters.formats.freeswitch_legs import A_LEG
from tests.adapters.reading import raw_rows, written
from tests.shared import SAMPLES as SHARED_SAMPLES
from tests.shared import needs_samples

LEG = {
    **A_LEG,
    "caller_id_name": "Alice",
    "caller_id_number": "2025550199",
    "ani": "2025550199",
    "destination_number": "12025550143",
    "network_addr": "198.51.100.20",
    "answer_stamp": "2026-11-22 04:22:44",
    "end_stamp": "2026-11-22 04:23:20",
    "duration": "39",
}
OWN = (
    "${direction}|${caller_id_number}|${destination_number}|${start_uepoch}|${answer_uepoch}|${sip_network_ip}|"
    "${sip_gateway}"
)


def line(template: str, leg: dict[str, str] = LEG) -> str:
    """What FreeSWITCH makes of a template: every variable replaced, nothing escaped."""
    parts = template_of(template)
    values = [leg.get(name, "") for name in parts.names]
    return "".join(text + value for text, value in zip(parts.texts, [*values, ""], strict=True)) + "\n"


SAMPLES: list[bytes] = [line("example").encode() * 3]
MAPPING: dict[str, Any] = {"zone": "UTC"}


def read(path: Path, template: str = "example", **mapping: Any) -> tuple[list[dict[str, Any]], list[Any], int]:
    table = {"name": "x", "path": "x", "format": "freeswitch_csv", "options": {"template": template}, "zone": "UTC"}
    source = SourceMapping.model_validate({**table, **mapping})
    batches = list(read_source(path, source, TrunkFormats()))
    return (
        [call for batch in batches for call in batch.calls.to_pylist()],
        [reject for batch in batches for reject in batch.rejected],
        sum(batch.skipped for batch in batches),
    )


class TestShippedTemplates:
    @pytest.mark.parametrize("name", TEMPLATES)
    def test_give_their_calls(self, tmp_path: Path, name: str) -> None:
        path = written(tmp_path, line(name) * 20)
        calls, rejected, _ = read(path, name)
        assert (len(calls), rejected) == (20, [])
        call = calls[0]
        assert (call["called_in"], call["calling"]) == ("+12025550143", "+12025550199")
        assert call["answer"].timestamp() == 1795321364
        assert call["disposition"] == "answered"
        assert call["ingress_address"] == ("198.51.100.20" if name == "opencdrrate" else None)
        if name != "opencdrrate":
            assert call["seizure_earliest"].timestamp() == 1795321361

    @pytest.mark.parametrize("name", TEMPLATES)
    def test_are_known_by_their_lines(self, tmp_path: Path, name: str) -> None:
        assert identify(written(tmp_path, line(name) * 3)) == "freeswitch_csv"

    def test_need_a_zone(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="set zone"):
            read(written(tmp_path, line("example")), zone=None)

    def test_may_show_calls_that_nobody_answered(self, tmp_path: Path) -> None:
        leg = {**LEG, "answer_stamp": "", "billsec": "0", "hangup_cause": "USER_BUSY"}
        [call], _, _ = read(written(tmp_path, line("example", leg)))
        assert (call["disposition"], call["answer"]) == ("unanswered", None)


class TestTheOperatorsTemplate:
    def test_names_the_columns(self, tmp_path: Path) -> None:
        [call], _, _ = read(written(tmp_path, line(OWN)), OWN)
        assert (call["ingress_address"], call["ingress_trunk"]) == ("198.51.100.20", "carrier-east")
        assert call["seizure_earliest"].timestamp() == 1795321361.25

    def test_may_be_given_as_in_the_configuration(self, tmp_path: Path) -> None:
        element = '<template name="own">&quot;${uuid}&quot;,"${destination_number}","${start_epoch}"</template>'
        rows, _, _ = raw_rows(
            written(tmp_path, f'"{LEG["uuid"]}","12025550143","1795321361"\n'), "freeswitch_csv", {"template": element}
        )
        assert rows[0][1]["destination_number"] == "12025550143"

    def test_never_gives_the_other_side_of_a_leg_that_went_out(self, tmp_path: Path) -> None:
        for direction in ("outbound", ""):
            [call], _, _ = read(written(tmp_path, line(OWN, {**LEG, "direction": direction})), OWN)
            assert (call["ingress_address"], call["ingress_trunk"]) == (None, None)

    def test_may_tell_b_legs_which_are_skipped(self, tmp_path: Path) -> None:
        template = OWN + "|${originator}"
        path = written(tmp_path, line(template) + line(template, {**LEG, "originator": "1111"}))
        calls, _, skipped = read(path, template)
        assert (len(calls), skipped) == (1, 1)

    @pytest.mark.parametrize("template", ["nothing", "${a}${b}", "", "<template></template>"])
    def test_that_can_t_be_taken_apart_is_refused(self, tmp_path: Path, template: str) -> None:
        with pytest.raises(AdapterError, match="template"):
            read(written(tmp_path, line("example")), template)


class TestQuotesWithinValues:
    @pytest.mark.parametrize("name", ['Al "Q" ice', '"Alice"', "Al,ice", 'A"', '"', "O'Hara"])
    @pytest.mark.parametrize("template", ["example", "snom", "sql"])
    def test_stay_in_them(self, tmp_path: Path, name: str, template: str) -> None:
        path = written(tmp_path, line(template, {**LEG, "caller_id_name": name}))
        rows, rejected, _ = raw_rows(path, "freeswitch_csv", {"template": template})
        assert rejected == []
        assert (rows[0][1]["caller_id_name"], rows[0][1]["caller_id_number"]) == (name, "2025550199")

    @pytest.mark.parametrize("template", ["example", "snom", "sql"])
    def test_that_leave_two_readings_reject_the_line(self, tmp_path: Path, template: str) -> None:
        leg = {**LEG, "caller_id_name": 'Alice","2025550100'}
        calls, [reject], _ = read(written(tmp_path, line(template, leg) + line(template)), template)
        assert ([call["row"] for call in calls], reject.row) == ([2], 1)
        assert reject.reason is RejectReason.MALFORMED_ROW

    def test_that_a_spreadsheet_took_away_are_not_missed(self, tmp_path: Path) -> None:
        plain = line("example").replace('"', "").replace("2026-11-22 04:22:41", "2026/11/22 4:22")
        [call], rejected, _ = read(written(tmp_path, plain))
        assert (call["called_in"], rejected) == ("+12025550143", [])
        assert call["seizure_earliest"].timestamp() == 1795321320


class TestLines:
    @pytest.mark.parametrize(
        "broken",
        [
            line("linksys"),
            line("example")[:60] + "\n",
            line("example").replace("2026-11-22 04:22:41", "yesterday"),
            "x" * (1 << 21) + "\n",
            '"","",""\n',
        ],
    )
    def test_that_don_t_fit_the_template_are_rejected_and_the_next_is_read(self, tmp_path: Path, broken: str) -> None:
        calls, rejected, _ = read(written(tmp_path, broken + "\n" + line("example")))
        assert [call["row"] for call in calls] == [3]
        assert [(reject.row, reject.reason) for reject in rejected] == [(1, RejectReason.MALFORMED_ROW)]


class TestIdentify:
    @pytest.mark.parametrize("content", ['"a","b","c"\n' * 3, "1,2,3\n", '"9007","9007","0034","public"\n'])
    def test_claims_no_other_csv(self, tmp_path: Path, content: str) -> None:
        assert "freeswitch_csv" not in claimants(written(tmp_path, content))


@needs_samples
class TestTheRealFile:
    def test_gives_the_calls_of_the_documentation(self) -> None:
        path = SHARED_SAMPLES / "freeswitch_cdr_csv/signalwire-docs__FreeSWITCH-Explained-CDR__Master.csv"
        assert identify(path) == "freeswitch_csv"
        calls, rejected, _ = read(path, zone="Europe/Madrid")
        assert {call["called_in"] for call in calls} == {"+34688886392"}
        assert calls[0]["seizure_earliest"].isoformat() == "2014-05-29T14:59:50+00:00"
        assert (calls[0]["disposition"], calls[0]["ingress_address"]) == ("unanswered", None)
        assert [(reject.row, reject.reason) for reject in rejected] == [
            (3, RejectReason.BAD_CALLED_NUMBER),
            (5, RejectReason.BAD_CALLED_NUMBER),
        ]
