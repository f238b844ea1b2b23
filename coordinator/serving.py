"""A coordinator's life as a process that serves: what `hopback-coordinator serve` puts together.

It takes the streams of agents that dial out, issues certificates where the authority is here, renews its own, follows
the revocation list, and drives the tracebacks that are due, because whoever holds the streams can ask over them. Every
part runs until the process is asked to stop; one that ends by a defect is told in the log, and the others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from cryptography import x509

from coordinator.api.mount import services_of
from coordinator.authority.authority import Authority, NotGrantedError
from coordinator.authority.issuing_key import AuthorityError, read_issuer
from coordinator.authority.ledger import Ledger
from coordinator.config import ConfigError, LoadedConfig
from coordinator.enrolment import SERVICE as ENROLMENT_SERVICE
from coordinator.enrolment import Enrolment
from coordinator.lookups.dialout import SERVICE as DIAL_OUT_SERVICE
from coordinator.lookups.dialout import DialedAgents
from coordinator.lookups.relay import SERVICE as RELAY_SERVICE
from coordinator.lookups.relay import Relay
from coordinator.lookups.transport import GrpcTransport, Switchboard, Transport
from coordinator.online import agents_of
from coordinator.party import party_of, places_of
from coordinator.running.daemon import Daemon
from coordinator.runtime import open_store
from coordinator.serve import Addresses, CoordinatorServer, Methods
from protos.certificates import Certified
from protos.enrolling import by_certificate, fetch_list
from protos.identity import ProviderId
from protos.list_keeper import ListKeeper
from protos.renewal import Obtain, Obtained, Party, Places, Renewal, RenewalError
from protos.revocation import Revocations

LOOKED_AT_EVERY: Final = timedelta(seconds=10)
"""How often the ledger of an authority in this process is looked at for new revocations."""
GRACE_S: Final = 3.0

log = structlog.get_logger()


def now() -> datetime:
    """The present time, aware UTC."""
    return datetime.now(UTC)


def open_authority(loaded: LoadedConfig) -> Authority:
    """The issuing authority of this configuration.

    Raises:
        ConfigError: there is none, or it can't be opened.
    """
    table = loaded.config.authority
    if table is None:
        raise ConfigError(
            loaded.file,
            ["authority: not configured; `hopback-coordinator authority init` prints the lines"],
        )
    key = loaded.path(table.key) if table.key is not None else table.key_command
    try:
        issuer = read_issuer(loaded.path(table.certificate), key, now())
        ledger = Ledger(loaded.path(table.ledger))
    except AuthorityError as error:
        raise ConfigError(loaded.file, [f"authority: {error}"]) from None
    return Authority(issuer, ledger, loaded.config.operators, table.lifetime, table.lists_every)


def _party(loaded: LoadedConfig) -> Party:
    """This coordinator; a renewal that was interrupted is finished before."""
    try:
        places_of(loaded).recover()
    except OSError as error:
        raise ConfigError(loaded.file, [f"signing: {error}"]) from None
    return party_of(loaded, now())


@dataclass(slots=True)
class _Parts:
    """What is put together while the process starts."""

    loaded: LoadedConfig
    party: Party
    revocations: Revocations | None = None
    enrolment: Enrolment | None = None
    obtain: Obtain | None = None

    def refused(self, provider: ProviderId, serial: int | None) -> str | None:
        """Why this provider's agent is not let in."""
        del provider  # revoking a provider revokes all its certificates
        return self.revoked(serial)

    def revoked(self, serial: int | None) -> str | None:
        """Why a certificate of this serial number counts no longer."""
        return None if self.revocations is None else self.revocations.problem(serial, now())

    def is_revoked(self, certified: Certified) -> bool:
        """Whether what this certificate's key signed counts no longer."""
        return self.revoked(certified.serial) is not None


