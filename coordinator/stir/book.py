"""Identity headers and signers' certificates in the database.

A header stands beside the order of its call, by the order's digest; the order itself doesn't carry it, because no
agent needs it.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Connection, Engine, func, insert, select

from coordinator.stir.crosscheck import Sister
from coordinator.stir.passport import Identity
from coordinator.store.models import TracebackRow
from coordinator.store.stir_models import order_identities, stir_certificates
from coordinator.store.writing import writing
from protos.identity import parse_provider_id

_MOST_AT_ONCE: Final = 500
MOST_SISTERS: Final = 500
_tracebacks: Any = TracebackRow.__table__


@dataclass(frozen=True, slots=True)
class Header:
    """What is kept of an order's header: the text, or once that is gone what was found with it (JSON)."""

    campaign: str
    text: str | None = field(repr=False)
    found: str | None


@dataclass(frozen=True, slots=True)
class KeptCertificate:
    """A certificate, and who imported it when."""

    certificate: bytes = field(repr=False)
    added_at: datetime
    added_by: str


class Taken(enum.Enum):
    """What became of a header that was handed in."""

    NEW = "new"
    SAME = "same"
    ANOTHER = "another"
    TOO_LATE = "too late"

    @property
    def refusal(self) -> str:
        """Why it was not taken, in words; empty where the header is there now."""
        return {
            Taken.ANOTHER: "another Identity header is there, and stays",
            Taken.TOO_LATE: "the telephone numbers of this call are gone: no header of it is kept any more",
        }.get(self, "")


class IdentityBook:
    """The headers and the certificates of one coordinator."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keep(
        self, came: Mapping[bytes, tuple[str, Identity]], now: datetime, by: str | None = None
    ) -> dict[bytes, Taken]:
        """Keep the headers of orders, by digest, with the campaigns of the calls; what became of each.

        One that is there stays, whoever brings another: what a chain was compared with is not exchanged afterwards.
        `by` is who brought them, None for the coordinator's own people.
        """
        with writing(self._engine) as connection:
            known = _headers(connection, came.keys())
            taken = {order: _taken(known.get(order), one) for order, (_, one) in came.items()}
            rows = [
                {
                    "order_sha256": order,
                    "campaign": campaign,
                    "header": identity.text,
                    "origid": identity.shaken.origid,
                    "taken_at": now,
                    "taken_by": by,
                }
                for order, (campaign, identity) in came.items()
                if taken[order] is Taken.NEW
            ]
            if rows:
                connection.execute(insert(order_identities), rows)
        return taken

    def headers(self, orders: Collection[bytes]) -> dict[bytes, Header]:
        """The headers of those of these orders that have any."""
        with self._engine.connect() as connection:
            return _headers(connection, orders)

    def sisters(self, order: bytes, campaign: str, origid: str) -> list[tuple[str, Sister]]:
        """Other calls of the campaign whose headers have this origid: the headers, and what their chains found."""
        columns = order_identities.c
        query = (
            select(columns.header, _tracebacks.c.id, _tracebacks.c.found)
            .join(_tracebacks, _tracebacks.c.order_sha256 == columns.order_sha256)
            .where(columns.origid == origid, columns.campaign == campaign, columns.order_sha256 != order)
            .where(columns.header.is_not(None))
            .order_by(columns.taken_at.desc(), _tracebacks.c.id)
            .limit(MOST_SISTERS)
        )
        with self._engine.connect() as connection:
            return [
                (row.header, Sister(row.id, parse_provider_id(row.found) if row.found else None))
                for row in connection.execute(query)
            ]

    def between(self, since: datetime, until: datetime) -> list[uuid.UUID]:
        """The tracebacks submitted from `since` until before `until` whose calls came with a header."""
        columns = _tracebacks.c
        query = (
            select(columns.id)
            .join(order_identities, order_identities.c.order_sha256 == columns.order_sha256)
            .where(columns.submitted_at >= since, columns.submitted_at < until)
            .order_by(columns.submitted_at, columns.id)
        )
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def that_have_headers(self, ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
        """Those of these tracebacks whose calls came with a header, in their order."""
        columns, found = _tracebacks.c, set[uuid.UUID]()
        query = select(columns.id).join(order_identities, order_identities.c.order_sha256 == columns.order_sha256)
        with self._engine.connect() as connection:
            for start in range(0, len(ids), _MOST_AT_ONCE):
                block = query.where(columns.id.in_(ids[start : start + _MOST_AT_ONCE]))
                found.update(connection.execute(block).scalars())
        return [one for one in ids if one in found]

    def add_certificates(self, ders: Iterable[bytes], by: str, now: datetime) -> int:
        """Keep certificates; how many were new."""
        came = {sha256(der).digest(): der for der in ders}
        with writing(self._engine) as connection:
            query = select(stir_certificates.c.sha256).where(stir_certificates.c.sha256.in_(list(came)))
            known = set(connection.execute(query).scalars())
            rows = [
                {"sha256": key, "certificate": der, "added_at": now, "added_by": by}
                for key, der in came.items()
                if key not in known
            ]
            if rows:
                connection.execute(insert(stir_certificates), rows)
        return len(rows)

    def stamp(self) -> tuple[int, datetime | None]:
        """How many certificates there are, and when the last one came: none ever goes."""
        query = select(func.count(), func.max(stir_certificates.c.added_at)).select_from(stir_certificates)
        with self._engine.connect() as connection:
            count, latest = connection.execute(query).one()
            return count, latest

    def certificates(self) -> list[KeptCertificate]:
        """All certificates, in the order in which they were imported."""
        columns = stir_certificates.c
        query = select(columns.certificate, columns.added_at, columns.added_by)
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(columns.added_at, columns.sha256))
            return [KeptCertificate(*row) for row in rows]


def _taken(known: Header | None, came: Identity) -> Taken:
    if known is None:
        return Taken.NEW
    if known.text is None:
        return Taken.TOO_LATE
    return Taken.SAME if known.text == came.text else Taken.ANOTHER


def _headers(connection: Connection, orders: Collection[bytes]) -> dict[bytes, Header]:
    columns, wanted, found = order_identities.c, list(orders), {}
    for start in range(0, len(wanted), _MOST_AT_ONCE):
        query = select(columns.order_sha256, columns.campaign, columns.header, columns.found)
        block = query.where(columns.order_sha256.in_(wanted[start : start + _MOST_AT_ONCE]))
        for row in connection.execute(block):
            found[bytes(row.order_sha256)] = Header(row.campaign, row.header, row.found)
    return found
