"""The stores of real calls that ten providers carried: every row accounted for, times and numbers as they really were.

The mappings below say what an engineer of each provider knows of its store. Kamailio's acc rows are written when the
final reply comes, acc_cdrs rows begin with the seizure (but with the answer where cdr_start_on_confirmed is set).
db_sqlite writes the Julian day of the truncated second less half a second.
"""

from __future__ import annotations

import csv
import re
import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.identify import identify
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.read import read_source
from cdr_adapters.schema import CALLS
from tests.shared import needs_siplab

LAB = Path(__file__).parents[2] / "../shared/siplab"
pytestmark = needs_siplab

JULIAN = {"format": "julian", "shift": "0.5s", "resolution": "1s"}
ALDER = {
    "called_in": {"column": "dst_ouser", "format": "trunk"},
    "called_out": {"column": "dst_user", "format": "trunk"},
    "calling": "src_user",
    "ingress_trunk": "src_trunk",
    "ingress_address": "src_ip",
    "egress_trunk": "dst_trunk",
    "call_id": "callid",
}
ALDER_TRUNKS = TrunkFormats(
    {"TG-IVY-I": "11d", "CUST-7011": "10d", "CUST-7012": "e164", "CUST-7013": "11d", "CUST-7019": "10d"},
    {"TG-BIRCH-O": "10d", "TG-CEDAR-O": "11d", "TG-DOGWOOD-O": "e164", "TG-ELM-O": "tech:77501:11d"},
)
BIRCH = {
    "called_in": {"column": "dnis", "format": "11d"},
    "calling": "ani",
    "ingress_trunk": "in_tg",
    "ingress_address": "remote_ip",
    "egress_trunk": "out_tg",
    "call_id": "callid",
}
NEW_YORK: dict[str, Any] = {"zone": "America/New_York", "clock_offset": "47s"}
INVITE: dict[str, Any] = {"where": {"method": "INVITE"}}
DOGWOOD = {
    "called_in": "orig_called",
    "called_out": "xlated_called",
    "calling": "calling",
    "seizure": {"column": "start_local", **JULIAN},
    "ingress_trunk": "orig_trunk",
    "ingress_address": "orig_addr",
    "egress_trunk": "term_trunk",
    "call_id": "sip_callid",
}
ELM = {
    "called_in": {"column": "dst_ouser", "format": "trunk"},
    "calling": "src_user",
    "ingress_trunk": "src_trunk",
    "ingress_address": "src_ip",
    "egress_trunk": "dst_trunk",
    "call_id": "callid",
}
ELM_TRUNKS = TrunkFormats(
    {"EL10I": "tech:77501:11d", "EL12I": "10d", "EL13I": "11d", "EL15I": "11d", "EL18I": "tech:0155#:11d"}
)
ELM_ACC = """method from_tag to_tag callid sip_code sip_reason time src_user dst_ouser src_ip src_trunk
dst_trunk""".split()  # noqa: SIM905 - as the operator listed them
ELM_CDRS = ["start_time", "end_time", "duration", "callid", "src_user", "dst_ouser", "src_ip", "src_trunk", "dst_trunk"]
CEDAR_ACC = {
    "called_in": "ruri_in",
    "called_out": "ruri_out",
    "calling": "src_user",
    "answer": {"column": "timestamp", "format": "epoch_s"},
    "ingress_trunk": "itrunk",
    "ingress_address": "src_ip",
    "egress_trunk": "etrunk",
    "call_id": "call_id",
}
CEDAR_CDR = {
    "called_in": "callee",
    "calling": "caller",
    "seizure": {"column": "start_time", "format": "epoch_s"},
    "ingress_trunk": "itrunk",
    "ingress_address": "src_ip",
    "egress_trunk": "etrunk",
    "call_id": "callid",
}
GINKGO = {
    "called_in": {"column": "called", "format": "e164"},
    "calling": "caller",
    "answer": {
        "column": "time_sec",
        "format": "epoch_s",
        "fraction_column": "time_usec",
        "fraction_unit": "us",
    },
    "ingress_trunk": "in_trunk",
    "ingress_address": "peer_ip",
    "egress_trunk": "out_trunk",
    "call_id": "callid",
}
IVY = {
    "called_in": "Called-Station-Id",
    "called_out": {"column": "Connect-Info", "pattern": "dst=([^;]*)", "format": "trunk"},
    "calling": "Calling-Station-Id",
    "ingress_trunk": {"column": "Connect-Info", "pattern": "in=([^;]*)"},
    "ingress_address": {"column": "Connect-Info", "pattern": "src=([^;]*)"},
    "egress_trunk": {"column": "Connect-Info", "pattern": "out=([^;]*)"},
    "call_id": "Acct-Session-Id",
}
IVY_TRUNKS = TrunkFormats({}, {"ivy-alder-o": "11d", "ivy-cedar-o": "11d", "ivy-elm-o": "tech:0155#:11d"})
LOCAL = "%Y-%m-%d %H:%M:%S"


