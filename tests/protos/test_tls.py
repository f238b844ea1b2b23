"""TLS files are refused before they can fail a handshake, and identity comes from a certificate's URIs alone."""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from coordinator.authority.lab_ca import Credentials, LabAuthority
from protos.identity import ProviderId
from protos.live import Live
from protos.tls import (
    HOLD_S,
    PeerSerials,
    TlsFiles,
    TlsFilesError,
    changes,
    channel_credentials,
    peer_uris,
    provider_channel_options,
    read_tls_files,
    server_credentials,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> LabAuthority:
    return LabAuthority.create(tmp_path_factory.mktemp("ca"), clock=lambda: NOW)


@pytest.fixture
def birch(authority: LabAuthority, tmp_path: Path) -> Credentials:
    return authority.issue_provider("birch", tmp_path)


def problems(files: Credentials, now: datetime = NOW) -> str:
    with pytest.raises(TlsFilesError) as caught:
        read_tls_files(files.certificate, files.key, files.roots, now)
    return str(caught.value)


def test_sound_files_say_who_they_are_for_and_until_when(birch: Credentials) -> None:
    files = read_tls_files(birch.certificate, birch.key, birch.roots, NOW)
    assert files.uris == ("hopback://provider/birch",)
    assert files.dns_names == ("birch.provider.hopback.internal",)
    assert files.valid_from < NOW < files.valid_to
    assert "PRIVATE KEY" not in repr(files)


def test_all_missing_files_are_named_at_once(tmp_path: Path) -> None:
    text = problems(Credentials(tmp_path / "a.crt", tmp_path / "a.key", tmp_path / "ca.crt"))
    assert all(name in text for name in ("a.crt", "a.key", "ca.crt"))


def test_an_expired_certificate_is_refused(birch: Credentials) -> None:
    assert "expired at" in problems(birch, NOW + timedelta(days=91))


def test_a_certificate_of_the_future_is_refused(birch: Credentials) -> None:
    assert "valid only from" in problems(birch, NOW - timedelta(days=1))


def test_a_key_of_another_certificate_is_refused(authority: LabAuthority, birch: Credentials) -> None:
    other = authority.issue_provider("cedar", birch.key.parent)
    assert "is not the key of" in problems(Credentials(birch.certificate, other.key, birch.roots))


def test_a_key_that_others_can_read_is_refused(birch: Credentials) -> None:
    birch.key.chmod(0o644)
    assert "chmod 600" in problems(birch)


@pytest.mark.parametrize("name", ["certificate", "key", "roots"])
def test_a_file_that_is_no_pem_is_refused(birch: Credentials, name: str) -> None:
    getattr(birch, name).write_bytes(b"nonsense")
    assert "PEM" in problems(birch)


class TestWhoTheOtherSideIs:
    def test_is_what_its_certificate_says_as_uri(self) -> None:
        context = {"peer_uri": [b"hopback://provider/birch"], "ssl_tls_version": [b"TLSv1.3"]}
        assert peer_uris(context) == ["hopback://provider/birch"]

    def test_is_not_what_its_certificate_says_elsewhere(self) -> None:
        uri = b"hopback://coordinator/lab"
        context = {"x509_common_name": [uri], "peer_dns": [uri], "x509_subject_alternative_name": [uri]}
        assert peer_uris(context) == []

    def test_is_nobody_over_an_old_version_of_tls(self) -> None:
        assert peer_uris({"peer_uri": [b"hopback://provider/birch"], "ssl_tls_version": [b"TLSv1.2"]}) == []

    def test_is_nobody_without_a_certificate(self) -> None:
        assert peer_uris({}) == []


class TestTheSerialNumberOfTheOtherSide:
    def test_is_that_of_its_certificate(self, birch: Credentials) -> None:
        pem = birch.certificate.read_bytes()
        expected = x509.load_pem_x509_certificate(pem).serial_number
        serials = PeerSerials()
        assert serials.of({"x509_pem_cert": [pem]}) == expected
        assert serials.of({"x509_pem_cert": [pem]}) == expected

    @pytest.mark.parametrize("context", [{}, {"x509_pem_cert": []}, {"x509_pem_cert": [b"nonsense"]}])
    def test_is_none_without_one_that_can_be_read(self, context: dict[str, list[bytes]]) -> None:
        assert PeerSerials().of(context) is None


class TestAServerWhoseCertificateIsRenewed:
    async def test_shows_the_new_one_at_the_next_handshake_and_keeps_old_connections(
        self, authority: LabAuthority, tmp_path: Path
    ) -> None:
        now = datetime.now(UTC)
        real = LabAuthority.create(tmp_path)
        first, second = (tls_files(real.issue_provider("birch", tmp_path / name), now) for name in ("first", "second"))
        live = Live(first)
        server, endpoint = await echoing(server_credentials(live))
        client = tls_files(real.issue_coordinator("lab"), now)
        context = ssl.create_default_context(cadata=client.roots.decode())
        context.check_hostname = False
        pem = tmp_path / "client.pem"
        pem.write_bytes(client.certificate + client.key)
        context.load_cert_chain(pem)
        async with grpc.aio.secure_channel(
            endpoint, channel_credentials(client), options=provider_channel_options(ProviderId("birch"))
        ) as channel:
            call = channel.unary_unary("/test.Echo/Call", None, None)
            assert await call(b"before") == b"TLSv1.3"
            shown = [await asyncio.to_thread(shown_to, context, endpoint)]
            live.replace(second)
            shown.append(await asyncio.to_thread(shown_to, context, endpoint))
            assert await call(b"after") == b"TLSv1.3"
        await server.stop(0)
        assert shown == [certificate_of(first), certificate_of(second)]

    def test_is_told_of_a_change_once_after_a_pause_and_at_all_other_handshakes_of_none(
        self, authority: LabAuthority, tmp_path: Path
    ) -> None:
        """Being told of the same again at every handshake, gRPC would free what others of them still use, and crash."""
        first, second = (tls_files(authority.issue_provider("birch", tmp_path / name), NOW) for name in ("a", "b"))
        live, pauses = Live(first), list[float]()
        changed = changes(live, pauses.append)
        assert [changed(), changed(), pauses] == [None, None, []]
        live.replace(second)
        assert [changed(), changed(), pauses] == [second, None, [HOLD_S]]


class TestAClientOfAnOlderTls:
    async def test_is_nobody_to_the_server(self, tmp_path: Path) -> None:
        """The handshake of TLS 1.2 succeeds with a good certificate, and proves nothing to us."""
        now = datetime.now(UTC)
        real = LabAuthority.create(tmp_path)
        client = tls_files(real.issue_coordinator("lab"), now)
        server, endpoint = await echoing(server_credentials(tls_files(real.issue_provider("birch"), now)))
        context = ssl.create_default_context(cadata=client.roots.decode())
        context.check_hostname = False
        context.set_alpn_protocols(["h2"])
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        pem = tmp_path / "client.pem"
        pem.write_bytes(client.certificate + client.key)
        context.load_cert_chain(pem)
        host, _, port = endpoint.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.2"
        writer.write(HTTP2_CALL)
        await writer.drain()
        received = b""
        while b"nobody" not in received and (more := await reader.read(4096)):
            received += more
        writer.close()
        await server.stop(0)
        assert b"nobody" in received


def tls_files(credentials: Credentials, now: datetime) -> TlsFiles:
    return read_tls_files(credentials.certificate, credentials.key, credentials.roots, now)


def certificate_of(files: TlsFiles) -> bytes:
    return x509.load_pem_x509_certificate(files.certificate).public_bytes(serialization.Encoding.DER)


def shown_to(context: ssl.SSLContext, endpoint: str) -> bytes | None:
    host, _, port = endpoint.rpartition(":")
    with socket.create_connection((host, int(port))) as plain, context.wrap_socket(plain) as secure:
        return secure.getpeercert(binary_form=True)


async def echoing(credentials: grpc.ServerCredentials) -> tuple[grpc.aio.Server, str]:
    """A server that answers with the version of TLS, or "nobody" to those who are nobody."""

    async def handle(request: bytes, context: Any) -> bytes:
        proved = context.auth_context()
        return proved["ssl_tls_version"][0] if peer_uris(proved) else b"nobody"

    server = grpc.aio.server()
    handlers = {"Call": grpc.unary_unary_rpc_method_handler(handle)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    return server, f"127.0.0.1:{port}"


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _literal(name: bytes, value: bytes) -> bytes:
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


HTTP2_CALL = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + _frame(4, 0, 0, b"")
    + _frame(
        1,
        4,
        1,
        b"".join(
            _literal(name, value)
            for name, value in (
                (b":method", b"POST"),
                (b":scheme", b"https"),
                (b":path", b"/test.Echo/Call"),
                (b":authority", b"birch"),
                (b"content-type", b"application/grpc"),
                (b"te", b"trailers"),
            )
        ),
    )
    + _frame(0, 1, 1, b"\x00\x00\x00\x00\x00")
)
"""A unary gRPC call with an empty message (RFC 9113, gRPC over HTTP/2): gRPC's own client can't be held to TLS 1.2."""
