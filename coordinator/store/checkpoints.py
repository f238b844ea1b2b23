"""Checkpoints in SQL: what providers signed about their logs, who witnessed it, and what contradicts what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, insert, select, update
from sqlalchemy.exc import IntegrityError

from coordinator.audits.checkpoints import MOST_WITNESSES, Alarm, AlarmKind, Seen, Witnessed
from coordinator.store.checkpoint_models import (
    checkpoint_alarms,
    checkpoint_certificates,
    checkpoint_witnesses,
    checkpoints,
)
from coordinator.store.models import ProviderRow
from coordinator.tracing.ports import Provider
from protos.codec import digest
from protos.identity import ProviderId

_SEEN = (checkpoints, checkpoint_certificates.c.der)


class SqlCheckpoints:
    """Implements `coordinator.audits.checkpoints.CheckpointStore` over an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keep(self, seen: Seen) -> bool:
        """See `CheckpointStore.keep`."""
        row = {
            "sha256": seen.sha256,
            "provider": seen.provider,
            "size": seen.size,
            "root": seen.root,
            "at": seen.at,
            "exact": seen.exact,
            "certificate": self._certificate(seen.certificate),
            "received_at": seen.received,
            "linked": seen.linked,
        }
        return self._insert(checkpoints, row)

    def rivals(self, seen: Seen) -> Sequence[Seen]:
        """See `CheckpointStore.rivals`."""
        table, others = checkpoints.c, self._of(seen.provider).where(checkpoints.c.sha256 != seen.sha256)
        found: dict[bytes, Seen] = {}
        for query in (
            others.where(table.size == seen.size, table.root != seen.root).limit(1),
            others.where(table.at < seen.at).order_by(table.size.desc()).limit(1),
            others.where(table.at > seen.at).order_by(table.size).limit(1),
        ):
            found.update((one.sha256, one) for one in self._all(query))
        return list(found.values())

    def unlinked(self, provider: ProviderId, limit: int) -> Sequence[Seen]:
        """See `CheckpointStore.unlinked`."""
        table = checkpoints.c
        return self._all(self._of(provider).where(table.linked.is_(False)).order_by(table.size, table.at).limit(limit))

    def linked_around(self, provider: ProviderId, size: int) -> tuple[Seen | None, Seen | None]:
        """See `CheckpointStore.linked_around`."""
        table, those = checkpoints.c, self._of(provider).where(checkpoints.c.linked.is_(True))
        before = self._all(those.where(table.size <= size).order_by(table.size.desc(), table.at.desc()).limit(1))
        after = self._all(those.where(table.size > size).order_by(table.size, table.at).limit(1))
        return next(iter(before), None), next(iter(after), None)

    def link(self, seen: Seen) -> None:
        """See `CheckpointStore.link`."""
        with self._engine.begin() as connection:
            connection.execute(update(checkpoints).where(checkpoints.c.sha256 == seen.sha256).values(linked=True))

    def newest(self, provider: ProviderId) -> Seen | None:
        """See `CheckpointStore.newest`."""
        table, those = checkpoints.c, self._of(provider).where(checkpoints.c.linked.is_(True))
        return next(iter(self._all(those.order_by(table.size.desc(), table.at.desc()).limit(1))), None)

    def providers(self) -> Sequence[ProviderId]:
        """See `CheckpointStore.providers`."""
        with self._engine.connect() as connection:
            found = connection.execute(select(checkpoints.c.provider).distinct().order_by(checkpoints.c.provider))
            return [ProviderId(name) for name in found.scalars()]

    def of(self, provider: ProviderId | None, limit: int) -> Sequence[Seen]:
        """The newest, of one provider or of all, latest first."""
        query = self._every() if provider is None else self._of(provider)
        return self._all(query.order_by(checkpoints.c.at.desc(), checkpoints.c.size.desc()).limit(limit))

    def last_witnessed(self, provider: ProviderId, witness: ProviderId) -> Witnessed | None:
        """See `CheckpointStore.last_witnessed`."""
        table = checkpoint_witnesses.c
        query = self._witnesses(table.provider == provider, table.witness == witness)
        return next(iter(self._witnessed(query.order_by(table.size.desc()).limit(1))), None)

    def witnesses(self, checkpoint_sha256: bytes) -> Sequence[Witnessed]:
        """Who signed this one."""
        table = checkpoint_witnesses.c
        return self._witnessed(self._witnesses(table.checkpoint == checkpoint_sha256).order_by(table.witness))

    def witnessed_with(self, provider: ProviderId, index: int) -> tuple[Seen, Sequence[Witnessed]] | None:
        """The smallest that witnesses signed of those whose log held this entry, and who did; None where none did."""
        table, signed = checkpoints.c, select(checkpoint_witnesses.c.checkpoint)
        those = self._of(provider).where(table.size > index, table.sha256.in_(signed)).order_by(table.size, table.at)
        found = next(iter(self._all(those.limit(1))), None)
        return None if found is None else (found, self.witnesses(found.sha256)[:MOST_WITNESSES])

    def keep_witnessed(self, witnessed: Witnessed) -> None:
        """See `CheckpointStore.keep_witnessed`."""
        row = {
            "checkpoint": witnessed.checkpoint_sha256,
            "witness": witnessed.witness,
            "provider": witnessed.provider,
            "size": witnessed.size,
            "seal": witnessed.seal,
            "certificate": self._certificate(witnessed.certificate),
            "at": witnessed.at,
        }
        self._insert(checkpoint_witnesses, row)

    def raise_alarm(self, alarm: Alarm) -> bool:
        """See `CheckpointStore.raise_alarm`."""
        row = {
            "first": alarm.first.sha256,
            "second": alarm.second.sha256,
            "kind": alarm.kind.value,
            "provider": alarm.provider,
            "detail": alarm.detail,
            "raised_at": alarm.raised,
        }
        return self._insert(checkpoint_alarms, row)

    def alarms(self, provider: ProviderId | None = None) -> Sequence[Alarm]:
        """See `CheckpointStore.alarms`."""
        query = select(checkpoint_alarms).order_by(checkpoint_alarms.c.raised_at.desc())
        if provider is not None:
            query = query.where(checkpoint_alarms.c.provider == provider)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
            return [
                Alarm(
                    ProviderId(row.provider),
                    AlarmKind(row.kind),
                    self._one(connection, row.first),
                    self._one(connection, row.second),
                    row.detail,
                    row.raised_at,
                )
                for row in rows
            ]

    def _every(self) -> Select[Any]:
        return select(*_SEEN).join(checkpoint_certificates)

    def _of(self, provider: ProviderId) -> Select[Any]:
        return self._every().where(checkpoints.c.provider == provider)

    def _all(self, query: Select[Any]) -> list[Seen]:
        with self._engine.connect() as connection:
            return [_seen(row) for row in connection.execute(query)]

    def _one(self, connection: Connection, sha256: bytes) -> Seen:
        return _seen(connection.execute(self._every().where(checkpoints.c.sha256 == sha256)).one())

    def _witnesses(self, *where: ColumnElement[bool]) -> Select[Any]:
        return select(checkpoint_witnesses, checkpoint_certificates.c.der).join(checkpoint_certificates).where(*where)

    def _witnessed(self, query: Select[Any]) -> list[Witnessed]:
        with self._engine.connect() as connection:
            return [
                Witnessed(
                    row.checkpoint,
                    ProviderId(row.provider),
                    row.size,
                    ProviderId(row.witness),
                    row.seal,
                    row.der,
                    row.at,
                )
                for row in connection.execute(query)
            ]

    def _certificate(self, der: bytes) -> bytes:
        sha256 = digest(der)
        with self._engine.connect() as connection:
            query = select(checkpoint_certificates.c.sha256).where(checkpoint_certificates.c.sha256 == sha256)
            there = connection.execute(query).first()
        if there is None:
            self._insert(checkpoint_certificates, {"sha256": sha256, "der": der})
        return sha256

    def _insert(self, table: Any, row: dict[str, Any]) -> bool:
        """False when a row with this key is there already, whoever was first."""
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(table), row)
        except IntegrityError:
            return False
        return True


def registered(engine: Engine) -> list[Provider]:
    """All of the registry, by id."""
    query = select(ProviderRow.id, ProviderRow.name, ProviderRow.endpoint).order_by(ProviderRow.id)
    with engine.connect() as connection:
        return [Provider(ProviderId(row.id), row.name, row.endpoint) for row in connection.execute(query)]


def _seen(row: Row[Any]) -> Seen:
    return Seen(ProviderId(row.provider), row.size, row.root, row.at, row.exact, row.der, row.received_at, row.linked)
