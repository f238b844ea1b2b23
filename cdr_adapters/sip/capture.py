"""The SIP messages of one capture file, read by a process of its own.

`messages` starts `capture_worker`, hands its records on as they come, and bounds what it may do: time, memory, one
line's length. Whatever happens to it, a crash, a hang, a kill, ends as `AdapterError` here, and nothing is left
running. A capture that breaks off gives what could be read, then a `Damage`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from cdr_adapters.archives import Member, real_file
from cdr_adapters.raw import AdapterError
from cdr_adapters.sip.wire import Damage, NoRecordError, Seen, decode

_LONGEST_LINE = 1 << 20
_CHUNK = 1 << 16
_INSTALL_TSHARK = (
    "SIP captures are read with tshark, and there is none: install it (Debian, Ubuntu: apt-get install tshark; "
    "Fedora, RHEL: dnf install wireshark-cli), or set options = { tshark = '/path/to/tshark' }"
)
_NO_RECORD = "the process that reads captures printed something else than a record"
_INSTALL_PYSHARK = "SIP captures are read with pyshark, which is not installed: pip install 'hopback[pcap]'"


@dataclass(frozen=True, slots=True)
class Limits:
    """What reading one capture may cost. `seconds` None: two minutes and a second more for each 100 kB of the file."""

    seconds: float | None = None
    memory_bytes: int = 4 << 30

    def seconds_for(self, size: int) -> float:
        """The time limit for a file of `size` bytes."""
        return 120.0 + size / 100_000 if self.seconds is None else self.seconds


@dataclass(frozen=True, slots=True)
class Worker:
    """How to start the process that reads a capture. `launch` is replaced in tests alone."""

    tshark: str
    limits: Limits = field(default_factory=Limits)
    sip_ports: tuple[int, ...] = ()
    hep_ports: tuple[int, ...] = ()
    tls_keys: Path | None = None
    launch: tuple[str, ...] = (sys.executable, "-W", "ignore", "-m", "cdr_adapters.sip.capture_worker")
    clock: Callable[[], float] = time.monotonic

    def command(self, path: Path) -> Sequence[str]:
        """The command line of the worker for one file."""
        job = {
            "path": str(path.resolve()),
            "tshark": self.tshark,
            "sip_ports": list(self.sip_ports),
            "hep_ports": list(self.hep_ports),
            "tls_keys": None if self.tls_keys is None else str(self.tls_keys.resolve()),
            "memory_bytes": self.limits.memory_bytes,
        }
        return [*self.launch, json.dumps(job)]


def find_tshark(configured: str | None = None) -> str:
    """The path of tshark.

    Raises:
        AdapterError: there is none where it is looked for, or pyshark is not installed.
    """
    found = shutil.which(configured or "tshark")
    if found is None:
        if configured:
            raise AdapterError(f"option tshark: {configured} is no program that can be run; {_INSTALL_TSHARK}")
        raise AdapterError(_INSTALL_TSHARK)
    if Path(found).name != "tshark":
        raise AdapterError(f"option tshark: {found} must be called 'tshark': give the path of tshark itself")
    if importlib.util.find_spec("pyshark") is None:
        raise AdapterError(_INSTALL_PYSHARK)
    return str(Path(found).absolute())


def messages(path: Path, worker: Worker) -> Generator[Seen, None, None]:
    """The messages of the capture at `path`, in the file's order.

    Raises:
        AdapterError: it can't be read, is no capture, takes too long or too much memory, or its reader died.
    """
    if isinstance(path, Member):
        with real_file(path) as copy:
            yield from messages(copy, worker)
        return
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise AdapterError(f"{path}: {error.strerror or error}") from None
    if size == 0:
        yield Damage(0, "the file is empty")
        return
    limit = worker.limits.seconds_for(size)
    frame = 0
    with tempfile.TemporaryDirectory(prefix="hopback-capture-") as scratch, tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            worker.command(path),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            cwd=scratch,
            env=_environment(scratch),
            start_new_session=True,
        )
        try:
            assert process.stdout is not None  # noqa: S101 - asked for above
            for record in _lines(process.stdout, path, limit, worker.clock):
                if record and record[0] == "end":
                    yield from _ending(path, record, frame)
                    return
                seen = _decoded(record, path)
                frame = seen[0].frame if isinstance(seen, tuple) else seen.frame
                yield seen
            raise AdapterError(f"{path}: {_death(process, complaints)}")
        finally:
            _end(process)


def _decoded(record: Sequence[Any], path: Path) -> Seen:
    try:
        return decode(record)
    except (NoRecordError, ValueError):
        raise AdapterError(f"{path}: {_NO_RECORD}") from None


def _ending(path: Path, record: Sequence[Any], frame: int) -> Iterator[Damage]:
    match record:
        case ["end", "complete", _]:
            return
        case ["end", "broken-off", str(detail)]:
            yield Damage(frame, detail)
            return
        case ["end", _, str(detail)]:
            raise AdapterError(f"{path} can't be read as a capture: {detail}")
    raise AdapterError(f"{path}: the process that reads captures ended without saying how")


def _lines(stream: IO[bytes], path: Path, limit: float, clock: Callable[[], float]) -> Iterator[list[Any]]:
    """The worker's records. Only waiting for them counts against `limit`, not what the caller does in between."""
    pending = b""
    waited = 0.0
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            since = clock()
            ready = selector.select(max(0.0, limit - waited))
            chunk = os.read(stream.fileno(), _CHUNK) if ready else b""
            waited += clock() - since
            if not ready or waited > limit:
                raise AdapterError(
                    f"{path}: not read within {limit:.0f} s; give it more with options = {{ time_limit = '2h' }}, "
                    "or split the capture (editcap -i 3600)"
                )
            if not chunk:
                return
            *whole, pending = (pending + chunk).split(b"\n")
            if len(pending) > _LONGEST_LINE:
                raise AdapterError(f"{path}: the process that reads captures printed an endless line")
            for line in whole:
                try:
                    record = json.loads(line)
                except ValueError:
                    record = None
                if not isinstance(record, list):
                    raise AdapterError(f"{path}: {_NO_RECORD}")
                yield record


def _environment(scratch: str) -> dict[str, str]:
    """What the worker may know: no secrets of ours, no preferences of whoever else uses Wireshark on this machine."""
    here = Path(__file__).resolve().parents[2]
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": os.pathsep.join([str(here), *(str(Path(entry).absolute()) for entry in sys.path if entry)]),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "HOME": scratch,
        "XDG_CONFIG_HOME": scratch,
        "WIRESHARK_CONFIG_DIR": scratch,
    }


def _death(process: subprocess.Popen[bytes], complaints: IO[bytes]) -> str:
    code = process.wait()
    how = f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
    complaints.seek(max(0, complaints.seek(0, os.SEEK_END) - 300))
    last = complaints.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
    return f"the process that reads captures {how}{f': {last}' if last else ''}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the worker and the tshark below it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
