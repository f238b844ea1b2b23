"""What happens in a run, in its order, and what must never happen and did.

Every line begins with the seconds that have passed in the run. Of all lines there is one digest, so that two runs can
be compared without keeping them; a journal that keeps its lines can be read and compared to the byte.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter


class Journal:
    """Of one run. `broken` is what must never happen and did, `counts` how often which thing happened."""

    def __init__(self, *, keep: bool = False) -> None:
        """With `keep` the lines are kept, too."""
        self._digest = hashlib.sha256()
        self._lines: list[bytes] | None = [] if keep else None
        self.broken: list[str] = []
        self.counts: Counter[str] = Counter()

    def note(self, line: str, time: float | None = None) -> None:
        """This happened now."""
        at = asyncio.get_running_loop().time() if time is None else time
        written = b"%.2f %b\n" % (at, line.encode())
        self._digest.update(written)
        if self._lines is not None:
            self._lines.append(written)

    def breaks(self, line: str) -> None:
        """This must never happen, and did."""
        self.broken.append(line)
        self.note(f"BROKEN {line}")

    @property
    def digest(self) -> str:
        """Of all lines so far."""
        return self._digest.hexdigest()

    @property
    def lines(self) -> bytes:
        """All lines so far, where they are kept."""
        return b"".join(self._lines or ())
