"""Files of records that lie elsewhere, by URL: `s3://`, `gs://`, `sftp://` and `file://`, as private copies here.

`s3://BUCKET/KEY` and `gs://BUCKET/KEY` go through Arrow's filesystems. Who we are comes from where those look for it:
AWS_* variables and files, a role, Google's application default credentials; AWS_ENDPOINT_URL (also ..._S3) names
another S3 than Amazon's, STORAGE_EMULATOR_HOST another GCS. A bucket that anybody may read needs HOPBACK_ANONYMOUS=1.

`sftp://[USER@]HOST[:PORT]/PATH` goes through SSH (`/~/` begins a path below the home directory). Host, user, port, key
and known-hosts files come from ~/.ssh/config as for ssh, keys from there, from ~/.ssh or an agent, a password or a
key's passphrase from HOPBACK_SFTP_PASSWORD. A host whose key isn't known is refused, always.

Refused: credentials in a URL, other schemes, and copies beyond a limit. No message holds a credential.
"""

from __future__ import annotations

import fnmatch
import glob
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final
from urllib.parse import unquote, urlsplit

from cdr_adapters.raw import AdapterError
from cdr_adapters.remote_places import PASSWORD_VARIABLE, Place, Url, place_of, reported

SCHEMES: Final = ("s3", "gs", "sftp", "file")
MOST_COPIED: Final = 64 << 30
_BLOCK: Final = 4 << 20
_QUESTION: Final = "\ue000"  # stands for a question mark, which would begin a query
_MAGIC: Final = re.compile(rf"[*?\[{_QUESTION}]")
_ESCAPED_MAGIC: Final = re.compile(r"%(?:2[aA]|3[fF]|5[bB])")


def is_url(text: str) -> bool:
    """Whether `text` names a file by URL and not by its path."""
    return text.partition("://")[0] in SCHEMES and "://" in text


