"""FreeSWITCH's cdr table in a database, a dump or an export.

Tables after mod_cdr_sqlite and mod_cdr_pg_csv of FreeSWITCH 1.10. Synthetic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.identify import claimants, identify
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.read import read_source
from cdr_adapters.schema import RejectReason
from tests.adapters.formats.sql_tables import as_database, as_dump, as_export, as_mysql
from tests.adapters.reading import written

SHIPPED = {
    "caller_id_name": "Alice",
    "caller_id_number": "2025550199",
    "destination_number": "12025550143",
    "context": "public",
    "start_stamp": "2026-11-21 23:22:41",
    "answer_stamp": "2026-11-21 23:22:44",
    "end_stamp": "2026-11-21 23:23:20",
    "duration": "39",
    "billsec": "36",
    "hangup_cause": "NORMAL_CLEARING",
    "uuid": "11111111-0000-4000-8000-000000000001",
    "bleg_uuid": "11111111-0000-4000-8000-000000000002",
    "account_code": "",
}
OWN = {**SHIPPED, "direction": "inbound", "sip_received_ip": "198.51.100.20", "sip_gateway": "carrier-east"}


def table(record: dict[str, str]) -> tuple[list[str], list[list[str]]]:
    return list(record), [list(record.values())]


SAMPLES: list[bytes] = [as_database(cdr=table(SHIPPED)), as_dump(cdr=table(OWN)), as_export(*table(OWN))]
MAPPING: dict[str, Any] = {"zone": "America/New_York"}


def read(path: Path, **mapping: Any) -> tuple[list[dict[str, Any]], list[Any]]:
    source = {"name": "x", "path": "x", "format": "freeswitch_sql", "zone": "America/New_York", **mapping}
    batches = list(read_source(path, SourceMapping.model_validate(source), TrunkFormats()))
    return (
        [call for batch in batches for call in batch.calls.to_pylist()],
        [reject for batch in batches for reject in batch.rejected],
    )


@pytest.mark.parametrize("make", [as_database, as_dump, as_mysql, None], ids=["sqlite", "postgresql", "mysql", "csv"])
class TestATable:
    def test_gives_its_calls(self, tmp_path: Path, make: Any) -> None:
        path = written(tmp_path, as_export(*table(SHIPPED)) if make is None else make(cdr=table(SHIPPED)))
        assert identify(path) == "freeswitch_sql"
        [call], rejected = read(path)
        assert rejected == []
        assert (call["called_in"], call["calling"]) == ("+12025550143", "+12025550199")
        assert (call["seizure_earliest"].timestamp(), call["answer"].timestamp()) == (1795321361, 1795321364)
        assert (call["disposition"], call["ingress_address"], call["ingress_trunk"]) == ("answered", None, None)

    def test_may_have_the_operators_own_columns(self, tmp_path: Path, make: Any) -> None:
        path = written(tmp_path, as_export(*table(OWN)) if make is None else make(cdr=table(OWN)))
        [call], _ = read(path)
        assert (call["ingress_address"], call["ingress_trunk"]) == ("198.51.100.20", "carrier-east")

    def test_never_gives_the_other_side_of_a_leg_that_went_out(self, tmp_path: Path, make: Any) -> None:
        record = {**OWN, "direction": "outbound"}
        path = written(tmp_path, as_export(*table(record)) if make is None else make(cdr=table(record)))
        [call], _ = read(path)
        assert (call["ingress_address"], call["ingress_trunk"]) == (None, None)


def test_stamps_may_have_nanoseconds(tmp_path: Path) -> None:
    record = {**SHIPPED, "start_stamp": "2026-11-21 23:22:41.123456789"}
    [call], rejected = read(written(tmp_path, as_database(cdr=table(record))))
    assert rejected == []
    assert abs(call["seizure_earliest"].timestamp() - 1795321361.123) < 0.001


def test_stamps_without_a_zone_are_rejected(tmp_path: Path) -> None:
    _, [reject] = read(written(tmp_path, as_database(cdr=table(SHIPPED))), zone=None)
    assert reject.reason is RejectReason.BAD_TIME


@pytest.mark.parametrize("columns", [("uuid", "start_stamp"), ("caller_id_number", "destination_number", "uuid")])
def test_no_other_table_is_claimed(tmp_path: Path, columns: tuple[str, ...]) -> None:
    for content in (as_database(cdr=(columns, ())), as_dump(cdr=(columns, ())), as_export(columns, ())):
        assert "freeswitch_sql" not in claimants(written(tmp_path, content))
