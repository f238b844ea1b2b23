"""Being woken when something changes below directories, by the operating system where it tells, else by the time.

A network file system tells nothing of what others write there: whoever waits must look by itself now and then, and be
glad of a call in between. Without `watchfiles` that is all there is.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_GATHER_MS: Final = 200


class Wakeups:
    """Waits; `set` ends a wait at once, from a signal handler too."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._directories: frozenset[Path] = frozenset()

    def set(self) -> None:
        """End the wait, or the next one."""
        self._event.set()

    def wait(self, seconds: float) -> None:
        """Wait for a change, a `set`, or the time."""
        self._event.wait(seconds)
        self._event.clear()

    def listen(self, directories: Iterable[Path]) -> None:
        """Be told of changes below these directories, and of no others."""
        wanted = frozenset(directories)
        if wanted == self._directories and (self._thread is None or self._thread.is_alive()):
            return
        self.close()
        self._directories = wanted
        if wanted:
            self._stop = threading.Event()
            self._thread = threading.Thread(
                target=self._listen, args=(sorted(wanted), self._stop), name="changes", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Listen no longer."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def _listen(self, directories: list[Path], stop: threading.Event) -> None:
        try:
            from watchfiles import watch
        except ImportError:
            return
        try:
            # from here on nothing is missed, and what came before is seen by who looks after that
            for _ in watch(
                *directories,
                watch_filter=None,
                debounce=_GATHER_MS,
                rust_timeout=500,
                stop_event=stop,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                self._event.set()
        except (OSError, RuntimeError):
            return  # a directory went away, or the system has no more watches: the time tells, and `listen` tries again
