"""What a sound configuration points at: certificates, root key, formats, files, index. Reads, changes nothing.

`inspect` gives everything that is wrong at once, in the words of `agent.config`; the single readers below it are what
`run` and `index` use, each refusing with a `ConfigError`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from agent.config import AgentConfig, is_elsewhere, source_files
from agent.index import Index, IndexUnusableError, Keys, RootKeyError, root_key_from
from agent.index.coverage import Coverage, SourceCoverage
from agent.mistakes import ConfigError, Mistake
from agent.stores.inspection import StoreFacts, look_at
from agent.stores.opened import open_store
from protos.certificates import CertificateError, PinnedRoots
from protos.evidence_key import EvidenceKey, EvidenceKeyError, read_evidence_key
from protos.identity import provider_tls_name, provider_uri
from protos.renewal import Life, is_late
from protos.tls import TlsFiles, TlsFilesError, read_tls_files

EXPIRES_SOON: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """A source and the files that it matches now."""

    name: str
    format: str
    path: str
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found. `mistakes` keep the agent from working, `warnings` don't."""

    mistakes: tuple[Mistake, ...]
    warnings: tuple[Mistake, ...]
    sources: tuple[SourceFacts, ...]
    tls: TlsFiles | None
    coverage: Coverage | None
    stores: tuple[StoreFacts, ...] = ()


def read_keys(config: AgentConfig, environment: Mapping[str, str] = os.environ) -> Keys:
    """The keys of the index.

    Raises:
        ConfigError: no root key, or one that is badly kept.
    """
    try:
        index = config.index
        timeout_s = index.root_key_timeout.total_seconds()
        return Keys.from_root(root_key_from(index.root_key_file, environment, index.root_key_command, timeout_s))
    except RootKeyError as error:
        raise ConfigError("configuration", [Mistake("index.root_key_file", str(error))]) from None


def read_tls(config: AgentConfig, now: datetime) -> TlsFiles:
    """The certificate files, for the provider that the configuration names.

    Raises:
        ConfigError: unusable files, or a certificate of somebody else.
    """
    listen = config.listen
    if not listen.certificate.exists() and not listen.key.exists():
        what = f"{listen.certificate} and its key {listen.key.name} are not there yet: {_how_to_get_them(config)}"
        roots = f"{listen.roots} is not there yet: get it from the coordinator's operator on a way that you trust"
        missing = [] if listen.roots.exists() else [Mistake("listen.roots", roots)]
        raise ConfigError("configuration", [*missing, Mistake("listen.certificate", what)])
    try:
        files = read_tls_files(listen.certificate, listen.key, listen.roots, now)
    except TlsFilesError as error:
        raise ConfigError("configuration", [Mistake("listen", problem) for problem in error.problems]) from None
    uri, name = provider_uri(config.me), provider_tls_name(config.me)
    mistakes = [
        Mistake("listen.certificate", f"must carry the {kind} {due}, but has {', '.join(there) or 'none'}")
        for kind, due, there in (("URI", uri, files.uris), ("DNS name", name, files.dns_names))
        if due not in there
    ]
    if mistakes:
        raise ConfigError("configuration", mistakes)
    return files


def _how_to_get_them(config: AgentConfig) -> str:
    if config.enrolment is not None and config.enrolment.first is not None:
        return "`hopback-agent enrol` gets both, with the token that the coordinator's operators grant"
    return (
        "write into [enrolment] where the coordinator issues certificates, and `hopback-agent enrol` gets both with a "
        "token; or put there what you have"
    )


def signed_mistakes(config: AgentConfig) -> list[Mistake]:
    """What keeps a configuration from serving anything."""
    if (config.signing is None) != (config.orders is None):
        missing, there = ("signing", "orders") if config.signing is None else ("orders", "signing")
        return [Mistake(missing, f"missing, though there is [{there}]: signed questions need both")]
    if config.signing is None and not config.trial.unsigned_lookups:
        return [
            Mistake(
                "signing",
                "missing, and [orders] too: without them no signed question is answered. Add both, or for a trial "
                "whose coordinator you trust with everything write unsigned_lookups = true in [trial]",
            )
        ]
    return []


def read_evidence(config: AgentConfig, now: datetime) -> tuple[EvidenceKey, PinnedRoots]:
    """The key that signs answers, and the roots whose evidence certificates count.

    Raises:
        ConfigError: there is no [signing], or its files can't be used.
    """
    signing = config.signing
    if signing is None:
        raise ConfigError("configuration", [Mistake("signing", "missing")])
    roots_file = signing.evidence_roots or config.listen.roots
    where = "listen.roots" if signing.evidence_roots is None else "signing.evidence_roots"
    try:
        roots = PinnedRoots.from_pem(roots_file.read_bytes())
    except OSError as error:
        raise ConfigError("configuration", [Mistake(where, f"{roots_file} can't be read: {error.strerror}")]) from None
    except CertificateError as error:
        raise ConfigError("configuration", [Mistake(where, f"{roots_file}: {error}")]) from None
    try:
        return read_evidence_key(signing.certificate, signing.key, roots, provider_uri(config.me), now), roots
    except EvidenceKeyError as error:
        raise ConfigError("configuration", [Mistake("signing", problem) for problem in error.problems]) from None


