"""Which files of a source are to be read now: what changed, has come to rest, and was not refused a moment ago. Pure.

Where a line is a record, a growing file is read every so often, as far as its lines are whole. Any other file is read
when it has not changed for a while, or has been waiting for long: most are broken while they are being written. A file
that could not be read is tried again, less and less often, and at once when it changes. A file of lines is looked at
again when it is old enough for a last line without an end to count.

Times are seconds of a clock that only goes forward.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Final

OPEN_LINE_S: Final = 3605.0
"""After so long without a change, a last line without an end counts (`agent.known_files`)."""
_SETTLE_S: Final = 0.5
_AT_MOST_SETTLES: Final = 4
_UNREST_S: Final = 300.0
_FIRST_RETRY_S: Final = 10.0
_LAST_RETRY_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as it was listed: what tells that it has changed, what tells it from others, how old its last change is.

    `identity` follows a file that is renamed; None where nothing does.
    """

    stamp: Hashable
    age_s: float
    identity: Hashable = None


@dataclass(slots=True)
class _File:
    seen: Seen
    changed_s: float
    unread_since_s: float | None
    taken_s: float = float("-inf")
    refusals: int = 0
    not_before_s: float = float("-inf")
    look_again_s: float | None = None


class Following:
    """What is known of the files of one source."""

    def __init__(
        self, *, in_lines: bool, every_s: float, rest_s: float, read_before: Mapping[str, Hashable] | None = None
    ) -> None:
        """`every_s`: a file that grows is read so often at most. `rest_s`: other files are read after so much rest.

        `read_before`: stamps of files that need not be read as long as they have them.
        """
        self._read_before = dict(read_before or {})
        self._in_lines = in_lines
        self._every_s = every_s
        self._rest_s = rest_s
        self._files: dict[str, _File] = {}

    def notice(self, listing: Mapping[str, Seen], now_s: float) -> list[str]:
        """Take up what there is now; the names of files that went away before they were read, under any name."""
        here = {seen.identity for seen in listing.values() if seen.identity is not None}
        gone = [name for name in self._files if name not in listing]
        lost = []
        for name in gone:
            file = self._files.pop(name)
            if file.unread_since_s is not None and file.seen.identity not in here:
                lost.append(name)
        for name, seen in listing.items():
            if name not in self._files:
                is_read = self._read_before.pop(name, None) == seen.stamp
                self._files[name] = _File(seen, now_s - max(seen.age_s, 0.0), None if is_read else now_s)
                continue
            file = self._files[name]
            if file.seen.stamp != seen.stamp:
                file.seen, file.changed_s = seen, now_s
                file.refusals, file.not_before_s, file.look_again_s = 0, float("-inf"), None
                if file.unread_since_s is None:
                    file.unread_since_s = now_s
            elif file.look_again_s is not None and now_s >= file.look_again_s:
                file.unread_since_s, file.look_again_s = now_s, None
        return lost

    def due(self, now_s: float) -> list[str]:
        """The files to be read now, sorted."""
        due = [name for name, file in self._files.items() if self._due_s(file) <= now_s]
        if due and self._in_lines:
            # those that would be due in a moment go with them, so that nothing is left unread for once
            due = [n for n, f in self._files.items() if f.unread_since_s is not None and f.not_before_s <= now_s]
        return sorted(due)

    def next_s(self) -> float:
        """When the next file is due if nothing changes; infinity for never."""
        again = (file.look_again_s for file in self._files.values() if file.look_again_s is not None)
        return min([*map(self._due_s, self._files.values()), *again], default=float("inf"))

    def _due_s(self, file: _File) -> float:
        if file.unread_since_s is None:
            return float("inf")
        if self._in_lines:
            settled = min(file.changed_s + _SETTLE_S, file.unread_since_s + _AT_MOST_SETTLES * _SETTLE_S)
            return max(settled, file.taken_s + self._every_s, file.not_before_s)
        return max(min(file.changed_s + self._rest_s, file.unread_since_s + _UNREST_S), file.not_before_s)

    def taken(self, name: str, now_s: float) -> None:
        """A file was read as it was noticed last, or later."""
        file = self._files.get(name)
        if file is None:
            return
        file.unread_since_s, file.taken_s, file.refusals = None, now_s, 0
        if self._in_lines and now_s - file.changed_s < OPEN_LINE_S:
            file.look_again_s = file.changed_s + OPEN_LINE_S

    def refused(self, name: str, now_s: float) -> bool:
        """A file could not be read; whether that is new since it changed."""
        file = self._files.get(name)
        if file is None:
            return True
        file.refusals += 1
        file.not_before_s = now_s + min(_FIRST_RETRY_S * 2.0 ** (file.refusals - 1), _LAST_RETRY_S)
        return file.refusals == 1

    def read(self) -> dict[str, Hashable]:
        """The stamps of the files that were read as they are, and are not to be looked at again."""
        return {
            name: file.seen.stamp
            for name, file in self._files.items()
            if file.unread_since_s is None and file.look_again_s is None
        }

    @property
    def unread(self) -> int:
        """How many files were not read as they were noticed last."""
        return sum(file.unread_since_s is not None for file in self._files.values())

    @property
    def refused_now(self) -> int:
        """How many of these could not be read and have not changed since."""
        return sum(file.unread_since_s is not None and file.refusals > 0 for file in self._files.values())
