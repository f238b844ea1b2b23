"""Reads source files in a process of its own, so that no file can take down whoever wants its records.

Parsers of hostile bytes, some of them written in C, may crash, loop for ever or ask for all the memory there is. Here
they do it in a worker process with limits on its memory, its processor time and its silence; then the file is an
`AdapterError` that says how it ended, and the next file gets a new worker. A worker serves many files, one after
another, and is started when the first one comes; its private temporary files go away with it.

It sees the environment, since databases' addresses and keys' places may stand there, but none of what is the agent's
own (`HOPBACK_ROOT_KEY`, `HOPBACK_AGENT__*`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pickle
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self, cast

import pyarrow as pa

from cdr_adapters.batch_frames import (
    LENGTHS,
    FrameError,
    check_lengths,
    decode_calls,
    decode_head,
    decode_packed,
)
from cdr_adapters.isolated_worker import FOR_OTHERS, LENGTH, Request
from cdr_adapters.raw import AdapterError
from cdr_adapters.registry import BUILT_IN

if TYPE_CHECKING:
    from cdr_adapters.mapping import SourceMapping, TrunkFormats
    from cdr_adapters.schema import Batch

_HERE: Final = Path(__file__).resolve().parents[1]
_PIPE_SIZE: Final = 1 << 20
_LAST_WORDS: Final = 32
_OURS: Final = ("HOPBACK_ROOT_KEY", "HOPBACK_AGENT__")
_START_SECONDS: Final = 120.0
_SHUTDOWN_SECONDS: Final = 5.0


class WorkerDiedError(AdapterError):
    """The process that read the file has ended, or had to be ended. `last_words`: what it printed; may hold records."""

    def __init__(self, message: str, last_words: str) -> None:
        super().__init__(message)
        self.last_words = last_words


@dataclass(frozen=True, slots=True)
class Limits:
    """What reading one file may take.

    Attributes:
        memory_bytes: address space of the worker; what it really uses is a tenth of that.
        seconds: of processor time, and of silence between two batches.
        seconds_a_megabyte: as much more for each megabyte of the file as it lies on disk.
    """

    memory_bytes: int = 4 << 30
    seconds: float = 600.0
    seconds_a_megabyte: float = 10.0

    def seconds_for(self, path: Path) -> float:
        """The limit for this file, or for all that are in this directory."""
        try:
            files = path.iterdir() if path.is_dir() else (path,)
            size = sum(file.stat().st_size for file in files)
        except OSError:
            size = 0
        return self.seconds + self.seconds_a_megabyte * size / 1e6


LIMITS = Limits()


class _Process:
    """One worker process and the pipes to it; `is_for_others` when it may read formats of other distributions."""

    def __init__(self, limits: Limits, directory: str, *, is_for_others: bool) -> None:
        self.is_for_others = is_for_others
        self.is_ready = False
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        environment["TMPDIR"] = directory
        environment["PYTHONPATH"] = os.pathsep.join([str(_HERE), *(str(Path(e).absolute()) for e in sys.path if e)])
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "cdr_adapters.isolated_worker", str(limits.memory_bytes)]
            + [FOR_OTHERS] * is_for_others,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        self._requests = cast("IO[bytes]", self._process.stdin)
        self._replies = cast("IO[bytes]", self._process.stdout)
        with contextlib.suppress(OSError):  # more than the system allows; then pieces are smaller
            fcntl.fcntl(self._replies, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._replies, selectors.EVENT_READ)
        self._last_words: deque[bytes] = deque(maxlen=_LAST_WORDS)
        self._listener = threading.Thread(
            target=self._listen, args=(cast("IO[bytes]", self._process.stderr),), daemon=True
        )
        self._listener.start()

    def _listen(self, complaints: IO[bytes]) -> None:
        with contextlib.suppress(ValueError, OSError), complaints:
            while line := complaints.readline(4096):
                self._last_words.append(line)

    @property
    def last_words(self) -> str:
        return b"".join(self._last_words).decode("utf-8", "replace")

    def ask(self, request: Request) -> None:
        """Send a request.

        Raises:
            BrokenPipeError: the process has ended.
        """
        text = pickle.dumps(request)
        self._requests.write(LENGTH.pack(len(text)) + text)
        self._requests.flush()

    def read(self, size: int, silence: float) -> pa.Buffer | None:
        """`size` bytes of its replies; None at their end.

        Raises:
            TimeoutError: nothing came within `silence` seconds.
        """
        buffer = pa.allocate_buffer(size)
        with memoryview(buffer) as view:
            at = 0
            while at < size:
                if not self._selector.select(silence):
                    raise TimeoutError
                count = os.readv(self._replies.fileno(), [view[at:]])
                if not count:
                    return None
                at += count
        return buffer

    def end(self) -> int:
        """End it, if it hasn't ended by itself; how it ended, as in `subprocess.Popen.returncode`."""
        with contextlib.suppress(OSError):
            self._requests.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._replies.close()
        self._selector.close()
        code = self._process.wait()
        self._listener.join(_SHUTDOWN_SECONDS)
        return code

    def ended(self) -> int:
        """Wait for it to end by itself, for a while; how it ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_SHUTDOWN_SECONDS)
        return self.end()


class Worker:
    """Reads files in another process, one after another; used as a context, and by one thread at a time."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._process: _Process | None = None
        self._reading = False

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="hopback-")
        return self

    def __exit__(self, *_: object) -> None:
        self._end_process()
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None

    def read_source(
        self, path: Path, mapping: SourceMapping, formats: TrunkFormats, *, packed: bool = False
    ) -> Iterator[Batch]:
        """The call legs in `path`, as `read.read_source` yields them.

        Raises:
            AdapterError: the file can't be read as the mapping says. WorkerDiedError: it took the worker down.
        """
        seconds = self._limits.seconds_for(path)
        request = Request(path, mapping, formats, int(seconds), packed)
        kind, decode = ("packed", decode_packed) if packed else ("calls", decode_calls)
        return self._read(path, request, seconds, kind, decode)

    def read_packed(self, path: Path, mapping: SourceMapping, formats: TrunkFormats) -> Iterator[Batch]:
        """The same for an index."""
        return self.read_source(path, mapping, formats, packed=True)

    def _read(
        self,
        path: Path,
        request: Request,
        silence: float,
        kind: str,
        decode: Callable[[dict[str, Any], pa.Buffer], Batch],
    ) -> Generator[Batch]:
        if self._reading or self._directory is None:
            raise RuntimeError("a worker reads one file at a time, within its context")
        self._reading = True
        whole = False
        try:
            process = self._asked(path, request)
            while True:
                head, body = self._reply(process, path, silence)
                if head["kind"] == kind:
                    yield decode(head, body)
                    continue
                whole = head["kind"] != "memory"
                if head["kind"] == "end":
                    return
                raise self._failure(head, path)
        except FrameError as error:
            raise self._garbled(process, path, error) from None
        finally:
            self._reading = False
            if not whole:
                self._end_process()

    def prepare(self, format_name: str) -> None:
        """Start the process for files of this format, if there is none yet, and don't wait for it."""
        is_for_others = format_name not in BUILT_IN
        if self._process is not None and is_for_others and not self._process.is_for_others:
            self._end_process()
        if self._process is None and self._directory is not None:
            self._process = _Process(self._limits, self._directory.name, is_for_others=is_for_others)

    def _asked(self, path: Path, request: Request) -> _Process:
        """The worker, which has got the request; a new one when the old one is gone."""
        self.prepare(request.format)
        process = cast("_Process", self._process)
        if process.is_ready:
            try:
                process.ask(request)
            except OSError:
                self._end_process()
                return self._asked(path, request)
            return process
        self._reply(process, path, _START_SECONDS)  # it is ready
        process.is_ready = True
        with contextlib.suppress(BrokenPipeError):  # then it has no reply either, and that is said
            process.ask(request)
        return process

    def _reply(self, process: _Process, path: Path, silence: float) -> tuple[dict[str, Any], pa.Buffer]:
        try:
            lengths = process.read(LENGTHS.size, silence)
            sizes = check_lengths(lengths.to_pybytes()) if lengths else (0, 0)
            head = process.read(sizes[0], silence)
            body = process.read(sizes[1], silence)
            if not lengths or head is None or body is None:
                raise self._death(process, path)
            return decode_head(head), body
        except TimeoutError:
            process.end()
            message = f"{path}: reading it was given up: nothing came of it within {silence:.0f} s"
            raise WorkerDiedError(message, process.last_words) from None

    @staticmethod
    def _garbled(process: _Process, path: Path, error: FrameError) -> WorkerDiedError:
        process.end()
        message = f"{path}: the process that read it sent something else than records ({error})"
        return WorkerDiedError(message, process.last_words)

    def _death(self, process: _Process, path: Path) -> WorkerDiedError:
        code = process.ended()
        if code == -signal.SIGXCPU:
            how = f"took more than {self._limits.seconds_for(path):.0f} s of processor time"
        elif code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
        else:
            how = f"ended with exit code {code}"
        return WorkerDiedError(f"{path}: the process that read it {how}", process.last_words)

    def _failure(self, head: dict[str, Any], path: Path) -> AdapterError:
        if head["kind"] == "error":
            return AdapterError(str(head["text"]))
        if head["kind"] == "memory":
            return AdapterError(f"{path}: to read it takes more than {self._limits.memory_bytes >> 20:,} MB of memory")
        return AdapterError(f"{path}: reading it met a defect of the reader, please report it: {head.get('text')}")

    def _end_process(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None


def read_source(path: Path, mapping: SourceMapping, formats: TrunkFormats) -> Iterator[Batch]:
    """As `read.read_source`, in a process started for this one file; for more files keep a `Worker`.

    Raises:
        AdapterError: the file can't be read as the mapping says. WorkerDiedError: it took the process down.
    """
    with Worker() as worker:
        yield from worker.read_source(path, mapping, formats)
