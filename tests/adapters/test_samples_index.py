"""Every real file of the samples folder gives its known answer, as an engineer would ask for it on the command line.

INDEX.tsv says what each file's true answer is; here stands, for each, what `hopback-cdr lookup` (or `inspect`) must
say: the call's number as the file writes it, its time, and where it came in. Where a store records no upstream, or two
calls can't be told apart, the known answer is that, and the calls that were considered. A file of the index without an
entry fails.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from agent.kit import main
from agent.kit_lookup import Asked, Found, look_up
from agent.scan import Called
from cdr_adapters.kit.mapping_file import MappingFile
from cdr_adapters.kit.subject import Subject
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from tests.adapters import test_siplab_stores as stores
from tests.adapters.formats.acme_rows import VALUES
from tests.adapters.reading import written
from tests.shared import SAMPLES, SIPLAB, needs_samples, needs_siplab


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@dataclass(frozen=True)
class Lookup:
    """A question about a file, and the answer.

    `came_in` are the trunk and address of the upstream; of an ambiguous one those of every call that fits, by row.
    """

    called: str
    at: str
    came_in: tuple[str | None, str | None] | None = None
    options: tuple[str, ...] = ()
    mapping: str = ""
    outcome: str = "FOUND"
    rows: tuple[int, ...] | None = None
    considered: Mapping[int, tuple[str | None, str | None]] | None = None

    def check(self, file: Path, directory: Path) -> None:
        """Ask."""
        more = list(self.options)
        if self.mapping:
            more += ["--mapping", str(written(directory, self.mapping, "sample.toml"))]
        result = run("lookup", file, "--called", self.called, "--at", self.at, "--json", *more)
        assert result.exit_code in (0, 1), result.output
        told = json.loads(result.stdout)
        assert told["outcome"] == self.outcome, told
        if self.came_in is not None:
            routes = {(route["trunk"], route["address"]) for route in told["upstream"]["came_in_by"]}
            assert routes == {self.came_in}
        if self.rows is not None:
            (taken,) = [call for call in told["calls"] if call["taken"]]
            assert tuple(sorted(taken["rows"])) == self.rows
        if self.considered is not None:
            seen = {row: (c["ingress_trunk"], c["ingress_address"]) for c in told["calls"] for row in c["rows"]}
            assert seen == self.considered


@dataclass(frozen=True)
class Inspect:
    """What must come of reading a file: counts, and what a rejected row says."""

    calls: int
    rejected: Mapping[str, tuple[int, ...]]
    options: tuple[str, ...] = ()
    example: str = ""

    def check(self, file: Path, directory: Path) -> None:
        """Read it."""
        result = run("inspect", file, "--json", "--show-numbers", *self.options)
        assert result.exit_code == 0, result.output
        told = json.loads(result.stdout)
        assert told["calls"] == self.calls
        assert {entry["reason"]: tuple(entry["rows"]) for entry in told["rejected"]} == self.rejected
        assert self.example in json.dumps([entry["example"] for entry in told["rejected"]])


@dataclass(frozen=True)
class Order:
    """A file that holds no call but the names of a release's columns in their order: a row in that order is read."""

    values: Mapping[str, str]
    asks: Lookup
    before: str = ""

    def check(self, file: Path, directory: Path) -> None:
        """Build a row in that order, with fictitious content, and ask for its call."""
        rows = list(csv.reader(file.read_text().splitlines()))
        names = [row[1 if len(row) > 1 else 0] for row in rows]
        row = ",".join(self.values.get(name, "") for name in names)
        assert len(set(names) & self.values.keys()) > 8
        self.asks.check(written(directory, f"{self.before}{row}\n" * 2, "built"), directory)


FLATSTORE = ("--option", 'columns=["reqtype","account","destination","subject","dialog"]')
FLATSTORE_ACCOUNT = """
format = "opensips_flatstore"
where = { method = "INVITE" }
options = { columns = ["reqtype", "account", "destination", "subject", "dialog"] }
[columns]
called_in = "destination"
answer = { column = "time", format = "epoch_s" }
ingress_trunk = "account"
call_id = "callid"
disposition = { column = "sip_code", values = { "200" = "answered", "487" = "unanswered", "*" = "failed" } }
"""
ACME_ASKS = Lookup("+12025550143", "2026-11-20T23:54:56.868Z", ("access", "203.0.113.20"))
BROADWORKS = {
    "recordId": "0000001234005056A80A1B20261120155456.8681-080000",
    "serviceProvider": "Example",
    "type": "Normal",
    "userNumber": "+12025550143",
    "direction": "Terminating",
    "callingNumber": "+12025550199",
    "callingPresentationIndicator": "Public",
    "calledNumber": "+12025550143",
    "startTime": "20261120235456.868",
    "userTimeZone": "1-080000",
    "answerIndicator": "No",
    "releaseTime": "20261120235506.000",
    "terminationCause": "016",
    "networkType": "VoIP",
    "route": "203.0.113.20:5060",
    "networkCallID": "BW1@203.0.113.20",
}