class Read:
    """One file read by one mapping: its calls, and the counts that must reconcile."""

    def __init__(
        self, file: str, name: str, columns: dict[str, Any], trunks: TrunkFormats | None = None, **table: Any
    ) -> None:
        mapping = SourceMapping.model_validate(
            {"name": "siplab", "path": "x", "format": name, "columns": columns, "max_setup": "120s", **table}
        )
        self.path = LAB / file
        self.calls: list[dict[str, Any]] = []
        self.rejected = self.skipped = 0
        for batch in read_source(self.path, mapping, trunks or TrunkFormats()):
            batch.calls.validate(full=True)
            assert batch.calls.schema == CALLS
            self.calls += batch.calls.to_pylist()
            self.rejected += len(batch.rejected)
            self.skipped += batch.skipped

    @property
    def records(self) -> int:
        return len(self.calls) + self.rejected + self.skipped


def apart_from_rows(read: Read) -> list[tuple[Any, ...]]:
    return sorted(tuple(str(value) for name, value in call.items() if name != "row") for call in read.calls)


def csv_records(file: str) -> int:
    with (LAB / file).open(newline="") as lines:
        return sum(1 for _ in csv.reader(lines)) - 1


def table_records(file: str, table: str) -> int:
    connection = sqlite3.connect(f"file:{LAB / file}?mode=ro&immutable=1", uri=True)
    try:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    finally:
        connection.close()


def lines(file: str, pattern: str = ".") -> int:
    return sum(1 for line in (LAB / file).read_text().splitlines() if re.search(pattern, line))


def alder(table: str) -> Read:
    if table == "acc_cdrs":
        columns = ALDER | {"seizure": {"column": "start_time", **JULIAN}}
        return Read("alder/alder.db", "sqlite", columns, ALDER_TRUNKS, options={"table": table})
    columns = ALDER | {"answer": {"column": "time", **JULIAN}}
    return Read("alder/alder.db", "sqlite", columns, ALDER_TRUNKS, options={"table": table}, **INVITE)


def birch(file: str, name: str, **table: Any) -> Read:
    columns = BIRCH | {"answer": {"column": "time", "format": LOCAL}}
    return Read(file, name, columns, **NEW_YORK, **INVITE, **table)


def elm() -> Iterator[Read]:
    flat = {"delimiter": "|", "header": False}
    for pid in (129, 130, 131):
        acc = ELM | {"answer": {"column": "time", "format": "epoch_s"}}
        options = flat | {"names": ELM_ACC}
        yield Read(f"elm/flat/acc_{pid}.log", "delimited", acc, ELM_TRUNKS, options=options, **INVITE)
        cdrs = ELM | {"seizure": {"column": "start_time", "format": "epoch_s"}}
        options = flat | {"names": ELM_CDRS}
        yield Read(f"elm/flat/acc_cdrs_{pid}.log", "delimited", cdrs, ELM_TRUNKS, options=options)


def ginkgo() -> Read:
    return Read("ginkgo/ginkgo.db", "sqlite", GINKGO, options={"table": "acc"}, **INVITE)


