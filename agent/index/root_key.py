"""Where the root key comes from: a file, the environment, a systemd credential, or a command that asks a key store.

All places that are given are read and must agree: two different keys are a mistake that would make a second index.
The key never stands in the configuration, never in a message, and not on the index's disk if that can be helped.

Refuses what holds anything but 64 hex digits, files that others than their owner can reach, commands that fail, say
something else or take too long.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT_KEY_VARIABLE: Final = "HOPBACK_ROOT_KEY"
"""The environment variable that may hold the root key as 64 hex digits."""
CREDENTIALS_VARIABLE: Final = "CREDENTIALS_DIRECTORY"
"""Set by systemd to where a service's credentials lie (systemd.exec(5), LoadCredential=)."""
CREDENTIAL: Final = "root.key"
"""Name of the credential that counts."""
COMMAND_TIMEOUT_S: Final = 30.0

_MOST = 1024


class RootKeyError(ValueError):
    """The root key is missing, malformed or badly kept. The message never repeats it."""


def root_key_from(
    file: Path | None,
    environment: Mapping[str, str],
    command: Sequence[str] = (),
    timeout_s: float = COMMAND_TIMEOUT_S,
) -> bytes:
    """The root key, 32 bytes.

    Args:
        file: the configured key file, None when there is none; it must belong to this user or root, and nobody else
            may read or write it.
        environment: usually `os.environ`; `HOPBACK_ROOT_KEY` counts when set and not empty, and so does the credential
            `root.key` in `$CREDENTIALS_DIRECTORY` when it is there.
        command: program and arguments, run without a shell; its output is the key. Empty when there is none.
        timeout_s: so many seconds the command may take.

    Raises:
        RootKeyError: no key, two different ones, a malformed one, a file that others can reach, a command that fails.
    """
    credentials = Path(environment[CREDENTIALS_VARIABLE]) if environment.get(CREDENTIALS_VARIABLE) else None
    found: dict[str, bytes] = {}
    if file is not None:
        found[str(file)] = _in_file(file, credentials)
    if environment.get(ROOT_KEY_VARIABLE):
        where = f"the environment variable {ROOT_KEY_VARIABLE}"
        found[ROOT_KEY_VARIABLE] = _parse(environment[ROOT_KEY_VARIABLE], where)
    if credentials is not None and (credentials / CREDENTIAL).exists():
        found[str(credentials / CREDENTIAL)] = _in_file(credentials / CREDENTIAL, credentials)
    if command:
        found[command[0]] = _from_command(command, timeout_s)
    if not found:
        raise RootKeyError(
            f"no root key: configure root_key_file or root_key_command in [index], set {ROOT_KEY_VARIABLE}, "
            f"or give the service a systemd credential {CREDENTIAL}"
        )
    if len(set(found.values())) > 1:
        raise RootKeyError(f"{' and '.join(found)} hold different root keys: remove one of them")
    return next(iter(found.values()))


def _parse(text: str, where: str) -> bytes:
    if re.fullmatch(r"[0-9a-fA-F]{64}", text.strip()) is None:
        raise RootKeyError(
            f"{where} holds no root key: 64 hex digits are wanted, such as `openssl rand -hex 32` prints"
        )
    return bytes.fromhex(text.strip())


def _in_file(file: Path, credentials: Path | None) -> bytes:
    # systemd lets a service's user read its credentials by an access control list, which shows as rights of a group
    forbidden = 0o037 if credentials is not None and file.parent == credentials else 0o077
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise RootKeyError(f"{file}: the root key can't be read ({error.strerror})") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise RootKeyError(f"{file}: the root key must be in a regular file")
        if status.st_mode & forbidden:
            raise RootKeyError(
                f"{file}: others than its owner can reach the root key (mode {stat.S_IMODE(status.st_mode):04o}); "
                f"run: chmod 600 {file}"
            )
        if status.st_uid not in (os.geteuid(), 0):
            raise RootKeyError(f"{file}: the root key belongs to another user (uid {status.st_uid}); run: chown it")
        return _parse(os.read(descriptor, _MOST).decode("ascii", "replace"), str(file))
    finally:
        os.close(descriptor)


def _from_command(command: Sequence[str], timeout_s: float) -> bytes:
    """What the command prints; what it says on standard error goes to ours, for the operator."""
    where = f"root_key_command ({command[0]})"
    try:
        done = subprocess.run(
            list(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=timeout_s, check=False
        )
    except OSError as error:
        raise RootKeyError(f"{where} can't be run ({error.strerror})") from None
    except subprocess.TimeoutExpired:
        raise RootKeyError(f"{where} took more than {timeout_s:g} s: is the key store within reach?") from None
    if done.returncode != 0:
        how = f"status {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
        raise RootKeyError(f"{where} ended with {how}: run it by hand as this user to see why")
    return _parse(done.stdout[:_MOST].decode("ascii", "replace"), f"the output of {where}")


def create_root_key_file(file: Path) -> None:
    """Write a new random root key with mode 0600.

    Raises:
        FileExistsError: never overwrites; an index without its key is lost.
    """
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(os.urandom(32).hex() + "\n")
        stream.flush()
        os.fsync(stream.fileno())
