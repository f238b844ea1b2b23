"""The secrets of days, on disk: what makes a day's rows readable, and what is destroyed to make them unreadable.

A file for each UTC day, `days/YYYYMMDD.key`: a line that says what it is, and 32 random bytes sealed under the root key
for that day. The day's keys follow from both. When the file is destroyed, the day's rows are, wherever a copy of them
may lie and whoever has the root key; so a backup of the index must not outlive its days.

One writer creates and destroys secrets, before the first row of a day counts and after the last one has ceased to.
Readers read a secret when they first need it. A secret that is missing then is an error and never "no such call": the
manifest still says that there are rows.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

from agent.index.errors import DaySecretError
from agent.index.files import Files, OsFiles, publish
from agent.index.keys import SECRET, DayKeys, Keys, SealBrokenError
from agent.index.layout import DAYS, day_key_name

_PREAMBLE: Final = b"hopback day secret 1\n"
_SEALED: Final = 12 + SECRET + 16


class DaySecrets:
    """The day secrets of an index directory. Safe to share between threads; creating and destroying is the writer's."""

    def __init__(self, directory: Path, keys: Keys, files: Files | None = None) -> None:
        """`directory` is that of the index."""
        self.directory = directory / DAYS
        self._keys = keys
        self._files = files or OsFiles()
        self._secrets: dict[int, bytes] = {}
        self._local = threading.local()

    def day(self, day: int, check: str | None = None) -> DayKeys:
        """This thread's own ciphers of the UTC day that is `day` days after 1970-01-01.

        Args:
            check: what the rows to be read say of the secret (`DayKeys.check`); None when none are to be read.

        Raises:
            DaySecretError: the secret is gone, broken, or another one than that of the rows.
        """
        held: dict[int, tuple[bytes, DayKeys]] | None = getattr(self._local, "days", None)
        if held is None:
            held = self._local.days = {}
        known = held.get(day)
        if known is not None and known[0] is self._secrets.get(day) and check in (None, known[1].check):
            return known[1]
        secret = self._secrets.get(day) or self._read(day)
        keys = self._keys.day_keys(day, secret)
        if check not in (None, keys.check):
            secret = self._read(day)  # destroyed and created anew since it was first read
            keys = self._keys.day_keys(day, secret)
            if check != keys.check:
                raise DaySecretError(self._path(day), "another secret than the one under which rows were written")
        held[day] = (secret, keys)
        return keys

    def _path(self, day: int) -> Path:
        return self.directory / day_key_name(day)

    def _read(self, day: int) -> bytes:
        path = self._path(day)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise DaySecretError(path, "missing: the secret of that day was destroyed") from None
        except OSError as error:
            raise DaySecretError(path, f"can't be read ({error.strerror})") from None
        if not content.startswith(_PREAMBLE) or len(content) != len(_PREAMBLE) + _SEALED:
            raise DaySecretError(path, "torn, destroyed or no secret of a day")
        try:
            secret = self._keys.unwrap(day, content[len(_PREAMBLE) :])
        except SealBrokenError as error:
            raise DaySecretError(path, str(error)) from None
        self._secrets[day] = secret
        return secret

    def create(self, day: int) -> None:
        """Make sure that there is a secret for a day; durable when this returns. Only while no rows of it count.

        Raises:
            DaySecretError: there is one that can't be used.
            OSError: the disk refuses.
        """
        if self._path(day).exists():
            self._read(day)
            return
        wrapped = self._keys.wrap(day, os.urandom(SECRET))
        publish(self._files, self._path(day), [_PREAMBLE + wrapped])
        self._read(day)

    def destroy(self, day: int) -> None:
        """Write over a day's secret and remove it; one that is gone is no error. Durable when this returns.

        On a disk that writes elsewhere than where it is told to (flash, copy on write, snapshots) the old bytes may
        last; they are sealed under the root key.

        Raises:
            OSError: the disk refuses.
        """
        self._secrets.pop(day, None)
        path = self._path(day)
        try:
            descriptor = self._files.reopen(path)
        except FileNotFoundError:
            return
        try:
            self._files.write(descriptor, bytes(len(_PREAMBLE) + _SEALED))
            self._files.fsync(descriptor)
        finally:
            self._files.close(descriptor)
        self._files.unlink(path)
        self._files.fsync_directory(self.directory)

    def names(self) -> list[str]:
        """The names of the secrets that there are, by day."""
        return sorted(path.name for path in self.directory.glob("*.key"))
