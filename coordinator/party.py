"""This coordinator as a party: whom its certificates name, where they lie, and what of them is in use."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from coordinator.config import ConfigError, LoadedConfig
from protos.identity import coordinator_uri

if TYPE_CHECKING:
    from protos.renewal import Party, Places


def places_of(loaded: LoadedConfig) -> Places:
    """Where this coordinator's certificates and keys lie.

    Raises:
        ConfigError: there is no [signing].
    """
    from protos.key_pairs import KeyPair
    from protos.renewal import Places

    tls, signing = loaded.config.tls, loaded.config.signing
    if signing is None:
        raise ConfigError(loaded.file, ["signing: missing; agents answer signed questions alone"])
    return Places(
        tls=KeyPair(loaded.path(tls.certificate), loaded.path(tls.key)),
        roots=loaded.path(tls.roots),
        evidence=KeyPair(loaded.path(signing.certificate), loaded.path(signing.key)),
        evidence_roots=loaded.path(signing.roots or tls.roots),
    )


def party_of(loaded: LoadedConfig, now: datetime) -> Party:
    """The coordinator of this configuration, its files read and checked at `now`.

    Raises:
        ConfigError: a file can't be used, or is not this coordinator's.
    """
    from coordinator.online import online_key
    from coordinator.runtime import tls_files
    from protos.evidence_key import EvidenceKey
    from protos.live import Live
    from protos.renewal import Party

    signer, certificate, roots = online_key(loaded, now)
    evidence = EvidenceKey(signer, certificate, roots.certified(certificate))
    uri = coordinator_uri(loaded.config.coordinator.name)
    return Party(uri, places_of(loaded), Live(tls_files(loaded, now)), Live(evidence), roots)
