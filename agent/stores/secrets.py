"""Where a store's password comes from: a file, the environment, or a systemd credential. Never the configuration.

- `password_file`, which nobody but its owner may read;
- the environment variable HOPBACK_STORE_PASSWORD_NAME, the store's name in capitals, all but letters and digits as _;
- the systemd credential NAME.password in $CREDENTIALS_DIRECTORY (systemd.exec(5)).

One that is given but can't be read is an error, not "no password". None of them appears in a message.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from agent.index.root_key import CREDENTIALS_VARIABLE
from agent.stores.errors import StoreSetupError

PREFIX: Final = "HOPBACK_STORE_PASSWORD_"
_FORBIDDEN: Final = 0o077


class Password:
    """A password that doesn't show itself."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "Password(…)"

    def reveal(self) -> str:
        """The password itself, for the driver alone."""
        return self._text


def variable_of(store: str) -> str:
    """The environment variable that may hold a store's password."""
    return PREFIX + re.sub(r"[^A-Z0-9]", "_", store.upper())


def password_of(store: str, file: Path | None, environment: Mapping[str, str]) -> Password | None:
    """The store's password; None when there is none anywhere.

    Raises:
        StoreSetupError: a file that is missing, that others can read or that is empty.
    """
    if file is not None:
        return _in_file(store, file, _FORBIDDEN)
    if environment.get(variable_of(store)):
        return Password(environment[variable_of(store)])
    credentials = environment.get(CREDENTIALS_VARIABLE)
    if credentials:
        credential = Path(credentials) / f"{store}.password"
        if credential.exists():
            # systemd's access control list for the service's user shows as rights of a group
            return _in_file(store, credential, 0o037)
    return None


def _in_file(store: str, file: Path, forbidden: int) -> Password:
    try:
        mode = file.stat().st_mode
        text = file.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise StoreSetupError(store, f"the password in {file} can't be read ({reason})") from None
    if mode & forbidden:
        raise StoreSetupError(
            store, f"others can reach the password in {file} (mode {stat.S_IMODE(mode):04o}); run: chmod 600 {file}"
        )
    if not text:
        raise StoreSetupError(store, f"the password file {file} is empty")
    return Password(text)
