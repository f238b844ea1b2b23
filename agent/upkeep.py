"""Upkeep beside the answering of questions: now and then a process of its own, which lets everybody else go first.

Merging and destroying take seconds of computing that must not come between a question and its answer, and memory that
an agent at rest need not hold: so they run as `hopback-agent maintain`, at the lowest priority, and end. A segment that
was found broken while a question was answered is named to it at once, so that it is put aside and the rest is served.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

FIRST_AFTER_S: Final = 10.0
SCRUBBED_IN_HOURS: Final = 24
_LEAST_PAUSE_S: Final = 1.0

log = structlog.get_logger()


class Upkeep:
    """Runs a command every so often, and soon when a segment is suspected; `run` it as a task."""

    def __init__(self, command: Sequence[str], every_s: float, first_after_s: float = FIRST_AFTER_S) -> None:
        """`command` takes `--suspect NAME`, `--scrub PART/PARTS` and `--json`, as `hopback-agent maintain` does."""
        self._command = tuple(command)
        self._every_s = every_s
        self._wait_s = first_after_s
        self._suspects: set[str] = set()
        self._wanted = asyncio.Event()
        self._scrubbed_hour = -1

    def suspect(self, path: Path) -> None:
        """A file of the index could not be read: have it looked at soon."""
        if path.suffix == ".seg":
            self._suspects.add(path.name)
            self._wanted.set()

    async def run(self) -> None:
        """Go on until cancelled; then a command under way is ended, which leaves the index whole."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), self._wait_s)
            self._wanted.clear()
            await self._once()
            self._wait_s = self._every_s
            await asyncio.sleep(_LEAST_PAUSE_S)

    async def _once(self) -> None:
        suspects, self._suspects = sorted(self._suspects), set()
        extra = [part for name in suspects for part in ("--suspect", name)]
        hour = int(datetime.now(UTC).timestamp()) // 3600
        if hour != self._scrubbed_hour:
            self._scrubbed_hour = hour
            extra += ["--scrub", f"{hour % SCRUBBED_IN_HOURS + 1}/{SCRUBBED_IN_HOURS}"]
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                *extra,
                "--json",
                env={**os.environ, "PYTHONPATH": os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            log.error("upkeep_failed", error=str(error))  # noqa: TRY400 (the text says it all)
            return
        try:
            out, err = await process.communicate()
        except asyncio.CancelledError:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            raise
        self._report(process.returncode, out, err)

    def _report(self, code: int | None, out: bytes, err: bytes) -> None:
        try:
            done = json.loads(out) if code == 0 else None
        except ValueError:
            done = None
        if done is None:
            log.error("upkeep_failed", exit_code=code, error=err.decode("utf-8", "replace").strip()[-500:])
            return
        for loss in done["lost"]:
            log.error("segment_put_aside", **loss)
        if done["merged"] or done["expired_days"] or done["expired_files"]:
            log.info("upkeep_done", **{name: value for name, value in done.items() if name != "lost"})
