"""Asterisk's cdr table in a database, a dump or an export; FreePBX's columns.

Columns after cdr_adaptive_odbc, cdr_sqlite3_custom.conf.sample (Asterisk 20) and FreePBX 16. Synthetic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.identify import claimants, identify
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from tests.adapters.formats.sql_tables import as_database, as_dump, as_export, as_mysql
from tests.adapters.reading import written

FREEPBX = {
    "calldate": "2026-11-21 23:22:41",
    "clid": '"Alice" <2025550199>',
    "src": "2025550199",
    "dst": "600",
    "dcontext": "ext-queues",
    "channel": "PJSIP/carrier-east-0000abcd",
    "dstchannel": "Local/601@from-queue-00000001;1",
    "lastapp": "Queue",
    "lastdata": "600,t",
    "duration": "39",
    "billsec": "36",
    "disposition": "ANSWERED",
    "amaflags": "3",
    "accountcode": "",
    "uniqueid": "1795321361.7",
    "userfield": "",
    "did": "12025550143",
    "linkedid": "1795321361.7",
    "sequence": "12",
}
PLAIN = {
    **{name: value for name, value in FREEPBX.items() if name not in ("did", "calldate")},
    "dst": "12025550143",
    "start": "2026-11-21 23:22:41",
    "answer": "2026-11-21 23:22:44",
    "end": "2026-11-21 23:23:20",
}
SQLITE = {
    **{name: value for name, value in FREEPBX.items() if name not in ("did", "src", "dst", "linkedid", "sequence")},
    "source": "2025550199",
    "destination": "12025550143",
}


def table(record: dict[str, str], rows: int = 1) -> tuple[list[str], list[list[str]]]:
    return list(record), [list(record.values())] * rows


SAMPLES: list[bytes] = [
    as_database(cdr=table(FREEPBX)),
    as_dump(cdr=table(PLAIN)),
    as_mysql(cdr=table(FREEPBX)),
    as_export(*table(FREEPBX)),
]
MAPPING: dict[str, Any] = {"zone": "America/New_York"}


def read(path: Path, **mapping: Any) -> tuple[list[dict[str, Any]], list[Any]]:
    source = {"name": "x", "path": "x", "format": "asterisk_sql", "zone": "America/New_York", **mapping}
    batches = list(read_source(path, SourceMapping.model_validate(source), TrunkFormats()))
    return (
        [call for batch in batches for call in batch.calls.to_pylist()],
        [reject for batch in batches for reject in batch.rejected],
    )


@pytest.mark.parametrize("record", [FREEPBX, PLAIN, SQLITE], ids=["freepbx", "adaptive", "sqlite3_custom"])
@pytest.mark.parametrize("make", [as_database, as_dump, as_mysql, None], ids=["sqlite", "postgresql", "mysql", "csv"])
def test_a_table_gives_its_calls(tmp_path: Path, record: dict[str, str], make: Any) -> None:
    content = as_export(*table(record)) if make is None else make(cdr=table(record))
    path = written(tmp_path, content)
    assert identify(path) == "asterisk_sql"
    [call], rejected = read(path)
    assert rejected == []
    assert (call["called_in"], call["calling"]) == ("+12025550143", "+12025550199")
    assert (call["ingress_trunk"], call["egress_trunk"]) == ("carrier-east", None)
    assert (call["seizure_earliest"].timestamp(), call["disposition"]) == (1795321361, "answered")
    assert call["call_id"] == "1795321361.7"


def test_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    turned = dict(reversed(FREEPBX.items()))
    assert read(written(tmp_path, as_mysql(cdr=table(turned))))[0][0]["called_in"] == "+12025550143"


def test_times_need_a_zone(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="set zone"):
        read(written(tmp_path, as_mysql(cdr=table(PLAIN))), zone=None)


@pytest.mark.parametrize("columns", [("dst", "src", "start"), ("dcontext", "channel", "dstchannel", "lastapp")])
def test_no_other_table_is_claimed(tmp_path: Path, columns: tuple[str, ...]) -> None:
    for content in (as_database(cdr=(columns, ())), as_dump(cdr=(columns, ())), as_export(columns, ())):
        assert "asterisk_sql" not in claimants(written(tmp_path, content))
