"""What whoever can connect, and has no certificate, can do to a process that serves: cost it a little, and no more."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from agent import server
from agent.server import AgentServer, Listening
from coordinator import serve
from coordinator.authority.lab_ca import LabAuthority
from coordinator.serve import CoordinatorServer
from protos.identity import coordinator_uri
from protos.live import Live
from protos.tls import TlsFiles
from tests.coordinator.fake_agent import tls

LAB = coordinator_uri("lab")
SOONER = {"grpc.server_handshake_timeout_ms": 100, "grpc.max_connection_idle_ms": 100}
PATIENT_S = 60.0
"""What is waited for comes, on whatever machine."""


def sooner(options: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
    """The same terms, those that are there shortened."""
    return tuple((name, SOONER.get(name, value)) for name, value in options)


def coordinator(directory: Path, name: str = "lab") -> TlsFiles:
    return tls(LabAuthority.open(directory).issue_coordinator("lab", directory / name))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    LabAuthority.create(tmp_path)
    return tmp_path


def stranger() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


def connected(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), PATIENT_S)


class TestWhoSaysNothing:
    """A connection that takes no certificate to hold must not be held for long."""

    @pytest.mark.parametrize("options", [server._OPTIONS, serve._OPTIONS], ids=["agent", "serve"])
    def test_may_take_ten_seconds_over_a_handshake(self, options: tuple[tuple[str, int], ...]) -> None:
        assert dict(options)["grpc.server_handshake_timeout_ms"] <= 10_000

    async def test_is_hung_up_on_by_an_agent(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server, "_OPTIONS", sooner(server._OPTIONS))
        files = tls(LabAuthority.open(home).issue_provider("birch", home / "birch"))
        agent = AgentServer({}, Listening("127.0.0.1:0", files, frozenset({LAB})))
        with connected(await agent.start()) as silent:
            assert await asyncio.to_thread(silent.recv, 1) == b""
        await agent.stop(0)

    async def test_is_hung_up_on_by_serve_at_either_port(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(serve, "_OPTIONS", sooner(serve._OPTIONS))
        served = CoordinatorServer(Live(coordinator(home)), "127.0.0.1:0", {}, "127.0.0.1:0", {})
        addresses = await served.start()
        assert addresses.enrolment_address is not None
        for address in (addresses.address, addresses.enrolment_address):
            with connected(address) as silent:
                assert await asyncio.to_thread(silent.recv, 1) == b""
        await served.stop(0)

    async def test_is_hung_up_on_after_a_handshake_that_takes_no_certificate(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(serve, "_OPEN_OPTIONS", sooner(serve._OPEN_OPTIONS))
        served = CoordinatorServer(Live(coordinator(home)), "127.0.0.1:0", {}, "127.0.0.1:0", {})
        address = (await served.start()).enrolment_address
        assert address is not None

        def said() -> Iterator[bytes]:
            with stranger().wrap_socket(connected(address)) as idle:
                idle.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
                while received := idle.recv(4096):
                    yield received

        frames = await asyncio.to_thread(lambda: b"".join(said()))  # until it is hung up on
        assert frames[3:4] == b"\x04"  # HTTP/2 was spoken: its first frame is SETTINGS (RFC 9113, 3.4)
        await served.stop(0)


def besieged(directory: str, told: Connection) -> None:
    """A process that serves, and whose certificate changes all the time."""

    async def serving() -> None:
        first, second = (coordinator(Path(directory), name) for name in ("first", "second"))
        live = Live(first)
        served = CoordinatorServer(live, "127.0.0.1:0", {}, "127.0.0.1:0", {})
        addresses = await served.start()
        told.send((addresses.address, addresses.enrolment_address))
        for files in itertools.cycle((second, first)):
            await asyncio.sleep(0.2)
            live.replace(files)

    asyncio.run(serving())


@pytest.mark.nightly
def test_nobody_ends_a_process_by_connecting_to_it(home: Path) -> None:
    """Told of its certificate anew at every handshake, gRPC crashes after some thousand connections."""
    processes = multiprocessing.get_context("spawn")
    told, telling = processes.Pipe(duplex=False)
    process = processes.Process(target=besieged, args=(str(home), telling))
    process.start()
    try:
        assert told.poll(PATIENT_S)
        addresses = told.recv()

        def storm(address: str) -> None:
            context = stranger()
            for _ in range(1500):
                with suppress(OSError), connected(address) as raw, context.wrap_socket(raw) as refused:
                    refused.recv(1)

        strangers = [threading.Thread(target=storm, args=(address,)) for address in addresses * 10]
        for one in strangers:
            one.start()
        for one in strangers:
            one.join()
        assert process.exitcode is None
        for address in addresses:
            connected(address).close()
    finally:
        process.kill()
        process.join()
