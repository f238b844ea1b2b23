"""Mutual TLS, both ends: reading certificate, key and roots, and the identity that the other side proved.

Both ends present a certificate of a root that the other trusts; without one the handshake fails (RFC 8446, 4.4.2.4).
gRPC for Python has no setting for the oldest version of TLS that it negotiates (1.2), so that a peer is taken for
nobody unless the connection is 1.3. Identity is read from the URIs of the certificate alone (RFC 6125, 6.5.2), never
from a message.

Files are checked when they are read, all mistakes at once: a key that belongs to another certificate or a certificate
that has expired would otherwise show only as a failed handshake on the other side.

Certificates are renewed while calls run: a server looks at a `Live` at every handshake; a connection that stands
keeps those with which it began. Clients open new channels (`coordinator.lookups.transport`, `agent.dialout`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import sleep
from typing import Final

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from protos.identity import ProviderId, coordinator_name, coordinator_tls_name, provider_tls_name
from protos.live import Live

HOLD_S: Final = 0.1
"""Seconds for which no handshake begins when a server's certificate changes; see `changes`."""

SERVER_OPTIONS: Final = (("grpc.server_handshake_timeout_ms", 10_000),)
"""Of every server here: gRPC itself lets whoever connects and says nothing hold a descriptor for two minutes."""


class TlsFilesError(ValueError):
    """The files can't be used; `problems` says of each what is wrong and what to do."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What one party brings to mutual TLS (PEM), and what its certificate says.

    `uris` and `dns_names` are the certificate's subject alternative names; the validity is aware UTC.
    """

    certificate: bytes
    key: bytes = field(repr=False)
    roots: bytes = field(repr=False)
    uris: tuple[str, ...]
    dns_names: tuple[str, ...]
    valid_from: datetime
    valid_to: datetime


def read_tls_files(certificate: Path, key: Path, roots: Path, now: datetime) -> TlsFiles:
    """Read and check the files of one party.

    Raises:
        TlsFilesError: a file is missing, unreadable or no PEM; the key is another certificate's, or readable by
            others; the certificate is not valid at `now`.
    """
    problems: list[str] = []
    certificate_pem, key_pem, roots_pem = (
        _read(path, what, problems) for path, what in ((certificate, "certificate"), (key, "key"), (roots, "roots"))
    )
    leaf = _certificates(certificate_pem, certificate, "certificate", problems)
    _certificates(roots_pem, roots, "roots", problems)
    _check_key(key_pem, key, leaf, certificate, problems)
    if leaf is not None:
        if now >= leaf.not_valid_after_utc:
            problems.append(f"certificate {certificate} expired at {_text(leaf.not_valid_after_utc)}: renew it")
        if now < leaf.not_valid_before_utc:
            problems.append(
                f"certificate {certificate} is valid only from {_text(leaf.not_valid_before_utc)}: "
                "check this machine's clock"
            )
    if problems or leaf is None:
        raise TlsFilesError(problems)
    uris, dns_names = _names(leaf)
    return TlsFiles(
        certificate=certificate_pem,
        key=key_pem,
        roots=roots_pem,
        uris=uris,
        dns_names=dns_names,
        valid_from=leaf.not_valid_before_utc,
        valid_to=leaf.not_valid_after_utc,
    )


def server_credentials(files: TlsFiles | Live[TlsFiles]) -> grpc.ServerCredentials:
    """Credentials of a server that insists on a client certificate of its roots; a `Live` is read at every one."""
    if isinstance(files, TlsFiles):
        return grpc.ssl_server_credentials(
            [(files.key, files.certificate)], root_certificates=files.roots, require_client_auth=True
        )
    return _renewed_credentials(files, require_client=True)


def open_server_credentials(files: Live[TlsFiles]) -> grpc.ServerCredentials:
    """Credentials of a server that asks nobody for a certificate: who calls is to be proven otherwise."""
    return _renewed_credentials(files, require_client=False)


def _renewed_credentials(live: Live[TlsFiles], *, require_client: bool) -> grpc.ServerCredentials:
    def shown(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(files.key, files.certificate)], root_certificates=files.roots if require_client else None
        )

    changed = changes(live)

    def present() -> grpc.ServerCertificateConfiguration | None:
        files = changed()
        return None if files is None else shown(files)

    return grpc.dynamic_ssl_server_credentials(
        shown(live.current),
        present,  # type: ignore[arg-type]  # the stubs do not know that None stands for no change
        require_client_authentication=require_client,
    )


