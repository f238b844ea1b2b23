"""Hostile places: what stands where a file should be and is none, leads elsewhere, or can't be opened."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from tests.adapters.hostile.recipes import Corpus

PLACES = Corpus()

TABLE = b"id,called,calling,start,trunk\n1,2025550143,2025550199,2026-11-21T18:23:27,TG1\n"
NO_FILE = "no regular file|a directory|can't be read|no capture of this format"
TEXTS = ("delimited", "jsonl", "kamailio_syslog", "sqldump")
ANY = (*TEXTS, "sqlite", "parquet", "excel", "hep", "sip_pcap", "threegpp_ber")
FEW = ("delimited", "sqlite", "hep", "parquet")


@PLACES.built(*ANY, says=NO_FILE)
def _pipe(directory: Path) -> Path:
    """Nobody writes into it: who opens it waits for ever."""
    os.mkfifo(directory / "records")
    return directory / "records"


@PLACES.built(*FEW, says=NO_FILE)
def _link_to_a_pipe(directory: Path) -> Path:
    """The same, one step away."""
    os.mkfifo(directory / "pipe")
    (directory / "records").symlink_to("pipe")
    return directory / "records"


@PLACES.built(*ANY, says=NO_FILE)
def _device_that_never_ends(directory: Path) -> Path:
    """A link to /dev/zero."""
    (directory / "records").symlink_to("/dev/zero")
    return directory / "records"


@PLACES.built(*FEW, says=NO_FILE)
def _device_that_is_empty(directory: Path) -> Path:
    """/dev/null is no empty file of records."""
    return Path("/dev/null")


@PLACES.built(*ANY, says=NO_FILE)
def _link_to_itself(directory: Path) -> Path:
    """A loop."""
    (directory / "records").symlink_to("records")
    return directory / "records"


@PLACES.built(*ANY, says=NO_FILE)
def _link_to_nothing(directory: Path) -> Path:
    """What it led to was removed."""
    (directory / "records").symlink_to("gone")
    return directory / "records"


@PLACES.built(*ANY, says=NO_FILE)
def _nothing_there(directory: Path) -> Path:
    """It was there when the directory was listed."""
    return directory / "records"


@PLACES.built(*ANY, says=NO_FILE)
def _empty_directory(directory: Path) -> Path:
    """Formats that read directories find no file in it."""
    (directory / "records").mkdir()
    return directory / "records"


@PLACES.built(*ANY, says=NO_FILE)
def _directory_of_what_is_no_file(directory: Path) -> Path:
    """A pipe, a loop, a directory, a link to nothing."""
    inside = directory / "records"
    inside.mkdir()
    os.mkfifo(inside / "pipe.pcap")
    (inside / "loop.pcap").symlink_to("loop.pcap")
    (inside / "gone.pcap").symlink_to("gone")
    (inside / "directory.pcap").mkdir()
    return inside


@PLACES.built(*FEW, says=NO_FILE)
def _socket(directory: Path) -> Path:
    """Of a program that listens."""
    here = Path.cwd()
    os.chdir(directory)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("records")
    finally:
        os.chdir(here)
    return directory / "records"


@PLACES.built(*FEW, says=NO_FILE)
def _file_of_the_kernel(directory: Path) -> Path:
    """A regular file of no length, whose reading fails."""
    return Path("/proc/self/mem")


@PLACES.built("delimited")
def _file_whose_name_steers_a_terminal(directory: Path) -> Path:
    """Its name is in every message about it."""
    path = directory / "\x1b[2J\x1b]0;owned\x07\ncalls.csv"
    path.write_bytes(TABLE)
    return path


@PLACES.built(*FEW)
def _file_whose_name_is_no_text(directory: Path) -> Path:
    """Bytes that are no UTF-8, which Python writes as half surrogates."""
    path = Path(os.fsdecode(os.fsencode(directory) + b"/\xff\xfe\x80.csv"))
    path.write_bytes(TABLE)
    return path


@PLACES.built("delimited", "jsonl", "kamailio_dbtext")
def _file_with_a_hole(directory: Path) -> Path:
    """400 MB that take no room, and are one line of NUL behind the records."""
    path = directory / "records"
    path.write_bytes(TABLE)
    os.truncate(path, 400 << 20)
    return path
