"""Files by URL: from a real S3 server, a real SSH server and a server that speaks GCS, all on the loopback."""

from __future__ import annotations

import http.server
import json
import os
import socket
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import paramiko
import pytest
from moto.server import ThreadedMotoServer
from pyarrow import fs

from cdr_adapters import remote, remote_places
from cdr_adapters.raw import AdapterError
from cdr_adapters.remote import described, is_url, listed, localised, parse
from cdr_adapters.remote_places import PASSWORD_VARIABLE

FILES = {
    "/2026/a.csv.gz": b"a",
    "/2026/b.csv": b"b" * 300_000,
    "/2026/.hidden.csv": b"h",
    "/2026/sub/c.csv": b"c",
    "/x y#1?.csv": b"x",
}


def fetched(url: str) -> bytes:
    with localised(url) as path:
        return path.read_bytes()


class TestUrls:
    @pytest.mark.parametrize("text", ["s3://b/k", "gs://b/k", "sftp://h/k", "file:///k"])
    def test_are_told_from_paths(self, text: str) -> None:
        assert is_url(text)
        assert str(parse(text)) == text

    @pytest.mark.parametrize("text", ["records.csv", "/s3/records", "s3:records", "http://h/k", "C:/x"])
    def test_are_nothing_else(self, text: str) -> None:
        assert not is_url(text)
        with pytest.raises(AdapterError, match="URLs begin with one of s3://, gs://, sftp://, file://"):
            parse(text)

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("sftp://me:secret@host/k", "no password in a URL; set HOPBACK_SFTP_PASSWORD"),
            ("s3://AKIA:secret@bucket/k", "no password in a URL"),
            ("s3://AKIA@bucket/k", "credentials and ports belong into the environment"),
            ("gs://bucket:80/k", "credentials and ports belong into the environment"),
            ("s3://bucket", "names no file: write s3://BUCKET/PATH"),
            ("sftp://host/", "names no file: write sftp://HOST/PATH"),
            ("file://elsewhere/k", "a file of another machine"),
            ("sftp://host:port/k", "this is no URL"),
            ("sftp://[host/k", "this is no URL"),
        ],
    )
    def test_that_cannot_be_read_are_refused_without_showing_a_secret(self, text: str, says: str) -> None:
        with pytest.raises(AdapterError, match=says) as caught:
            parse(text)
        assert "secret" not in str(caught.value)


class TestFilesHere:
    def test_are_read_where_they_lie(self, tmp_path: Path) -> None:
        (tmp_path / "a b.csv").write_bytes(b"a")
        with localised(f"file://{tmp_path}/a%20b.csv") as path:
            assert path == tmp_path / "a b.csv"
        assert path.exists()

    def test_are_listed_like_others(self, tmp_path: Path) -> None:
        for name, content in FILES.items():
            (tmp_path / name[1:]).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name[1:]).write_bytes(content)
        base = f"file://{tmp_path}"
        assert listed(f"{base}/2026/*.csv*") == [f"{base}/2026/a.csv.gz", f"{base}/2026/b.csv"]
        assert listed(f"{base}/2026/") == [f"{base}/2026/a.csv.gz", f"{base}/2026/b.csv"]
        assert listed(f"{base}/2026/b.csv") == [f"{base}/2026/b.csv"]
        assert listed(f"{base}/nothing*") == []


def _check_reading(base: str, directory: Path) -> None:
    """What holds of all places alike."""
    for name, content in FILES.items():
        url = base + urllib.parse.quote(name)
        with localised(url) as path:
            assert path.read_bytes() == content
            assert path.parent.stat().st_mode & 0o777 == 0o700
            assert path.parent.parent == directory
        assert list(directory.iterdir()) == []
    with localised(f"{base}/2026/a.csv.gz") as path:
        assert path.name == "a.csv.gz"


