"""What the authority has issued, whom it let in, and what no longer counts: one SQLite file, flushed at every step.

    tokens    one row a token that two operators granted: its digest, never the token; used once
    issued    one row a certificate
    revoked   one row a certificate that no longer counts; rows are never removed while it would be valid
    lists     one row a revocation list, for its number

Using up a token and noting what was issued for it is one transaction: of two who come with one token, one gets in.
The file is apart from the coordinator's database on purpose: only the process that issues opens it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from coordinator.authority.issuing import Purpose
from coordinator.authority.issuing_key import AuthorityError

_VERSION: Final = 1
_TABLES: Final = """
CREATE TABLE tokens (
    sha256   BLOB PRIMARY KEY,      -- SHA-256 of the token
    provider TEXT NOT NULL,         -- id of the provider that it is for
    expires  INTEGER NOT NULL,      -- Unix seconds
    granted  TEXT NOT NULL,         -- the statement and its signatures, as JSON
    used_at  INTEGER                -- Unix seconds; null while it can be used
) STRICT;
CREATE TABLE issued (
    serial      TEXT PRIMARY KEY,   -- serial number, hex
    uri         TEXT NOT NULL,      -- whose certificate
    purpose     TEXT NOT NULL,      -- tls or evidence
    issued_at   INTEGER NOT NULL,   -- Unix seconds
    valid_to    INTEGER NOT NULL,   -- Unix seconds
    basis       TEXT NOT NULL,      -- by what right: a token's digest, the certificate that was renewed, or an operator
    certificate BLOB NOT NULL       -- X.509, DER
) STRICT;
CREATE INDEX issued_uri ON issued (uri, issued_at);
CREATE TABLE revoked (
    serial     TEXT PRIMARY KEY,    -- serial number, hex
    revoked_at INTEGER NOT NULL,    -- Unix seconds
    reason     TEXT NOT NULL        -- in the operator's words
) STRICT;
CREATE TABLE lists (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    issued_at INTEGER NOT NULL      -- Unix seconds
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate as the ledger has it; times are aware UTC."""

    serial: int
    uri: str
    purpose: Purpose
    issued_at: datetime
    valid_to: datetime
    basis: str
    revoked_at: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Granted:
    """A token as the ledger has it; times are aware UTC."""

    provider: str
    expires: datetime
    used_at: datetime | None


class Ledger:
    """The file, opened. Use as a context manager, or `close` it."""

    def __init__(self, path: Path) -> None:
        """Open the ledger at `path`.

        Raises:
            AuthorityError: there is none, or it can't be read.
        """
        if not path.is_file():
            raise AuthorityError(
                f"there is no ledger {path}: make an authority with `hopback-coordinator authority init`"
            )
        self._path = path
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=10.0, check_same_thread=False)
        with self._failing():
            found = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if found != _VERSION:
                raise AuthorityError(f"{path} is of version {found} of the ledger, this program knows {_VERSION}")
            self._connection.execute("PRAGMA synchronous = FULL")

    @classmethod
    def create(cls, path: Path) -> Ledger:
        """Make a new one.

        Raises:
            AuthorityError: there is a file already, or it can't be written.
        """
        try:
            path.touch(mode=0o600, exist_ok=False)
        except OSError as error:
            raise AuthorityError(f"ledger {path} can't be made: {error.strerror}") from None
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT;")
        finally:
            connection.close()
        return cls(path)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing more is asked of it."""
        self._connection.close()

    def grant(self, sha256: bytes, provider: str, expires: datetime, granted: str) -> None:
        """Note a token that may be used.

        Raises:
            AuthorityError: it is there already.
        """
        with self._changing() as connection:
            try:
                connection.execute(
                    "INSERT INTO tokens (sha256, provider, expires, granted) VALUES (?, ?, ?, ?)",
                    (sha256, provider, _seconds(expires), granted),
                )
            except sqlite3.IntegrityError:
                raise AuthorityError("this token has been granted already: a token is for one use") from None

    def token(self, sha256: bytes) -> Granted | None:
        """The token of this digest; None where none was granted."""
        with self._failing():
            row = self._connection.execute(
                "SELECT provider, expires, used_at FROM tokens WHERE sha256 = ?", (sha256,)
            ).fetchone()
        return None if row is None else Granted(row[0], _time(row[1]), None if row[2] is None else _time(row[2]))

    def tokens(self) -> list[Granted]:
        """All of them, the latest first."""
        with self._failing():
            rows = self._connection.execute("SELECT provider, expires, used_at FROM tokens ORDER BY expires DESC")
            return [Granted(p, _time(e), None if u is None else _time(u)) for p, e, u in rows]

    def use(self, sha256: bytes, certificates: Sequence[tuple[x509.Certificate, str, Purpose]], now: datetime) -> bool:
        """Use up a token and note what is issued for it, as one; False, and nothing noted, when it can't be used."""
        with self._changing() as connection:
            used = connection.execute(
                "UPDATE tokens SET used_at = ? WHERE sha256 = ? AND used_at IS NULL AND expires > ?",
                (_seconds(now), sha256, _seconds(now)),
            ).rowcount
            if used:
                self._note(connection, certificates, f"token {sha256.hex()[:16]}", now)
        return bool(used)

    def note(
        self,
        certificates: Sequence[tuple[x509.Certificate, str, Purpose]],
        basis: str,
        now: datetime,
        unless_revoked: int | None = None,
    ) -> bool:
        """Note what is issued on another basis than a token; False, and nothing noted, when that one is revoked."""
        with self._changing() as connection:
            serial = "" if unless_revoked is None else f"{unless_revoked:x}"
            if connection.execute("SELECT 1 FROM revoked WHERE serial = ?", (serial,)).fetchone() is not None:
                return False
            self._note(connection, certificates, basis, now)
        return True

    def certificate(self, serial: int) -> Issued | None:
        """The certificate of this serial number; None where this authority issued none."""
        found = self._issued("WHERE i.serial = ?", (f"{serial:x}",))
        return found[0] if found else None

    def certificates(self, uri: str | None = None, valid_at: datetime | None = None) -> list[Issued]:
        """What was issued, to one party or all, still valid at some time or ever; the latest first."""
        condition, values = "WHERE 1", list[Any]()
        if uri is not None:
            condition, values = f"{condition} AND i.uri = ?", [*values, uri]
        if valid_at is not None:
            condition, values = f"{condition} AND i.valid_to > ?", [*values, _seconds(valid_at)]
        return self._issued(f"{condition} ORDER BY i.issued_at DESC, i.serial", values)

    def issued_since(self, uri: str, since: datetime) -> int:
        """How many certificates a party got since then."""
        with self._failing():
            counted: int = self._connection.execute(
                "SELECT count(*) FROM issued WHERE uri = ? AND issued_at >= ?", (uri, _seconds(since))
            ).fetchone()[0]
        return counted

    def revoke(self, serials: Sequence[int], reason: str, now: datetime) -> int:
        """These no longer count; gives how many did until now."""
        with self._changing() as connection:
            rows = [(f"{serial:x}", _seconds(now), reason) for serial in serials]
            before = connection.total_changes
            connection.executemany("INSERT OR IGNORE INTO revoked (serial, revoked_at, reason) VALUES (?, ?, ?)", rows)
            return connection.total_changes - before

    def withdraw_tokens(self, provider: str, now: datetime) -> int:
        """A provider's open tokens can't be used any more; gives how many there were."""
        with self._changing() as connection:
            return connection.execute(
                "UPDATE tokens SET used_at = ? WHERE provider = ? AND used_at IS NULL", (_seconds(now), provider)
            ).rowcount

    def revoked(self, now: datetime) -> list[tuple[int, datetime]]:
        """Serial number and time of all revoked ones that would be valid at `now`, and of those issued elsewhere."""
        with self._failing():
            rows = self._connection.execute(
                "SELECT r.serial, r.revoked_at FROM revoked r LEFT JOIN issued i ON i.serial = r.serial "
                "WHERE i.valid_to IS NULL OR i.valid_to > ? ORDER BY r.revoked_at, r.serial",
                (_seconds(now),),
            )
            return [(int(serial, 16), _time(at)) for serial, at in rows]

    def is_revoked(self, serial: int) -> bool:
        """Whether the certificate of this serial number counts no longer."""
        with self._failing():
            found = self._connection.execute("SELECT 1 FROM revoked WHERE serial = ?", (f"{serial:x}",)).fetchone()
        return found is not None

    def next_list(self, now: datetime) -> int:
        """The number of the revocation list that is issued now; no two have the same."""
        with self._changing() as connection:
            return int(connection.execute("INSERT INTO lists (issued_at) VALUES (?)", (_seconds(now),)).lastrowid or 0)

    def changes(self) -> int:
        """A count that rises whenever something is revoked."""
        with self._failing():
            return int(self._connection.execute("SELECT count(*) FROM revoked").fetchone()[0])

    def _issued(self, condition: str, values: Sequence[Any]) -> list[Issued]:
        with self._failing():
            rows = self._connection.execute(
                "SELECT i.serial, i.uri, i.purpose, i.issued_at, i.valid_to, i.basis, r.revoked_at, r.reason "  # noqa: S608
                f"FROM issued i LEFT JOIN revoked r ON r.serial = i.serial {condition}",
                values,
            )
            return [
                Issued(
                    serial=int(row[0], 16),
                    uri=row[1],
                    purpose=Purpose(row[2]),
                    issued_at=_time(row[3]),
                    valid_to=_time(row[4]),
                    basis=row[5],
                    revoked_at=None if row[6] is None else _time(row[6]),
                    reason=row[7] or "",
                )
                for row in rows
            ]

    def _note(
        self,
        connection: sqlite3.Connection,
        certificates: Sequence[tuple[x509.Certificate, str, Purpose]],
        basis: str,
        now: datetime,
    ) -> None:
        connection.executemany(
            "INSERT INTO issued (serial, uri, purpose, issued_at, valid_to, basis, certificate) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    f"{certificate.serial_number:x}",
                    uri,
                    purpose.value,
                    _seconds(now),
                    _seconds(certificate.not_valid_after_utc),
                    basis,
                    certificate.public_bytes(Encoding.DER),
                )
                for certificate, uri, purpose in certificates
            ],
        )

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._failing():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise AuthorityError(f"the ledger {self._path} can't be read or written: {error}") from None


def _seconds(time: datetime) -> int:
    return int(time.timestamp())


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
