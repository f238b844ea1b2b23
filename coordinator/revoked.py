"""Whose signatures count no longer, for the processes of a coordinator that only ask (`run`, `trace`, `resume`).

Where the authority is configured here its ledger says so, at once. Elsewhere the revocation list does, which is read
from its file, fetched where `[enrolment]` says from whom, and judged by its age (`protos.revocation`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from coordinator.config import ConfigError, LoadedConfig
from protos.identity import coordinator_uri

if TYPE_CHECKING:
    from protos.certificates import Certified
    from protos.live import Live
    from protos.tls import TlsFiles


@asynccontextmanager
async def revoked_by(loaded: LoadedConfig, tls: Live[TlsFiles]) -> AsyncIterator[Callable[[Certified], bool]]:
    """Tells of a certificate whether it counts no longer; nothing is revoked where the configuration names no source.

    Raises:
        ConfigError: the ledger or the roots can't be read.
    """
    if loaded.config.authority is not None:
        from coordinator.authority.issuing_key import AuthorityError
        from coordinator.authority.ledger import Ledger

        try:
            with Ledger(loaded.path(loaded.config.authority.ledger)) as ledger:
                yield lambda certified: ledger.is_revoked(certified.serial)
        except AuthorityError as error:
            raise ConfigError(loaded.file, [f"authority.ledger: {error}"]) from None
    elif loaded.config.revocation is not None:
        async with _by_list(loaded, tls) as revoked:
            yield revoked
    else:
        yield lambda certified: False  # noqa: ARG005 (nothing is, where nobody says so)


@asynccontextmanager
async def _by_list(loaded: LoadedConfig, tls: Live[TlsFiles]) -> AsyncIterator[Callable[[Certified], bool]]:
    from cryptography import x509

    from protos.enrolling import fetch_list
    from protos.list_keeper import ListKeeper
    from protos.revocation import Revocations

    config, table = loaded.config, loaded.config.revocation
    assert table is not None  # noqa: S101 (the caller has looked)
    evidence = None if config.signing is None else config.signing.roots
    places = [loaded.path(name) for name in {config.tls.roots, evidence or config.tls.roots}]
    try:
        roots = [root for file in places for root in x509.load_pem_x509_certificates(file.read_bytes())]
    except (OSError, ValueError) as error:
        raise ConfigError(loaded.file, [f"revocation: the roots can't be read: {error}"]) from None
    revocations = Revocations(roots, table.warn_after, table.refuse_after if table.refuse else None)
    fetch = None
    if config.enrolment is not None:
        address = config.enrolment.coordinator
        name = config.enrolment.name or coordinator_uri(config.coordinator.name)

        async def fetch() -> bytes:
            return await fetch_list(address, name, tls.current)

    keeper = ListKeeper(revocations, loaded.path(table.list), fetch, _now, table.every)
    keeper.read()
    working = asyncio.create_task(keeper.run())
    try:
        yield lambda certified: revocations.problem(certified.serial, _now()) is not None
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


def _now() -> datetime:
    return datetime.now(UTC)