def _check_listing(base: str) -> None:
    def names(pattern: str) -> list[str]:
        found = listed(base + pattern)
        for url in found:
            assert str(parse(url)) == url
        return [urllib.parse.unquote(url.removeprefix(base)) for url in found]

    assert names("/2026/*.csv*") == ["/2026/a.csv.gz", "/2026/b.csv"]
    assert names("/2026/") == ["/2026/a.csv.gz", "/2026/b.csv"]
    assert names("/202?/[bc].csv") == ["/2026/b.csv"]
    assert names("/**/*.csv") == ["/2026/b.csv", "/2026/sub/c.csv", "/x y#1?.csv"]
    assert names("/2026/**/c*") == ["/2026/sub/c.csv"]
    assert names("/2026/b.csv") == ["/2026/b.csv"]
    assert names("/2026/n*") == []
    assert names("/x%20*%3F*") == ["/x y#1?.csv"]
    assert names("/x y#1%3F.csv") == ["/x y#1?.csv"]
    for pattern in ("/2026/*.csv", "/2026/b.csv"):
        (file,) = described(base + pattern)
        assert (file.url, file.size) == (f"{base}/2026/b.csv", 300_000)
        assert file.modified_s > 0 or base.startswith("gs:")  # which nobody here says
    assert described(f"{base}/2026/none.csv") == []


def _check_limits(base: str, directory: Path) -> None:
    with pytest.raises(AdapterError, match="would take more than 0 MB"), localised(f"{base}/2026/b.csv", most=1000):
        raise AssertionError
    assert list(directory.iterdir()) == []
    with pytest.raises(AdapterError, match="is a pattern; one file is needed"):
        fetched(f"{base}/2026/*")
    with pytest.raises(AdapterError, match="there is no such file"):
        fetched(f"{base}/2026/none.csv")
    with pytest.raises(AdapterError, match=r"there is no such file|can't be read"):
        fetched(f"{base}/2026")


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where private copies go, so that a test sees what is left of them."""
    directory = tmp_path / "scratch"
    directory.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(directory))
    return directory


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- S3


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        s3_environment(patch, f"http://127.0.0.1:{port}")
        store = fs.S3FileSystem(endpoint_override=f"127.0.0.1:{port}", scheme="http", allow_bucket_creation=True)
        store.create_dir("Records")
        for name, content in FILES.items():
            with store.open_output_stream(f"Records{name}", compression=None) as file:
                file.write(content)
    yield f"http://127.0.0.1:{port}"
    server.stop()


def s3_environment(patch: pytest.MonkeyPatch, endpoint: str) -> None:
    remote_places._start_s3()
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }.items():
        patch.setenv(name, value)


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    s3_environment(monkeypatch, s3_server)
    return "s3://Records"


class TestS3:
    def test_objects_are_private_copies_that_go_away(self, s3: str, scratch: Path) -> None:
        _check_reading(s3, scratch)

    def test_patterns_and_directories_are_listed(self, s3: str) -> None:
        _check_listing(s3)

    def test_what_is_not_there_or_too_large_is_an_error(self, s3: str, scratch: Path) -> None:
        _check_limits(s3, scratch)

    def test_a_bucket_that_is_not_there_is_said(self, s3: str) -> None:
        for ask in (fetched, listed):
            with pytest.raises(AdapterError, match=r"s3://nonesuch/.: there is no such bucket") as caught:
                ask("s3://nonesuch/*" if ask is listed else "s3://nonesuch/x")
            assert "secret" not in str(caught.value)

    def test_a_server_that_is_not_there_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        s3_environment(monkeypatch, f"http://127.0.0.1:{closed_port()}")
        with pytest.raises(AdapterError, match="it can't be reached"):
            fetched("s3://Records/x")

    def test_a_refusal_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answer = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        with served(lambda _: (403, answer)) as port:
            s3_environment(monkeypatch, f"http://127.0.0.1:{port}")
            for ask in (fetched, lambda url: listed(url + "*")):
                with pytest.raises(AdapterError, match="access denied; check the credentials"):
                    ask("s3://Records/x")


# --- GCS

Answer = Callable[[str], tuple[int, bytes]]


@contextmanager
def served(answer: Answer) -> Iterator[int]:
    """A web server; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, body = answer(self.path)
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - the library's name

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def gcs_answer(path: str) -> tuple[int, bytes]:
    """What GCS says to three of its JSON API's methods: objects.get (metadata, media), objects.list, buckets.get."""
    url = urllib.parse.urlsplit(path)
    query = urllib.parse.parse_qs(url.query)

    def described(name: str) -> dict[str, str]:
        return {"kind": "storage#object", "name": name, "bucket": "records", "size": str(len(FILES[f"/{name}"]))}

    if url.path.startswith("/storage/v1/b/records/o/"):
        name = urllib.parse.unquote(url.path.removeprefix("/storage/v1/b/records/o/"))
        if f"/{name}" not in FILES:
            return 404, b"{}"
        return 200, FILES[f"/{name}"] if query.get("alt") == ["media"] else json.dumps(described(name)).encode()
    if url.path == "/storage/v1/b/records/o":
        prefix = query.get("prefix", [""])[0]
        names = [name[1:] for name in FILES if name[1:].startswith(prefix)]
        if "delimiter" in query:
            names = [name for name in names if "/" not in name.removeprefix(prefix)]
        return 200, json.dumps({"kind": "storage#objects", "items": [described(name) for name in names]}).encode()
    return (200, b'{"kind": "storage#bucket", "name": "records"}') if url.path.endswith("/b/records") else (404, b"{}")


