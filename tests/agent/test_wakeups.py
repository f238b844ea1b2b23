"""Being woken: by a change below a directory, by hand, by the time; and telling systemd."""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path

import pytest

from agent.notify import READY, notify, status
from agent.wakeups import Wakeups

LONG = 20.0


class Waited:
    """A wait in another thread."""

    def __init__(self, wakeups: Wakeups, seconds: float = LONG) -> None:
        self.thread = threading.Thread(target=wakeups.wait, args=(seconds,), daemon=True)
        self.thread.start()

    def is_over(self, within: float = LONG / 2) -> bool:
        self.thread.join(within)
        return not self.thread.is_alive()


class TestAWait:
    def test_ends_with_the_time(self) -> None:
        assert Waited(Wakeups(), 0.0).is_over()

    def test_ends_when_it_is_told_to_also_before_it_begins(self) -> None:
        wakeups = Wakeups()
        wakeups.set()
        assert Waited(wakeups).is_over()

    def test_ends_when_something_changes_below_a_directory(self, tmp_path: Path) -> None:
        wakeups = Wakeups()
        wakeups.listen([tmp_path])
        try:
            waited = Waited(wakeups)
            for number in range(100):  # the listener starts in a moment of its own
                (tmp_path / f"{number}.csv").write_text("new")
                if waited.is_over(0.1):
                    break
            assert waited.is_over(0.0)
        finally:
            wakeups.close()

    def test_needs_no_help_of_the_system(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "watchfiles", None)
        wakeups = Wakeups()
        wakeups.listen([tmp_path])
        assert Waited(wakeups, 0.01).is_over()
        wakeups.close()

    def test_survives_a_directory_that_is_not_there(self, tmp_path: Path) -> None:
        wakeups = Wakeups()
        wakeups.listen([tmp_path / "nowhere"])
        assert Waited(wakeups, 0.01).is_over()
        wakeups.close()


class TestSystemd:
    @pytest.mark.parametrize("abstract", [False, True])
    def test_is_told_where_it_listens(self, tmp_path: Path, abstract: bool) -> None:
        name = f"@{tmp_path.name}-hopback" if abstract else str(tmp_path / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind("\0" + name[1:] if abstract else name)
            assert notify(READY, status("2 files\nwait"), environment={"NOTIFY_SOCKET": name})
            assert manager.recv(1000) == b"READY=1\nSTATUS=2 files wait"

    @pytest.mark.parametrize("address", [None, "", "relative", "/nowhere/at/all"])
    def test_is_not_missed_where_it_does_not(self, address: str | None) -> None:
        environment = {} if address is None else {"NOTIFY_SOCKET": address}
        assert notify(READY, environment=environment) is False
