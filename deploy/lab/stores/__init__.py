"""The kinds of stores in which the lab's switches keep their records, by name, each in the form of a real one.

A kind is a writer (passages in, files and their description out) and the evidence that it leaves: what a provider with
such a store can know of a call at all.
"""

from __future__ import annotations

from collections.abc import Mapping

from deploy.lab.stores import flat, radius, sql, syslog, tables
from deploy.lab.stores.source import Evidence, Expected, Log, Source, Writer

WRITERS: Mapping[str, Writer] = {
    "address-csv": tables.writer(tables.ADDRESSES),
    "address-syslog": syslog.address_syslog,
    "billing-csv": tables.writer(tables.BILLING),
    "db-text": flat.db_text,
    "epoch-tsv": tables.writer(tables.TSV),
    "flatstore": flat.flatstore,
    "headerless-csv": tables.writer(tables.HEADERLESS),
    "json-syslog": syslog.json_syslog,
    "kamailio-sqlite": sql.sqlite_acc,
    "kamailio-syslog": syslog.proxy,
    "local-csv": tables.writer(tables.LOCAL),
    "postgres-dump": sql.postgres_dump,
    "radius-detail": radius.detail,
    "softswitch-csv": tables.writer(tables.SOFTSWITCH),
    "sqlite-cdrs": sql.sqlite_cdrs,
    "subscriber-sqlite": sql.sqlite_subscribers,
    "switch-csv": tables.writer(tables.SWITCH),
}

_IN_DIALOG_TABLES = frozenset({"kamailio-sqlite", "kamailio-syslog", "flatstore"})
_NEVER = frozenset({"billing-csv", "db-text", "json-syslog", "postgres-dump", "radius-detail", "subscriber-sqlite"})
_TRANSACTIONS = frozenset(
    {
        "db-text",
        "flatstore",
        "json-syslog",
        "kamailio-sqlite",
        "kamailio-syslog",
        "postgres-dump",
        "radius-detail",
        "subscriber-sqlite",
    }
)
_NAIVE = frozenset({"headerless-csv", "switch-csv", "local-csv", "postgres-dump"})


def evidence(store: str, *, several_rows: bool) -> Evidence:
    """What a provider with this kind of store can know of a call; dialog tables exist only with several rows a call."""
    seizure = store not in _NEVER and (several_rows or store not in _IN_DIALOG_TABLES)
    return Evidence(
        seizure=seizure, egress=store != "headerless-csv", naive=store in _NAIVE, at_reply=store in _TRANSACTIONS
    )


__all__ = ["WRITERS", "Evidence", "Expected", "Log", "Source", "Writer", "evidence"]