@pytest.fixture(scope="module")
def gcs_server() -> Iterator[str]:
    with served(gcs_answer) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def gcs(gcs_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_server)
    return "gs://records"


class TestGcs:
    def test_objects_are_private_copies_that_go_away(self, gcs: str, scratch: Path) -> None:
        _check_reading(gcs, scratch)

    def test_patterns_and_directories_are_listed(self, gcs: str) -> None:
        _check_listing(gcs)

    def test_what_is_not_there_or_too_large_is_an_error(self, gcs: str, scratch: Path) -> None:
        _check_limits(gcs, scratch)

    def test_a_bucket_that_is_not_there_is_said(self, gcs: str) -> None:
        for ask in (fetched, lambda url: listed(url + "*")):
            with pytest.raises(AdapterError, match="there is no such bucket"):
                ask("gs://nonesuch/x")

    def test_a_refusal_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        refusal = json.dumps({"error": {"code": 403, "message": "no access", "status": "PERMISSION_DENIED"}}).encode()
        with served(lambda _: (403, refusal)) as port:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
            with pytest.raises(AdapterError, match="access denied; check the credentials"):
                fetched("gs://records/x")


# --- SFTP

USER, PASSWORD = "cdr", "correct horse"


class _Login(paramiko.ServerInterface):  # type: ignore[misc] # untyped
    def __init__(self, key: paramiko.PKey) -> None:
        self._key = key

    def check_auth_password(self, username: str, password: str) -> Any:
        good = (username, password) == (USER, PASSWORD)
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> Any:
        return paramiko.AUTH_SUCCESSFUL if (username, key) == (USER, self._key) else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "password,publickey"

    def check_channel_request(self, kind: str, chanid: int) -> Any:
        return paramiko.OPEN_SUCCEEDED


class _Open(paramiko.SFTPHandle):  # type: ignore[misc] # untyped
    def stat(self) -> Any:
        return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))


class _Files(paramiko.SFTPServerInterface):  # type: ignore[misc] # untyped
    """The files of a directory, for reading."""

    root: Path

    def _at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def list_folder(self, path: str) -> Any:
        found = []
        for entry in self._at(path).iterdir():
            attributes = paramiko.SFTPAttributes.from_stat(entry.stat(), entry.name)
            found.append(attributes)
        return found

    def stat(self, path: str) -> Any:
        try:
            return paramiko.SFTPAttributes.from_stat(self._at(path).stat())
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)

    lstat = stat

    def open(self, path: str, flags: int, attr: object) -> Any:
        try:
            file = self._at(path).open("rb")
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)
        handle = _Open(flags)
        handle.readfile = file  # what paramiko's own handle reads from
        return handle


class SshServer:
    """An SSH server that gives the files of a directory to one user."""

    def __init__(self, root: Path) -> None:
        self.host_key = paramiko.ECDSAKey.generate()
        self.user_key = paramiko.ECDSAKey.generate()
        self._files = type("Files", (_Files,), {"root": root})
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._transports: list[paramiko.Transport] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(self.host_key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, self._files)
            self._transports.append(transport)
            try:
                transport.start_server(server=_Login(self.user_key), event=threading.Event())
            except paramiko.SSHException:
                transport.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for transport in self._transports:
            transport.close()
            transport.join(10)

    @property
    def known_host(self) -> str:
        return f"[127.0.0.1]:{self.port} {self.host_key.get_name()} {self.host_key.get_base64()}\n"