KNOWN: Mapping[str, tuple[Lookup | Inspect | Order, ...]] = {
    "asterisk_cdr_csv/asterisk__testsuite__good.csv": (
        Lookup("100", "2009-01-14T23:51:15Z", ("test", None), ("--zone", "UTC"), rows=(1, 2, 3, 4, 5)),
    ),
    "asterisk_cdr_csv/asterisk__testsuite__buggy.csv": (
        Inspect(0, {"malformed-row": (1,)}, ("--zone", "UTC"), example="SIP/test"),
    ),
    "asterisk_cdr_csv/asterisk__testsuite__Master.csv": (
        Lookup("1", "2010-04-02T00:26:32Z", ("Console/dsp", None), ("--zone", "UTC")),
    ),
    "asterisk_cel/asterisk__testsuite__CELMaster1.csv": (
        Lookup("s", "2012-04-24T23:29:55.513Z", ("TinCan/string", None)),
    ),
    "opensips_acc_flatstore/cgrates__cgrates__flatstore_fullSuccessfull.log": (
        Lookup("1002", "2015-07-09T15:06:48Z", outcome="UPSTREAM_NOT_RECORDED", options=FLATSTORE, rows=(1,)),
        Lookup("1002", "2015-07-09T15:06:48Z", ("1001", None), mapping=FLATSTORE_ACCOUNT, rows=(1,)),
    ),
    "opensips_acc_flatstore/cgrates__cgrates__flatstore_fullMissed.log": (
        Lookup("1002", "2015-07-09T15:10:43Z", outcome="UPSTREAM_NOT_RECORDED", options=FLATSTORE),
        Lookup("1002", "2015-07-09T15:10:43Z", ("1001", None), mapping=FLATSTORE_ACCOUNT),
    ),
    "opensips_acc_flatstore/cgrates__cgrates__flatstore_part1.log": (Inspect(0, {}, FLATSTORE),),
    "opensips_acc_flatstore/cgrates__cgrates__flatstore_part2.log": (
        Lookup("1002", "2015-07-09T15:06:48Z", outcome="UPSTREAM_NOT_RECORDED", options=FLATSTORE, rows=(2,)),
    ),
    "opensips_acc_flatstore/cgrates__cgrates__flatstore_ackSuccessfull.log": (
        Lookup(
            "1002",
            "2015-07-09T15:06:48Z",
            ("1001", None),
            mapping=FLATSTORE_ACCOUNT.replace('"INVITE"', '"ACK"').replace('"dialog"', '"dialog", "source"'),
            rows=(2,),
        ),
    ),
    "broadworks_xml/cgrates__cgrates__filexml_it_test_cdrXmlBroadsoft.xml": (
        Lookup("1001", "2016-04-19T21:00:06.909Z", ("gw01.cgrates.org", None)),
    ),
    "freeswitch_json_cdr/cgrates__cgrates__fscdr_test_body.json": (
        Lookup("1002", "2018-01-11T10:25:44Z", (None, "10.10.10.100")),
    ),
    "generic_fixed_width/cgrates__cgrates__filefwv_content.fwv": (
        Lookup(
            "+40123123120",
            "2012-07-08T18:15:06Z",
            outcome="UPSTREAM_NOT_RECORDED",
            rows=(2,),
            mapping="""
format = "fixed_width"
options = { columns = { kind = "1-3", start = "15-28", calling = "29-49", called = "50-65" } }
where = { kind = "CDR" }
zone = "UTC"
[columns]
called_in = { column = "called", format = "00e164" }
calling = "calling"
seizure = { column = "start", format = "%Y%m%d%H%M%S" }
""",
        ),
    ),
    "freeswitch_cdr_csv/signalwire-docs__FreeSWITCH-Explained-CDR__Master.csv": (
        Lookup(
            "+34688886392",
            "2014-05-29T16:59:50Z",
            options=("--zone", "UTC"),
            outcome="UPSTREAM_NOT_RECORDED",
            rows=(1,),
        ),
        Lookup(
            "34688886392",
            "2014-05-29T17:01:33Z",
            options=("--zone", "UTC"),
            outcome="UPSTREAM_NOT_RECORDED",
            rows=(3,),
        ),
    ),
    "generic_csv/cdr-stats__cdr-stats__import_cdr_100.txt": (
        Lookup(
            "650200000",
            "2012-05-04T03:24:02Z",
            outcome="UPSTREAM_NOT_RECORDED",
            mapping="""
format = "delimited"
options = { header = false, trim = true }
[columns]
called_in = "3"
calling = "1"
seizure = { column = "8", format = "epoch_s" }
call_id = "7"
""",
        ),
    ),
    "kazoo_cdr_json/2600hz__kazoo__cdr.json": (
        Lookup(
            "*97",
            "2013-07-29T21:52:39Z",
            outcome="AMBIGUOUS",  # the record has only when it was written: the call itself may lie a day before
            considered={1: ("7f89565344e3e6302df60168420e9265", None)},
        ),
        Lookup(
            "*97",
            "2013-07-29T21:52:39Z",
            ("7f89565344e3e6302df60168420e9265", None),
            mapping="""
format = "jsonl"
[columns]
called_in = "request"
seizure = { column = "pvt_created", format = "gregorian_s" }
ingress_trunk = "custom_channel_vars.account_id"
call_id = "call_id"
""",
        ),
    ),
    "ribbon_sonus_act/cjnielsen77__ribbon-cdr-parser__start_stop_attempt.ACT": (
        # two calls within a second that came in from two sides, and the calling number of one is not recorded
        Lookup(
            "+15307520014",
            "2013-02-22T17:02:12.5Z",
            options=("--option", "times=gmt"),
            outcome="AMBIGUOUS",
            considered={
                1: ("NBS_TRUSTED_ABCASX1", "10.158.10.170"),
                2: ("NBS_TRUSTED_ABCASX1", "10.158.10.170"),
                3: ("NBSPUBSIP_ON_SIF93", "10.158.140.130"),
            },
        ),
        Inspect(0, {"bad-time": (1, 2, 3)}),  # without a word on the clock, no time is taken for known
    ),
    "audiocodes_syslog/unknown__ODP.CoreLib.UnitTest__ReportParserUnitTest.log": (
        Lookup("2001", "2022-12-05T18:57:52.320Z", ("LAN", "10.0.1.1")),
    ),
    "kamailio_acc_syslog/unknown__kamailio-book__acc_log_extra.log": (
        Lookup("carol", "2013-07-22T11:49:57Z", (None, "192.168.178.46")),
    ),
    "cisco_cucm_cdr/unknown__test_fixture__reduced_columns.csv": (
        Lookup("7002", "2023-09-05T07:46:40Z", ("SEP001122334455", "10.0.0.5")),
    ),
    "teams_direct_routing/microsoftgraph__microsoft-graph-docs__getDirectRoutingCalls_example.json": (
        # the trunk is the customer's own SBC: not the upstream
        Lookup("+01234567***", "2019-11-01T00:00:21.949Z", outcome="UPSTREAM_NOT_RECORDED"),
    ),
    "broadworks_csv/unknown__Strata8__bw_r14sp2.PSEUDONYMISED.csv": (
        Lookup("+19785550100", "2009-01-26T20:29:52.193Z", ("Example_gp", "10.0.11.50"), rows=(3,)),
    ),
    "broadworks_csv/elmerfud__broadsoft_cdr__v18_cdr_csv.fieldnames.txt": (
        Order(
            BROADWORKS,
            Lookup("+12025550143", "2026-11-20T23:54:56.868Z", (None, "203.0.113.20")),
            before="version=18.0 encoding=ISO-8859-1\n",
        ),
    ),
    **{
        f"oracle_acme_csv/crushton__acme_packet_parsecdr__{release}.fieldorder.csv": (
            Order(VALUES["start" if release.endswith("start") else "stop"], ACME_ASKS),
        )
        for release in ("C610_stop", "C620_stop", "C630_stop", "C640_stop", "C640_start", "D710_start")
    },
    "sip_pcap/irontec__sngrep__ipv6frag.pcap": (
        Lookup("08019200028", "2022-03-22T05:20:26.048Z", (None, "fd17:625c:f037:2:a00:27ff:feb9:1521")),
    ),
    "sip_pcap/OISF__suricata-verify__sip-body-large.pcap": (
        Lookup("bob", "2026-06-23T19:37:32Z", (None, "127.0.0.1"), ("--option", 'own_addresses=["127.0.0.1:5060"]')),
    ),
    "sip_pcap/OISF__suricata-verify__sip_compact_form.pcap": (
        Lookup("97239287044", "2024-04-18T13:14:56.386Z", (None, "1.1.1.1"), ("--option", 'own_addresses=["2.2.2.2"]')),
    ),
    "sip_pcap/wireshark__wireshark__sip.pcapng": (
        Lookup(
            "+17324201111",
            "2014-03-06T13:39:06.1Z",
            (None, "127.0.0.1"),
            ("--option", 'own_addresses=["127.0.0.1:5060"]'),
        ),
    ),
    "sip_pcap/zeek__zeek__wireshark.pcap": (
        Lookup(
            "+97239287044",
            "2005-07-04T09:43:53Z",
            (None, "192.168.1.2"),
            ("--option", 'own_addresses=["200.68.120.81", "212.242.33.35"]'),
        ),
        # whose side the capture was taken on is not said: no upstream, but not a wrong one either
        Lookup("+97239287044", "2005-07-04T09:43:53Z", outcome="UPSTREAM_NOT_RECORDED"),
    ),
    "sip_pcap/CONSTRUCTED__b2bua_tcp_segments_udp_fragments_identity_diversion.pcap": (
        Lookup("+33987654321", "2023-06-22T14:29:10.006Z", (None, "192.0.2.10")),
    ),
}


