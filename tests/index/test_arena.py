"""One range of addresses for all segments: what is leased is mapped, what is given back can be leased again."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from agent.index.arena import HUGE, Arena, ArenaFullError, Lease
from agent.index.errors import IndexUnusableError
from agent.index.layout import PAGE

SIZE = 1 << 32


@pytest.fixture
def arena() -> Arena:
    return Arena(SIZE)


class TestMapping:
    def test_a_file_is_read_where_it_was_mapped(self, arena: Arena, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"hopback!" + bytes(PAGE) + b"end")
        with path.open("rb") as file:
            lease = arena.map_file(path, file.fileno(), path.stat().st_size)
        assert bytes(arena.octets[lease.offset : lease.offset + 8]) == b"hopback!"
        assert int(arena.words[lease.offset // 8]) == int.from_bytes(b"hopback!", "little")
        assert bytes(arena.octets[lease.offset + PAGE + 8 : lease.offset + PAGE + 11]) == b"end"

    def test_memory_is_zero_and_its_own(self, arena: Arena) -> None:
        one, other = arena.allocate(10), arena.allocate(10)
        arena.halves[one.offset // 4] = 7
        assert int(arena.half_view[one.offset // 4]) == 7
        assert not arena.octets[other.offset : other.offset + other.size].any()

    def test_what_can_not_be_mapped_names_the_file_and_takes_no_addresses(self, arena: Arena, tmp_path: Path) -> None:
        path = tmp_path / "directory"
        path.mkdir()
        descriptor = os.open(path, os.O_RDONLY)
        try:
            with pytest.raises(OSError, match="directory"):
                arena.map_file(path, descriptor, PAGE)
        finally:
            os.close(descriptor)
        gc.collect()
        assert arena.allocate(SIZE - PAGE).offset == 0


def _mapped(arena: Arena, path: Path, size: int) -> Lease:
    with path.open("w+b") as file:
        file.truncate(size)
        return arena.map_file(path, file.fileno(), size)


class TestLargePages:
    """The system can use a large page only for what begins at a multiple of its size, in memory as in the file."""

    def test_what_is_large_begins_at_a_multiple_whatever_was_leased_before(self, arena: Arena, tmp_path: Path) -> None:
        assert arena.octets.ctypes.data % HUGE == 0
        kept: list[Lease] = []
        for number, size in enumerate((PAGE, HUGE, 3 * PAGE, HUGE + PAGE, HUGE - PAGE, 3 * HUGE)):
            kept.append(_mapped(arena, tmp_path / f"{number}", size))
            kept.append(arena.allocate(size))
        large = [lease for lease in kept if lease.size >= HUGE]
        assert len(large) == 6
        assert not [lease for lease in large if lease.offset % HUGE]

    def test_no_two_leases_share_an_address(self, arena: Arena, tmp_path: Path) -> None:
        sizes = [PAGE, HUGE - PAGE, HUGE, 5 * PAGE, HUGE + PAGE, HUGE // 2] * 6
        kept = [arena.allocate(size) for size in sizes]
        kept += [_mapped(arena, tmp_path / f"{number}", size) for number, size in enumerate(sizes)]
        del kept[::3]
        kept += [arena.allocate(size) for size in sizes]
        spans = sorted((lease.offset, lease.offset + lease.size) for lease in kept)
        assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))

    def test_what_is_small_shares_a_block_that_is_given_back_with_the_last_part(self, arena: Arena) -> None:
        parts = [arena.allocate(HUGE // 2) for _ in range(3)]
        first = parts[0].offset
        assert [part.offset - first for part in parts] == [0, HUGE // 2, HUGE]
        del parts[:2]
        elsewhere = arena.allocate(HUGE)
        assert elsewhere.offset > parts[0].offset
        parts.clear()
        assert arena.allocate(HUGE).offset == first

    def test_small_parts_never_run_out_of_blocks(self, arena: Arena) -> None:
        parts = [arena.allocate(HUGE - PAGE) for _ in range(40)]
        assert len({part.offset for part in parts}) == 40
        for part in parts:
            arena.words[(part.offset + part.size) // 8 - 1] = 7


class TestGivingBack:
    def test_addresses_are_leased_again_and_joined(self, arena: Arena) -> None:
        parts = [arena.allocate(SIZE // 4) for _ in range(4)]
        with pytest.raises(ArenaFullError, match="raise the limit"):
            arena.allocate(1)
        del parts[1:3]
        whole = arena.allocate(SIZE // 2)
        assert whole.offset == SIZE // 4

    def test_scattered_room_is_no_room_for_a_large_one(self, arena: Arena) -> None:
        parts = [arena.allocate(SIZE // 8) for _ in range(8)]
        del parts[::2]
        with pytest.raises(ArenaFullError):
            arena.allocate(SIZE // 4)
        assert [arena.allocate(SIZE // 8).size for _ in range(1)] == [SIZE // 8]

    def test_memory_comes_back_as_zeros_and_unchecked(self, arena: Arena) -> None:
        lease = arena.allocate(PAGE)
        offset = lease.offset
        arena.words[offset // 8] = 1
        arena.checked[offset // PAGE] = 1
        del lease
        again = arena.allocate(PAGE)
        assert again.offset == offset
        assert int(arena.words[offset // 8]) == 0
        assert int(arena.checked[offset // PAGE]) == 0

    def test_that_it_is_full_is_an_index_that_can_not_be_used(self) -> None:
        assert issubclass(ArenaFullError, IndexUnusableError)

    def test_threads_lease_and_give_back_without_meeting(self, arena: Arena) -> None:
        failures: list[str] = []

        def work(mark: int) -> None:
            for _ in range(200):
                lease = arena.allocate(3 * PAGE)
                arena.words[lease.offset // 8] = mark
                if int(arena.words[lease.offset // 8]) != mark:
                    failures.append("another thread has the same addresses")

        threads = [threading.Thread(target=work, args=(mark,)) for mark in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures

    def test_arrays_keep_the_range_when_the_arena_is_gone(self) -> None:
        arena = Arena(SIZE)
        lease = arena.allocate(PAGE)
        arena.words[lease.offset // 8] = 5
        words = arena.words
        offset = lease.offset
        keep = lease
        del arena
        gc.collect()
        assert int(words[offset // 8]) == 5
        del keep

    @pytest.mark.parametrize("others", [0, 1])
    def test_what_was_given_back_can_not_be_read_any_more(self, others: int) -> None:
        program = (
            "from agent.index.arena import Arena\n"
            f"a = Arena({SIZE}); l = a.allocate(4096); at = l.offset // 8; print(int(a.words[at]))\n"
            f"others = [a.allocate(4096) for _ in range({others})]; del l\n"
            "int(a.words[at])"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert done.stdout == "0\n"
        assert done.returncode == -signal.SIGSEGV


class TestEights:
    def test_at_each_word_are_it_and_the_seven_that_follow(self) -> None:
        arena = Arena(SIZE)
        lease = arena.allocate(2 * PAGE)
        begin = lease.offset // 8
        arena.words[begin : begin + PAGE // 4] = np.arange(PAGE // 4)
        places = begin + np.array([0, 1, 7, PAGE // 8 - 3, PAGE // 4 - 8])
        read = arena.eights[places].view(np.uint64).reshape(-1, 8)
        assert read.tolist() == [list(range(at, at + 8)) for at in (places - begin).tolist()]


class TestFreedMemory:
    @pytest.mark.parametrize("kept", [True, False])
    def test_is_not_asked_for_again_page_by_page_where_the_c_library_can_keep_it(self, kept: bool) -> None:
        program = (
            "import ctypes, resource\n"
            "import numpy as np\n"
            "from agent.index.arena import keep_freed_memory\n"
            "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
            f"if {kept}: keep_freed_memory()\n"
            "def batch(): [np.ones(200_000) for _ in range(5)]\n"
            "batch(); before = faults()\n"
            "for _ in range(10): batch()\n"
            "print(hasattr(ctypes.CDLL(None), 'mallopt'), faults() - before)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        able, faults = done.stdout.split()
        assert (int(faults) < 500) == (kept and able == "True")


class TestReserving:
    def test_less_is_reserved_where_addresses_are_limited(self) -> None:
        program = (
            "import resource\n"
            "from agent.index.arena import Arena\n"
            "resource.setrlimit(resource.RLIMIT_AS, (1 << 35, 1 << 35))\n"
            "print(Arena().size)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert 1 << 32 <= int(done.stdout) < 1 << 35

    def test_where_there_are_too_few_it_says_which_limit_to_raise(self) -> None:
        program = (
            "import resource\n"
            "from agent.index.arena import Arena\n"
            "resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))\n"
            "Arena()"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert "ulimit -v" in done.stderr
