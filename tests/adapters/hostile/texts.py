"""Hostile text: lines without end, quotes that never close, bytes that are no text, values that steer a terminal."""

from __future__ import annotations

import codecs

from cdr_adapters import registry
from tests.adapters.hostile.recipes import JSON, XML, Corpus, lines
from tests.adapters.hostile.seeds import seed_of

TEXTS = Corpus()

HEADER = b"id,called,calling,start,trunk\n"
ROW = b"1,2025550143,2025550199,2026-11-21T18:23:27,TG1\n"
LINES = lines()
EVERY = (*LINES, *JSON, *XML)
TABLE = ("delimited", "fixed_width")
MB = 1 << 20


@TEXTS.content(*EVERY)
def _line_of_24_megabytes() -> bytes:
    """Digits without a line end: no line may be kept, or searched, as a whole."""
    return b"2025550143" * (24 * MB // 10)


@TEXTS.content(*EVERY)
def _line_of_8_megabytes_between_right_ones() -> bytes:
    """Those before and behind it are records."""
    return HEADER + ROW * 3 + b"2,2025550143," * (8 * MB // 13) + b"\n" + ROW * 3


@TEXTS.content(*EVERY)
def _nothing_but_line_ends() -> bytes:
    """A million empty lines in a block."""
    return b"\n" * MB


@TEXTS.content(*EVERY)
def _nothing_but_carriage_returns() -> bytes:
    """Line ends of another age, or none."""
    return (HEADER + ROW * 20_000).replace(b"\n", b"\r")


@TEXTS.content(*EVERY)
def _nothing_but_nul() -> bytes:
    """What a crashed machine leaves of a file: its length, and zeros."""
    return bytes(4 * MB)


@TEXTS.content(*EVERY)
def _right_rows_and_then_nul() -> bytes:
    """The same, in the middle of a block, and records again."""
    return HEADER + ROW * 50 + bytes(100_000) + b"\n" + ROW * 50


@TEXTS.content(*TABLE)
def _nul_within_values() -> bytes:
    """A number that goes on behind NUL is another number in C."""
    return HEADER + ROW.replace(b"0143", b"01\x0043") * 100


@TEXTS.content(*EVERY)
def _nothing_but_delimiters() -> bytes:
    """A million values in a line, in whatever format."""
    return (b",;|\t=&:/" * 40_000 + b"\n") * 10


@TEXTS.content(*EVERY)
def _nothing_but_quotes() -> bytes:
    """Every quote doubles, closes or opens another."""
    return (b'"' * 99_999 + b"'" * 99_999 + b"\n") * 10


@TEXTS.content(*EVERY)
def _nothing_but_brackets() -> bytes:
    """What nests must have an end."""
    return (b"([{<" * 25_000 + b"\n") * 10


@TEXTS.content(*EVERY)
def _nothing_but_backslashes() -> bytes:
    """An odd number of them, so that the last one escapes the line's end."""
    return (b"\\" * 99_999 + b"\n") * 20


@TEXTS.content(*TABLE, "asterisk_csv", "freeswitch_csv", "broadworks_csv", "ribbon_act")
def _quote_that_never_closes() -> bytes:
    """One quote in the first row swallows 2 MB of rows, or is a broken row."""
    return HEADER + b'1,"2025550143,2025550199,2026-11-21T18:23:27,TG1\n' + ROW * (2 * MB // len(ROW))


@TEXTS.content(*TABLE, "asterisk_csv", "freeswitch_csv", "broadworks_csv")
def _quotes_that_go_wrong_in_every_way() -> bytes:
    """Within values, behind them, alone, doubled, escaped as others do."""
    rows = (
        b'1,2025550143"',
        b'1,"20255"50143"',
        b'1,""2025550143"",x',
        b'1,"a\\"b",c',
        b"1,'2025550143",
        b'"',
        b'1,"a"b',
    )
    return HEADER + b"".join(row + b",2025550199,2026-11-21T18:23:27,TG1\n" + ROW for row in rows) * 50


@TEXTS.content(*TABLE, "broadworks_csv", "cisco_cucm")
def _table_of_100000_columns() -> bytes:
    """A header as long as a book."""
    names = b",".join(b"c%d" % number for number in range(100_000))
    return names + b"\n" + b"1," * 99_999 + b"1\n"


@TEXTS.content(*TABLE)
def _rows_of_every_width() -> bytes:
    """From none to thousands of values under five names."""
    return HEADER + b"".join(b",".join([b"2025550143"] * width) + b"\n" for width in range(0, 2000, 7))


@TEXTS.content(*TABLE)
def _header_of_the_same_name() -> bytes:
    """Which of the columns is meant?"""
    return b"called,called,called,start,start\n" + ROW * 10


@TEXTS.content(*EVERY)
def _bad_utf_8() -> bytes:
    """Bytes that begin nothing, end nothing, are too long, half a surrogate, beyond Unicode."""
    bad = (
        b"\xff",
        b"\xc3",
        b"\x80\x80",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xf4\x90\x80\x80",
    )
    return b"".join(HEADER.replace(b"id", b"i" + piece) + ROW.replace(b"0143", b"01" + piece + b"43") for piece in bad)


@TEXTS.content(*EVERY)
def _utf_16_of_odd_length() -> bytes:
    """The last character is half there."""
    return codecs.BOM_UTF16_LE + (HEADER + ROW * 100).decode().encode("utf-16-le")[:-1]


@TEXTS.content(*EVERY)
def _utf_16_with_lone_surrogates() -> bytes:
    """Halves of pairs, in the wrong order, at the end of a line."""
    halves = b"\x00\xd8" + b"1\x00" + b"\x00\xdc\x00\xd8" + b"\n\x00"
    return codecs.BOM_UTF16_LE + (HEADER + ROW).decode().encode("utf-16-le") + halves * 5000


@TEXTS.content(*EVERY)
def _utf_16_whose_mark_comes_again() -> bytes:
    """Files of UTF-16 joined by hand, one of them the other way round."""
    text = (HEADER + ROW).decode()
    return (codecs.BOM_UTF16_LE + text.encode("utf-16-le")) * 3 + codecs.BOM_UTF16_BE + text.encode("utf-16-be")


@TEXTS.content(*EVERY)
def _utf_32() -> bytes:
    """Its mark begins with that of UTF-16."""
    return (HEADER + ROW * 50).decode().encode("utf-32")


@TEXTS.content(*EVERY)
def _utf_8_whose_mark_comes_again() -> bytes:
    """Files of Windows joined by hand."""
    return (codecs.BOM_UTF8 + HEADER + ROW * 3) * 20


@TEXTS.content(*EVERY)
def _line_ends_of_unicode() -> bytes:
    """What some take for the end of a line, and others don't: NEL, LS, PS, VT, FF, FS."""
    return HEADER + "\x85\u2028\u2029\x0b\x0c\x1c".encode().join([ROW.strip()] * 500) + b"\n"


@TEXTS.content(*EVERY)
def _values_that_steer_a_terminal() -> bytes:
    """Escape sequences in numbers, addresses, zones, times and headings: nothing of them may reach a screen."""
    escapes = (
        b"\x1b[2J\x1b[H",
        b"\x1b]0;owned\x07",
        b"\x9b31m",
        b"\x08\x08\x08",
        "\u202e".encode(),
        b"\x1b[6n",
        b"\x7f",
    )
    rows = b"".join(
        b"%s,%s2025550143,%s,2026-11-21T18:23:27%s,%s\n" % ((escape,) * 5) for escape in escapes for _ in range(20)
    )
    return HEADER.replace(b"trunk", b"trunk,\x1b[2Jheading") + rows + HEADER + rows


@TEXTS.content(*TABLE)
def _numbers_that_are_none() -> bytes:
    """Of ten thousand digits, of other scripts' digits, with two pluses, as URIs within URIs, as formulas."""
    numbers = (
        b"2" * 10_000,
        "٢٠٢٥٥٥٠١٤٣".encode(),
        "２０２５５５０１４３".encode(),
        b"++12025550143",
        b"sip:" * 500 + b"2025550143",
        b"tel:+1" + b";npdi" * 500,
        b"=HYPERLINK(2025550143)",
        b"-2025550143",
        b"2.025550143E9",
        b"0x78BAE3FF",
        b"%32%30%32%35%35%35%30%31%34%33",
        b"+",
    )
    return HEADER + b"".join(b"1,%s,%s,2026-11-21T18:23:27,TG1\n" % (number, number) for number in numbers) * 20


@TEXTS.content(*TABLE)
def _times_that_are_none() -> bytes:
    """Before time, behind it, in a 61st second, in the hour that never was, with offsets of a week."""
    times = (
        b"0000-00-00T00:00:00",
        b"0001-01-01T00:00:00",
        b"9999-12-31T23:59:59",
        b"99999-01-01T00:00:00",
        b"2026-02-30T00:00:00",
        b"2026-12-31T23:59:60Z",
        b"2026-03-08T02:30:00",
        b"2026-11-01T01:30:00",
        b"2026-11-21T24:00:00",
        b"2026-11-21T18:23:27+99:99",
        b"2026-11-21T18:23:27.99999999999999999999",
        b"-2026-11-21T18:23:27",
        b"NaN",
        b"1e308",
        b"-1",
        b"18446744073709551616",
        b"2026-11-21T18:23:27" + b"0" * 5000,
    )
    return HEADER + b"".join(b"1,2025550143,2025550199,%s,TG1\n" % time for time in times) * 20


@TEXTS.content(*EVERY)
def _all_formats_in_one_file() -> bytes:
    """Whatever a directory held, joined: each format may find its own records, and no more."""
    return b"\n".join(sample for name in registry.names() for sample in seed_of(name).samples)


@TEXTS.content(*EVERY)
def _all_formats_from_back_to_front() -> bytes:
    """The same, beginning with another one."""
    return b"".join(sample for name in reversed(registry.names()) for sample in seed_of(name).samples)


@TEXTS.content(*EVERY)
def _all_bytes() -> bytes:
    """Every byte before every other."""
    return b"".join(bytes((one, other)) for one in range(256) for other in range(256)) * 4


@TEXTS.content(*EVERY)
def _nothing() -> bytes:
    """An empty file is no error of its own."""
    return b""


@TEXTS.content(*EVERY)
def _one_byte() -> bytes:
    """Shorter than any mark."""
    return b"\x80"
