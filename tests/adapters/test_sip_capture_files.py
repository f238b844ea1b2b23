"""Which files are captures, when they begin, and how their messages are put in order of time."""

from __future__ import annotations

import gzip
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdr_adapters.raw import AdapterError
from cdr_adapters.sip.capture_files import (
    SLACK_US,
    CaptureFile,
    first_time_us,
    in_time_order,
    is_capture,
    ordered,
    read_head,
)
from cdr_adapters.sip.legs import Packet
from cdr_adapters.sip.message import Final, Via
from cdr_adapters.sip.wire import Damage, Seen
from tests.adapters.sip_bytes import T0, UPSTREAM, invite, pcap, pcapng, udp, write

FRAME = udp(UPSTREAM, "198.51.100.60", invite())


class TestRecognising:
    @pytest.mark.parametrize("data", [pcap([]), pcap([(T0, FRAME)]), pcapng([]), pcapng([(T0, FRAME)])])
    def test_pcap_and_pcapng_are_captures(self, data: bytes) -> None:
        assert is_capture(data)

    @pytest.mark.parametrize(
        "magic", [b"\xa1\xb2\xc3\xd4", b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x4d\x3c\xb2\xa1"]
    )
    def test_in_both_byte_orders_and_both_resolutions(self, magic: bytes) -> None:
        assert is_capture(magic + bytes(20))

    @pytest.mark.parametrize(
        "data", [b"", b"\xd4\xc3", b"\x0a\x0d\x0d\x0a" + bytes(8), b"INVITE sip:", b"a,b,c\n1,2,3\n"]
    )
    def test_anything_else_is_none(self, data: bytes) -> None:
        assert not is_capture(data)


class TestFirstTime:
    def test_of_a_pcap(self) -> None:
        assert first_time_us(pcap([(T0, FRAME)])) == T0

    @pytest.mark.parametrize("resolution", [6, 9])
    def test_of_a_pcapng_in_its_own_resolution(self, resolution: int) -> None:
        assert first_time_us(pcapng([(T0, FRAME)], resolution=resolution)) == T0

    @pytest.mark.parametrize("data", [b"", pcap([]), pcapng([]), pcap([(T0, FRAME)])[:30], pcapng([(T0, FRAME)])[:60]])
    def test_is_unknown_without_a_packet(self, data: bytes) -> None:
        assert first_time_us(data) == 0

    @given(st.binary(max_size=300), st.sampled_from([pcap([(T0, FRAME)]), pcapng([(T0, FRAME)])]), st.integers(0, 200))
    def test_any_bytes_have_a_time_or_none(self, noise: bytes, good: bytes, at: int) -> None:
        assert first_time_us(noise) >= 0
        first_time_us(good[:at] + noise + good[at + len(noise) :])


class TestDirectory:
    def test_files_come_in_order_of_time_not_of_name(self, tmp_path: Path) -> None:
        write(tmp_path / "trace.pcap1", [(T0 + 2, FRAME)])
        write(tmp_path / "trace.pcap2", [(T0 + 1, FRAME)])
        write(tmp_path / "trace.pcap10.gz", [(T0 + 3, FRAME)])
        files, others = ordered(tmp_path)
        assert [(file.path.name, file.number, file.first_us) for file in files] == [
            ("trace.pcap2", 0, T0 + 1),
            ("trace.pcap1", 1, T0 + 2),
            ("trace.pcap10.gz", 2, T0 + 3),
        ]
        assert others == 0

    def test_files_of_one_time_come_in_order_of_their_number(self, tmp_path: Path) -> None:
        for name in ("trace.pcap10", "trace.pcap9", "trace.pcap"):
            write(tmp_path / name, [])
        files, _ = ordered(tmp_path)
        assert [file.path.name for file in files] == ["trace.pcap", "trace.pcap9", "trace.pcap10"]

    def test_what_is_no_capture_is_counted_and_hidden_files_are_left_alone(self, tmp_path: Path) -> None:
        write(tmp_path / "a.pcap", [])
        write(tmp_path / ".b.pcap.part", [])
        (tmp_path / "notes.txt").write_text("nothing")
        (tmp_path / "bad.gz").write_bytes(b"\x1f\x8bnonsense")
        (tmp_path / "more").mkdir()
        files, others = ordered(tmp_path)
        assert ([file.path.name for file in files], others) == (["a.pcap"], 2)

    def test_a_directory_without_any_capture_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("nothing")
        with pytest.raises(AdapterError, match="no capture"):
            ordered(tmp_path)

    def test_a_gzip_bomb_is_opened_no_further_than_its_head(self, tmp_path: Path) -> None:
        (tmp_path / "bomb.gz").write_bytes(gzip.compress(bytes(50_000_000)))
        assert len(read_head(tmp_path / "bomb.gz")) <= 1 << 16


def seen(frame: int, time_us: int) -> tuple[Packet, Final]:
    return Packet(frame, time_us, "", 0, "", 0), Final("c", 1, Via("h", ""), 200)


class Files:
    """Captures by what is in them; notes which were opened and which are open."""

    def __init__(self, contents: Mapping[int, list[Seen]], first: Mapping[int, int]) -> None:
        self.contents = contents
        self.files = [CaptureFile(Path(f"dir/{n}"), n, first[n]) for n in contents]
        self.opened: list[int] = []
        self.open: set[int] = set()

    def read(self, file: CaptureFile) -> Generator[Seen, None, None]:
        self.opened.append(file.number)
        self.open.add(file.number)
        try:
            yield from self.contents[file.number]
        finally:
            self.open.discard(file.number)

    def frames(self) -> Iterator[int]:
        for _, item in in_time_order(self.files, self.read):
            yield item[0].frame if isinstance(item, tuple) else -item.frame


class TestOrderOfTime:
    def test_a_later_file_is_opened_when_its_time_comes(self) -> None:
        files = Files({0: [seen(1, 10), seen(2, 20)], 1: [seen(3, 30)]}, {0: 10, 1: 30})
        frames = files.frames()
        assert (next(frames), files.opened) == (1, [0])
        assert (list(frames), files.opened) == ([2, 3], [0, 1])

    def test_files_of_the_same_time_are_merged(self) -> None:
        files = Files({0: [seen(1, 10), seen(3, 30)], 1: [seen(2, 20), seen(4, 40)]}, {0: 10, 1: 20})
        assert list(files.frames()) == [1, 2, 3, 4]

    def test_packets_a_little_out_of_order_are_put_right(self) -> None:
        files = Files({0: [seen(1, SLACK_US), seen(2, 1), seen(3, 2 * SLACK_US)]}, {0: 1})
        assert list(files.frames()) == [2, 1, 3]

    def test_a_clock_far_ahead_holds_nothing_back(self) -> None:
        files = Files({0: [seen(1, 10), seen(2, 10**17), seen(3, 30), seen(4, 40)]}, {0: 10})
        assert list(files.frames()) == [1, 3, 4, 2]

    def test_damage_comes_after_what_was_read(self) -> None:
        files = Files({0: [seen(1, 10), seen(2, 20), Damage(2, "cut short")]}, {0: 10})
        assert list(files.frames()) == [1, 2, -2]

    def test_too_many_files_of_the_same_time_are_refused_with_a_way_out(self) -> None:
        contents: dict[int, list[Seen]] = {n: [seen(n, 10)] for n in range(9)}
        files = Files(contents, dict.fromkeys(contents, 10))
        with pytest.raises(AdapterError, match="mergecap"):
            list(files.frames())
        assert files.open == set()

    def test_a_caller_that_loses_interest_leaves_no_file_open(self) -> None:
        files = Files({0: [seen(1, 10), seen(2, 5 * SLACK_US), seen(3, 9 * SLACK_US)]}, {0: 10})
        stream = in_time_order(files.files, files.read)
        next(stream)
        assert files.open == {0}
        stream.close()
        assert files.open == set()
