"""The real servers of Debian's packages, each in a directory of its own, on sockets and loopback ports, ended for sure.

PostgreSQL, MariaDB and ClickHouse refuse to run as root, so that a root user's tests run them as the packages' users.
A package that is missing skips the tests that need it, with the name of the package.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

START_S = 60.0


@dataclass(frozen=True)
class Server:
    """A running server: where it listens (a socket's directory or file, or a port of the loopback)."""

    socket: str = ""
    port: int = 0
    process: int = 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def binary(package: str, *places: str) -> str:
    """The program of a Debian package, or a skip that names it."""
    for place in places:
        for found in sorted(Path("/").glob(place.lstrip("/")), reverse=True):
            return str(found)
    pytest.skip(f"the Debian package {package} is not installed")


def _as_user(user: str) -> dict[str, Any]:
    """Arguments of a process that must not be root's."""
    if os.geteuid() != 0:
        return {}
    there = pwd.getpwnam(user)
    return {"user": there.pw_uid, "group": there.pw_gid, "extra_groups": []}


def own(path: Path, user: str) -> None:
    """Give a directory to the server's user, and let that user come to it."""
    path.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        shutil.chown(path, user)
        for parent in path.parents:
            if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001 and str(parent).startswith("/tmp"):
                parent.chmod(parent.stat().st_mode | 0o011)


_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Tests that are killed leave no server behind."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def running(command: list[str], user: str, log: Path, ready: Any, stop: int = signal.SIGTERM) -> Iterator[int]:
    """A server from its start until the end of the block."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            preexec_fn=_die_with_parent,
            **_as_user(user),
        )
    try:
        deadline = time.monotonic() + START_S
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(process.pid, stop)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def quietly(work: Any) -> bool:
    """Whether it works."""
    try:
        work()
    except Exception:
        return False
    return True


def _reach(family: socket.AddressFamily, address: Any) -> None:
    with socket.socket(family) as probe:
        probe.connect(address)


@contextmanager
def postgresql(directory: Path) -> Iterator[Server]:
    """A cluster with the superuser `postgres`, on a socket in `directory` and on a port of the loopback."""
    import psycopg

    server = binary("postgresql", "/usr/lib/postgresql/*/bin/postgres")
    own(directory, "postgres")
    data = directory / "data"
    subprocess.run(
        [
            str(Path(server).parent / "initdb"),
            "-D",
            str(data),
            "-U",
            "postgres",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
        ],
        check=True,
        capture_output=True,
        cwd="/",
        **_as_user("postgres"),
    )
    port = free_port()
    settings = {"fsync": "off", "listen_addresses": "127.0.0.1", "port": str(port), "shared_buffers": "64MB"}
    command = [server, "-D", str(data), "-k", str(directory)]
    command += [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    target = f"host={directory} port={port} user=postgres dbname=postgres connect_timeout=2"
    with running(
        command,
        "postgres",
        directory.with_suffix(".log"),
        lambda: quietly(lambda: psycopg.connect(target).close()),
        signal.SIGINT,
    ) as pid:
        yield Server(str(directory), port, pid)


@contextmanager
def mariadb(directory: Path) -> Iterator[Server]:
    """A server with the superuser `root` without password, on the socket `directory/sock`."""
    server = binary("mariadb-server", "/usr/sbin/mariadbd", "/usr/sbin/mysqld")
    installer = binary("mariadb-server", "/usr/bin/mariadb-install-db")
    own(directory, "mysql")
    data, sock = directory / "data", directory / "sock"
    subprocess.run(
        [
            installer,
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--innodb-flush-log-at-trx-commit=0",
        ],
        check=True,
        capture_output=True,
        cwd="/",
        **_as_user("mysql"),
    )
    port = free_port()
    command = [
        server,
        "--no-defaults",
        f"--datadir={data}",
        f"--socket={sock}",
        f"--port={port}",
        "--bind-address=127.0.0.1",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-buffer-pool-size=64M",
        "--skip-name-resolve",
    ]
    with running(
        command,
        "mysql",
        directory.with_suffix(".log"),
        lambda: quietly(lambda: _reach(socket.AF_UNIX, str(sock))),
    ) as pid:
        yield Server(str(sock), port, pid)


_CLICKHOUSE = """<yandex>
<logger><level>warning</level><log>{directory}/log</log><errorlog>{directory}/err</errorlog></logger>
<tcp_port>{port}</tcp_port><http_port>{http}</http_port><listen_host>127.0.0.1</listen_host>
<path>{directory}/data/</path><tmp_path>{directory}/tmp/</tmp_path><users_config>{directory}/users.xml</users_config>
<default_profile>default</default_profile><default_database>default</default_database><timezone>America/New_York</timezone>
<mark_cache_size>5368709120</mark_cache_size>
</yandex>"""
_USER = (
    "<{name}><password>{password}</password><networks><ip>127.0.0.1</ip></networks>"
    "<profile>{profile}</profile><quota>default</quota></{name}>"
)
_USERS = """<yandex>
<profiles><default><max_memory_usage>1000000000</max_memory_usage></default>
<reading><readonly>2</readonly></reading><strict><readonly>1</readonly></strict></profiles>
<users>{users}</users><quotas><default></default></quotas></yandex>"""
_ACCOUNTS = (
    ("default", "", "default"),
    ("reader", "", "reading"),
    ("strict", "", "strict"),
    ("guarded", "read it", "reading"),
)


@contextmanager
def clickhouse(directory: Path) -> Iterator[Server]:
    """A server with `default` (may write), `reader` and `guarded` (readonly 2), `strict` (readonly 1); not in UTC."""
    server = binary("clickhouse-server", "/usr/sbin/clickhouse-server", "/usr/bin/clickhouse-server")
    own(directory, "clickhouse")
    port, http = free_port(), free_port()
    (directory / "config.xml").write_text(_CLICKHOUSE.format(directory=directory, port=port, http=http))
    users = (_USER.format(name=name, password=password, profile=profile) for name, password, profile in _ACCOUNTS)
    (directory / "users.xml").write_text(_USERS.format(users="".join(users)))
    with running(
        [server, f"--config-file={directory}/config.xml"],
        "clickhouse",
        directory.with_suffix(".log"),
        lambda: quietly(lambda: _reach(socket.AF_INET, ("127.0.0.1", port))),
    ) as pid:
        yield Server("", port, pid)


@contextmanager
def s3() -> Iterator[str]:
    """The endpoint of an S3 that keeps everything in memory."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
