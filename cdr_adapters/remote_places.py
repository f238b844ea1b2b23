"""Where remote files lie: buckets of S3 and GCS through Arrow's filesystems, hosts through SFTP; see `remote`.

What their libraries raise becomes an `AdapterError` that says what is wrong and what to do, in our words: theirs may
hold addresses that are signed with a credential.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote

from cdr_adapters.raw import AdapterError

if TYPE_CHECKING:
    import paramiko
    from pyarrow import fs

PASSWORD_VARIABLE: Final = "HOPBACK_SFTP_PASSWORD"  # noqa: S105 - a variable's name
ANONYMOUS_VARIABLE: Final = "HOPBACK_ANONYMOUS"
MOST_LISTED: Final = 1_000_000
_SECONDS: Final = 30.0
_REQUESTS: Final = 64


@dataclass(frozen=True, slots=True)
class Url:
    """A URL in parts; `path` begins with a slash, percent signs decoded. As text it is safe to show, and to parse."""

    scheme: str
    host: str
    path: str
    user: str | None = None
    port: int | None = None
    is_pattern: bool = False

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        path = self.path if self.is_pattern else quote(self.path, safe="/~!$&'()+,;=:@")
        return f"{self.scheme}://{user}{self.host}{port}{path}"

    def at(self, path: str) -> Url:
        """The same place with the path of a file."""
        return replace(self, path=path, is_pattern=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in a directory: its path, its bytes, when it changed last (seconds since 1970); 0 where nobody says."""

    path: str
    size: int
    modified_s: float


class Place(Protocol):
    """Where files lie."""

    def open(self, path: str) -> Any:
        """The file there, as a context."""

    def entries(self, directory: str, deep: bool) -> Iterator[Entry]:
        """All files in a directory, with those in directories below when `deep`; none when it is none."""


@contextmanager
def place_of(url: Url) -> Iterator[Place]:
    """The place that a URL is in: a bucket, or a host that we are connected to.

    Raises:
        AdapterError: the host can't be connected to. What the libraries raise: see `reported`.
    """
    with ExitStack() as stack:
        if url.scheme == "sftp":
            yield _Sftp(stack.enter_context(_connected(url)))
        else:
            yield _Bucket(_s3(url) if url.scheme == "s3" else _gcs(), url)


@contextmanager
def reported(url: Url) -> Iterator[None]:
    """What the libraries raise, as an error that says what is wrong and what to do."""
    try:
        yield
    except (OSError, EOFError, ValueError) as error:
        raise AdapterError(f"{url}: {_reason(error)}") from None


_NO_BUCKET: Final = "there is no such bucket"
_DENIED: Final = "access denied; check the credentials and what they may read"
_REASONS: Final = (
    (r"NO_SUCH_BUCKET|NoSuchBucket", _NO_BUCKET),
    (
        r"ACCESS_DENIED|Forbidden|ACCESS_KEY|CLIENT_TOKEN|SIGNATURE|UNRECOGNIZED_CLIENT|(?<!\d)40[13](?!\d)|PermissionDenied|Unauth",
        _DENIED,
    ),
    (r"[Cc]redentials", "no credentials were found in the environment"),
    (r"NETWORK_CONNECTION|[Cc]url|Unavailable|[Cc]onnect|[Tt]imed? ?out|resolve", "it can't be reached"),
    (r"NO_SUCH_KEY|NOT_FOUND|NotFound|not found|does not exist", "there is no such file"),
)


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return _NO_BUCKET if _NO_BUCKET in error.args else "there is no such file"
    if isinstance(error, PermissionError):
        return _DENIED
    if isinstance(error, TimeoutError):
        return "it can't be reached: no answer"
    text = str(error)
    return next((reason for pattern, reason in _REASONS if re.search(pattern, text)), "it can't be read")


def _s3(url: Url) -> fs.FileSystem:
    from pyarrow import fs

    _start_s3()
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    options: dict[str, Any] = {}
    if endpoint:
        scheme, _, host = endpoint.rpartition("://")
        options |= {"endpoint_override": host.rstrip("/"), "scheme": scheme or "https"}
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region:
        options["region"] = region
    elif not endpoint:
        options["region"] = fs.resolve_s3_region(url.host)
    return fs.S3FileSystem(
        anonymous=_is_anonymous(),
        connect_timeout=_SECONDS,
        request_timeout=_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=3),
        **options,
    )


@cache
def _start_s3() -> None:
    """Once, before anything else: the library's own log would hold headers with credentials."""
    from pyarrow import fs

    with suppress(OSError, ValueError):  # somebody in this process did it already, in his own way
        fs.initialize_s3(fs.S3LogLevel.Off)


def _gcs() -> fs.FileSystem:
    from pyarrow import fs

    options: dict[str, Any] = {}
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    if emulator:
        scheme, _, host = emulator.rpartition("://")
        options |= {"endpoint_override": host.rstrip("/"), "scheme": scheme or "http"}
    return fs.GcsFileSystem(
        anonymous=_is_anonymous() or bool(emulator), retry_time_limit=timedelta(seconds=_SECONDS), **options
    )