class TestEveryRowIsAccountedFor:
    def test_in_alders_database(self) -> None:
        for table in ("acc", "acc_cdrs", "missed_calls"):
            read = alder(table)
            assert (read.records, read.rejected) == (table_records("alder/alder.db", table), 0)

    def test_in_alders_exports(self) -> None:
        columns = ALDER | {"seizure": {"column": "start_time", **JULIAN}}
        read = Read("alder/alder_acc_cdrs.csv", "delimited", columns, ALDER_TRUNKS)
        assert (read.records, read.rejected) == (csv_records("alder/alder_acc_cdrs.csv"), 0)
        same = alder("acc_cdrs")
        assert apart_from_rows(read) == apart_from_rows(same)

    def test_in_birchs_dump_and_export_which_agree(self) -> None:
        dump = birch("birch/birch.sql", "sqldump", options={"table": "acc"})
        export = birch("birch/birch_acc.csv", "delimited")
        assert dump.records == export.records == csv_records("birch/birch_acc.csv")
        assert dump.rejected == export.rejected == 0
        assert apart_from_rows(dump) == apart_from_rows(export)

    def test_in_cedars_syslog(self) -> None:
        acc = Read("cedar/cedar.syslog", "kamailio_syslog", CEDAR_ACC, where={"kind": "acc", "method": "INVITE"})
        cdr = Read("cedar/cedar.syslog", "kamailio_syslog", CEDAR_CDR, where={"kind": "cdr"})
        assert acc.records == cdr.records == lines("cedar/cedar.syslog")
        assert acc.rejected == cdr.rejected == 0
        assert len(acc.calls) == lines("cedar/cedar.syslog", "method=INVITE")
        assert len(cdr.calls) == lines("cedar/cedar.syslog", "log_write_cdr")

    def test_in_dogwoods_database_and_export(self) -> None:
        for file, name in (("dogwood/dogwood.db", "sqlite"), ("dogwood/dogwood_cdrs.csv", "delimited")):
            read = Read(file, name, DOGWOOD, options={"table": "cdrs"} if name == "sqlite" else {})
            assert (read.records, read.rejected, len(read.calls)) == (36, 0, 36)

    def test_in_elms_flat_files(self) -> None:
        for read in elm():
            assert (read.records, read.rejected) == (lines(f"elm/flat/{read.path.name}"), 0)

    def test_in_ginkgos_database(self) -> None:
        read = ginkgo()
        assert (read.records, read.rejected) == (table_records("ginkgo/ginkgo.db", "acc"), 0)

    def test_in_ivys_detail_file(self) -> None:
        answer = {"answer": {"column": "Timestamp", "format": "epoch_s"}}
        read = Read("ivy/ivy_radius.detail", "radius_detail", IVY | answer, IVY_TRUNKS, where={"Sip-Method": "INVITE"})
        assert (read.records, read.rejected) == (lines("ivy/ivy_radius.detail", "Acct-Status-Type"), 0)
        assert len(read.calls) == lines("ivy/ivy_radius.detail", "Sip-Method = INVITE")


