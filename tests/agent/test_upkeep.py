"""Upkeep beside the server: a process of its own now and then, at once for a suspect, never in the way of the end."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import structlog.testing

from agent.upkeep import Upkeep

NOTHING = {"expired_days": 0, "expired_files": 0, "merged": 0, "into": 0, "lost": [], "busy": False}
LOSS = {"segment": "x.seg", "source": "acc", "earliest": "e", "latest": "l", "reason": "torn"}


def command(directory: Path, says: object, code: int = 0, more: str = "") -> list[str]:
    script = directory / "maintain.py"
    script.write_text(
        "import json, pathlib, sys, time\n"
        f"with pathlib.Path({str(directory / 'calls')!r}).open('a') as file:\n"
        "    file.write(json.dumps(sys.argv[1:]) + '\\n')\n"
        f"{more}\n"
        f"print({json.dumps(says)!r})\n"
        f"sys.exit({code})\n"
    )
    return [sys.executable, str(script)]


def calls(directory: Path) -> list[list[str]]:
    path = directory / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen")


def kept_up(upkeep: Upkeep, until_then: Callable[[], bool]) -> list[dict[str, object]]:
    """Run it until something holds; what was logged."""

    async def main() -> None:
        task = asyncio.create_task(upkeep.run())
        try:
            await until(until_then)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    with structlog.testing.capture_logs() as logs:
        asyncio.run(main())
    return [dict(entry) for entry in logs]


class TestUpkeep:
    def test_begins_by_itself_and_reads_a_share_of_the_segments(self, tmp_path: Path) -> None:
        upkeep = Upkeep(command(tmp_path, NOTHING), every_s=3600, first_after_s=0.0)
        kept_up(upkeep, lambda: len(calls(tmp_path)) == 1)
        (arguments,) = calls(tmp_path)
        assert arguments[0] == "--scrub"
        assert arguments[1].endswith("/24")
        assert arguments[-1] == "--json"

    def test_looks_at_a_suspect_at_once_and_tells_what_was_lost(self, tmp_path: Path) -> None:
        upkeep = Upkeep(command(tmp_path, {**NOTHING, "lost": [LOSS]}), every_s=3600, first_after_s=3600)
        upkeep.suspect(tmp_path / "x.seg")
        upkeep.suspect(tmp_path / "MANIFEST")
        logs: list[dict[str, object]] = []
        logs = kept_up(upkeep, lambda: len(calls(tmp_path)) == 1 and upkeep._wait_s == 3600 and not upkeep._suspects)
        assert calls(tmp_path)[0][:2] == ["--suspect", "x.seg"]
        assert "MANIFEST" not in calls(tmp_path)[0]
        del logs

    @pytest.mark.parametrize(("says", "code"), [(NOTHING, 69), ("no such thing", 0)])
    def test_that_fails_is_said_and_tried_again(self, tmp_path: Path, says: object, code: int) -> None:
        upkeep = Upkeep(command(tmp_path, says, code), every_s=0.0, first_after_s=0.0)
        if code == 0:
            (tmp_path / "maintain.py").write_text(
                (tmp_path / "maintain.py").read_text().replace("print(", "print('{',")
            )
        logs = kept_up(upkeep, lambda: len(calls(tmp_path)) >= 2)
        assert logs[0]["event"] == "upkeep_failed"

    def test_of_a_program_that_is_not_there_does_not_end_the_agent(self, tmp_path: Path) -> None:
        upkeep = Upkeep([str(tmp_path / "none")], every_s=0.0, first_after_s=0.0)

        async def twice() -> None:
            task = asyncio.create_task(upkeep.run())
            await asyncio.sleep(0.1)
            assert not task.done()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        with structlog.testing.capture_logs() as logs:
            asyncio.run(twice())
        assert logs[0]["event"] == "upkeep_failed"

    def test_ends_what_is_under_way_when_the_agent_ends(self, tmp_path: Path) -> None:
        upkeep = Upkeep(command(tmp_path, NOTHING, more="time.sleep(600)"), every_s=3600, first_after_s=0.0)
        kept_up(upkeep, lambda: len(calls(tmp_path)) == 1)
