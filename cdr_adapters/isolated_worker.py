"""Reads files for `isolated.Worker`, in a process of its own: python -m cdr_adapters.isolated_worker

Standard input brings one request after the other: its length, then the request, pickled by the process that started
this one. Standard output takes the frames of its batches (`batch_frames`) and, last, one that says how the file ended.
Whatever libraries print goes to standard error. Ends with its standard input.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import pickle
import resource
import struct
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, Final

import pyarrow as pa

from cdr_adapters.batch_frames import encode, frame
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from cdr_adapters.schema import Batch
from cdr_adapters.without_pandas import settle_without_pandas

LENGTH: Final = struct.Struct("<L")
"""What every request begins with: how long it is."""

FOR_OTHERS: Final = "for-others"
"""The argument of a process that reads formats of other distributions."""


@dataclass(frozen=True, slots=True)
class Request:
    """Read the call legs of a file, within so much processor time; `packed` as in `read.read_source`."""

    path: Path
    mapping: SourceMapping
    formats: TrunkFormats
    processor_seconds: int
    packed: bool = False

    @property
    def format(self) -> str:
        return self.mapping.format

    def batches(self) -> Iterator[Batch]:
        """See `read.read_source`."""
        # what knows other countries' numbers takes a while to load: that may go on beside the first reading
        threading.Thread(target=import_module, args=("phonenumbers",), daemon=True).start()
        return read_source(self.path, self.mapping, self.formats, packed=self.packed)


def main() -> int:
    """Serve requests until there are no more."""
    memory_bytes, is_for_others = int(sys.argv[1]), sys.argv[2:] == [FOR_OTHERS]
    faulthandler.enable(all_threads=False)  # what else loads meanwhile would drown the last words
    requests = sys.stdin.buffer
    with os.fdopen(os.dup(1), "wb", buffering=0) as replies:
        os.dup2(2, 1)  # what a library prints must not come between the frames
        _limit(resource.RLIMIT_AS, memory_bytes)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it would hold subscribers' numbers
        with contextlib.suppress(BrokenPipeError):
            if is_for_others:
                pa.array([""])  # loads what pyarrow loads at its first use, which may take longer than a small file
            else:
                settle_without_pandas()
            _write(replies, frame("ready"))
            while length := requests.read(LENGTH.size):
                # what the process that started this one has pickled is its own
                request: Request = pickle.loads(requests.read(LENGTH.unpack(length)[0]))  # noqa: S301
                if not _serve(request, replies):
                    return 1
                pa.default_memory_pool().release_unused()
    return 0


def _limit(kind: int, soft: int) -> None:
    """Lower a limit so that a child process may still choose its own."""
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _serve(request: Request, replies: BinaryIO) -> bool:
    """Answer one request; False when this process is no good for another."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + request.processor_seconds)
    try:
        for batch in request.batches():
            _write(replies, encode(batch))
    except AdapterError as error:
        _write(replies, frame("error", text=str(error)))
    except BrokenPipeError:
        raise
    except MemoryError:
        _write(replies, frame("memory"))
        return False
    except Exception as error:
        traceback.print_exc()
        last = traceback.extract_tb(error.__traceback__)[-1]
        _write(replies, frame("bug", text=f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}"))
    else:
        _write(replies, frame("end"))
    return True


def _write(replies: BinaryIO, pieces: list[bytes | memoryview]) -> None:
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            rest = rest[replies.write(rest) :]


if __name__ == "__main__":
    sys.exit(main())
