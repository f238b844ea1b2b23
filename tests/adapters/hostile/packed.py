"""Hostile compression and archives: what unpacks to far more than it is, to itself, to nothing, or out of its place."""

from __future__ import annotations

import binascii
import bz2
import gzip
import io
import lzma
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable

import pyarrow as pa

from tests.adapters.hostile.recipes import SAMPLE_OF_TEXT, Corpus

PACKED = Corpus()

ROW = b"1,2025550143,2025550199,2026-11-21T18:23:27,TG1\n"
TABLE = b"id,called,calling,start,trunk\n" + ROW
BOMB = "unpacks to more than 256 MB.*decompression bomb"
_PIECE = 32 << 20
_PIECES = 10
"""320 MB, which is more than any file may unpack to."""
ANY = (*SAMPLE_OF_TEXT, "jsonl")
FEW = ("delimited", "jsonl")


# --- compression


@PACKED.content("delimited", "sqldump", says=BOMB)
def _gzip_bomb() -> bytes:
    """300 MB of zeros in 300 kB, as many members."""
    return gzip.compress(bytes(_PIECE)) * _PIECES


@PACKED.content("delimited", says=BOMB)
def _gzip_bomb_of_right_records() -> bytes:
    """Every row can be read, and there is no end of them."""
    long = ROW[:-1] + b" " * 3000 + b"\n"
    return gzip.compress(TABLE) + gzip.compress(long * (_PIECE // len(long))) * _PIECES


@PACKED.content("jsonl", says=BOMB)
def _bzip2_bomb() -> bytes:
    """bzip2 packs zeros a million to one."""
    return bz2.compress(bytes(_PIECE)) * _PIECES


@PACKED.content("jsonl", says=BOMB)
def _xz_bomb() -> bytes:
    """xz packs zeros seven thousand to one."""
    return lzma.compress(bytes(_PIECE), preset=0) * _PIECES


@PACKED.content(*FEW, says=BOMB)
def _zstd_bomb() -> bytes:
    """zstd packs zeros ten thousand to one and more."""
    return _zstd(bytes(_PIECE)) * _PIECES


def _zstd(data: bytes) -> bytes:
    packed: bytes = pa.compress(data, codec="zstd", asbytes=True)
    return packed


@PACKED.content("jsonl", says=BOMB)
def _gzip_bomb_in_gzip() -> bytes:
    """Packed twice a bomb is a thousandth of itself, and no layer alone looks like one."""
    return gzip.compress(gzip.compress(bytes(_PIECE)) * _PIECES)


@PACKED.content(*ANY, says="within each other")
def _compressed_again_and_again() -> bytes:
    """Layers without end cost time, however small they are."""
    data = TABLE
    for _ in range(40):
        data = gzip.compress(data)
    return data


@PACKED.content(*FEW, says="can't be read")
def _xz_that_asks_for_4_gigabytes() -> bytes:
    """The size of its dictionary is 4 GB, and would be allocated at once."""
    data = bytearray(lzma.compress(TABLE, lzma.FORMAT_XZ))
    length = (data[12] + 1) * 4
    at = data.index(b"\x21\x01", 12) + 2  # LZMA2, one byte of properties
    data[at] = 40
    data[12 + length - 4 : 12 + length] = struct.pack("<L", binascii.crc32(data[12 : 12 + length - 4]))
    return bytes(data)


@PACKED.content(*FEW, says="can't be read")
def _zstd_that_asks_for_gigabytes() -> bytes:
    """A window of 2 TB and a block that says that it is raw."""
    return b"\x28\xb5\x2f\xfd\x00" + bytes([31 << 3]) + b"\x01\x00\x00"


@PACKED.content(*FEW, says="cut off")
def _gzip_that_is_cut_off() -> bytes:
    """What can be unpacked looks like a whole file."""
    return gzip.compress(TABLE + ROW * 20_000)[:-200]


@PACKED.content(*FEW, says="can't be read")
def _gzip_with_a_wrong_checksum() -> bytes:
    """One bit on a disk has changed."""
    data = bytearray(gzip.compress(TABLE + ROW * 100))
    data[-6] ^= 1
    return bytes(data)


@PACKED.content(*FEW, says="something else follows")
def _gzip_followed_by_something_else() -> bytes:
    """Two transfers in one file."""
    return gzip.compress(TABLE) + TABLE


@PACKED.content(*FEW, says="can't be read")
def _gzip_with_a_name_of_8_megabytes() -> bytes:
    """A header may hold a name that ends with NUL: here it doesn't."""
    return b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * (8 << 20)


@PACKED.content(*FEW, says="can't be read")
def _bzip2_of_garbage() -> bytes:
    """Its mark, and then nothing that is right."""
    return b"BZh9" + b"1AY&SY" + bytes(range(256)) * 40


@PACKED.content(*FEW, says="can't be read")
def _zstd_of_garbage() -> bytes:
    """Its mark, and then nothing that is right."""
    return b"\x28\xb5\x2f\xfd" + bytes(range(255, -1, -1)) * 40


# --- zip


def _zipped(*files: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return target.getvalue()


@PACKED.content("jsonl", says=BOMB)
def _zip_bomb() -> bytes:
    """One file of 320 MB of zeros."""
    return _zipped(("calls.csv", bytes(_PIECE * _PIECES)))


def _overlapping(files: int, content: bytes) -> bytes:
    """A zip in which many names mean the same bytes."""
    one = _zipped(("a", content))
    end = one.rindex(b"PK\x05\x06")
    (size, start) = struct.unpack_from("<LL", one, end + 12)
    entry = one[start : start + size]
    listing = entry * files
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, files, files, len(listing), start, 0)
    return one[:start] + listing + tail


@PACKED.content(*FEW, says="bomb|verlap|can't be read|too long to begin")
def _zip_of_files_that_overlap() -> bytes:
    """Forty names for the same 16 MB of zeros: no name alone is a bomb."""
    return _overlapping(40, bytes(16 << 20))


@PACKED.content(*FEW)
def _zip_of_300_empty_files() -> bytes:
    """Work for nothing."""
    return _zipped(*((f"{number}.csv", b"") for number in range(300)))


@PACKED.content(*FEW, says="lists far too many files")
def _zip_whose_listing_is_4_gigabytes() -> bytes:
    """A reader that believes it asks for that memory."""
    data = bytearray(_zipped(("calls.csv", TABLE)))
    at = data.rindex(b"PK\x05\x06")
    struct.pack_into("<LL", data, at + 12, 0xFFFFFFF0, 0)
    return bytes(data)


@PACKED.content(*FEW, says="can't be read")
def _zip_that_lies_about_a_file() -> bytes:
    """The list says 10 bytes, the file itself unpacks to 300 MB."""
    data = bytearray(_zipped(("calls.csv", bytes(_PIECE * _PIECES))))
    struct.pack_into("<L", data, data.rindex(b"PK\x01\x02") + 24, 10)
    return bytes(data)


@PACKED.content(*FEW, says="within each other")
def _zip_in_zip_in_zip() -> bytes:
    """The first famous bomb was made so."""
    data = TABLE
    for _ in range(12):
        data = _zipped(("inner.zip", data))
    return data


@PACKED.content(*FEW)
def _zip_of_files_out_of_place() -> bytes:
    """Names that lead out of a directory, and one that is a drive: nothing may be written, or read, there."""
    names = ("/etc/cron.d/calls", "../../../../tmp/calls.csv", "C:\\calls.csv", "a/../../b.csv", "\x1b[2Jcalls.csv")
    return _zipped(*((name, TABLE) for name in names))


@PACKED.content(*FEW, says="holds no files")
def _zip_of_a_link() -> bytes:
    """A symbolic link to a file of secrets."""
    link = zipfile.ZipInfo("calls.csv")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    return _zipped((link, b"/etc/shadow"))


@PACKED.content(*FEW, says="encrypted")
def _zip_that_is_encrypted() -> bytes:
    """It can't be read, and mustn't look empty."""
    data = bytearray(_zipped(("calls.csv", TABLE)))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + at] |= 1
    return bytes(data)


@PACKED.content(*FEW, says="cut off|can't be read")
def _zip_that_is_cut_off() -> bytes:
    """The list of files stands at the end, and is gone."""
    data = _zipped(("a.csv", TABLE), ("b.csv", TABLE * 50))
    return data[: len(data) - 60]


@PACKED.content(*FEW, says="can't be read")
def _zip_by_an_unknown_method() -> bytes:
    """Compressed by a method that this Python doesn't know."""
    data = bytearray(_zipped(("calls.csv", TABLE)))
    for mark, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        struct.pack_into("<H", data, data.index(mark) + at, 97)
    return bytes(data)


# --- tar


def _tarred(*files: tuple[str, bytes], kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, link, len(data)
            archive.addfile(info, io.BytesIO(data))
    return target.getvalue()


def _header(change: Callable[[bytearray], None], name: str = "calls.csv", data: bytes = TABLE) -> bytes:
    """A tar of one file, whose header was changed and has a right checksum nevertheless."""
    whole = bytearray(_tarred((name, data)))
    change(whole)
    whole[148:156] = b" " * 8
    whole[148:156] = b"%06o\0 " % sum(whole[:512])
    return bytes(whole)


@PACKED.content("oracle_acme", says=BOMB)
def _tar_bomb() -> bytes:
    """Ten files of 32 MB of zeros, compressed."""
    return gzip.compress(_tarred(*((f"{number}.csv", bytes(_PIECE)) for number in range(_PIECES))))


@PACKED.content(*FEW)
def _tar_of_files_out_of_place() -> bytes:
    """Names that lead out of a directory: nothing may be written, or read, there."""
    return _tarred(("/etc/cron.d/calls", TABLE), ("../../../../tmp/calls.csv", TABLE), ("\x1b]0;x\x07.csv", TABLE))


@PACKED.content(*FEW, says="holds no files")
def _tar_of_links() -> bytes:
    """Links to files of secrets, by name and by number."""
    return _tarred(("calls.csv", b""), kind=tarfile.SYMTYPE, link="/etc/shadow")


@PACKED.content(*FEW, says="holds no files")
def _tar_of_hard_links() -> bytes:
    """A hard link to a file that isn't in the archive."""
    return _tarred(("calls.csv", b""), kind=tarfile.LNKTYPE, link="../../etc/shadow")


@PACKED.content(*FEW, says="holds no files")
def _tar_of_a_device() -> bytes:
    """/dev/zero never ends."""
    return _tarred(("calls.csv", b""), kind=tarfile.CHRTYPE)


@PACKED.content(*FEW, says="holds no files")
def _tar_of_a_pipe() -> bytes:
    """A pipe never begins."""
    return _tarred(("calls.csv", b""), kind=tarfile.FIFOTYPE)


@PACKED.content(*FEW, says="bomb|can't be read|cut off|copy would take")
def _sparse_tar_with_a_hole_of_a_terabyte() -> bytes:
    """A file of GNU tar that is nothing but a hole: half a kilobyte is a terabyte of zeros."""

    def hole(block: bytearray) -> None:
        block[156:157] = tarfile.GNUTYPE_SPARSE
        block[257:265] = b"ustar  \0"
        block[124:136] = b"%011o\0" % 0
        block[386:410] = b"%011o\0" % (1 << 32) + b"%011o\0" % 0
        block[483:495] = b"\x80" + (1 << 40).to_bytes(11, "big")

    return _header(hole)


@PACKED.content(*FEW, says="can't be read|cut off|unpacks")
def _tar_with_a_file_of_exabytes() -> bytes:
    """Its length says so, in base 256."""

    def huge(block: bytearray) -> None:
        block[124:136] = b"\x80" + (1 << 62).to_bytes(11, "big")

    return _header(huge)


@PACKED.content(*FEW, says="can't be read|cut off|holds no files|negative")
def _tar_with_a_negative_length() -> bytes:
    """A reader that skips back reads the same header for ever."""

    def negative(block: bytearray) -> None:
        block[124:136] = (-1024).to_bytes(12, "big", signed=True)

    return _header(negative)


@PACKED.content(*FEW, says="can't be read")
def _tar_with_a_header_of_8_gigabytes() -> bytes:
    """An extended header that would be read into memory."""

    def extended(block: bytearray) -> None:
        block[156:157] = tarfile.XHDTYPE
        block[124:136] = b"77777777777\0"

    return _header(extended)


@PACKED.content(*FEW, says="can't be read")
def _tar_of_names_of_names() -> bytes:
    """Each header only says that the next one has a long name: 5,000 of them."""

    def long_name(block: bytearray) -> None:
        block[156:157] = tarfile.GNUTYPE_LONGNAME

    one = _header(long_name, "././@LongLink", b"a" * 200)[:1024]
    return one * 5000 + _tarred(("calls.csv", TABLE))


@PACKED.content(*FEW, says="cut off")
def _tar_that_is_cut_off() -> bytes:
    """The second file is missing half; the first one looks like all there is."""
    return _tarred(("a.csv", TABLE), ("b.csv", TABLE * 100))[:3000]


@PACKED.content(*FEW, says="can't be read|something that is no file")
def _tar_followed_by_something_else() -> bytes:
    """Two transfers in one file."""
    return _tarred(("calls.csv", TABLE)) + b"x" * 512


@PACKED.content(*FEW, says="within each other")
def _archives_of_every_kind_in_each_other() -> bytes:
    """zip in tar in gzip in zip in tar in xz in zip."""
    data = TABLE
    for pack in (_one_in_zip, _one_in_tar, gzip.compress, _one_in_zip, _one_in_tar, lzma.compress, _one_in_zip):
        data = pack(data)
    return data


def _one_in_zip(data: bytes) -> bytes:
    return _zipped(("inner", data))


def _one_in_tar(data: bytes) -> bytes:
    return _tarred(("inner", data))


# --- documents that are packed inside


@PACKED.content("excel", says=BOMB)
def _workbook_whose_sheet_is_a_bomb() -> bytes:
    """An Excel file whose sheet is 320 MB of blanks."""
    blanks = b" " * (_PIECE * _PIECES)
    return _workbook(b"<sheetData>" + blanks + b"</sheetData>")


@PACKED.content("excel", says="can't be read as a workbook")
def _workbook_that_declares_entities() -> bytes:
    """Laughs in a sheet."""
    doctype = b'<!DOCTYPE w [<!ENTITY a "lol">' + b"".join(
        b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9)
    )
    return _workbook(
        b'<sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>&j;</t></is></c></row></sheetData>', doctype + b"]>"
    )


@PACKED.content("excel", says="spans 1,048,576 rows")
def _workbook_with_cells_at_its_corners() -> bytes:
    """Two cells, a million rows and sixteen thousand columns apart."""
    return _workbook(
        b'<sheetData><row r="1"><c r="A1"><v>1</v></c></row>'
        b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    )


@PACKED.content("excel")
def _workbook_of_formulas() -> bytes:
    """Formulas that would call a program or a web page: what the cell last showed is text, nothing is worked out."""
    cells = b"".join(
        b'<c r="%c1" t="str"><f>%s</f><v>called</v></c>' % (65 + at, formula)
        for at, formula in enumerate((b"cmd|' /C calc'!A0", b'WEBSERVICE("http://192.0.2.1/")', b"A1"))
    )
    return _workbook(b'<sheetData><row r="1">' + cells + b"</row></sheetData>")


def _workbook(sheet: bytes, doctype: bytes = b"") -> bytes:
    main = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    relations = b"http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = b"http://schemas.openxmlformats.org/package/2006"
    start = b'<?xml version="1.0"?>' + doctype
    return _zipped(
        (
            "[Content_Types].xml",
            start + b'<Types xmlns="' + package + b'/content-types">'
            b'<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            b'<Default Extension="xml" ContentType="application/xml"/></Types>',
        ),
        (
            "_rels/.rels",
            b'<Relationships xmlns="'
            + package
            + b'/relationships"><Relationship Id="r1" Type="'
            + relations
            + b'/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        ),
        (
            "xl/workbook.xml",
            start
            + b'<workbook xmlns="'
            + main
            + b'" xmlns:r="'
            + relations
            + b'"><sheets><sheet name="calls" sheetId="1" r:id="r1"/></sheets></workbook>',
        ),
        (
            "xl/_rels/workbook.xml.rels",
            b'<Relationships xmlns="'
            + package
            + b'/relationships"><Relationship Id="r1" Type="'
            + relations
            + b'/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        ),
        ("xl/worksheets/sheet1.xml", start + b'<worksheet xmlns="' + main + b'">' + sheet + b"</worksheet>"),
    )


@PACKED.content("parquet", says="can't be read|damaged|Parquet")
def _parquet_whose_footer_is_longer_than_the_file() -> bytes:
    """Its last bytes say where the schema begins: far before the file does."""
    return b"PAR1" + bytes(100) + struct.pack("<L", 0x7FFFFFFF) + b"PAR1"


@PACKED.content("parquet", says="can't be read|damaged|Parquet")
def _parquet_with_a_footer_of_garbage() -> bytes:
    """A schema that nests lists in lists for ever, as Thrift writes them."""
    footer = b"\x19" * 100_000
    return b"PAR1" + footer + struct.pack("<L", len(footer)) + b"PAR1"


@PACKED.content("parquet", says="damaged after row|too long|memory")
def _parquet_bomb_of_one_value() -> bytes:
    """One text of a megabyte, which a million rows have: written once, it is a terabyte when it is read."""
    from pyarrow import parquet

    words = pa.array(["9" * (1 << 20)])
    rows = 1_000_000
    column = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows), words)
    names = ("called", "calling", "start", "trunk", "id")
    target = io.BytesIO()
    parquet.write_table(pa.table(dict.fromkeys(names, column)), target, row_group_size=rows)
    return target.getvalue()