class TestTimes:
    def test_of_one_call_agree_between_providers(self) -> None:
        """Each store has its own clock, zone and notation; the answers of one call lie within two seconds."""
        terminated = {call["call_id"]: call["seizure_latest"] for call in ginkgo().calls}
        answered = [
            *alder("acc").calls,
            *birch("birch/birch.sql", "sqldump", options={"table": "acc"}).calls,
            *Read("cedar/cedar.syslog", "kamailio_syslog", CEDAR_ACC, where={"kind": "acc", "method": "INVITE"}).calls,
        ]
        compared = [(call, terminated[call["call_id"]]) for call in answered if call["call_id"] in terminated]
        assert len(compared) > 300
        apart = [abs(call["seizure_latest"] - latest) for call, latest in compared]
        assert sorted(apart)[len(apart) // 2] <= timedelta(seconds=1)
        assert sum(one <= timedelta(seconds=2) for one in apart) >= 0.95 * len(apart), "the rest are second attempts"

    def test_of_alder_and_ginkgo_agree_call_by_call(self) -> None:
        received: dict[str, list[datetime]] = {}
        for call in ginkgo().calls:
            received.setdefault(call["call_id"], []).append(call["seizure_latest"])
        compared = [call for call in alder("acc").calls if call["call_id"] in received]
        assert len(compared) > 50
        for call in compared:
            assert min(abs(call["seizure_latest"] - time) for time in received[call["call_id"]]) <= timedelta(seconds=2)

    def test_of_seizures_come_before_the_answers_of_the_same_calls(self) -> None:
        answers = {call["call_id"]: call["seizure_latest"] for call in alder("acc").calls}
        for call in alder("acc_cdrs").calls:
            assert call["seizure_earliest"] <= answers[call["call_id"]]
            assert call["seizure_latest"] - call["seizure_earliest"] == timedelta(seconds=1)

    def test_in_three_notations_of_one_file_are_the_same(self) -> None:
        notations = (
            ({"column": "Timestamp", "format": "epoch_s"}, None),
            ({"column": "Event-Timestamp", "format": "%b %d %Y %H:%M:%S %Z"}, "America/Denver"),
            ({"column": "header", "format": "%a %b %d %H:%M:%S %Y"}, "America/Denver"),
        )
        read = [
            Read(
                "ivy/ivy_radius.detail",
                "radius_detail",
                IVY | {"answer": time},
                IVY_TRUNKS,
                where={"Sip-Method": "INVITE"},
                zone=zone,
            ).calls
            for time, zone in notations
        ]
        assert len(read[0]) == 85
        assert read[0] == read[1]
        shifts = {one["seizure_latest"] - other["seizure_latest"] for one, other in zip(read[0], read[2], strict=True)}
        assert shifts <= {timedelta(0), timedelta(seconds=-1)}, "the header is written when the record is"


class TestNumbers:
    def test_lose_the_tech_prefix_of_their_trunk(self) -> None:
        calls = [call for read in elm() for call in read.calls]
        prefixed = [call for call in calls if call["ingress_trunk"] in ("EL10I", "EL18I")]
        assert len(prefixed) > 20
        assert all(re.fullmatch(r"\+1\d{3}555\d{4}", call["called_in"]) for call in calls)
        sent = [call for call in alder("acc").calls if call["egress_trunk"] == "TG-ELM-O"]
        assert sent
        assert all(call["called_out"] == call["called_in"] for call in sent)

    def test_of_toll_free_calls_differ_on_the_two_sides_of_dogwood(self) -> None:
        read = Read("dogwood/dogwood.db", "sqlite", DOGWOOD, options={"table": "cdrs"})
        translated = [call for call in read.calls if call["called_in"][:5] in ("+1800", "+1833", "+1888")]
        assert translated
        assert all(call["called_out"] != call["called_in"] for call in translated)
        plain = [call for call in read.calls if call not in translated]
        assert all(call["called_out"] == call["called_in"] for call in plain)

    def test_of_callers_are_known_unless_withheld(self) -> None:
        calls = alder("acc").calls
        assert sum(call["calling"] is not None for call in calls) > 0.9 * len(calls)


class TestAddresses:
    def test_may_be_ipv6(self) -> None:
        read = Read("dogwood/dogwood.db", "sqlite", DOGWOOD, options={"table": "cdrs"})
        assert "2001:db8:c::30" in {call["ingress_address"] for call in read.calls}


class TestIdentify:
    @pytest.mark.parametrize(
        ("file", "name"),
        [
            ("alder/alder.db", "kamailio_acc"),
            ("alder/alder_acc.csv", "kamailio_acc"),
            ("birch/birch.sql", "kamailio_acc"),
            ("dogwood/dogwood.db", "sqlite"),
            ("cedar/cedar.syslog", "kamailio_syslog"),
            ("elm/flat/acc_129.log", "opensips_flatstore"),
            ("ivy/ivy_radius.detail", "radius_detail"),
            ("pcap/alder.pcap.gz", "sip_pcap"),
            ("pcap/ginkgo.pcapng.gz", "sip_pcap"),
        ],
    )
    def test_knows_every_store(self, file: str, name: str) -> None:
        assert identify(LAB / file) == name