def _is_anonymous() -> bool:
    return os.environ.get(ANONYMOUS_VARIABLE, "") not in ("", "0")


class _Bucket:
    """A bucket, through Arrow's filesystem."""

    def __init__(self, filesystem: fs.FileSystem, url: Url) -> None:
        self._filesystem = filesystem
        self._bucket = url.host

    def _check_bucket(self) -> None:
        from pyarrow import fs

        if self._filesystem.get_file_info(self._bucket).type == fs.FileType.NotFound:
            raise FileNotFoundError(_NO_BUCKET)

    def open(self, path: str) -> Any:
        try:
            # as it lies there: what it is packed with is told from its content, later
            return self._filesystem.open_input_stream(f"{self._bucket}{path}", compression=None)
        except FileNotFoundError:
            self._check_bucket()
            raise

    def entries(self, directory: str, deep: bool) -> Iterator[Entry]:
        from pyarrow import fs

        selector = fs.FileSelector(f"{self._bucket}{directory}".rstrip("/"), allow_not_found=True, recursive=deep)
        found = self._filesystem.get_file_info(selector)
        if not found:
            self._check_bucket()
        if len(found) > MOST_LISTED:
            raise AdapterError(f"{self._bucket}{directory}: more than {MOST_LISTED:,} files; write a narrower pattern")
        for entry in found:
            if entry.type == fs.FileType.File:
                modified_s = 0.0 if entry.mtime is None else entry.mtime.timestamp()
                yield Entry(entry.path.removeprefix(self._bucket), entry.size or 0, modified_s)


# --- SFTP


@contextmanager
def _connected(url: Url) -> Iterator[paramiko.SFTPClient]:
    import paramiko

    config = paramiko.SSHConfig()
    own = Path.home() / ".ssh"
    if (own / "config").is_file():
        config = paramiko.SSHConfig.from_path(str(own / "config"))
    known = config.lookup(url.host)
    secret = os.environ.get(PASSWORD_VARIABLE)
    with paramiko.SSHClient() as client:
        files = known.get("userknownhostsfile", f"{own}/known_hosts {own}/known_hosts2").split()
        for file in (*files, "/etc/ssh/ssh_known_hosts"):
            if Path(file).expanduser().is_file():
                client.load_system_host_keys(str(Path(file).expanduser()))
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        try:
            client.connect(
                known.get("hostname", url.host),
                url.port or int(known.get("port", 22)),
                url.user or known.get("user"),
                key_filename=known.get("identityfile"),
                password=secret,
                passphrase=secret,
                timeout=_SECONDS,
                banner_timeout=_SECONDS,
                auth_timeout=_SECONDS,
            )
            sftp = client.open_sftp()
        except paramiko.BadHostKeyException:
            raise AdapterError(f"{url}: the host shows another key than the known one; is it that host?") from None
        except paramiko.AuthenticationException:
            raise AdapterError(
                f"{url}: the host refuses us; check user and key in ~/.ssh/config, or {PASSWORD_VARIABLE}"
            ) from None
        except socket.gaierror:
            raise AdapterError(f"{url}: there is no such host") from None
        except paramiko.SSHException as error:
            if "known_hosts" in str(error):
                raise AdapterError(
                    f"{url}: the host's key is not known; when it is the right one, add it to ~/.ssh/known_hosts "
                    "(ssh-keyscan shows it)"
                ) from None
            raise AdapterError(f"{url}: no SSH connection ({type(error).__name__})") from None
        channel = sftp.get_channel()
        if channel is not None:
            channel.settimeout(_SECONDS)
        with sftp:
            yield sftp


class _Sftp:
    """A host's files, through SFTP."""

    def __init__(self, client: paramiko.SFTPClient) -> None:
        self._client = client

    @staticmethod
    def _remote(path: str) -> str:
        return "." + path[2:] if path.startswith("/~/") else path

    @contextmanager
    def open(self, path: str) -> Iterator[Any]:
        if not S_ISREG(self._client.stat(self._remote(path)).st_mode or 0):
            raise FileNotFoundError
        with self._client.open(self._remote(path), "rb") as file:
            file.prefetch(max_concurrent_requests=_REQUESTS)
            yield file

    def entries(self, directory: str, deep: bool) -> Iterator[Entry]:
        waiting, count = [directory], 0
        while waiting:
            current = waiting.pop()
            for entry in self._client.listdir_iter(self._remote(current)):
                count += 1
                if count > MOST_LISTED:
                    raise AdapterError(f"{directory}: more than {MOST_LISTED:,} files; write a narrower pattern")
                path = f"{current.rstrip('/')}/{entry.filename}"
                mode = entry.st_mode or 0
                if S_ISREG(mode):
                    yield Entry(path, entry.st_size or 0, float(entry.st_mtime or 0))
                elif deep and S_ISDIR(mode):
                    waiting.append(path)
