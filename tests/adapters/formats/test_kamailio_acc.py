"""Accounting tables of Kamailio and OpenSIPS, wherever they lie: the same calls from a database, a dump, an export.

Tables after the schemas of Kamailio 5.8 (acc, missed_calls, acc_cdrs) and OpenSIPS 3.4 (acc). Synthetic, but for the
stores of the lab.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.identify import claimants, identify
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from cdr_adapters.schema import RejectReason
from tests.adapters.formats.sql_tables import as_database, as_dump, as_export, as_mysql
from tests.adapters.reading import written
from tests.shared import SIPLAB, needs_siplab

ACC = (
    "id",
    "method",
    "from_tag",
    "to_tag",
    "callid",
    "sip_code",
    "sip_reason",
    "time",
    "src_user",
    "src_ip",
    "dst_ouser",
)
CDRS = ("id", "start_time", "end_time", "duration", "callid", "src_user", "src_ip", "dst_ouser")
EASTERN = "2026-11-21 23:22:44"


def acc(number: int, time: object = EASTERN, method: str = "INVITE", code: str = "200") -> tuple[object, ...]:
    called = f"1202555{number + 100:04}"
    return (number, method, "a", "b", f"{number}@203.0.113.21", code, "OK", time, "2025550199", "198.51.100.20", called)


def cdr(number: int, start: object = "2026-11-21 23:22:41") -> tuple[object, ...]:
    called = f"1202555{number + 100:04}"
    return (number, start, "2026-11-21 23:23:20", "39", f"{number}@203.0.113.21", "2025550199", "198.51.100.20", called)


ROWS = (acc(1), acc(2, method="BYE"), acc(3))
MISSED = (acc(1, code="487"),)

SAMPLES: list[bytes] = [
    as_database(acc=(ACC, ROWS), missed_calls=(ACC, MISSED), acc_cdrs=(CDRS, (cdr(1),))),
    as_dump(acc=(ACC, ROWS)),
    as_mysql(acc=(ACC, ROWS)),
    as_export(ACC, ROWS),
]
MAPPING: dict[str, Any] = {"zone": "America/New_York"}


def read(path: Path, **mapping: Any) -> tuple[list[dict[str, Any]], list[Any], int]:
    table = {"name": "x", "path": "x", "format": "kamailio_acc", "zone": "America/New_York", **mapping}
    batches = list(read_source(path, SourceMapping.model_validate(table), TrunkFormats()))
    return (
        [call for batch in batches for call in batch.calls.to_pylist()],
        [reject for batch in batches for reject in batch.rejected],
        sum(batch.skipped for batch in batches),
    )


class TestEveryStore:
    @pytest.mark.parametrize(
        "content",
        [as_database(acc=(ACC, ROWS)), as_dump(acc=(ACC, ROWS)), as_mysql(acc=(ACC, ROWS)), as_export(ACC, ROWS)],
        ids=["sqlite", "postgresql", "mysql", "csv"],
    )
    def test_gives_the_same_calls(self, tmp_path: Path, content: bytes) -> None:
        path = written(tmp_path, content)
        assert identify(path) == "kamailio_acc"
        calls, rejected, skipped = read(path)
        assert (len(calls), rejected, skipped) == (2, [], 1)
        first = calls[0]
        assert (first["called_in"], first["calling"], first["ingress_address"]) == (
            "+12025550101",
            "+12025550199",
            "198.51.100.20",
        )
        assert (first["call_id"], first["disposition"]) == ("1@203.0.113.21", "answered")
        assert first["answer"].timestamp() == 1795321364

    @pytest.mark.parametrize("make", [as_database, as_dump, as_mysql])
    def test_is_read_with_all_its_tables_of_calls(self, tmp_path: Path, make: Any) -> None:
        other = (("id", "name"), ((1, "x"),))
        path = written(tmp_path, make(acc=(ACC, ROWS), version=other, acc_cdrs=(CDRS, (cdr(1),))))
        calls, rejected, _ = read(path)
        assert rejected == []
        exact = [call for call in calls if call["answer"] is None]
        assert [call["seizure_earliest"].timestamp() for call in exact] == [1795321361]
        assert len(calls) == 3
        # in MySQL's dumps many rows stand in one line
        assert make is as_mysql or len({call["row"] for call in calls}) == 3

    def test_may_be_read_with_one_table_only(self, tmp_path: Path) -> None:
        path = written(tmp_path, as_database(acc=(ACC, ROWS), missed_calls=(ACC, MISSED)))
        [call], _, _ = read(path, options={"table": "missed_calls"})
        assert (call["disposition"], call["answer"], call["release"].timestamp()) == ("unanswered", None, 1795321364)
        with pytest.raises(AdapterError, match="no table 'none'"):
            read(path, options={"table": "none"})

    def test_without_such_a_table_says_what_to_do(self, tmp_path: Path) -> None:
        path = written(tmp_path, as_dump(cdr=(("a", "b"), ())))
        with pytest.raises(AdapterError, match="sip_code"):
            read(path)


class TestTimes:
    def test_of_kamailio_s_sqlite_driver_are_the_seconds_that_it_cut(self, tmp_path: Path) -> None:
        julian = (1795321364 - 0.5) / 86400 + 2440587.5
        [call], _, _ = read(written(tmp_path, as_database(acc=(ACC, (acc(1, time=julian),)))), zone=None)
        assert call["answer"].timestamp() == 1795321364

    def test_of_opensips_sqlite_driver_are_seconds(self, tmp_path: Path) -> None:
        [call], _, _ = read(written(tmp_path, as_database(acc=(ACC, (acc(1, time=1795321364),)))), zone=None)
        assert call["answer"].timestamp() == 1795321364

    def test_of_servers_need_a_zone(self, tmp_path: Path) -> None:
        _, [reject], _ = read(written(tmp_path, as_dump(acc=(ACC, (acc(1),)))), zone=None)
        assert reject.reason is RejectReason.BAD_TIME

    def test_of_opensips_dialogs_tell_the_seizure(self, tmp_path: Path) -> None:
        columns = (*ACC, "setuptime", "created", "duration", "ms_duration")
        row = (*acc(1), "3", "2026-11-21 23:22:41", "36", "36000")
        [call], _, _ = read(written(tmp_path, as_mysql(acc=(columns, (row,)))))
        assert call["seizure_earliest"].timestamp() == 1795321361
        assert call["answer"].timestamp() == 1795321364


class TestIdentify:
    @pytest.mark.parametrize(
        "content",
        [
            as_database(cdr=(("method", "callid", "time"), ())),
            as_dump(calls=(("id", "called", "time"), ())),
            as_export(("method", "callid", "time"), ()),
            as_database(acc=(ACC[:8], ()), cdrs=(("id", "called"), ())),
            as_export(ACC[:8], ()),
            as_export(CDRS, ()),
            as_export([name.replace("_", " ").title() for name in ACC], ()),
            as_database(calls=(CDRS, ())),
            b"SQLite format 3\x00",
            b"-- MySQL dump 10.13\n",
        ],
    )
    def test_claims_no_other_table(self, tmp_path: Path, content: bytes) -> None:
        assert "kamailio_acc" not in claimants(written(tmp_path, content))


@needs_siplab
class TestTheLab:
    def test_alders_database_and_exports_agree(self) -> None:
        from_database, rejected, _ = read(SIPLAB / "alder/alder.db", zone=None)
        assert rejected == []
        exported = [
            call
            for name in ("alder_acc", "alder_acc_cdrs", "alder_missed_calls")
            for call in read(SIPLAB / f"alder/{name}.csv", zone=None)[0]
        ]
        assert len(exported) > 300

        def facts(call: dict[str, Any]) -> tuple[str, ...]:
            return tuple(str(value) for name, value in sorted(call.items()) if name != "row")

        assert sorted(map(facts, from_database)) == sorted(map(facts, exported))

    def test_birchs_dump_gives_a_call_for_every_invite(self) -> None:
        calls, rejected, _ = read(SIPLAB / "birch/birch.sql", clock_offset="47s")
        assert rejected == []
        assert {call["ingress_trunk"] for call in calls} >= {"TGIN4400", "TGIN4403"}
        assert calls[0]["answer"].isoformat() == "2026-11-22T04:22:40+00:00"
