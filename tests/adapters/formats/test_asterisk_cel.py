"""Channel event logs: a call is put together from its events, one leg for each channel that it went out on.

After the CEL specification of Asterisk 12 and later and cel_custom.conf.sample of 1.8 and 22. Synthetic, but for
Asterisk's own test file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.formats import asterisk_cel
from cdr_adapters.identify import claimants, identify
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from cdr_adapters.schema import RejectReason
from tests.adapters.reading import memory_peak_below, raw_rows, written
from tests.shared import SAMPLES as SHARED_SAMPLES
from tests.shared import needs_samples

T0 = 1795321361


def event(
    kind: str, second: float, channel: str, unique: str, linked: str, *, exten: str = "12025550143", **more: str
) -> str:
    fields = {
        **dict.fromkeys(asterisk_cel._SAMPLE, ""),
        "eventtype": kind,
        "eventtime": f"{T0 + second:.6f}",
        "cidnum": "2025550199",
        "exten": exten,
        "context": "from-trunk",
        "channame": channel,
        "uniqueid": unique,
        "linkedid": linked,
        **more,
    }
    return ",".join('"' + value.replace('"', '""') + '"' for value in fields.values()) + "\n"


def call(linked: str = f"{T0}.1", *, routes: tuple[tuple[str, str], ...] = (("SIP/west-00000002", "16"),)) -> list[str]:
    """A call that came in over PJSIP/east and was tried over `routes`, each with the cause of its end."""
    east = "PJSIP/east-00000001"
    lines = [event("CHAN_START", 0.25, east, linked, linked)]
    for number, (channel, cause) in enumerate(routes, 1):
        unique, at = f"{T0}.{number + 10}", 1.0 * number
        lines.append(event("CHAN_START", at, channel, unique, linked, exten="s"))
        if number == len(routes) and cause == "16":
            lines.append(event("ANSWER", at + 0.5, channel, unique, linked))
            lines.append(event("ANSWER", at + 0.5, east, linked, linked))
        lines.append(event("HANGUP", at + 0.9, channel, unique, linked, eventextra=f'{{"hangupcause":{cause},"x":""}}'))
        lines.append(event("CHAN_END", at + 0.9, channel, unique, linked))
    lines.append(event("HANGUP", 30, east, linked, linked, eventextra="16,dialplan/builtin,"))
    lines.append(event("CHAN_END", 30, east, linked, linked))
    lines.append(event("LINKEDID_END", 30, east, linked, linked))
    return lines


SAMPLES: list[bytes] = ["".join(call()).encode()]
MAPPING: dict[str, Any] = {}


def read(path: Path, **mapping: Any) -> tuple[list[dict[str, Any]], list[Any], int]:
    source = SourceMapping.model_validate({"name": "x", "path": "x", "format": "asterisk_cel", **mapping})
    batches = list(read_source(path, source, TrunkFormats()))
    return (
        [leg for batch in batches for leg in batch.calls.to_pylist()],
        [reject for batch in batches for reject in batch.rejected],
        sum(batch.skipped for batch in batches),
    )


class TestACall:
    def test_is_one_leg_for_the_channel_that_it_went_out_on(self, tmp_path: Path) -> None:
        lines = call()
        [leg], rejected, skipped = read(written(tmp_path, "".join(lines)))
        assert (leg["called_in"], leg["calling"]) == ("+12025550143", "+12025550199")
        assert (leg["ingress_trunk"], leg["egress_trunk"]) == ("east", "west")
        assert leg["seizure_earliest"].timestamp() == T0 + 0.25
        assert (leg["answer"].timestamp(), leg["release"].timestamp()) == (T0 + 1.5, T0 + 1.9)
        assert (leg["call_id"], leg["disposition"], leg["row"]) == (f"{T0}.1", "answered", 2)
        assert (rejected, skipped) == ([], len(lines) - 1)

    def test_that_was_tried_over_several_routes_has_a_leg_for_each(self, tmp_path: Path) -> None:
        routes = (("SIP/first-1a", "38"), ("SIP/second-1b", "17"), ("SIP/third-1c", "16"))
        legs, _, _ = read(written(tmp_path, "".join(call(routes=routes))))
        assert [(leg["egress_trunk"], leg["disposition"]) for leg in legs] == [
            ("first", "route-advanced"),
            ("second", "unanswered"),
            ("third", "answered"),
        ]
        assert {leg["seizure_earliest"].timestamp() for leg in legs} == {T0 + 0.25}
        assert {leg["ingress_trunk"] for leg in legs} == {"east"}

    def test_that_failed_on_its_only_route_failed(self, tmp_path: Path) -> None:
        [leg], _, _ = read(written(tmp_path, "".join(call(routes=(("SIP/first-1a", "38"),)))))
        assert (leg["disposition"], leg["answer"]) == ("failed", None)

    def test_that_went_nowhere_is_one_leg_without_egress(self, tmp_path: Path) -> None:
        [leg], _, skipped = read(written(tmp_path, "".join(call(routes=()))))
        assert (leg["egress_trunk"], leg["disposition"], leg["row"]) == (None, "unanswered", 1)
        assert skipped == 3

    def test_through_a_local_channel_has_no_leg_for_it(self, tmp_path: Path) -> None:
        routes = (("Local/12025550143@out-00000001;1", "16"),)
        [leg], _, _ = read(written(tmp_path, "".join(call(routes=routes))))
        assert (leg["ingress_trunk"], leg["egress_trunk"]) == ("east", None)

    def test_that_started_at_s_has_the_number_that_it_was_called_by(self, tmp_path: Path) -> None:
        linked = f"{T0}.1"
        for more in ({"ciddnid": "12025550143"}, {}):
            lines = [
                event("CHAN_START", 0, "DAHDI/i1/2025550199-1", linked, linked, exten="s", **more),
                event("ANSWER", 1, "DAHDI/i1/2025550199-1", linked, linked, exten="12025550143"),
            ]
            [leg], _, _ = read(written(tmp_path, "".join(lines)))
            assert (leg["called_in"], leg["ingress_trunk"]) == ("+12025550143", "DAHDI/i1")


class TestCallsTogether:
    def test_are_told_apart_by_their_linkedid(self, tmp_path: Path) -> None:
        one, two = call("1795321361.1"), call("1795321361.2")
        mixed = [line for pair in zip(one, two, strict=True) for line in pair]
        legs, rejected, skipped = read(written(tmp_path, "".join(mixed)))
        assert sorted(leg["call_id"] for leg in legs) == ["1795321361.1", "1795321361.2"]
        assert (rejected, skipped) == ([], len(mixed) - 2)

    def test_whose_end_is_missing_end_with_the_file(self, tmp_path: Path) -> None:
        [leg], _, _ = read(written(tmp_path, "".join(call()[:2])))
        assert (leg["egress_trunk"], leg["release"]) == ("west", None)

    def test_whose_beginning_is_missing_have_a_reject(self, tmp_path: Path) -> None:
        lines = call()
        legs, [reject], skipped = read(written(tmp_path, "".join(lines[3:])))
        assert (legs, reject.row, reject.reason) == ([], 1, RejectReason.MALFORMED_ROW)
        assert skipped == len(lines) - 4
        assert "beginning" in reject.detail

    def test_that_never_end_take_little_memory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(asterisk_cel, "_HELD", 1 << 20)
        path = written(tmp_path, "".join(call(f"{T0}.{n}", routes=())[0] for n in range(40_000)))
        with memory_peak_below(24 << 20):
            assert sum(batch.columns.num_rows for batch in _raw(path)) == 40_000


def _raw(path: Path) -> Any:
    return asterisk_cel.read(path, asterisk_cel.Options(), frozenset({"linkedid"}))


class TestMappings:
    def test_with_the_sample_s_literal_are_known(self, tmp_path: Path) -> None:
        lines = [line.replace('","', '","My Literal","', 1) for line in call()]
        assert len(read(written(tmp_path, "".join(lines)))[0]) == 1

    def test_of_older_releases_are_known(self, tmp_path: Path) -> None:
        lines = [",".join(line.rstrip("\n").split(",")[:18]) + "\n" for line in call(routes=())[:1]]
        assert len(read(written(tmp_path, "".join(lines)))[0]) == 1

    def test_of_one_s_own_are_given_as_the_template(self, tmp_path: Path) -> None:
        template = "fields = EventTime,EventType,ChanName,UniqueID,LinkedID,Exten,CIDNum"
        lines = (
            f"{T0}.5;CHAN_START;PJSIP/east-01;{T0}.1;{T0}.1;12025550143;2025550199\n"
            f"{T0 + 1}.5;CHAN_START;PJSIP/west-02;{T0}.2;{T0}.1;s;\n"
        )
        path = written(tmp_path, lines)
        [leg], rejected, _ = read(path, options={"template": template, "delimiter": ";"})
        assert (leg["called_in"], leg["ingress_trunk"], leg["egress_trunk"]) == ("+12025550143", "east", "west")
        assert rejected == []

    def test_that_lack_what_is_needed_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="linkedid"):
            read(written(tmp_path, ""), options={"template": "EventType,EventTime,ChanName,UniqueID"})

    def test_with_local_times_need_a_zone(self, tmp_path: Path) -> None:
        path = written(
            tmp_path,
            "".join(event("CHAN_START", 0, "SIP/a-1", "1795321361.1", "1795321361.1", eventtime="2026-11-21 23:22:41")),
        )
        assert read(path)[1][0].reason is RejectReason.BAD_TIME
        [leg], _, _ = read(path, zone="America/New_York")
        assert leg["seizure_earliest"].timestamp() == T0


class TestBrokenLines:
    @pytest.mark.parametrize("broken", ['"CHAN_START","now"\n', '"a\n', "x" * (1 << 21) + "\n", "1,2,3\n"])
    def test_are_rejected_and_the_rest_is_read(self, tmp_path: Path, broken: str) -> None:
        legs, [reject], _ = read(written(tmp_path, broken + "".join(call())))
        assert ([leg["row"] for leg in legs], reject.row) == ([3], 1)


class TestIdentify:
    def test_claims_the_sample_mapping(self, tmp_path: Path) -> None:
        assert identify(written(tmp_path, "".join(call()))) == "asterisk_cel"

    @pytest.mark.parametrize(
        "content", ['"CHAN_START","1795321361.5"\n', "a,b,c\n", '"NEWS","1795321361"' + ',""' * 18]
    )
    def test_claims_no_other_csv(self, tmp_path: Path, content: str) -> None:
        assert "asterisk_cel" not in claimants(written(tmp_path, content))


@needs_samples
class TestTheRealFile:
    """A call from a test channel to the extension `s`, which is no E.164 number: the columns are looked at."""

    def test_names_the_channel_that_the_call_came_from(self) -> None:
        path = SHARED_SAMPLES / "asterisk_cel/asterisk__testsuite__CELMaster1.csv"
        assert identify(path) == "asterisk_cel"
        [(line, row)], rejected, skipped = raw_rows(path, "asterisk_cel")
        assert (line, rejected, skipped) == (1, [], 15)
        assert (row["exten"], row["channel"], row["start"]) == ("s", "TinCan/string", "1335310195.513823")
        assert (row["dstchannel"], row["outcome"], row["linkedid"]) == (None, "answered", "1335310195.0")