def changes(live: Live[TlsFiles], pause: Callable[[float], None] = sleep) -> Callable[[], TlsFiles | None]:
    """What a server shows from now on, asked at every handshake: None as long as that is what it was told last.

    Whatever is named here, even the same again, makes gRPC put up a new TLS context and free the old one, which a
    handshake that is just about to begin in another thread may hold without having counted itself
    (`add_handshakers` in ssl_security_connector.cc, as of 1.85; grpc/grpc#36693): a process that says the same thing
    anew at every handshake is brought down by anybody who opens connections, certificate or not. So it is told what
    changed and nothing else; and first comes a pause of `HOLD_S`, in which gRPC lets no other handshake begin and those
    that began can count themselves.
    """
    told = live.current

    def changed() -> TlsFiles | None:
        nonlocal told
        if live.current is told:
            return None
        pause(HOLD_S)
        told = live.current
        return told

    return changed


def channel_credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    """Credentials of a client that presents its certificate and trusts its roots alone."""
    return grpc.ssl_channel_credentials(
        root_certificates=files.roots, private_key=files.key, certificate_chain=files.certificate
    )


def open_channel_credentials(roots: bytes) -> grpc.ChannelCredentials:
    """Credentials of a client that has no certificate yet and trusts these roots alone."""
    return grpc.ssl_channel_credentials(root_certificates=roots)


def provider_channel_options(provider: ProviderId) -> tuple[tuple[str, str], ...]:
    """Channel options that pin the name which the agent of `provider` must prove, wherever it listens."""
    return (("grpc.ssl_target_name_override", provider_tls_name(provider)),)


def coordinator_channel_options(uri: str) -> tuple[tuple[str, str], ...]:
    """Channel options that pin the name which the coordinator of this URI must prove, wherever it listens."""
    return (("grpc.ssl_target_name_override", coordinator_tls_name(coordinator_name(uri))),)


def peer_uris(auth_context: Mapping[str, Iterable[bytes]]) -> list[str]:
    """The URIs of the certificate that the other side of a call proved to own; empty without one, or before TLS 1.3."""
    if any(version != b"TLSv1.3" for version in auth_context.get("ssl_tls_version", ())):
        return []
    return [uri.decode("ascii", "replace") for uri in auth_context.get("peer_uri", ())]


class PeerSerials:
    """Serial numbers of the certificates that others prove to own, each certificate parsed once."""

    def __init__(self, remembered: int = 4096) -> None:
        self._known: OrderedDict[bytes, int | None] = OrderedDict()
        self._remembered = remembered

    def of(self, auth_context: Mapping[str, Iterable[bytes]]) -> int | None:
        """The serial number of the other side's certificate; None without one that can be read."""
        pem = next(iter(auth_context.get("x509_pem_cert", ())), b"")
        if pem in self._known:
            self._known.move_to_end(pem)
            return self._known[pem]
        try:
            serial: int | None = x509.load_pem_x509_certificate(pem).serial_number
        except ValueError:
            serial = None
        self._known[pem] = serial
        if len(self._known) > self._remembered:
            self._known.popitem(last=False)
        return serial


def _read(path: Path, what: str, problems: list[str]) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        problems.append(f"{what} {path} can't be read: {error.strerror}")
        return b""
    if not content:
        problems.append(f"{what} {path} is empty")
    return content


def _certificates(pem: bytes, path: Path, what: str, problems: list[str]) -> x509.Certificate | None:
    if not pem:
        return None
    try:
        read = x509.load_pem_x509_certificates(pem)
    except ValueError:
        problems.append(f"{what} {path} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
        return None
    if len(read) < pem.count(b"-----BEGIN CERTIFICATE-----"):  # what breaks off is passed over in silence
        problems.append(f"{what} {path} breaks off in the middle of a certificate: write it whole")
    return read[0]


def _check_key(pem: bytes, path: Path, leaf: x509.Certificate | None, certificate: Path, problems: list[str]) -> None:
    if not pem:
        return
    try:
        public = serialization.load_pem_private_key(pem, password=None).public_key()
    except (ValueError, TypeError):
        problems.append(f"key {path} holds no unencrypted private key in PEM form")
        return
    if path.stat().st_mode & 0o077:
        problems.append(f"key {path} can be read by others: chmod 600 {path}")
    if leaf is not None and _spki(public) != _spki(leaf.public_key()):
        problems.append(f"key {path} is not the key of certificate {certificate}")


def _text(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _spki(key: object) -> bytes:
    return key.public_bytes(  # type: ignore[attr-defined,no-any-return]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _names(certificate: x509.Certificate) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (), ()
    return (
        tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
        tuple(names.get_values_for_type(x509.DNSName)),
    )
