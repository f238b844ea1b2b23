"""Held answers and decisions in one SQLite file, which the serving agent and the operator's command share.

The agent writes what is held; a person's command writes what was decided. A decision takes effect when the agent has
written it to the audit log (`unlogged`, `logged`): the log has one writer, the agent. Sealed columns hold what could
tell a number.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from agent.audit.sealing import NOTE, AuditKey, item
from agent.disclosure import HoldReason
from agent.review.held import (
    Decided,
    Matter,
    State,
    answer_from_json,
    answer_to_json,
    matter_of,
    secret_part,
)
from protos.codec import from_unix_ms, unix_ms

_KIND: Final = 200
"""What sealed parts of this file are bound to; the audit log's kinds are smaller."""
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS held (
  key BLOB PRIMARY KEY,             -- digest of order, naming, number and time
  question_id BLOB NOT NULL,
  question_sha256 BLOB NOT NULL,
  order_sha256 BLOB NOT NULL,
  campaign TEXT NOT NULL,
  asker TEXT NOT NULL,
  received_ms INTEGER NOT NULL,
  reason TEXT NOT NULL,
  sealed BLOB NOT NULL,             -- number, time, proposed answer, explanation
  state TEXT NOT NULL,              -- waiting -> approved | corrected | refused
  decided_ms INTEGER,
  operator TEXT,
  decision BLOB,                    -- sealed: the answer that may leave, and the operator's note
  logged INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS released (
  key BLOB NOT NULL, operator TEXT NOT NULL, sha256 BLOB NOT NULL, logged INTEGER NOT NULL DEFAULT 0
);
"""


class AlreadyDecidedError(Exception):
    """Somebody decided before."""


class ReviewStore:
    """The file of held answers. For one thread at a time."""

    def __init__(self, path: Path, key: AuditKey) -> None:
        path.touch(mode=0o600, exist_ok=True)
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)
        self._key = key

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @property
    def version(self) -> int:
        """Changes when another process changed the file."""
        version: int = self._db.execute("PRAGMA data_version").fetchone()[0]
        return version

    def hold(self, matters: Sequence[Matter]) -> None:
        """Keep answers for a person; those that are there already stay as they are."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(
                "INSERT OR IGNORE INTO held VALUES (?,?,?,?,?,?,?,?,?,?,NULL,NULL,NULL,0)",
                [
                    (
                        one.key,
                        one.question_id,
                        one.question_sha256,
                        one.order_sha256,
                        one.campaign,
                        one.asker,
                        unix_ms(one.received),
                        one.reason.name,
                        self._seal(secret_part(one), one.key),
                        State.WAITING.value,
                    )
                    for one in matters
                ],
            )

    def keys(self) -> set[bytes]:
        """Of everything that was ever held."""
        return {row["key"] for row in self._db.execute("SELECT key FROM held")}

    def campaigns(self) -> set[str]:
        """Campaigns of which a person let an answer leave."""
        rows = self._db.execute("SELECT DISTINCT campaign FROM held WHERE state IN ('approved', 'corrected')")
        return {row["campaign"] for row in rows}

    def get(self, key: bytes) -> tuple[Matter, Decided | None] | None:
        """A matter and what was decided about it; the decision counts once it is `logged`."""
        row = self._db.execute("SELECT * FROM held WHERE key = ?", (key,)).fetchone()
        return None if row is None else (self._matter(row), self._decided(row))

    def is_logged(self, key: bytes) -> bool:
        """Whether the decision about a matter stands in the audit log."""
        row = self._db.execute("SELECT logged FROM held WHERE key = ?", (key,)).fetchone()
        return row is not None and bool(row["logged"])

    def all(self, *, waiting_only: bool = False) -> Iterator[tuple[Matter, Decided | None]]:
        """All matters, those first whose legal clock runs out first."""
        which = "WHERE state = 'waiting'" if waiting_only else ""
        for row in self._db.execute(f"SELECT * FROM held {which} ORDER BY received_ms").fetchall():  # noqa: S608
            yield self._matter(row), self._decided(row)

    def find(self, text: str) -> list[Matter]:
        """The matters whose hexadecimal key begins with `text`."""
        rows = self._db.execute("SELECT * FROM held WHERE lower(hex(key)) LIKE ? || '%'", (text.lower(),))
        return [self._matter(row) for row in rows.fetchall()]

    def decide(self, key: bytes, decided: Decided) -> None:
        """Keep what a person decided.

        Raises:
            AlreadyDecidedError: somebody did before.
        """
        plain = json.dumps({"answer": answer_to_json(decided.answer), "note": decided.note}).encode()
        changed = self._db.execute(
            "UPDATE held SET state = ?, decided_ms = ?, operator = ?, decision = ? WHERE key = ? AND state = 'waiting'",
            (decided.state.value, unix_ms(decided.at), decided.operator, self._seal(plain, key), key),
        )
        if changed.rowcount == 0:
            raise AlreadyDecidedError

    def unlogged(self) -> list[tuple[Matter, Decided]]:
        """Decisions that the audit log does not have yet."""
        rows = self._db.execute("SELECT * FROM held WHERE state <> 'waiting' AND logged = 0").fetchall()
        return [(self._matter(row), decided) for row in rows if (decided := self._decided(row)) is not None]

    def logged(self, key: bytes) -> None:
        """The audit log has the decision about this matter."""
        self._db.execute("UPDATE held SET logged = 1 WHERE key = ?", (key,))

    def release(self, key: bytes, operator: str, sha256: bytes) -> None:
        """A customer's identity was sealed into a file of this digest."""
        self._db.execute("INSERT INTO released VALUES (?, ?, ?, 0)", (key, operator, sha256))

    def take_released(self) -> list[tuple[bytes, str, bytes]]:
        """Releases that the audit log does not have yet: key of the matter, operator, digest of the file."""
        rows = self._db.execute("SELECT key, operator, sha256 FROM released WHERE logged = 0").fetchall()
        return [(row["key"], row["operator"], row["sha256"]) for row in rows]

    def released_logged(self, sha256: bytes) -> None:
        """The audit log has the release of this file."""
        self._db.execute("UPDATE released SET logged = 1 WHERE sha256 = ?", (sha256,))

    def _matter(self, row: Any) -> Matter:
        return matter_of(
            self._open(row["sealed"], row["key"]),
            key=row["key"],
            question_id=row["question_id"],
            question_sha256=row["question_sha256"],
            order_sha256=row["order_sha256"],
            campaign=row["campaign"],
            asker=row["asker"],
            received=from_unix_ms(row["received_ms"]),
            reason=HoldReason[row["reason"]],
        )

    def _decided(self, row: Any) -> Decided | None:
        if row["state"] == State.WAITING.value:
            return None
        data = json.loads(self._open(row["decision"], row["key"]))
        return Decided(
            state=State(row["state"]),
            answer=answer_from_json(data["answer"]),
            operator=row["operator"],
            note=data["note"],
            at=from_unix_ms(row["decided_ms"]),
        )

    def _seal(self, plain: bytes, key: bytes) -> bytes:
        return self._key.seal(item(NOTE, plain), _KIND, key)

    def _open(self, sealed: bytes, key: bytes) -> bytes:
        return self._key.open(sealed, _KIND, key).note.encode()