async def serve(loaded: LoadedConfig, started: Callable[[Addresses], None], stop: asyncio.Event) -> None:
    """Serve until `stop`; `started` hears of the addresses.

    Raises:
        ConfigError: something that the configuration names can't be used.
        coordinator.serve.CannotListenError: an address can't be listened on.
    """
    listen = loaded.config.listen
    if listen is None:
        raise ConfigError(loaded.file, ["listen: missing; write where to listen, such as address = '0.0.0.0:7443'"])
    parts = _Parts(loaded, _party(loaded))
    dialed = DialedAgents(parts.refused)
    tls = parts.party.tls
    async with AsyncExitStack() as stack:
        keeper = _identity(parts, dialed, stack)
        relay = Relay(parts.party.uri, dialed, parts.revoked)
        services: dict[str, Methods] = {DIAL_OUT_SERVICE: dialed.handlers(), RELAY_SERVICE: relay.handlers()}
        open_services = {}
        if parts.enrolment is not None:
            services[ENROLMENT_SERVICE] = parts.enrolment.methods()
            open_services[ENROLMENT_SERVICE] = parts.enrolment.open_methods()
        channels = await stack.enter_async_context(GrpcTransport(tls))
        transport = Switchboard(channels, dialed)
        services |= stack.enter_context(services_of(loaded, transport, parts.revoked))
        server = CoordinatorServer(tls, listen.address, services, listen.enrolment_address, open_services)
        tasks = [] if keeper is None else [_kept_running(keeper.run())]
        daemon = await _driving(stack, parts, transport)
        if parts.obtain is not None:
            tasks.append(_kept_running(Renewal(parts.party, parts.obtain, now).run()))
        try:
            addresses = await server.start()
            driving = _kept_running(daemon.run())
            started(addresses)
            await stop.wait()
            daemon.stop()
            await asyncio.wait([driving], timeout=GRACE_S)
            driving.cancel()
            await asyncio.gather(driving, return_exceptions=True)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            dialed.close()
            await server.stop(GRACE_S)


def _identity(parts: _Parts, dialed: DialedAgents, stack: AsyncExitStack) -> ListKeeper | None:
    """The authority, where it is here, and what is known of revoked certificates."""
    config, party = parts.loaded.config, parts.party
    if config.authority is not None:
        enrolment = parts.enrolment = Enrolment(open_authority(parts.loaded), now)
        stack.callback(enrolment.close)
        parts.revocations = Revocations(_roots(party.places), refuse_after=None)  # made here: it is never old
        parts.obtain = _by_authority(enrolment, party)
        return ListKeeper(
            parts.revocations, None, enrolment.revocation_list, now, LOOKED_AT_EVERY, changed=dialed.review
        )
    elsewhere, table = config.enrolment, config.revocation
    fetch = None
    if elsewhere is not None:
        coordinator = elsewhere.name or party.uri
        parts.obtain = by_certificate(elsewhere.coordinator, coordinator, party.tls)

        async def fetch() -> bytes:
            return await fetch_list(elsewhere.coordinator, coordinator, party.tls.current)

    if table is None:
        return None
    refuse_after = table.refuse_after if table.refuse else None
    parts.revocations = Revocations(_roots(party.places), table.warn_after, refuse_after)
    keeper = ListKeeper(
        parts.revocations, parts.loaded.path(table.list), fetch, now, table.every, changed=dialed.review
    )
    keeper.read()
    return keeper


def _by_authority(enrolment: Enrolment, party: Party) -> Obtain:
    async def obtain(tls_request: bytes, evidence_request: bytes) -> Obtained:
        serial = x509.load_pem_x509_certificate(party.tls.current.certificate).serial_number
        try:
            pair = await enrolment.renew_own(party.uri, serial, tls_request, evidence_request)
        except (NotGrantedError, AuthorityError) as error:
            raise RenewalError(f"the authority here: {error}") from None
        return Obtained(pair.tls, pair.evidence)

    return obtain


async def _driving(stack: AsyncExitStack, parts: _Parts, transport: Transport) -> Daemon:
    """What drives the tracebacks that are due, asking over `transport`."""
    loaded = parts.loaded
    store = stack.enter_context(open_store(loaded))
    agents = await stack.enter_async_context(
        agents_of(loaded, parts.party, transport, is_revoked=parts.is_revoked, fetch=True)
    )
    return Daemon(loaded, store, agents)


def _roots(places: Places) -> list[x509.Certificate]:
    files = sorted({places.roots, places.evidence_roots})
    return [root for file in files for root in x509.load_pem_x509_certificates(file.read_bytes())]


def _kept_running(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """What runs beside the others; should it end by a defect, the log says so."""
    task = asyncio.create_task(work)
    task.add_done_callback(_report)
    return task


def _report(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.error("stopped_working", error=type(error).__name__)
