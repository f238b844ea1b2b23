"""The coordinator's online key, and the client that signs with it, from the configuration.

The key signs questions and nothing else. It stands on the coordinator's machine, so that whoever gets into that has it;
what that is worth is nothing without orders, which persons sign elsewhere (`coordinator.ordering.orders`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from coordinator.config import ConfigError, LoadedConfig
from coordinator.revoked import revoked_by
from coordinator.store.engine import engine_for
from protos.identity import coordinator_uri

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from coordinator.audits.watching import Watch
    from coordinator.evidence.notary import Notary
    from coordinator.lookups.asking import SignedAgents
    from coordinator.lookups.transport import Transport
    from protos.certificates import Certified, PinnedRoots
    from protos.live import Live
    from protos.renewal import Party
    from protos.signing import Signer
    from protos.tls import TlsFiles


@asynccontextmanager
async def agents_of(
    loaded: LoadedConfig,
    party: Party,
    transport: Transport | None = None,
    is_revoked: Callable[[Certified], bool] | None = None,
    *,
    fetch: bool = False,
) -> AsyncIterator[SignedAgents]:
    """The client of the agents: signs with the online key, finds orders in the database, calls over mutual TLS.

    Agents that dial out are reached through `serve`, where the configuration says that there is one. With `transport`
    it calls over that alone, which whoever made it closes. The checkpoints that come with answers are watched over;
    `fetch` also asks for them now and then where no answer comes. What others renew on disk of the files of `party` is
    taken up. Whose signatures count no longer says `is_revoked`, or without it what the configuration names.

    Raises:
        ConfigError: the ledger or the roots of the list can't be read.
    """
    from coordinator.lookups.asking import SignedAgents
    from coordinator.store.orders import OrderBook

    roots, key = party.roots, party.evidence.current
    with engine_for(loaded.store_url) as engine:
        book = OrderBook(engine)
        async with (
            way_to_agents(loaded, party.tls) as ours,
            revoked_by(loaded, party.tls) as revoked,
            _taking_up(party, quiet=not fetch),
        ):
            is_revoked = is_revoked or revoked
            way = transport or ours
            async with _watched(loaded, engine, way, roots, is_revoked, fetch=fetch) as watch:
                agents = SignedAgents(
                    way,
                    signer=key.signer,
                    certificate=key.certificate,
                    roots=roots,
                    orders=book,
                    certificates=book,
                    clock=_now,
                    is_revoked=is_revoked,
                    checkpoints=watch,
                )
                party.evidence.on_change(lambda key: agents.renew(key.signer, key.certificate))
                yield agents


@asynccontextmanager
async def way_to_agents(loaded: LoadedConfig, tls: Live[TlsFiles]) -> AsyncIterator[Transport]:
    """Calls agents at their ports, and those that dial out through `serve`, where the configuration says of one."""
    from coordinator.lookups.transport import GrpcTransport, Switchboard

    async with GrpcTransport(tls) as channels, _relay(loaded, tls) as relay:
        yield channels if relay is None else Switchboard(channels, relay)


@asynccontextmanager
async def _relay(loaded: LoadedConfig, tls: Live[TlsFiles]) -> AsyncIterator[Transport | None]:
    """The way to agents that dial out, from a process that they don't dial."""
    listen = loaded.config.listen
    if listen is None:
        yield None
        return
    from coordinator.lookups.relay import RelayTransport

    async with RelayTransport(listen.reached_at, coordinator_uri(loaded.config.coordinator.name), tls) as relay:
        yield relay


@asynccontextmanager
async def _taking_up(party: Party, *, quiet: bool) -> AsyncIterator[None]:
    """What lies on disk is used as soon as somebody has renewed it."""
    import asyncio

    from protos.taking_up import TakingUp

    working = asyncio.create_task(TakingUp(party, _now, log=_warnings() if quiet else None).run())
    try:
        yield
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


@asynccontextmanager
async def _watched(
    loaded: LoadedConfig,
    engine: Engine,
    transport: Transport,
    roots: PinnedRoots,
    is_revoked: Callable[[Certified], bool],
    *,
    fetch: bool,
) -> AsyncIterator[Watch]:
    """The watch over the providers' logs, at work beside; what came too late to be linked is kept at the end."""
    import asyncio

    watch = watch_over(loaded, engine, transport, roots, is_revoked, quiet=not fetch)
    working = asyncio.create_task(watch.run(loaded.config.checkpoints.fetch_every if fetch else None))
    try:
        yield watch
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await asyncio.to_thread(watch.keep_all)