def parse(text: str) -> Url:
    """A URL of a kind that can be read.

    Raises:
        AdapterError: it is none, or holds a password.
    """
    try:
        # a question mark is a pattern's here, and no file's path has a fragment
        parts = urlsplit(text.replace("?", _QUESTION).replace("#", "%23"))
        port = parts.port
    except ValueError:
        raise AdapterError("this is no URL") from None
    if parts.scheme not in SCHEMES or not is_url(text):
        raise AdapterError(f"URLs begin with one of {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
    if parts.password is not None:
        raise AdapterError(f"{parts.scheme}://{parts.hostname}: no password in a URL; set {PASSWORD_VARIABLE}")
    is_pattern = _MAGIC.search(parts.path) is not None
    path = _ESCAPED_MAGIC.sub(r"[\g<0>]", parts.path) if is_pattern else parts.path
    path = unquote(path).replace(_QUESTION, "?")
    url = Url(parts.scheme, parts.hostname or "", path, parts.username, port, is_pattern)
    if url.scheme != "sftp" and (url.user or url.port):
        raise AdapterError(f"{url.scheme}://{url.host}: credentials and ports belong into the environment")
    if url.scheme == "file":
        if url.host not in ("", "localhost"):
            raise AdapterError(f"{url}: a file of another machine; file:///PATH is one of this")
        return Url("file", "", url.path, is_pattern=is_pattern)
    if not url.host or len(url.path) < 2:
        where = "HOST" if url.scheme == "sftp" else "BUCKET"
        raise AdapterError(f"{url} names no file: write {url.scheme}://{where}/PATH")
    # a bucket's name may have capitals, a host's doesn't
    return url if url.scheme == "sftp" else Url(url.scheme, parts.netloc, url.path, is_pattern=is_pattern)


@contextmanager
def localised(text: str, most: int = MOST_COPIED) -> Iterator[Path]:
    """The file at a URL as a path: a private copy under its own name, removed afterwards, or for `file://` itself.

    Raises:
        AdapterError: no such host, bucket or file; we may not read it; the copy would take more than `most` bytes.
    """
    url = parse(text)
    if url.scheme == "file":
        yield Path(url.path)
        return
    if url.is_pattern:
        raise AdapterError(f"{url} is a pattern; one file is needed")
    with tempfile.TemporaryDirectory(prefix="hopback-") as directory:
        copy = Path(directory) / _safe_name(url.path)
        with _place(url) as place, place.open(url.path) as source:
            _copy(source, copy, url, most)
        yield copy


def listed(text: str) -> list[str]:
    """The URLs of the files that a URL means, sorted: its own, those that match its pattern, those in its directory.

    A pattern has `*`, `?` and `[...]` within one part of the path and `**` for any number of parts; a URL that ends
    with a slash means all files directly below it. Hidden files are left out.

    Raises:
        AdapterError: the place can't be looked at, or has too many files.
    """
    url = parse(text)
    if not url.is_pattern and not url.path.endswith("/") and url.scheme != "file":
        return [str(url)]
    return [file.url for file in described(text)]


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that a URL means: its own URL, its bytes, when it changed last (seconds since 1970)."""

    url: str
    size: int
    modified_s: float


def described(text: str) -> list[RemoteFile]:
    """The files of `listed`, looked at, so that one that has changed is told from one that hasn't.

    Raises:
        AdapterError: the place can't be looked at, or has too many files.
    """
    url = parse(text)
    if url.scheme == "file":
        return [_here(url, Path(path)) for path in _local(url)]
    if url.path.endswith("/"):
        url = replace(url, path=(url.path if url.is_pattern else glob.escape(url.path)) + "*", is_pattern=True)
    elif not url.is_pattern:
        url = replace(url, path=glob.escape(url.path), is_pattern=True)
    matches = _matcher(url.path)
    fixed = PurePosixPath(_MAGIC.split(url.path)[0] + "x").parent  # above the first part with a wildcard
    deep = "**" in url.path or "/" in url.path[len(str(fixed)) :].strip("/")
    with _place(url) as place:
        files = [
            RemoteFile(str(url.at(entry.path)), entry.size, entry.modified_s)
            for entry in place.entries(str(fixed), deep)
            if matches(entry.path) and not _is_hidden(entry.path)
        ]
    return sorted(files, key=lambda file: file.url)


def _here(url: Url, path: Path) -> RemoteFile:
    with reported(url):
        status = path.stat()
    return RemoteFile(str(url.at(str(path))), status.st_size, status.st_mtime)


def _local(url: Url) -> list[str]:
    """The paths of files of this machine, sorted."""
    found = glob.glob(url.path, recursive=True) if url.is_pattern else [url.path]  # noqa: PTH207 - absolute
    if url.path.endswith("/"):
        found = [str(path) for path in Path(url.path).iterdir()]
    return sorted(path for path in found if Path(path).is_file() and not _is_hidden(path))


def _is_hidden(path: str) -> bool:
    return PurePosixPath(path).name.startswith(".")


def _safe_name(path: str) -> str:
    """The file's name, fit for a directory of ours."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", PurePosixPath(path).name).lstrip(".")[-100:] or "records"


def _matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a path fits a pattern whose wildcards don't cross slashes, but for `**`."""
    parts = [".*" if part == "**" else _part(part) for part in pattern.split("/")]
    expression = re.compile("/".join(parts).replace("/.*/", "/(?:.*/)?"), re.DOTALL)
    return lambda name: expression.fullmatch(name) is not None


def _part(pattern: str) -> str:
    translated = fnmatch.translate(pattern).removeprefix("(?s:").removesuffix(")\\Z").removesuffix(")\\z")
    return translated.replace(".*", "[^/]*").replace("(?>", "(?:")


def _copy(source: BinaryIO, target: Path, url: Url, most: int) -> None:
    copied = 0
    with target.open("xb") as file:
        while block := source.read(_BLOCK):
            copied += len(block)
            if copied > most:
                raise AdapterError(f"{url}: a copy of it would take more than {most >> 20:,} MB")
            file.write(block)


@contextmanager
def _place(url: Url) -> Iterator[Place]:
    with reported(url), place_of(url) as place:
        yield place
