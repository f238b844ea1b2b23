"""What the gate remembers: which questions were searched, what they cost, and how late it was at the latest.

The audit log is the truth; what is remembered follows from it (`catch_up`), and lies in a SQLite file beside it so
that a start need not read the whole log. The file is behind by what was not yet flushed; that is held here, and after
a crash it is read from the log again. No number stands in it: called numbers have keyed pseudonyms.

Time never goes back: `now` is the clock's, or the latest that was ever remembered where that is later. A clock that
jumps back neither gives an expired question new life nor a spent budget back; one that had jumped ahead leaves an agent
that refuses until the time is reached, which its log shows.

Not for use by several threads, but for `flush`, which may run in any one at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple

from agent.audit.book import Filed
from agent.gate.budgets import Budgets
from agent.gate.limits import Limits
from hopback.v1 import audit_pb2 as audit
from protos.codec import unix_ms
from protos.e164 import E164
from protos.hops import decode_question

UNANSWERED: Final = -1
"""In place of an entry: the question passed the gate, but no answer to it was filed."""

_DAY_MS: Final = 86_400_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS searched (
  question_id BLOB NOT NULL UNIQUE,     -- 16 bytes
  question_sha256 BLOB NOT NULL,        -- of the exact question
  at_ms INTEGER NOT NULL,               -- when it passed the gate
  number BLOB NOT NULL,                 -- keyed pseudonym of the called number
  first_ms INTEGER NOT NULL,            -- the interval that was searched
  last_ms INTEGER NOT NULL,
  campaign TEXT NOT NULL,
  entry INTEGER NOT NULL                -- where the answer stands in the audit log; -1: none was filed
);
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
_INSERT: Final = (
    "INSERT INTO searched VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (question_id) DO UPDATE SET entry = excluded.entry"
)
_AT_ONCE: Final = 500


class Searched(NamedTuple):
    """One question that passed the gate; times in Unix milliseconds."""

    question_id: bytes
    question_sha256: bytes
    at_ms: int
    number: bytes
    first_ms: int
    last_ms: int
    campaign: str
    entry: int = UNANSWERED


class Memory:
    """The gate's memory in one SQLite file. Make one with `open`."""

    def __init__(self, path: Path, key: bytes, limits: Limits) -> None:
        self._writer = _connected(path)
        self._reader = _connected(path)
        self._keyed = blake2b(key=key, digest_size=16)
        self._writing = Lock()
        self._open: dict[bytes, Searched] = {}  # under way
        self._held: dict[bytes, Searched] = {}  # not yet flushed
        self._budgets = Budgets(limits)
        state = dict(self._reader.execute("SELECT name, value FROM state"))
        self.taken_up: int = state.get("taken_up", 0)
        """How many entries of the log are remembered."""
        self._latest_ms: int = state.get("latest_ms", 0)
        self._load_day()

    @classmethod
    def open(cls, path: Path, key: bytes, limits: Limits) -> Memory:
        """The memory in the file at `path`, made where it is missing, and made anew where it is no such file."""
        try:
            return cls(path, key, limits)
        except sqlite3.DatabaseError:
            for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
                path.with_name(name).unlink(missing_ok=True)
            return cls(path, key, limits)

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        self._reader.close()
        self._writer.close()

    def now(self, clock: datetime) -> datetime:
        """The time that counts when the clock says this: never earlier than what was remembered."""
        if unix_ms(clock) >= self._latest_ms:
            return clock
        return _EPOCH + timedelta(milliseconds=self._latest_ms)

    def passed(self, time: datetime) -> None:
        """It has been this late."""
        self._latest_ms = max(self._latest_ms, unix_ms(time))

    def pseudonym(self, called: E164) -> bytes:
        """By what a number is known here."""
        keyed = self._keyed.copy()
        keyed.update(called.encode())
        return keyed.digest()

    def budgets_at(self, now_ms: int) -> Budgets:
        """What was spent on the day of this time, in Unix milliseconds."""
        self._budgets.begin(now_ms // _DAY_MS)
        return self._budgets

    def recall(self, question_ids: Sequence[bytes]) -> dict[bytes, Searched]:
        """What is remembered of those questions that were searched, by their ids."""
        known = {}
        rest = []
        for one in question_ids:
            here = self._open.get(one) or self._held.get(one)
            if here is None:
                rest.append(one)
            else:
                known[one] = here
        for start in range(0, len(rest), _AT_ONCE):
            some = rest[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            rows = self._reader.execute(f"SELECT * FROM searched WHERE question_id IN ({marks})", some)  # noqa: S608
            known.update((row[0], Searched(*row)) for row in rows)
        return known

    def remember(self, searched: Searched) -> None:
        """Take up one question that passes the gate, and count what it costs; it is under way from now on."""
        if searched.at_ms > self._latest_ms:
            self._latest_ms = searched.at_ms
        self._budgets.begin(self._latest_ms // _DAY_MS)
        self._budgets.spend(searched.number, searched.first_ms, searched.last_ms, searched.campaign)
        self._open[searched.question_id] = searched

    def resume(self, searched: Searched) -> None:
        """A question that was never answered is under way again; it was paid for."""
        self._open[searched.question_id] = searched

    def is_under_way(self, question_id: bytes) -> bool:
        """Whether the question is being searched now."""
        return question_id in self._open

    def settle(self, question_ids: Iterable[bytes], first_entry: int | None) -> None:
        """These questions are no longer under way: their answers stand in the log, from `first_entry` on, or don't."""
        under_way, held = self._open, self._held
        for number, question_id in enumerate(question_ids):
            entry = UNANSWERED if first_entry is None else first_entry + number
            held[question_id] = Searched._make((*under_way.pop(question_id)[:-1], entry))

    def take_up(self, size: int) -> None:
        """All that the log has in its first `size` entries is remembered, unless something is still under way."""
        if not self._open:
            self.taken_up = size

    def catch_up(self, filed: Iterable[Filed]) -> None:
        """Take up what the log has from entry `taken_up` on."""
        for one in filed:
            self.passed(one.at)
            if one.kind == audit.AUDIT_KIND_INTENT and one.opened is not None:
                self._take_up_intent(one, one.opened.question)
            elif one.kind == audit.AUDIT_KIND_ANSWER:
                for known in self.recall([one.question_id]).values():
                    self._held[one.question_id] = known._replace(entry=one.index)
            self.taken_up = one.index + 1
        self.flush()

    def flush(self) -> None:
        """Write what is held. Nothing of it needs to be durable: the log has it."""
        with self._writing:
            taken_up, latest = self.taken_up, self._latest_ms  # first: what comes now counts from the next time on
            rows = list(self._held.values())
            with self._writer:
                self._writer.execute("BEGIN")
                self._writer.executemany(_INSERT, rows)
                self._writer.executemany(
                    "INSERT OR REPLACE INTO state VALUES (?, ?)", [("taken_up", taken_up), ("latest_ms", latest)]
                )
            for row in rows:
                if self._held.get(row.question_id) is row:
                    del self._held[row.question_id]

    def _take_up_intent(self, filed: Filed, exact: bytes) -> None:
        if self.recall([filed.question_id]):
            return
        question = decode_question(exact).question
        first, last = question.at - question.window, question.at + question.window
        number = self.pseudonym(question.called)
        self.remember(
            Searched(
                filed.question_id,
                filed.question_sha256,
                unix_ms(filed.at),
                number,
                unix_ms(first),
                unix_ms(last),
                filed.campaign,
            )
        )
        self.settle([filed.question_id], None)

    def _load_day(self) -> None:
        day = self._latest_ms // _DAY_MS
        self._budgets.begin(day)
        # rows stand in the order of time, because time never goes back: those of the day are the last
        rows = self._reader.execute(
            "SELECT at_ms, number, first_ms, last_ms, campaign FROM searched ORDER BY rowid DESC"
        )
        for at, number, first, last, campaign in rows:
            if at < day * _DAY_MS:
                break
            self._budgets.spend(number, first, last, campaign)


def _connected(path: Path) -> sqlite3.Connection:
    path.touch(mode=0o600, exist_ok=True)
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.executescript(_SCHEMA)
    return connection
