"""How a hostile file is described: a function that builds it, whose docstring says why it is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cdr_adapters import registry

XML = ("broadworks_xml", "freeswitch_xml")
JSON = ("jsonl", "freeswitch_json", "kazoo_json", "twilio", "telnyx", "didww", "netsapiens", "bandwidth")
BER = ("threegpp_ber", "tap3")
BINARY = (*BER, "gr1100_ama", "nokia_msc_binary")
CAPTURES = ("sip_pcap", "hep")
TABLES = ("sqlite", "asterisk_sql", "freeswitch_sql", "kamailio_acc")
BOOKS = ("excel", "parquet")
DOCUMENTS = (*XML, *JSON, *BINARY, *CAPTURES, *TABLES, *BOOKS, "sql")
"""Formats that are no lines of text, or may be something else than that."""
SAMPLE_OF_TEXT = ("delimited", "oracle_acme", "sqldump")


def lines() -> tuple[str, ...]:
    """The formats that are lines of text."""
    return tuple(name for name in registry.names() if name not in DOCUMENTS)


Build = Callable[[Path], Path]


@dataclass(frozen=True, slots=True)
class Hostile:
    """A hostile file.

    Attributes:
        build: writes it into a directory (and what must stand beside it); gives the path to read.
        aims: the formats that it is made for: what could plausibly take it.
        says: a regular expression. When set, each of `aims` must refuse the file with an error that it matches.
    """

    name: str
    why: str
    build: Build
    aims: tuple[str, ...]
    says: str = ""


def bytes_of(content: bytes | Callable[[], bytes]) -> Build:
    """Builds a file with that content."""

    def build(directory: Path) -> Path:
        path = directory / "records"
        path.write_bytes(content() if callable(content) else content)
        return path

    return build


class Corpus:
    """A list of hostile files that grows by decoration."""

    def __init__(self) -> None:
        self.files: list[Hostile] = []

    def content(self, *aims: str, says: str = "") -> Callable[[Callable[[], bytes]], Callable[[], bytes]]:
        """Decorates a function that gives a file's content."""

        def add(function: Callable[[], bytes]) -> Callable[[], bytes]:
            self._add(function, bytes_of(function), aims, says)
            return function

        return add

    def built(self, *aims: str, says: str = "") -> Callable[[Build], Build]:
        """Decorates a function that builds a file in a directory."""

        def add(function: Build) -> Build:
            self._add(function, function, aims, says)
            return function

        return add

    def _add(self, function: Callable[..., object], build: Build, aims: tuple[str, ...], says: str) -> None:
        why = (function.__doc__ or "").strip()
        name = function.__name__.removeprefix("_").replace("_", " ")
        self.files.append(Hostile(name, why, build, aims, says))
