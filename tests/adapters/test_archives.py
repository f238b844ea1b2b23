"""Compression and archives: known by content, read through whatever their nesting, refused when damaged or a bomb."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest

from cdr_adapters.archives import Member, members, opened, real_file
from cdr_adapters.compression import Limits
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from cdr_adapters.schema import RejectReason
from cdr_adapters.stream import read_blocks, read_head, read_lines
from tests.adapters.reading import memory_peak_below, written

File = tuple[str, bytes]
A = b"id,called,start\n1,+12025550143,2026-11-21T23:23:27Z\n"
B = b"start,called\n2026-11-21T23:23:28Z,+12025550144\nbroken\n2026-11-21T23:23:29Z,+12025550145\n"
FILES: list[File] = [("day/a.csv", A), ("b.csv", B)]


def zstd(data: bytes) -> bytes:
    return pa.compress(data, "zstd", asbytes=True)  # type: ignore[no-any-return]


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd,
}


def tar(files: Iterable[File], kind: int = tarfile.PAX_FORMAT) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=kind) as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


def zipped(files: Iterable[File], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return target.getvalue()


def contents(path: Path, limits: Limits | None = None) -> list[File]:
    found = []
    for member in members(path) if limits is None else members(path, limits):
        name = member.name_in_archive if isinstance(member, Member) else ""
        with opened(member) as file:
            found.append((name, file.read()))
    return found


class TestCompression:
    @pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS)
    def test_is_known_by_content_and_not_by_name(self, tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
        path = written(tmp_path, compress(A), "records.csv")
        assert list(members(path)) == [path]
        assert b"".join(read_blocks(path)) == A
        assert read_head(path).data == A
        assert read_head(path).complete

    @pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS)
    def test_streams_behind_each_other_are_one_file(self, tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
        path = written(tmp_path, compress(A) + compress(b"") + compress(B))
        assert b"".join(read_blocks(path)) == A + B

    @pytest.mark.parametrize("name", ["gzip", "bzip2", "xz"])
    def test_zeros_behind_it_are_padding(self, tmp_path: Path, name: str) -> None:
        path = written(tmp_path, COMPRESSIONS[name](A) + bytes(300_000) + COMPRESSIONS[name](B) + bytes(4))
        assert b"".join(read_blocks(path)) == A + B

    @pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS)
    def test_something_else_behind_it_is_an_error(self, tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
        path = written(tmp_path, compress(A) + b"id,called\n")
        with pytest.raises(AdapterError, match="can't be read"):
            list(read_blocks(path))

    @pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS)
    def test_a_cut_file_gives_its_beginning_and_then_an_error(
        self, tmp_path: Path, compress: Callable[[bytes], bytes]
    ) -> None:
        whole = os.urandom(300_000)
        path = written(tmp_path, compress(whole)[:-5])
        got: list[bytes] = []
        with pytest.raises(AdapterError, match=r"can't be read.*(cut off|[Tt]runcated)"):
            got.extend(read_blocks(path, 1000))
        assert whole.startswith(b"".join(got))
        assert len(b"".join(got)) >= 1000
        assert read_head(path).data == whole[: 1 << 16], "what is there can still be identified"

    def test_a_checksum_that_is_wrong_is_an_error(self, tmp_path: Path) -> None:
        data = bytearray(gzip.compress(A))
        data[-6] ^= 1
        with pytest.raises(AdapterError, match="incorrect data check"):
            list(read_blocks(written(tmp_path, bytes(data))))

    def test_several_layers_are_taken_off_but_not_any_number(self, tmp_path: Path) -> None:
        data = A
        for layer in range(7):
            data = list(COMPRESSIONS.values())[layer % 4](data)
            path = written(tmp_path, data)
            if layer < 6:
                assert b"".join(read_blocks(path)) == A
        with pytest.raises(AdapterError, match="more than 6 archives or compressions within each other"):
            list(read_blocks(path))

    def test_a_window_that_would_take_gigabytes_is_refused(self, tmp_path: Path) -> None:
        frame = b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x01\x00\x00"  # a window of 2 GB [RFC 8878, 3.1.1.1.2]
        with pytest.raises(AdapterError, match="too much memory"):
            list(read_blocks(written(tmp_path, frame)))
        stream = bytearray(lzma.compress(A))
        assert stream[14:16] == b"\x21\x01", "LZMA2, one byte of properties [xz file format, 3.1]"
        stream[16] = 36  # a dictionary of 1 GB [5.3.1]
        stream[20:24] = struct.pack("<L", zlib.crc32(stream[12:20]))
        with pytest.raises(AdapterError, match="Memory usage limit"):
            list(read_blocks(written(tmp_path, bytes(stream))))


class TestArchives:
    @pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_a_tar_holds_its_files(self, tmp_path: Path, kind: int) -> None:
        files = [*FILES, (("long/" * 18) + "name.csv", A), ("empty", b"")]
        assert contents(written(tmp_path, tar(files, kind))) == files

    @pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_a_zip_holds_its_files(self, tmp_path: Path, method: int) -> None:
        assert contents(written(tmp_path, zipped(FILES, method))) == FILES

    @pytest.mark.parametrize("pack", [tar, zipped])
    @pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS)
    def test_a_compressed_archive_is_an_archive_and_so_are_compressed_files_in_it(
        self, tmp_path: Path, pack: Callable[[list[File]], bytes], compress: Callable[[bytes], bytes]
    ) -> None:
        packed = [(name, compress(content)) for name, content in FILES]
        assert contents(written(tmp_path, compress(pack(packed)))) == FILES

    def test_files_of_more_than_a_block_are_whole(self, tmp_path: Path) -> None:
        large = os.urandom(3_000_000)
        for packed in (tar, zipped):
            for data in (packed([("a", large), ("b", A)]), gzip.compress(packed([("a", large), ("b", A)]), 1)):
                assert contents(written(tmp_path, data)) == [("a", large), ("b", A)]

    def test_archives_in_archives_are_gone_through(self, tmp_path: Path) -> None:
        inner = [("x.tar.gz", gzip.compress(tar(FILES))), ("y", zipped(FILES)), ("z.csv", A)]
        names = [
            "x.tar.gz!day/a.csv",
            "x.tar.gz!b.csv",
            "y!day/a.csv",
            "y!b.csv",
            "z.csv",
        ]
        for pack in (tar, zipped):
            assert [name for name, _ in contents(written(tmp_path, pack(inner)))] == names

    def test_what_is_no_file_of_records_is_left_out(self, tmp_path: Path) -> None:
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w") as archive:
            for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
                info = tarfile.TarInfo(f"other{kind!r}")
                info.type, info.linkname = kind, "/etc/passwd"
                archive.addfile(info)
        path = written(tmp_path, target.getvalue())
        with pytest.raises(AdapterError, match="holds no files"):
            contents(path)
        hidden = [(".hidden", A), ("__MACOSX/._a.csv", A), ("day/._a.csv", A), ("a.csv", A)]
        for pack in (tar, zipped):
            assert contents(written(tmp_path, pack(hidden))) == [("a.csv", A)]

    def test_a_link_in_a_zip_is_no_file(self, tmp_path: Path) -> None:
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as archive:
            link = zipfile.ZipInfo("link")
            link.external_attr = 0o120777 << 16
            archive.writestr(link, "/etc/passwd")
            archive.writestr("a.csv", A)
        assert contents(written(tmp_path, target.getvalue())) == [("a.csv", A)]

    def test_names_in_an_archive_write_nothing_anywhere(self, tmp_path: Path) -> None:
        names = ["../../outside", "/absolute", "a\x1b[31m", "..", "con\x00trol"]
        before = set(tmp_path.rglob("*"))
        home = tmp_path / "in"
        home.mkdir()
        for pack in (tar, zipped):
            path = written(home, gzip.compress(pack([(name, A) for name in names if "\0" not in name])))
            assert [content for _, content in contents(path)] == [A] * 3
        assert set(tmp_path.rglob("*")) - before == {home, home / "records"}

    def test_an_office_document_is_one_file(self, tmp_path: Path) -> None:
        book = zipped([("[Content_Types].xml", b"<x/>"), ("xl/workbook.xml", b"<x/>")])
        sheet = zipped([("mimetype", b"application/vnd.oasis.opendocument.spreadsheet"), ("content.xml", b"<x/>")])
        for document in (book, sheet):
            assert contents(written(tmp_path, document)) == [("", document)]
            assert contents(written(tmp_path, gzip.compress(document))) == [("", document)]
            assert contents(written(tmp_path, zipped([("a.xlsx", document)]))) == [("a.xlsx", document)]

    def test_a_sparse_file_in_a_tar_is_read_with_its_holes(self, tmp_path: Path) -> None:
        assert contents(written(tmp_path, SPARSE)) == [("sparse", b"\0" * 4096 + b"x" * 512)]


def _sparse() -> bytes:
    """An old GNU sparse header [GNU tar manual, Old GNU Format]: 4,096 zeros, then 512 bytes that are kept."""
    info = tarfile.TarInfo("sparse")
    info.size = 512
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"00000010000\0" + b"00000001000\0"
    header[483:495] = b"00000011000\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return bytes(header) + b"x" * 512 + bytes(1024)


SPARSE = _sparse()


class TestDamage:
    """A damaged archive is an error: what could still be read of it would look like all there is."""

    @pytest.mark.parametrize("compress", [bytes, *COMPRESSIONS.values()])
    @pytest.mark.parametrize("pack", [tar, zipped])
    def test_a_cut_archive_is_an_error_that_says_so(
        self, tmp_path: Path, pack: Callable[[list[File]], bytes], compress: Callable[[bytes], bytes]
    ) -> None:
        packed = pack([("a", os.urandom(2000)), ("b", os.urandom(2000))])
        packed = packed[: 512 * 12] if pack is tar else packed
        data = compress(packed)
        end = 512 * 10 if pack is tar else len(packed)  # behind that a tar has only zeros
        for size in (700, end // 2, end - 1500, end - 600, end - 10):
            for cut in {compress(packed[:size]), data[: len(data) * size // len(packed)]}:
                path = written(tmp_path, cut)
                with pytest.raises(AdapterError, match=r"can't be (read|unpacked).*(cut off|[Tt]runcated)"):
                    contents(path)

    def test_a_tar_that_ends_between_two_files_is_cut_off(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="has no end: it is cut off"):
            contents(written(tmp_path, tar(FILES)[:1024]))

    def test_a_broken_header_in_the_middle_is_not_the_end(self, tmp_path: Path) -> None:
        data = bytearray(tar(FILES))
        data[1024 + 100] ^= 1
        with pytest.raises(AdapterError, match="something that is no file of the archive"):
            contents(written(tmp_path, bytes(data)))

    def test_tars_behind_each_other_are_not_silently_one(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="something that is no file of the archive"):
            contents(written(tmp_path, tar(FILES) + tar(FILES)))

    def test_a_header_of_negative_length_does_not_go_round_for_ever(self, tmp_path: Path) -> None:
        header = bytearray(tar([("a", A)])[:512])
        header[124:136] = b"\xff" * 10 + b"\xf0\x00"
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        for data in (bytes(header) * 3 + bytes(1024), bytes(header) + tar([("b", A)])):
            for packed in (data, gzip.compress(data)):
                with pytest.raises(AdapterError):
                    contents(written(tmp_path, packed))

    def test_a_wrong_byte_in_a_zip_is_an_error(self, tmp_path: Path) -> None:
        data = bytearray(zipped(FILES, zipfile.ZIP_STORED))
        data[data.index(b"+12025550143") + 1] ^= 1
        with pytest.raises(AdapterError, match="Bad CRC-32"):
            contents(written(tmp_path, bytes(data)))

    def test_an_encrypted_file_is_an_error_that_says_so(self, tmp_path: Path) -> None:
        data = bytearray(zipped(FILES))
        data[data.index(b"PK\x01\x02") + 8] |= 1
        with pytest.raises(AdapterError, match=r"day/a\.csv is encrypted; unpack it first"):
            contents(written(tmp_path, bytes(data)))


class TestBombs:
    LIMITS = Limits(ratio=20, ratio_from=1 << 20, members=50, listing=1 << 20, copy=1 << 22, layers=4)

    def contents(self, path: Path) -> int:
        total = 0
        for member in members(path, self.LIMITS):
            with opened(member, self.LIMITS) as file:
                while block := file.read(1 << 16):
                    total += len(block)
        return total

    @pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS)
    def test_far_more_than_records_compress_to_is_refused(
        self, tmp_path: Path, compress: Callable[[bytes], bytes]
    ) -> None:
        with pytest.raises(AdapterError, match=r"unpacks to more than 1 MB from [\d,]+ bytes: .*bomb"):
            self.contents(written(tmp_path, compress(bytes(5 << 20))))

    def test_what_is_small_or_compresses_as_records_do_is_not(self, tmp_path: Path) -> None:
        assert self.contents(written(tmp_path, gzip.compress(bytes(1 << 20)))) == 1 << 20
        rows = b"".join(b"%032d%s\n" % (row, os.urandom(4).hex().encode()) for row in range(60_000))
        assert self.contents(written(tmp_path, gzip.compress(rows))) == len(rows) > 2 << 20

    def test_many_files_and_layers_count_together(self, tmp_path: Path) -> None:
        piece = bytes(300 << 10)
        for data in (
            zipped([(str(index), piece) for index in range(20)]),
            gzip.compress(tar([(str(index), piece) for index in range(20)])),
            zipped([("inner", zipped([(str(index), piece) for index in range(20)]))]),
            tar([("inner", gzip.compress(gzip.compress(bytes(5 << 20))))]),
        ):
            with pytest.raises(AdapterError, match="bomb"):
                self.contents(written(tmp_path, data))

    def test_files_that_share_their_bytes_count_each(self, tmp_path: Path) -> None:
        """The overlapping bomb: all entries of the list point to the same compressed bytes."""
        data = zipped([("same", bytes(300 << 10))])
        at = data.index(b"PK\x01\x02")
        entry, end = data[at : data.index(b"PK\x05\x06")], data[data.index(b"PK\x05\x06") :]
        listed = entry * 20
        end = end[:8] + struct.pack("<2H2L", 20, 20, len(listed), at) + end[20:]
        with pytest.raises(AdapterError):
            self.contents(written(tmp_path, data[:at] + listed + end))

    def test_too_many_files_are_refused(self, tmp_path: Path) -> None:
        for pack in (tar, zipped):
            with pytest.raises(AdapterError, match="holds more than 50 files"):
                self.contents(written(tmp_path, pack([(str(index), b"x") for index in range(60)])))

    def test_a_list_of_files_is_not_read_when_it_is_immense(self, tmp_path: Path) -> None:
        path = written(tmp_path, zipped([(f"{index:05}" * 10, b"") for index in range(12_000)]))
        with memory_peak_below(2 << 20), pytest.raises(AdapterError, match="lists far too many files"):
            self.contents(path)

    @pytest.mark.parametrize("wrap", [bytes, gzip.compress])
    def test_a_header_of_a_tar_is_not_read_when_it_is_immense(
        self, tmp_path: Path, wrap: Callable[[bytes], bytes]
    ) -> None:
        for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
            info = tarfile.TarInfo("header")
            info.type, info.size = kind, 8 << 20
            noise = os.urandom(1 << 20) * 8
            path = written(tmp_path, wrap(info.tobuf(tarfile.GNU_FORMAT) + noise + tar(FILES)))
            with memory_peak_below(4 << 20), pytest.raises(AdapterError, match="immensely long"):
                self.contents(path)

    def test_a_hole_of_a_sparse_file_counts(self, tmp_path: Path) -> None:
        info = tarfile.TarInfo("sparse")
        info.size, info.type = 512, tarfile.GNUTYPE_SPARSE
        header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
        header[386:410] = b"77777777000\0" + b"00000001000\0"
        header[483:495] = b"77777777777\0"
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header[:512])
        with pytest.raises(AdapterError, match=r"bomb|copy would take"):
            self.contents(written(tmp_path, bytes(header) + b"x" * 512 + bytes(1024)))

    def test_archives_that_hold_archives_end_somewhere(self, tmp_path: Path) -> None:
        data = A
        for depth in range(6):
            data = (zipped if depth % 2 else tar)([("inner", data)])
        with pytest.raises(AdapterError, match="within each other"):
            self.contents(written(tmp_path, data))


class TestRealFile:
    def test_a_plain_file_is_its_own(self, tmp_path: Path) -> None:
        path = written(tmp_path, A)
        with real_file(path) as file:
            assert file is path

    @pytest.mark.parametrize("pack", [gzip.compress, lambda data: zipped([("../x", data)])])
    def test_a_packed_one_is_a_private_copy_that_goes_away(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        path = written(tmp_path, pack(A))
        with suppress(KeyError), real_file(path) as file:
            assert file.read_bytes() == A
            assert file.parent.stat().st_mode & 0o777 == 0o700
            raise KeyError
        assert list(tmp_path.iterdir()) == [path]

    def test_a_copy_that_gets_too_large_is_refused_and_goes_away(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        path = written(tmp_path, gzip.compress(os.urandom(2 << 20)))
        with (
            pytest.raises(AdapterError, match="copy would take more than 1 MB"),
            real_file(path, Limits(copy=1 << 20)),
        ):
            raise AssertionError
        assert list(tmp_path.iterdir()) == [path]

    def test_several_files_are_no_one_file(self, tmp_path: Path) -> None:
        path = written(tmp_path, zipped(FILES))
        with pytest.raises(AdapterError, match="holds several files"), real_file(path):
            raise AssertionError


class TestWhatIsNoFile:
    def test_a_pipe_a_device_and_a_directory_are_refused_at_once(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "link").symlink_to("/dev/zero")
        (tmp_path / "loop").symlink_to("loop")
        for path in (tmp_path / "pipe", tmp_path / "link", tmp_path / "loop", tmp_path, Path("/dev/zero")):
            with pytest.raises(AdapterError, match="can't be read"):
                list(read_blocks(path))

    def test_a_link_to_a_file_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "current").symlink_to(written(tmp_path, A))
        assert b"".join(read_blocks(tmp_path / "current")) == A


MAPPING = SourceMapping.model_validate(
    {
        "name": "cdr",
        "path": "x",
        "format": "delimited",
        "columns": {"called_in": "called", "seizure": {"column": "start", "format": "iso8601"}},
    }
)


class TestRecordsOfAnArchive:
    @pytest.mark.parametrize("pack", [tar, zipped])
    def test_come_one_file_after_another_whatever_the_order_of_columns(
        self, tmp_path: Path, pack: Callable[[list[File]], bytes]
    ) -> None:
        batches = list(read_source(written(tmp_path, pack(FILES)), MAPPING, TrunkFormats()))
        calls = [(call["called_in"], call["row"]) for batch in batches for call in batch.calls.to_pylist()]
        assert calls == [("+12025550143", 2), ("+12025550144", 2), ("+12025550145", 4)]
        (reject,) = [reject for batch in batches for reject in batch.rejected]
        assert (reject.row, reject.reason) == (3, RejectReason.MALFORMED_ROW)
        assert reject.detail == "b.csv: 1 values instead of 2"

    def test_rejects_of_the_mapping_say_their_file_too(self, tmp_path: Path) -> None:
        path = written(tmp_path, zipped([("a\x1b.csv", b"called,start\nx,2026-11-21T23:23:28Z\n")]))
        (batch,) = read_source(path, MAPPING, TrunkFormats())
        (reject,) = batch.rejected
        assert re.fullmatch(r"a.+\.csv: called_in: no number in format auto", reject.detail)
        assert reject.detail.isprintable()

    def test_an_error_says_its_file(self, tmp_path: Path) -> None:
        for content, says in ((b"id,start\n1,2\n", "no column called"), (b'"id,start\n', "can't be split")):
            path = written(tmp_path, zipped([("a.csv", A), ("b.csv", content)]))
            with pytest.raises(AdapterError, match=says) as caught:
                list(read_source(path, MAPPING, TrunkFormats()))
            assert f"{path}!b.csv" in str(caught.value)

    def test_the_head_is_that_of_the_first_file_with_anything_in_it(self, tmp_path: Path) -> None:
        for pack in (tar, zipped):
            path = written(tmp_path, pack([("empty", b""), *FILES]))
            assert read_head(path).data == A
            assert read_head(path).path == path

    def test_lines_of_several_files_are_never_mixed_by_who_does_not_know_of_archives(self, tmp_path: Path) -> None:
        path = written(tmp_path, tar(FILES))
        with pytest.raises(AdapterError, match="holds several files"):
            list(read_lines(path))
        assert len(list(read_lines(written(tmp_path, tar([("a", A)]))))) == 2
