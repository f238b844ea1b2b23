"""What this agent shows to others and whom it lets in, from its configuration: certificates that renew themselves, and
the list of those that no longer count.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509

from agent.config import AgentConfig
from agent.dialout import DialOut
from agent.handlers import Handlers
from agent.identity_config import coordinator_of
from agent.inspection import read_tls
from agent.mistakes import ConfigError, Mistake
from agent.run import Ways
from agent.server import Listening
from protos.certificates import Certified, PinnedRoots
from protos.enrolling import by_certificate, fetch_list
from protos.evidence_key import EvidenceKey
from protos.identity import provider_uri
from protos.key_pairs import KeyPair
from protos.list_keeper import ListKeeper
from protos.live import Live
from protos.renewal import Party, Places, Renewal
from protos.revocation import Revocations
from protos.taking_up import TakingUp
from protos.tls import TlsFiles

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Identity:
    """This agent's TLS files, which may change while it runs, and what is known of revoked certificates.

    `revocations` is None where the configuration names no list: then nothing is revoked.
    """

    config: AgentConfig
    clock: Clock
    tls: Live[TlsFiles]
    revocations: Revocations | None
    keeper: ListKeeper | None

    def problem(self, serial: int | None) -> str | None:
        """Why whoever shows the certificate of this serial number is not let in; None when it may pass."""
        return None if self.revocations is None else self.revocations.problem(serial, self.clock())

    def is_revoked(self, certified: Certified) -> bool:
        """Whether what this evidence certificate's key signed counts no longer."""
        return self.problem(certified.serial) is not None

    def ways(self, handlers: Handlers) -> Ways:
        """How the coordinator reaches these handlers."""
        listen, table = self.config.listen, self.config.dial_out
        listening = dial_out = None
        if listen.address is not None:
            coordinators = frozenset(listen.coordinators)
            refused = None if self.revocations is None else self.problem
            listening = Listening(listen.address, self.tls, coordinators, listen.reflection, refused)
        if table is not None:
            dial_out = DialOut(table.coordinator, coordinator_of(table, listen.coordinators), self.tls, handlers)
        return Ways(listening, dial_out, "" if table is None else table.coordinator)

    def beside(self, evidence: Live[EvidenceKey] | None, roots: PinnedRoots | None) -> list[Coroutine[Any, Any, None]]:
        """What runs as long as the agent: the renewal of its files, its own or others', and the watch over the list.

        `evidence` and `roots`, of others' evidence, are what it signs and checks with, where it does.
        """
        work = [] if self.keeper is None else [self.keeper.run()]
        if evidence is None or roots is None:
            return work
        party = Party(provider_uri(self.config.me), places_of(self.config), self.tls, evidence, roots)
        work.append(TakingUp(party, self.clock).run())
        table = self.config.enrolment
        if table is not None and table.renew:
            coordinator = coordinator_of(table, self.config.listen.coordinators)
            obtain = by_certificate(table.coordinator, coordinator, self.tls)
            work.append(Renewal(party, obtain, self.clock).run())
        return work


def places_of(config: AgentConfig) -> Places:
    """Where this agent's certificates and keys lie.

    Raises:
        ConfigError: there is no [signing].
    """
    listen, signing = config.listen, config.signing
    if signing is None:
        raise ConfigError("configuration", [Mistake("signing", "missing: the certificate for evidence needs a place")])
    return Places(
        tls=KeyPair(listen.certificate, listen.key),
        roots=listen.roots,
        evidence=KeyPair(signing.certificate, signing.key),
        evidence_roots=signing.evidence_roots or listen.roots,
    )


def open_identity(config: AgentConfig, clock: Clock) -> Identity:
    """Read certificates, keys and the list; a renewal that was interrupted is finished before.

    Raises:
        ConfigError: a file can't be used. OSError: the disk refuses.
    """
    if config.signing is not None:
        places_of(config).recover()
    tls = Live(read_tls(config, clock()))
    table = config.revocation
    if table is None:
        return Identity(config, clock, tls, None, None)
    refuse_after = table.refuse_after if table.when_too_old == "refuse" else None
    revocations = Revocations(roots_of(config), table.warn_after, refuse_after)
    fetch = None
    if table.fetch and config.enrolment is not None:
        enrolment, coordinators = config.enrolment, config.listen.coordinators

        async def fetch() -> bytes:
            return await fetch_list(enrolment.coordinator, coordinator_of(enrolment, coordinators), tls.current)

    keeper = ListKeeper(revocations, table.list, fetch, clock, table.every)
    keeper.read()
    return Identity(config, clock, tls, revocations, keeper)


def roots_of(config: AgentConfig) -> list[x509.Certificate]:
    """All roots whose lists count: those of TLS, and of evidence.

    Raises:
        ConfigError: they can't be read.
    """
    signing = config.signing
    files = {config.listen.roots, *([signing.evidence_roots] if signing is not None and signing.evidence_roots else [])}
    try:
        return [root for file in sorted(files) for root in x509.load_pem_x509_certificates(file.read_bytes())]
    except (OSError, ValueError) as error:
        raise ConfigError("configuration", [Mistake("signing.evidence_roots", f"can't be read: {error}")]) from None
