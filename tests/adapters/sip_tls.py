"""SIP over real TLS, between two ends in one process, as the TCP segments that a capture would hold (synthetic)."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.adapters.sip_bytes import tcp

PORTS = (40000, 5061)


def tls_frames(
    client: str, server: str, messages: Iterable[tuple[bool, bytes]], directory: Path, version: ssl.TLSVersion
) -> tuple[list[bytes], Path]:
    """The frames of one TLS connection, and the file of its secrets (SSLKEYLOGFILE).

    Args:
        messages: whether the client sends it, and its bytes.
        directory: where certificate, key and secrets are written.
    """
    secrets = directory / "secrets"
    ours, theirs = _contexts(directory, secrets, version)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = {
        True: ours.wrap_bio(to_client, to_server),
        False: theirs.wrap_bio(to_server, to_client, server_side=True),
    }
    frames: list[bytes] = []
    sent = {True: 1, False: 1}

    def carry(from_client: bool) -> None:
        """Take what one end has written through the network to the other."""
        written = (to_server if from_client else to_client).read()
        if written:
            places, ports = ((client, server), PORTS) if from_client else ((server, client), PORTS[::-1])
            frames.append(tcp(*places, sent[from_client], written, ports=ports))
            sent[from_client] += len(written)
            (to_server if from_client else to_client).write(written)

    waiting = [True, False]
    while waiting:
        for end in list(waiting):
            try:
                ends[end].do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
            carry(end)
    for from_client, message in messages:
        ends[from_client].write(message)
        carry(from_client)
        assert ends[not from_client].read(1 << 16) == message
    return frames, secrets


def _contexts(directory: Path, secrets: Path, version: ssl.TLSVersion) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sbc.example.net")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = directory / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(pem)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours.load_verify_locations(pem)
    ours.check_hostname = False
    ours.keylog_filename = str(secrets)
    for context in (ours, theirs):
        context.minimum_version = context.maximum_version = version
    return ours, theirs