def inspect(config: AgentConfig, environment: Mapping[str, str], now: datetime) -> Inspection:
    """Look at everything that the configuration points at."""
    mistakes: list[Mistake] = []
    warnings: list[Mistake] = []
    tls = coverage = None
    try:
        tls = read_tls(config, now)
        renews = config.enrolment is not None and config.enrolment.renew
        if is_late([Life(tls.valid_from, tls.valid_to)], now) if renews else tls.valid_to < now + EXPIRES_SOON:
            warnings.append(Mistake("listen.certificate", f"expires at {tls.valid_to.isoformat()}: renew it"))
    except ConfigError as error:
        mistakes += error.mistakes
    mistakes += _evidence_mistakes(config, now)
    if config.trial.unsigned_lookups:
        warnings.append(
            Mistake("trial.unsigned_lookups", "any coordinator in listen.coordinators may ask about any call")
        )
    try:
        if config.sources or not config.stores:
            coverage = Index.open(config.index.directory, read_keys(config, environment)).coverage()
    except ConfigError as error:
        mistakes += error.mistakes
    except IndexUnusableError as error:
        mistakes.append(Mistake("index.directory", str(error)))
    sources = tuple(
        SourceFacts(source.name, source.format, source.path, tuple(source_files(source))) for source in config.sources
    )
    for number, (source, facts) in enumerate(zip(config.sources, sources, strict=True), 1):
        where = f"sources[{number}]({source.name})"
        mistakes += _adapter_mistakes(source, where)
        if not facts.files and not is_elsewhere(source):
            warnings.append(Mistake(f"{where}.path", f"no file matches {source.path}"))
    if not config.sources and not config.stores:
        warnings.append(Mistake("sources", "there are none: nothing can be indexed"))
    stores, covered = _stores(config, environment, now, mistakes, warnings)
    if covered:
        known = () if coverage is None else coverage.sources
        coverage = Coverage(tuple(sorted((*known, *covered), key=lambda source: source.source)))
    if not config.trunks:
        warnings.append(Mistake("trunks", "there are none: every call that is found will be UNMAPPED"))
    return Inspection(tuple(mistakes), tuple(warnings), sources, tls, coverage, stores)


def _evidence_mistakes(config: AgentConfig, now: datetime) -> list[Mistake]:
    mistakes = signed_mistakes(config)
    if config.signing is not None:
        try:
            read_evidence(config, now)
        except ConfigError as error:
            mistakes += error.mistakes
    try:
        config.question_limits()
    except (OSError, ValueError) as error:
        told = error.strerror if isinstance(error, OSError) else str(error)
        mistakes.append(Mistake("limits.deny_list", f"{config.limits.deny_list} can't be read: {told}"))
    return mistakes


def _stores(
    config: AgentConfig,
    environment: Mapping[str, str],
    now: datetime,
    mistakes: list[Mistake],
    warnings: list[Mistake],
) -> tuple[tuple[StoreFacts, ...], list[SourceCoverage]]:
    """Look at all stores; what is wrong with them goes to `mistakes` and `warnings`."""
    facts: list[StoreFacts] = []
    covered: list[SourceCoverage] = []
    for number, settings in enumerate(config.stores, 1):
        where = f"stores[{number}]({settings.name})"
        try:
            store = open_store(settings, config.formats(), Keys.from_root(os.urandom(32)), environment, lambda: now)
        except ConfigError as error:
            mistakes += [Mistake(where, mistake.what) for mistake in error.mistakes]
            continue
        found = look_at(store, now)
        store.close()
        facts.append(found)
        if found.problem is not None:
            mistakes.append(Mistake(where, found.problem))
        warnings += [Mistake(where, warning) for warning in found.warnings]
        covered += found.coverage.sources if found.coverage is not None else ()
    return tuple(facts), covered


def _adapter_mistakes(source: Any, where: str) -> list[Mistake]:
    from cdr_adapters.columns import ColumnMapper
    from cdr_adapters.mapping import TrunkFormats
    from cdr_adapters.raw import AdapterError
    from cdr_adapters.registry import adapter, completed

    try:
        chosen = adapter(source.format)
    except AdapterError as error:
        return [Mistake(f"{where}.format", str(error))]
    mistakes = []
    try:
        chosen.check_options(source.options)
    except AdapterError as error:
        mistakes.append(Mistake(f"{where}.options", str(error)))
    try:
        ColumnMapper(completed(source), TrunkFormats())
    except AdapterError as error:
        mistakes.append(Mistake(f"{where}.columns", str(error)))
    return mistakes
