"""A line of providers, each an agent process behind mutual TLS, with records of the same calls, to trace them on.

Each provider hands every call to the next one. Calls lie twenty seconds apart; their numbers are made up (555).
"""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import tomlkit

from agent.index.root_key import create_root_key_file
from coordinator.authority.lab_ca import Credentials
from coordinator.tracing.ports import Provider
from deploy.lab.fleet import Fleet
from deploy.lab.people import People
from protos.e164 import E164, parse_e164
from protos.identity import ProviderId, parse_provider_id
from protos.tls import TlsFiles, read_tls_files

START: Final = datetime(2026, 11, 10, 12, tzinfo=UTC)
APART: Final = timedelta(seconds=20)


@dataclass(frozen=True)
class Line:
    """Running agents: `path` from the originating provider to the terminating one; all of them have the `calls`."""

    path: tuple[ProviderId, ...]
    providers: tuple[Provider, ...]
    tls: TlsFiles
    calls: tuple[tuple[E164, datetime], ...]
    files: Credentials
    evidence: Credentials
    people: People
    fleet: Fleet

    @property
    def cpu_s(self) -> float:
        """Processor time that all agents have used so far, in seconds."""
        ticks = 0
        for name in self.path:
            stat = Path(f"/proc/{self.fleet.process(name)}/stat").read_text()
            ticks += sum(map(int, stat.rpartition(")")[2].split()[11:13]))  # user and system time
        return ticks / os.sysconf("SC_CLK_TCK")

    @property
    def terminating(self) -> ProviderId:
        """Who delivered the calls."""
        return self.path[-1]


@dataclass(frozen=True)
class WrittenLine:
    """The files of a line, not indexed yet: each provider's configuration beside its records, and who signs."""

    path: tuple[ProviderId, ...]
    calls: tuple[tuple[E164, datetime], ...]
    people: People
    configs: dict[str, Path]


def written_line(work: Path, hops: int, records: int, start: datetime, apart: timedelta = APART) -> WrittenLine:
    """Write `records` calls and a configuration for each of `hops` providers into `work`."""
    path = tuple(parse_provider_id(f"hop{number:02d}") for number in range(1, hops + 1))
    calls = _write_records(work, path, records, start, apart)
    people = People.made(work / "coordinator", datetime.now(UTC))
    configs = {str(name): _write_agent(work, people, path, place) for place, name in enumerate(path)}
    return WrittenLine(path, calls, people, configs)


@contextmanager
def line(work: Path, hops: int, records: int, *, start: datetime = START, apart: timedelta = APART) -> Iterator[Line]:
    """Index `records` calls at each of `hops` providers in `work`, and start their agents."""
    written = written_line(work, hops, records, start, apart)
    path, people = written.path, written.people
    fleet = Fleet(written.configs)
    fleet.index("--complete-until", datetime.now(UTC).isoformat())
    files = people.authority.issue_coordinator("lab", work / "coordinator")
    evidence = people.authority.issue_coordinator_evidence("lab", work / "coordinator")
    tls = read_tls_files(files.certificate, files.key, files.roots, datetime.now(UTC))
    with fleet:
        providers = tuple(Provider(name, name, fleet.addresses[name]) for name in path)
        yield Line(path, providers, tls, written.calls, files, evidence, people, fleet)


def _write_records(
    work: Path, path: tuple[ProviderId, ...], records: int, start: datetime, apart: timedelta
) -> tuple[tuple[E164, datetime], ...]:
    random_ = random.Random(10)
    rows = []
    for number in range(records):
        called = f"+1202555{number % 100:04d}" if number % 7 == 0 else f"+1{random_.randrange(2, 10)}02555{number:04d}"
        rows.append((called, start + apart * number, f"+1305555{random_.randrange(10_000):04d}"))
    for place, provider in enumerate(path):
        (work / provider).mkdir()
        with (work / provider / "cdr.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["start", "called", "calling", "in", "out", "id"])
            for number, (called, at, calling) in enumerate(rows):
                setup = (at + timedelta(milliseconds=3 * place)).isoformat(timespec="milliseconds")
                writer.writerow([setup, called, calling, "I1", "O1", f"{provider}-{number}"])
    return tuple((parse_e164(called), at) for called, at, _ in rows)


def _write_agent(work: Path, people: People, path: tuple[ProviderId, ...], place: int) -> Path:
    provider = path[place]
    home = work / provider
    issued = people.authority.issue_provider(provider, home)
    create_root_key_file(home / "root.key")
    upstream = f"provider:{path[place - 1]}" if place else "customer:7011"
    downstream = f"provider:{path[place + 1]}" if place + 1 < len(path) else "subscribers"
    settings = {
        "provider": {"id": provider},
        "listen": {
            "address": "127.0.0.1:0",
            "certificate": issued.certificate.name,
            "key": issued.key.name,
            "roots": issued.roots.name,
            "coordinators": ["hopback://coordinator/lab"],
        },
        "trial": {"unsigned_lookups": True},
        **people.tables(provider, home),
        "index": {"directory": "index", "root_key_file": "root.key"},
        "sources": [
            {
                "name": "cdr",
                "path": "cdr.csv",
                "format": "delimited",
                "columns": {
                    "called_in": {"column": "called"},
                    "calling": {"column": "calling"},
                    "seizure": {"column": "start", "format": "iso8601"},
                    "ingress_trunk": {"column": "in"},
                    "egress_trunk": {"column": "out"},
                    "call_id": {"column": "id"},
                },
            }
        ],
        "trunks": [
            {"name": "I1", "direction": "ingress", "party": upstream},
            {"name": "O1", "direction": "egress", "party": downstream},
        ],
    }
    config = home / "agent.toml"
    config.write_text(tomlkit.dumps(settings))
    return config
