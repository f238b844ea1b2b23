"""An agent whose records are SIP captures, rotated while calls are set up: synthetic ones, through tshark."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agent.cli import main
from agent.index.root_key import create_root_key_file
from tests.adapters.sip_bytes import DOWNSTREAM, OWN, T0, UPSTREAM, invite, response, udp, write

pytestmark = [
    pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed"),
    pytest.mark.slow,
]

CONFIG = """
[provider]
id = "cedar"

[listen]
address = "127.0.0.1:0"
certificate = "cedar.crt"
key = "cedar.key"
roots = "ca.crt"
coordinators = ["hopback://coordinator/lab"]

[index]
directory = "index"
root_key_file = "root.key"

[[sources]]
name = "border"
path = "{path}"
format = "sip_pcap"
own_addresses = ["198.51.100.60"]
options = {{ {options} }}

[[trunks]]
addresses = ["198.51.100.50"]
direction = "ingress"
party = "provider:birch"

[[trunks]]
addresses = ["198.51.100.70"]
direction = "egress"
party = "provider:elm"
"""


def proxied(called_out: str = "12025550143", call_id_out: str = "call-1@203.0.113.21") -> list[tuple[int, bytes]]:
    """A call from birch to elm, answered, a millisecond between messages."""
    ours, theirs = f"{OWN};branch=z9hG4bK-9", "203.0.113.21;branch=z9hG4bK-1"
    through = call_id_out == "call-1@203.0.113.21"
    vias = (ours, theirs) if through else (ours,)
    frames = [
        udp(UPSTREAM, OWN, invite(vias=(theirs,))),
        udp(OWN, DOWNSTREAM, invite(vias=vias, called=called_out, call_id=call_id_out)),
        udp(DOWNSTREAM, OWN, response(200, vias=vias, call_id=call_id_out)),
        udp(OWN, UPSTREAM, response(200, vias=(theirs,))),
    ]
    return [(T0 + 1000 * n, frame) for n, frame in enumerate(frames)]


class Provider:
    """An agent's directory, with captures in `captures`."""

    def __init__(self, directory: Path, path: str, options: str = "") -> None:
        self.captures = directory / "captures"
        self.captures.mkdir()
        self.config = directory / "agent.toml"
        self.config.write_text(CONFIG.format(path=path, options=options))
        create_root_key_file(directory / "root.key")

    def run(self, command: str, *arguments: str) -> Any:
        result = CliRunner().invoke(main, [command, str(self.config), *arguments, "--json"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def index(self) -> list[tuple[str, int]]:
        (report,) = self.run("index", "--complete-until", "2026-11-22T04:30:00Z")
        return [(file["status"], file["calls"]) for file in report["files"]]

    def upstream(self, called: str = "+12025550143") -> str:
        found = self.run("lookup", "--called", called, "--at", "2026-11-22T04:22:42Z", "--named-by", "elm")
        answer: dict[str, str] = found["disclosed"]
        return answer["upstream"] if answer["outcome"] == "UPSTREAM" else answer["outcome"]


@pytest.mark.parametrize(("path", "cut"), [("captures/*.pcap", 1), ("captures", 2)])
def test_a_call_across_two_files_gives_its_upstream(tmp_path: Path, path: str, cut: int) -> None:
    cedar = Provider(tmp_path, path)
    frames = proxied()
    write(cedar.captures / "1.pcap", frames[:cut])
    write(cedar.captures / "2.pcap", frames[cut:])
    cedar.index()
    assert cedar.upstream() == "birch"


def test_in_whatever_order_the_files_are_indexed(tmp_path: Path) -> None:
    cedar = Provider(tmp_path, "captures/*.pcap")
    frames = proxied()
    write(cedar.captures / "2.pcap", frames[1:])
    cedar.index()
    assert cedar.upstream() == "NOT_RECORDED"
    write(cedar.captures / "1.pcap", frames[:1])
    cedar.index()
    assert cedar.upstream() == "birch"


@pytest.mark.parametrize(("options", "upstream"), [("", "NOT_RECORDED"), ("rotated = true", "birch")])
def test_of_a_b2bua_it_must_be_known_that_the_files_are_one_rotation(
    tmp_path: Path, options: str, upstream: str
) -> None:
    """With a new Call-ID on the way out nothing in the index joins the two parts; the reader does, if it may look."""
    cedar = Provider(tmp_path, "captures/*.pcap", options)
    frames = proxied(called_out="2025550143", call_id_out="other@198.51.100.60")
    write(cedar.captures / "1.pcap", frames[:1])
    write(cedar.captures / "2.pcap", frames[1:])
    cedar.index()
    assert cedar.upstream() == upstream


def test_indexed_again_nothing_is_counted_twice(tmp_path: Path) -> None:
    cedar = Provider(tmp_path, "captures/*.pcap", "rotated = true")
    frames = proxied()
    write(cedar.captures / "1.pcap", frames[:1])
    assert cedar.index() == [("indexed", 1)]
    write(cedar.captures / "2.pcap", frames[1:])
    assert cedar.index() == [("already indexed", 0), ("indexed", 1)]
    assert cedar.index() == [("already indexed", 0), ("already indexed", 0)]
    assert cedar.upstream() == "birch"