def watch_over(
    loaded: LoadedConfig,
    engine: Engine,
    transport: Transport,
    roots: PinnedRoots,
    is_revoked: Callable[[Certified], bool] = lambda certified: False,  # noqa: ARG005
    *,
    quiet: bool,
) -> Watch:
    """The watch over the providers' logs, over this database and transport.

    `quiet` is for commands, whose results go to standard output: warnings alone are told, on standard error.
    """
    from coordinator.audits.client import AgentAudits
    from coordinator.audits.watching import Watch
    from coordinator.store.checkpoints import SqlCheckpoints, registered

    return Watch(
        SqlCheckpoints(engine),
        AgentAudits(transport),
        roots,
        _now,
        lambda: registered(engine),
        loaded.config.checkpoints.terms,
        is_revoked=is_revoked,
        log=_warnings() if quiet else None,
    )


def _warnings() -> Any:
    import logging
    import sys

    import structlog

    return structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[structlog.processors.add_log_level, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )


def online_key(loaded: LoadedConfig, now: datetime) -> tuple[Signer, bytes, PinnedRoots]:
    """The key that signs questions, its certificate (DER), and the roots of providers' evidence certificates.

    Raises:
        ConfigError: a file can't be used, or the certificate is not this coordinator's, of another key, or not valid.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from protos.certificates import CertificateError, PinnedRoots
    from protos.signing import KeyFormatError, read_signer

    table, expected = loaded.config.signing, coordinator_uri(loaded.config.coordinator.name)
    if table is None:
        raise ConfigError(loaded.file, ["signing: missing; agents answer signed questions alone"])
    try:
        signer = read_signer(loaded.path(table.key))
        pem = loaded.path(table.certificate).read_bytes()
        roots = PinnedRoots.from_pem(loaded.path(table.roots or loaded.config.tls.roots).read_bytes())
    except KeyFormatError as error:
        raise ConfigError(loaded.file, [f"signing.key: {error}"]) from None
    except OSError as error:
        raise ConfigError(loaded.file, [f"signing: {error.filename} can't be read: {error.strerror}"]) from None
    except CertificateError as error:
        raise ConfigError(loaded.file, [f"signing.roots: {error}"]) from None
    try:
        certificate = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
        certified = roots.certified(certificate)
    except CertificateError as error:
        raise ConfigError(loaded.file, [f"signing.certificate: {error}"]) from None
    except ValueError:
        raise ConfigError(loaded.file, ["signing.certificate: it holds no certificate in PEM form"]) from None
    problems = []
    if certified.key != signer.public:
        problems.append("signing.certificate: it is of another key than signing.key")
    if certified.uri != expected:
        problems.append(f"signing.certificate: it names {certified.uri}, not {expected}, as coordinator.name asks for")
    if not certified.valid_at(now):
        problems.append(
            f"signing.certificate: it is valid from {certified.valid_from:%Y-%m-%d} to {certified.valid_to:%Y-%m-%d}, "
            "not now: renew it, or check this machine's clock"
        )
    if problems:
        raise ConfigError(loaded.file, problems)
    return signer, certificate, roots


def notary_of(loaded: LoadedConfig, engine: Engine, clock: Callable[[], datetime]) -> Notary:
    """What makes bundles of this database, sealed with the online key; it asks no agent."""
    from coordinator.evidence.notary import Notary
    from coordinator.registry.book import RegistryBook
    from coordinator.stir.certificates import pem_of_roots
    from coordinator.stir.examiner import Examiner, roots_of

    config = loaded.config
    roots = (config.signing and config.signing.roots) or config.tls.roots
    return Notary(
        engine=engine,
        name=config.coordinator.name,
        persons=config.orders.persons,
        signer=lambda: online_key(loaded, clock())[0],
        roots=lambda: loaded.path(roots).read_bytes(),
        provider=RegistryBook(engine).provider,
        clock=clock,
        sti_roots=lambda: pem_of_roots(roots_of(loaded)),
        header=lambda traceback_id: Examiner(engine).evidence(traceback_id),
    )


def _now() -> datetime:
    return datetime.now(UTC)