def indexed() -> list[dict[str, str]]:
    if not SAMPLES.is_dir():
        return []
    with (SAMPLES / "INDEX.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@needs_samples
@pytest.mark.parametrize("path", [row["saved_path"] for row in indexed()])
def test_every_file_of_the_index_gives_its_known_answer(path: str, tmp_path: Path) -> None:
    assert path in KNOWN, f"add what {path} must give"
    if path.startswith("sip_pcap/") and shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    for known in KNOWN[path]:
        known.check(SAMPLES / path, tmp_path)


@needs_samples
def test_no_entry_is_about_a_file_that_is_not_in_the_index() -> None:
    assert KNOWN.keys() <= {row["saved_path"] for row in indexed()}


@needs_samples
class TestTheWalkItself:
    """Answers that are wrong on purpose: the walk must see each of them."""

    @pytest.mark.parametrize(
        "changes",
        [
            {"came_in": ("other", None)},
            {"outcome": "NOT_FOUND"},
            {"called": "101"},
            {"at": "2009-01-14T22:51:15Z"},
            {"rows": (1,)},
        ],
    )
    def test_sees_a_wrong_answer(self, changes: dict[str, Any], tmp_path: Path) -> None:
        path = "asterisk_cdr_csv/asterisk__testsuite__good.csv"
        (right,) = KNOWN[path]
        assert isinstance(right, Lookup)
        wrong = Lookup(**{**right.__dict__, **changes})
        with pytest.raises((AssertionError, TypeError)):
            wrong.check(SAMPLES / path, tmp_path)


def _acc(columns: Mapping[str, Any], answer: Mapping[str, Any], **table: Any) -> dict[str, Any]:
    return {"columns": {**columns, "answer": answer}, "max_setup": "120s", **stores.INVITE, **table}


_JULIAN = {"column": "time", **stores.JULIAN}
_LOCAL = {"column": "time", "format": stores.LOCAL}
_EPOCH = {"column": "time", "format": "epoch_s"}
LAB_STORES: Mapping[str, tuple[dict[str, Any], TrunkFormats]] = {
    "alder/alder.db": (
        _acc(stores.ALDER, _JULIAN, format="sqlite", options={"table": "acc"}),
        stores.ALDER_TRUNKS,
    ),
    "alder/alder_acc.csv": (_acc(stores.ALDER, _JULIAN, format="delimited"), stores.ALDER_TRUNKS),
    "birch/birch.sql": (
        _acc(stores.BIRCH, _LOCAL, format="sqldump", options={"table": "acc"}, **stores.NEW_YORK),
        TrunkFormats(),
    ),
    "birch/birch_acc.csv": (_acc(stores.BIRCH, _LOCAL, format="delimited", **stores.NEW_YORK), TrunkFormats()),
    "cedar/cedar.syslog": (
        {
            "format": "kamailio_syslog",
            "where": {"kind": "acc", "method": "INVITE"},
            "columns": stores.CEDAR_ACC,
            "max_setup": "120s",
        },
        TrunkFormats(),
    ),
    "dogwood/dogwood.db": (
        {"format": "sqlite", "options": {"table": "cdrs"}, "columns": stores.DOGWOOD},
        TrunkFormats(),
    ),
    "dogwood/dogwood_cdrs.csv": ({"format": "delimited", "columns": stores.DOGWOOD}, TrunkFormats()),
    "ginkgo/ginkgo.db": (
        {
            "format": "sqlite",
            "options": {"table": "acc"},
            "columns": stores.GINKGO,
            "max_setup": "120s",
            **stores.INVITE,
        },
        TrunkFormats(),
    ),
    "ginkgo/ginkgo_acc.csv": (
        {"format": "delimited", "columns": stores.GINKGO, "max_setup": "120s", **stores.INVITE},
        TrunkFormats(),
    ),
    "ivy/ivy_radius.detail": (
        {
            "format": "radius_detail",
            "where": {"Sip-Method": "INVITE"},
            "columns": {**stores.IVY, "answer": {"column": "Timestamp", "format": "epoch_s"}},
            "max_setup": "120s",
        },
        stores.IVY_TRUNKS,
    ),
}
"""The lab's stores with what their engineers know of them; those that hold the same calls in another layout are left
to `test_siplab_stores`."""


@needs_siplab
class TestTheLab:
    """Calls whose whole path is known, asked for in each provider's store by number and time alone."""

    def asked(self, provider: str, subject: Subject, most: int | None = None) -> Iterator[tuple[dict[str, Any], Found]]:
        """Each answered call that passed this provider once, and what its records say of it."""
        calls = [json.loads(line) for line in (SIPLAB / "TRUTH.jsonl").read_text().splitlines()]
        mine = [call for call in calls if call["path"].count(provider) == 1 and call["final_code"] == 200]
        for call in mine[:most]:
            (hop,) = [hop for hop in call["hops"] if hop["provider"] == provider]
            numbers = dict.fromkeys((call["called_dialled_e164"], call["called_at_terminating_e164"]))
            at = datetime.fromisoformat(call["time_sent_utc"])
            calling = Called.parse("+1" + call["calling_sent"][-10:]).number
            for number in numbers:
                found = look_up(subject, Asked(Called.parse(number), at, timedelta(seconds=60), calling), None)
                if found.outcome != "NOT_FOUND":
                    yield hop, found

    def subject(self, file: str, table: dict[str, Any], formats: TrunkFormats) -> Subject:
        source = SourceMapping.model_validate({"name": "lab", "path": "x", **table})
        return Subject(SIPLAB / file, file, MappingFile(source, formats), "the lab", None)

    @pytest.mark.parametrize("store", LAB_STORES)
    def test_no_store_names_another_than_the_true_upstream(self, store: str) -> None:
        told = list(self.asked(store.partition("/")[0], self.subject(store, *LAB_STORES[store])))
        named = [(hop, found) for hop, found in told if found.named]
        assert len(named) >= 0.7 * len(told) > 0
        for hop, found in named:
            assert (hop["ingress_trunk"], hop["upstream_ip"]) in found.came_in_by, hop
            assert len(found.came_in_by) == 1

    @pytest.mark.slow
    @pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
    @pytest.mark.parametrize("provider", ["alder", "birch", "cedar", "dogwood", "elm", "ginkgo", "ivy"])
    def test_no_capture_does(self, provider: str) -> None:
        (path,) = (SIPLAB / "pcap").glob(f"{provider}.pcap*")
        providers = json.loads((SIPLAB / "TOPOLOGY.json").read_text())["providers"]
        (own,) = [entry["addresses"] for entry in providers if entry["name"] == provider]
        table = {"format": "sip_pcap", "options": {"own_addresses": own}}
        formats = TrunkFormats(
            *(
                {
                    address: trunk["called_format"]
                    for entry in providers
                    if entry["name"] == provider
                    for trunk in entry["trunks"]
                    if trunk["direction"] == side
                    for address in trunk["peer_ips"]
                }
                for side in ("ingress", "egress")
            )
        )
        told = list(self.asked(provider, self.subject(f"pcap/{path.name}", table, formats), most=2))
        named = [(hop, found) for hop, found in told if found.named]
        assert named
        for hop, found in named:
            assert found.came_in_by == [(None, hop["upstream_ip"])]