@pytest.fixture(scope="module")
def ssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    root = tmp_path_factory.mktemp("served")
    for name, content in FILES.items():
        (root / name[1:]).parent.mkdir(parents=True, exist_ok=True)
        (root / name[1:]).write_bytes(content)
    with closing(SshServer(root)) as server:
        yield server


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory without anything but an empty .ssh."""
    directory = tmp_path / "home"
    (directory / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(directory))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    return directory


@pytest.fixture
def sftp(ssh_server: SshServer, home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (home / ".ssh" / "known_hosts").write_text(ssh_server.known_host)
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    return f"sftp://{USER}@127.0.0.1:{ssh_server.port}"


class TestSftp:
    def test_files_are_private_copies_that_go_away(self, sftp: str, scratch: Path) -> None:
        _check_reading(sftp, scratch)

    def test_patterns_and_directories_are_listed(self, sftp: str) -> None:
        _check_listing(sftp)

    def test_what_is_not_there_or_too_large_is_an_error(self, sftp: str, scratch: Path) -> None:
        _check_limits(sftp, scratch)

    def test_a_path_below_the_home_directory(self, sftp: str) -> None:
        assert fetched(f"{sftp}/~/2026/a.csv.gz") == b"a"

    def test_a_key_and_the_hosts_name_come_from_the_configuration_of_ssh(
        self, ssh_server: SshServer, sftp: str, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv(PASSWORD_VARIABLE)
        ssh_server.user_key.write_private_key_file(str(home / "key"))
        (home / ".ssh" / "known_hosts").rename(home / "known")
        (home / ".ssh" / "config").write_text(
            f"Host switch\n  HostName 127.0.0.1\n  Port {ssh_server.port}\n  User {USER}\n"
            f"  IdentityFile {home}/key\n  UserKnownHostsFile {home}/known\n"
        )
        assert fetched("sftp://switch/2026/a.csv.gz") == b"a"

    def test_a_host_whose_key_is_not_known_is_refused_before_it_learns_a_password(
        self, sftp: str, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (home / ".ssh" / "known_hosts").unlink()
        asked: list[str] = []
        monkeypatch.setattr(_Login, "check_auth_password", lambda *given: asked.append(given[2]))
        with pytest.raises(AdapterError, match=r"key is not known.*add it to ~/\.ssh/known_hosts"):
            fetched(f"{sftp}/2026/a.csv.gz")
        assert asked == []

    def test_a_host_that_shows_another_key_is_refused(self, ssh_server: SshServer, sftp: str, home: Path) -> None:
        other = paramiko.ECDSAKey.generate()
        known = f"[127.0.0.1]:{ssh_server.port} {other.get_name()} {other.get_base64()}\n"
        (home / ".ssh" / "known_hosts").write_text(known)
        with pytest.raises(AdapterError, match="shows another key than the known one"):
            fetched(f"{sftp}/2026/a.csv.gz")

    def test_a_wrong_password_is_said_and_not_shown(self, sftp: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(PASSWORD_VARIABLE, "battery staple")
        with pytest.raises(AdapterError, match="the host refuses us; check user and key") as caught:
            fetched(f"{sftp}/2026/a.csv.gz")
        assert "battery" not in str(caught.value)

    def test_no_credentials_at_all_are_a_refusal_too(self, sftp: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(PASSWORD_VARIABLE)
        with pytest.raises(AdapterError, match=r"the host refuses us|no SSH connection"):
            fetched(f"{sftp}/2026/a.csv.gz")

    def test_a_host_that_is_not_there_is_said(self, sftp: str) -> None:
        with pytest.raises(AdapterError, match="it can't be reached"):
            fetched(f"sftp://{USER}@127.0.0.1:{closed_port()}/x")
        with pytest.raises(AdapterError, match="there is no such host"):
            fetched(f"sftp://{USER}@host.invalid/x")

    def test_something_else_than_an_ssh_server_is_said(self, home: Path) -> None:
        with served(lambda _: (200, b"")) as port, pytest.raises(AdapterError, match="no SSH connection"):
            fetched(f"sftp://{USER}@127.0.0.1:{port}/x")


def test_too_many_files_are_not_listed(s3: str, sftp: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_places, "MOST_LISTED", 2)
    for base in (s3, sftp):
        with pytest.raises(AdapterError, match="more than 2 files; write a narrower pattern"):
            listed(f"{base}/**/*.csv")


def test_names_of_copies_are_harmless(scratch: Path) -> None:
    for name in ("..", ".hidden", "a/../..", "x" * 300, "a\x1b[0m", ""):
        safe = remote._safe_name(f"/{name}")
        assert (scratch / safe).parent == scratch
        assert safe
        assert not safe.startswith(".")
        assert os.sep not in safe
