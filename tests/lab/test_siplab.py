"""What an agent's configuration for a lab of real calls takes from a store, and what it refuses to guess.

All stores here are synthetic, small, and written as Kamailio and its database drivers write theirs.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.read import read_source
from deploy.lab.siplab import agent_tables
from deploy.lab.siplab_tables import LabError

CALLED, CALLING = "+12025550143", "+12025550110"
AT = datetime(2026, 11, 20, 12, 0, 3, tzinfo=UTC)
EPOCH = int(AT.timestamp())

TRUNKS = [
    {
        "trunk": "IN-A",
        "direction": "ingress",
        "peer": "alder",
        "peer_ips": ["192.0.2.1"],
        "called_format": "11d",
    },
    {
        "trunk": "IN-P",
        "direction": "ingress",
        "peer": "elm",
        "peer_ips": ["192.0.2.2"],
        "called_format": "tech:7788#:11d",
    },
    {
        "trunk": "OUT-C",
        "direction": "egress",
        "peer": "cedar",
        "peer_ips": ["192.0.2.3"],
        "called_format": "e164",
    },
]
DESCRIBED = {
    "time": "time: epoch s",
    "called": "dst_ouser as received; dst_user as sent on",
    "calling": "src_user",
    "source": "src_ip; src_trunk",
}
ACC = {
    "method": "INVITE",
    "callid": "c1@192.0.2.1",
    "sip_code": "200",
    "src_user": CALLING,
    "dst_ouser": "12025550143",
    "dst_user": CALLED,
    "src_ip": "192.0.2.1",
    "src_trunk": "IN-A",
    "dst_trunk": "OUT-C",
}


def provider(store: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """What TOPOLOGY.json says of birch."""
    return {
        "name": "birch",
        "addresses": ["198.51.100.20"],
        "process_timezone": "UTC",
        "clock_skew_s": 0,
        "cdr_start_on_confirmed": 0,
        "trunks": TRUNKS,
        "store": {**DESCRIBED, **store},
        **more,
    }


def write(lab: Path, name: str, text: str) -> Path:
    file = lab / "birch" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def sources(lab: Path, store: Mapping[str, Any], heard: list[str] | None = None, **more: Any) -> list[dict[str, Any]]:
    note = (heard if heard is not None else []).append
    return list(agent_tables(lab, provider(store, **more), note)["sources"])


def calls(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """All call legs of the sources, as an agent reads them."""
    formats = TrunkFormats({str(t["trunk"]): str(t["called_format"]) for t in TRUNKS}, {})
    return [
        row
        for source in found
        for batch in read_source(Path(source["path"]), SourceMapping.model_validate(source), formats)
        for row in batch.calls.to_pylist()
    ]


def csv_of(*records: Mapping[str, object]) -> str:
    """Comma-separated text of records that have the same keys."""
    return "\n".join([",".join(records[0]), *(",".join(map(str, r.values())) for r in records)]) + "\n"


class TestStores:
    def test_json_lines_behind_a_syslog_header_are_read_by_shape_transactions_and_calls(self, tmp_path: Path) -> None:
        acc = {"time": EPOCH, **ACC}
        bye = {**acc, "method": "BYE", "dst_ouser": "", "dst_user": "", "src_trunk": "", "dst_trunk": ""}
        cdr = {"start_time": f"{EPOCH - 2}.250", "end_time": f"{EPOCH + 9}.000", **ACC}
        del cdr["method"], cdr["sip_code"]
        lines = [f"Nov 20 12:00:03 sbc1 json_acc[238]: {json.dumps(record)}" for record in (acc, bye, cdr)]
        write(tmp_path, "birch.log", "\n".join(lines) + "\n")
        found = sources(tmp_path, {"files": ["birch.log"]})
        assert {source["name"] for source in found} == {"json_acc", "json_cdr"}
        read = calls(found)
        assert len(read) == 2
        assert {(row["called_in"], row["ingress_trunk"], row["egress_trunk"]) for row in read} == {
            (CALLED, "IN-A", "OUT-C")
        }
        assert min(row["seizure_latest"] for row in read) == AT.replace(second=1, microsecond=251_000)

    def test_db_text_tables_lie_in_a_directory_beside_tables_of_another_kind(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            "dbtext/acc",
            "id(int,auto) method(string) callid(string) sip_code(string) time(time) src_user(string,null) "
            "dst_ouser(string,null) src_ip(string,null) src_trunk(string,null) dst_trunk(string,null)\n"
            f"1:INVITE:c1:200:{EPOCH}:{CALLING}:12025550143:192.0.2.1:IN-A:OUT-C\n"
            f"2:BYE:c1:200:{EPOCH + 9}:{CALLING}::192.0.2.1::\n",
        )
        write(tmp_path, "dbtext/version", "table_name(string) table_version(int)\nacc:5\n")
        heard: list[str] = []
        (read,) = calls(sources(tmp_path, {"files": ["dbtext/"], "called": "dst_ouser"}, heard))
        assert (read["called_in"], read["disposition"]) == (CALLED, "answered")
        assert heard == []

    def test_a_dump_of_insert_statements_is_as_good_as_one_of_copy_blocks(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            "birch.sql",
            "CREATE TABLE `acc` (\n  `id` int,\n  `method` varchar(16),\n  `time` datetime,\n  `dst_ouser` text,\n"
            "  `src_trunk` text\n);\n"
            "INSERT INTO `acc` VALUES (1,'INVITE','2026-11-20 12:00:03','12025550143','IN-A');\n",
        )
        (read,) = calls(sources(tmp_path, {"files": ["birch.sql"], "time": "UTC text"}))
        assert read["seizure_latest"] == AT.replace(second=4)

    def test_a_file_without_heading_takes_the_names_that_its_description_lists(self, tmp_path: Path) -> None:
        write(tmp_path, "flat/acc_129.log", f"INVITE|c1|{EPOCH}|12025550143|IN-A\n")
        store = {"files": ["flat/acc_<pid>.log"], "columns_acc": "method|callid|time|dst_ouser|src_trunk"}
        (read,) = calls(sources(tmp_path, store))
        assert (read["called_in"], read["ingress_trunk"]) == (CALLED, "IN-A")

    def test_without_such_a_list_it_is_refused(self, tmp_path: Path) -> None:
        write(tmp_path, "flat/acc_129.log", f"INVITE|c1|{EPOCH}|12025550143|IN-A\n")
        heard: list[str] = []
        with pytest.raises(LabError, match="birch"):
            sources(tmp_path, {"files": ["flat/*.log"]}, heard)
        assert "names" in heard[0]

    def test_files_that_the_description_does_not_name_are_found(self, tmp_path: Path) -> None:
        write(tmp_path, "export.csv", csv_of({"time": EPOCH, **ACC}))
        assert len(calls(sources(tmp_path, {"files": ["acc.csv"]}))) == 1

    def test_a_native_store_goes_before_its_export(self, tmp_path: Path) -> None:
        write(tmp_path, "acc.csv", csv_of({"time": EPOCH, **ACC}))
        write(tmp_path, "acc.json", json.dumps({"time": EPOCH, **ACC}) + "\n")
        (source,) = sources(tmp_path, {"files": ["acc.csv", "acc.json"]})
        assert source["format"] == "jsonl"

    def test_an_export_goes_before_the_capture_where_the_native_store_is_no_use(self, tmp_path: Path) -> None:
        write(tmp_path, "acc.csv", csv_of({"time": EPOCH, **ACC}))
        write(tmp_path, "acc.json", '{"colour": "blue", "time": "noon"}\n')
        heard: list[str] = []
        (source,) = sources(tmp_path, {"files": ["acc.csv", "acc.json"]}, heard)
        assert source["format"] == "delimited"
        assert heard

    def test_a_mapping_that_most_records_do_not_fit_is_not_used(self, tmp_path: Path) -> None:
        strange = [{"time": EPOCH + i, **ACC, "dst_ouser": f"ext{i}", "dst_user": f"ext{i}"} for i in range(3)]
        write(tmp_path, "acc.csv", csv_of({"time": EPOCH, **ACC}, *strange))
        heard: list[str] = []
        with pytest.raises(LabError, match="birch"):
            sources(tmp_path, {"files": ["acc.csv"]}, heard)
        assert "3 bad-called-number" in heard[0]

    def test_tables_of_one_name_become_sources_of_two(self, tmp_path: Path) -> None:
        for directory in ("one", "two"):
            write(tmp_path, f"{directory}/acc.csv", csv_of({"time": EPOCH, **ACC}))
        assert {s["name"] for s in sources(tmp_path, {"files": ["*/acc.csv"]})} == {"acc", "acc-2"}

    def test_stored_sip_messages_are_no_call_records(self, tmp_path: Path) -> None:
        (tmp_path / "birch").mkdir()
        with closing(sqlite3.connect(tmp_path / "birch" / "trace.db")) as db:
            db.execute("CREATE TABLE sip_trace (time TEXT, called TEXT, msg TEXT)")
            db.execute("INSERT INTO sip_trace VALUES (?, ?, ?)", (str(EPOCH), CALLED, "INVITE sip:... SIP/2.0"))
            db.commit()
        with pytest.raises(LabError):
            sources(tmp_path, {"files": ["trace.db"]})


class TestCalledNumbers:
    def test_what_was_received_and_what_was_sent_is_as_described_in_whatever_order(self, tmp_path: Path) -> None:
        write(tmp_path, "acc.csv", csv_of({"time": EPOCH, **ACC, "dst_user": "12025550199"}))
        described = "sent on: dst_user, received: dst_ouser"
        (read,) = calls(sources(tmp_path, {"files": ["acc.csv"], "called": described}))
        assert (read["called_in"], read["called_out"]) == (CALLED, "+12025550199")

    def test_a_technical_prefix_is_taken_off_where_it_stands(self, tmp_path: Path) -> None:
        prefixed = {**ACC, "dst_ouser": "7788#12025550143", "src_ip": "192.0.2.2", "src_trunk": "IN-P"}
        write(tmp_path, "acc.csv", csv_of({"time": EPOCH, **ACC}, {"time": EPOCH, **prefixed}))
        assert [row["called_in"] for row in calls(sources(tmp_path, {"files": ["acc.csv"]}))] == [CALLED, CALLED]

    def test_a_store_that_has_taken_it_off_already_is_read_as_it_is(self, tmp_path: Path) -> None:
        normalised = {**ACC, "src_ip": "192.0.2.2", "src_trunk": "IN-P"}
        write(tmp_path, "acc.csv", csv_of({"time": EPOCH, **ACC}, {"time": EPOCH, **normalised}))
        assert [row["called_in"] for row in calls(sources(tmp_path, {"files": ["acc.csv"]}))] == [CALLED, CALLED]


class TestTimes:
    def read(self, lab: Path, written: str, described: str, **more: Any) -> datetime:
        """The end of the seizure interval of the one call whose `time` is so written."""
        write(lab, "acc.csv", csv_of({"time": written, **ACC}))
        (row,) = calls(sources(lab, {"files": ["acc.csv"], "time": described}, **more))
        latest = row["seizure_latest"]
        assert isinstance(latest, datetime)
        return latest

    @pytest.mark.parametrize(
        ("written", "described"),
        [
            ("2026-11-20 17:30:03", "local time text, Asia/Kolkata"),
            ("2026-11-20 17:30:03", "written through the database driver"),
            ("2026-11-20 12:00:03", "UTC text"),
            ("2026/11/20 17:30:03", "local time, YYYY/MM/DD"),
            ("2026-11-20T17:30:03+05:30", "ISO 8601"),
            (str(EPOCH), "epoch s"),
        ],
    )
    def test_a_time_without_zone_is_the_process_s_unless_utc_is_said(
        self, tmp_path: Path, written: str, described: str
    ) -> None:
        assert self.read(tmp_path, written, described, process_timezone="Asia/Kolkata") == AT.replace(second=4)

    def test_a_clock_that_is_off_is_set_right(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, str(EPOCH - 120), "epoch s", clock_skew_s=-120) == AT.replace(second=4)

    def test_a_julian_day_half_a_second_low_is_a_truncated_second(self, tmp_path: Path) -> None:
        low = (EPOCH - 0.5) / 86400 + 2440587.5
        assert abs((self.read(tmp_path, f"{low:.8f}", "Julian day") - AT).total_seconds() - 1) < 0.01

    def test_a_julian_day_on_the_second_is_taken_as_it_is(self, tmp_path: Path) -> None:
        exact = EPOCH / 86400 + 2440587.5
        assert abs((self.read(tmp_path, f"{exact:.8f}", "Julian day") - AT).total_seconds() - 1) < 0.01

    def test_a_start_is_the_setup_or_the_answer_as_the_provider_says(self, tmp_path: Path) -> None:
        record = {"start_time": EPOCH, "callid": "c1", "dst_ouser": "12025550143", "src_trunk": "IN-A"}
        write(tmp_path, "cdrs.csv", csv_of(record))
        spans = []
        for confirmed in (0, 1):
            (row,) = calls(sources(tmp_path, {"files": ["cdrs.csv"]}, cdr_start_on_confirmed=confirmed))
            spans.append((row["seizure_latest"] - row["seizure_earliest"]).total_seconds())
        assert spans[0] <= 1 < 100 < spans[1]

    def test_a_time_of_no_known_form_is_refused(self, tmp_path: Path) -> None:
        heard: list[str] = []
        write(tmp_path, "acc.csv", csv_of({"time": "20/11/26 noon", **ACC}))
        with pytest.raises(LabError):
            sources(tmp_path, {"files": ["acc.csv"]}, heard)
        assert "no time form" in heard[0]


class TestSides:
    def test_a_column_is_the_trunk_whose_names_it_mostly_holds(self, tmp_path: Path) -> None:
        rows = [{"time": EPOCH + i, **ACC, "src_trunk": name} for i, name in enumerate(["IN-A", "", "IN-P", "IN-A"])]
        renamed = [{key.replace("_trunk", "_tg"): value for key, value in row.items()} for row in rows]
        write(tmp_path, "acc.csv", csv_of(*renamed))
        (source,) = sources(tmp_path, {"files": ["acc.csv"], "source": "src_ip"})
        assert source["columns"]["ingress_trunk"] == {"column": "src_tg"}
        assert source["columns"]["egress_trunk"] == {"column": "dst_tg"}

    def test_where_trunks_carry_both_directions_the_description_tells_which_is_the_source(self, tmp_path: Path) -> None:
        both = [{**trunk, "direction": "both"} for trunk in TRUNKS]
        write(tmp_path, "acc.csv", csv_of({"time": EPOCH, **ACC}))
        (source,) = sources(tmp_path, {"files": ["acc.csv"]}, trunks=both)
        assert source["columns"]["ingress_trunk"] == {"column": "src_trunk"}
        assert source["columns"]["egress_trunk"] == {"column": "dst_trunk"}

    def test_without_trunk_names_addresses_serve_on_both_sides(self, tmp_path: Path) -> None:
        record = {"time": EPOCH, **ACC, "dst_ip": "192.0.2.3"}
        del record["src_trunk"], record["dst_trunk"]
        write(tmp_path, "acc.csv", csv_of(record))
        (source,) = sources(tmp_path, {"files": ["acc.csv"]})
        assert source["columns"]["ingress_address"] == {"column": "src_ip"}
        assert source["columns"]["egress_address"] == {"column": "dst_ip"}

    def test_a_from_host_is_never_the_source(self, tmp_path: Path) -> None:
        record = {"time": EPOCH, **ACC, "src_domain": "192.0.2.1", "dst_domain": "192.0.2.3"}
        del record["src_ip"], record["src_trunk"], record["dst_trunk"]
        write(tmp_path, "acc.csv", csv_of(record))
        (source,) = sources(tmp_path, {"files": ["acc.csv"], "source": "src_domain"})
        assert not {"ingress_address", "egress_address", "ingress_trunk"} & set(source["columns"])
