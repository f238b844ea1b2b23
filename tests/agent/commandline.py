"""A provider's directory with records of two switches, and the command line, for tests of commands."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from agent.cli import main

HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=30)
"""The hour in which the records begin."""

CONFIG = """
[provider]
id = "birch"
[listen]
address = "127.0.0.1:0"
certificate = "birch.crt"
key = "birch.key"
roots = "ca.crt"
coordinators = ["hopback://coordinator/lab"]
[trial]
unsigned_lookups = true
[index]
directory = "index"
root_key_file = "root.key"
"""

SOURCE = """
[[sources]]
name = "{name}"
path = "{name}/*.csv"
format = "delimited"
options = {{ delimiter = ",", header = true }}
[sources.columns]
called_in = {{ column = "dnis", format = "e164" }}
calling = {{ column = "ani" }}
seizure = {{ column = "start", format = "epoch_s" }}
ingress_trunk = {{ column = "in_tg" }}
ingress_address = {{ column = "in_ip" }}
egress_trunk = {{ column = "out_tg" }}
call_id = {{ column = "callid" }}
"""

TRUNKS = """
[[trunks]]
name = "IN-ALDER"
direction = "ingress"
party = "provider:alder"
[[trunks]]
addresses = ["192.0.2.0/24"]
direction = "ingress"
party = "provider:elm"
[[trunks]]
name = "OUT-HOME"
direction = "egress"
party = "subscribers"
"""

HEAD = "callid,ani,dnis,start,in_tg,in_ip,out_tg\n"


def call(number: int, minute: float, in_tg: str = "IN-ALDER", in_ip: str = "", out_tg: str = "OUT-HOME") -> str:
    """The record of a call so many minutes after `HOUR`."""
    start = int((HOUR + timedelta(minutes=minute)).timestamp())
    return f"c{number},+12025550{number % 100:03d},+13125550{number % 200:03d},{start},{in_tg},{in_ip},{out_tg}\n"


def provider(directory: Path, *sources: str) -> Path:
    """A directory with a configuration and these sources; their files are to come. Returns the configuration."""
    (directory / "root.key").write_text("ab" * 32)
    (directory / "root.key").chmod(0o600)
    for name in sources:
        (directory / name).mkdir()
    config = directory / "agent.toml"
    config.write_text(CONFIG + "".join(SOURCE.format(name=name) for name in sources) + TRUNKS)
    return config


def agent(*args: str | Path, env: dict[str, str] | None = None) -> Result:
    """The result of a command; wide, so that no table breaks the words that a test looks for."""
    return CliRunner().invoke(main, [str(arg) for arg in args], env={"COLUMNS": "250", "TERM": "dumb"} | (env or {}))


def told(*args: str | Path, code: int = 0) -> Any:
    """What a command says as JSON."""
    result = agent(*args, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def said(result: Result) -> str:
    """All that was printed, with line breaks of the layout taken out."""
    return re.sub(r"\s+", " ", result.output)
