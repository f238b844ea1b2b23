"""Transaction accounting in flat files: db_flatstore and db_text."""

from __future__ import annotations

from pathlib import Path

from deploy.lab.stores.accounting import (
    EPOCH,
    Columns,
    acc,
    calling,
    dialogs,
    in_address,
    in_trunk,
    missed,
    out_trunk,
    received,
    sent,
    source_of,
)
from deploy.lab.stores.records import epoch_s
from deploy.lab.stores.source import Log, Source


def flatstore(log: Log, directory: Path) -> list[Source]:
    """A transit proxy: db_flatstore, a pipe between fields, no header, a file a worker process; called as received."""

    extras: Columns = {
        "src_user": calling,
        "dst_ouser": received,
        "src_ip": in_address,
        "src_trunk": in_trunk,
        "dst_trunk": out_trunk,
    }

    tables = [acc(log, extras, epoch_s)]
    if log.several_rows:
        tables.append(dialogs(log, extras, epoch_s, from_setup=True))
    sides = {
        "called_in": {"column": "dst_ouser", "format": "trunk"},
        "calling": {"column": "src_user"},
        "ingress_trunk": {"column": "src_trunk"},
        "ingress_address": {"column": "src_ip"},
        "egress_trunk": {"column": "dst_trunk"},
        "call_id": {"column": "callid"},
    }
    made = []
    for table in tables:
        workers: dict[int, list[str]] = {129: [], 130: [], 131: []}
        for number, (_, row) in enumerate(table.rows):
            workers[129 + number % 3].append("|".join(map(str, row.values())) + "\n")
        for worker, lines in workers.items():
            (directory / f"{log.prefix}{table.name}_{worker}.log").write_text("".join(lines), encoding="utf-8")
        options = {"delimiter": "|", "header": False, "names": list(table.columns)}
        pattern = f"{log.prefix}{table.name}_[0-9]*.log"
        made.append(source_of(log, table, pattern, "delimited", sides, EPOCH, options, out=False))
    return made


def db_text(log: Log, directory: Path) -> list[Source]:
    """A transit proxy: db_text, a typed header, colons between fields, backslashes before colons inside them."""

    extras: Columns = {
        "src_user": calling,
        "src_ip": in_address,
        "dst_ouser": received,
        "dst_user": sent,
        "src_trunk": in_trunk,
        "dst_trunk": out_trunk,
    }

    tables = [acc(log, extras, epoch_s)]
    if log.several_rows:
        tables.append(missed(log, extras, epoch_s))
    sides = {
        "called_in": {"column": "dst_ouser", "format": "trunk"},
        "called_out": {"column": "dst_user", "format": "trunk"},
        "calling": {"column": "src_user"},
        "ingress_trunk": {"column": "src_trunk"},
        "ingress_address": {"column": "src_ip"},
        "egress_trunk": {"column": "dst_trunk"},
        "call_id": {"column": "callid"},
    }
    made = []
    for table in tables:
        head = " ".join(["id(int,auto)", *(f"{n}({'int' if n == 'time' else 'string'})" for n in table.columns)])
        lines = [
            ":".join([str(number), *(_escaped(str(value)) for value in row.values())])
            for number, (_, row) in enumerate(table.rows, start=1)
        ]
        file = directory / f"{log.prefix}{table.name}"
        file.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
        made.append(source_of(log, table, file.name, "kamailio_dbtext", sides, EPOCH, {}))
    return made


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(":", "\\:").replace("\n", "\\n")
