"""Where the files of a source are looked for and how one is had: here on disk, or on another host or in a bucket."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from agent.config import is_elsewhere, source_files
from agent.following import Seen

if TYPE_CHECKING:
    from cdr_adapters.mapping import SourceMapping

_WILDCARDS: Final = frozenset("*?[")


class PlaceError(Exception):
    """The place can't be looked at now, or a file can't be had; the message says which and why."""


class Place(Protocol):
    """Where files are."""

    def listing(self, now_s: float) -> Mapping[str, Seen]:
        """The files that there are, by name; `now_s` is the time in seconds since 1970.

        Raises:
            PlaceError: it can't be looked at.
        """
        ...

    def file(self, name: str) -> AbstractContextManager[Path]:
        """A file to be read.

        Raises:
            PlaceError: it can't be had.
        """
        ...


class Here:
    """Files on this machine, or on a file system that it has mounted."""

    def __init__(self, source: SourceMapping) -> None:
        self._source = source

    def listing(self, now_s: float) -> Mapping[str, Seen]:
        found = {}
        try:
            for path in source_files(self._source):
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue  # gone since it was listed
                identity = status.st_dev, status.st_ino
                stamp = (*identity, status.st_ctime_ns, status.st_mtime_ns, status.st_size)
                found[str(path)] = Seen(stamp, now_s - status.st_mtime, identity)
        except OSError as error:
            raise PlaceError(f"{error.filename or self._source.path}: {error.strerror}") from None
        return found

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        yield Path(name)

    def directory(self) -> Path | None:
        """The directory above all files that the source may have, as far as it is there."""
        path = Path(self._source.path)
        if path.is_dir():
            return path
        parts = path.parts
        fixed = next((n for n, part in enumerate(parts) if _WILDCARDS.intersection(part)), len(parts) - 1)
        directory = Path(*parts[:fixed])
        return directory if directory.is_dir() else None


class Elsewhere:
    """Files on an SFTP host or in an object store, by URL (`cdr_adapters.remote`); each is read as a private copy."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._modified_s: dict[str, float] = {}

    def listing(self, now_s: float) -> Mapping[str, Seen]:
        from cdr_adapters.raw import AdapterError
        from cdr_adapters.remote import described

        try:
            files = described(self._url)
        except AdapterError as error:
            raise PlaceError(str(error)) from None
        self._modified_s = {file.url: file.modified_s for file in files}
        return {file.url: Seen((file.size, file.modified_s), now_s - file.modified_s) for file in files}

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        from cdr_adapters.raw import AdapterError
        from cdr_adapters.remote import localised

        copy = localised(name)
        try:
            path = copy.__enter__()
            modified_s = self._modified_s.get(name)
            if modified_s and not name.startswith("file:"):
                os.utime(path, (modified_s, modified_s))  # its age says whether a last line without an end counts
        except AdapterError as error:
            raise PlaceError(str(error)) from None
        except OSError as error:
            raise PlaceError(f"{name}: there is no room for a copy of it here ({error.strerror})") from None
        try:
            yield path
        finally:
            copy.__exit__(None, None, None)


@contextmanager
def all_files(source: SourceMapping) -> Iterator[list[Path]]:
    """All files of a source that there are now, sorted by name; of those elsewhere, private copies.

    Raises:
        PlaceError: the place can't be looked at, or a file can't be had.
    """
    if not is_elsewhere(source):
        yield source_files(source)
        return
    place = Elsewhere(source.path)
    with ExitStack() as stack:
        yield [stack.enter_context(place.file(name)) for name in sorted(place.listing(0.0))]
