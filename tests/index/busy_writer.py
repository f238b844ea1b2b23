"""A process that indexes, merges and destroys without a pause, until it is killed: python -m tests.index.busy_writer

Every round it writes a file of calls, indexes it, and says so in one line of a log once that has returned. Some calls
lie on a day that is too old, which upkeep destroys again.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

from agent.index.layout import DAY_MS
from agent.ingest import ingest
from agent.maintenance import maintain
from protos.e164 import E164, parse_e164
from tests.index.calls import FORMATS, KEYS, NOON, NOW, UNSYNCED, Call, mapping, reader, write

ROWS = 20
RETENTION = timedelta(days=3)
TOO_OLD = 5 * DAY_MS


def number_of(round_: int, row: int) -> E164:
    """The called number of a call."""
    return parse_e164(f"+1202555{(round_ * 7 + row) % 100:04d}")


def calls_of(round_: int) -> list[Call]:
    """The calls of a round, each at a time of its own, on one of three days."""
    return [
        Call(
            called_in=number_of(round_, row),
            earliest=NOON + round_ * ROWS + row - (row % 3) * DAY_MS,
            call_id=f"{round_}-{row}",
        )
        for row in range(ROWS)
    ]


def main() -> None:
    """Go on from the last round that was said to be done."""
    directory = Path(sys.argv[1])
    log = directory / "done"
    round_ = len(log.read_text().splitlines()) if log.exists() else 0
    while True:
        calls = calls_of(round_)
        old = [Call(called_in=number_of(round_, 0), earliest=NOON - TOO_OLD + round_)]
        path = write(directory / f"{round_}.txt", [*calls, *old])
        report = ingest(
            [path], mapping(), FORMATS, directory / "index", KEYS, NOW, read=reader(50), files=UNSYNCED, patience_s=30
        )
        assert not report.failed, report.failed
        path.unlink()
        with log.open("a") as file:
            file.write(f"{round_}\n")
        if round_ % 3 == 0:
            maintain(directory / "index", KEYS, NOW, RETENTION, files=UNSYNCED)
        round_ += 1


if __name__ == "__main__":
    main()
