"""`bundle` and `verify`: one traceback's evidence in one file, and what such a file proves."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.commands.frame import (
    BadData,
    Failed,
    config_option,
    find_traceback,
    json_option,
    misconfigured,
    now,
    opened_engine,
    opened_store,
    show_rich,
    write_json,
)

if TYPE_CHECKING:
    from rich.table import Table

    from coordinator.config import LoadedConfig
    from coordinator.evidence.notary import Notary
    from coordinator.evidence.verify import Verdict
    from hopback.v1 import bundle_pb2 as pb
    from protos.signing import PublicKey

BROKEN = 65
UNTRUSTED = 3

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=_file)
@click.option("--roots", type=_file, help="Roots of the machines' certificates that you trust (PEM).")
@click.option(
    "--person", "persons", multiple=True, metavar="NAME=KEY", help="A person's key: ann=ed25519:... Repeat it."
)
@click.option("--approvals", type=click.IntRange(1, 8), default=1, show_default=True, help="Approvals that you demand.")
@click.option("--timestamp-roots", type=_file, help="Roots of time stamp authorities that you trust (PEM).")
@click.option("--sti-roots", type=_file, help="Roots of STIR/SHAKEN authorities that you trust (PEM).")
@json_option
def verify(
    file: Path,
    roots: Path | None,
    persons: tuple[str, ...],
    approvals: int,
    timestamp_roots: Path | None,
    sti_roots: Path | None,
    as_json: bool,
) -> None:
    """Say what an evidence bundle proves, by whom, and what not; offline, against keys that you trust.

    Without --roots and --person the keys in the bundle itself are taken, and every statement says so. Exit codes: 0
    nothing is broken, 3 nothing is broken but keys of your own are missing, 65 broken.

    \b
    hopback-coordinator verify --roots consortium.pem --person ann=ed25519:K7x... --person bob=ed25519:9fQ... FILE
    """
    from coordinator.evidence.readable import statement_json
    from coordinator.evidence.signatures import Trust
    from coordinator.evidence.statements import Standing
    from coordinator.evidence.verify import verify as verified

    trust = Trust(
        persons=dict(map(_person, persons)),
        roots=roots.read_bytes() if roots else b"",
        approvals=approvals,
        timestamp_roots=timestamp_roots.read_bytes() if timestamp_roots else b"",
        sti_roots=sti_roots.read_bytes() if sti_roots else b"",
    )
    try:
        data = file.read_bytes()
    except OSError as error:
        raise BadData(f"{file} can't be read: {error.strerror}") from None
    verdict = verified(data, trust)
    if as_json:
        write_json(
            {
                "standing": verdict.standing.value,
                "own_trust": bool(roots and persons),
                "statements": [statement_json(statement) for statement in verdict.statements],
            }
        )
    else:
        show_rich(_table(verdict, file.name))
    if verdict.standing is Standing.BROKEN:
        raise SystemExit(BROKEN)
    if not (roots and persons):
        click.echo(
            "Checked against keys in the bundle itself: give --roots and --person to check who they are.", err=True
        )
        raise SystemExit(UNTRUSTED)


def _person(text: str) -> tuple[str, PublicKey]:
    from protos.signing import KeyFormatError, PublicKey

    name, _, key = text.partition("=")
    try:
        return name, PublicKey.parse(key)
    except KeyFormatError as error:
        raise click.BadParameter(f"{text!r}: {error}; write NAME=ed25519:BASE64", param_hint="--person") from None


def _table(verdict: Verdict, name: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from coordinator.evidence.statements import Standing

    colours = {Standing.PROVEN: "green", Standing.NOT_PROVEN: "yellow", Standing.BROKEN: "bold red"}
    found = Counter(statement.standing for statement in verdict.statements)
    counts = ", ".join(f"{found[standing]} {standing.value}" for standing in Standing)
    table = Table(box=box.SIMPLE_HEAD, title=Text(f"{name}: {counts}"), title_justify="left", pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("what", ratio=3)
    table.add_column("shown by, or why not", ratio=2)
    for statement in verdict.statements:
        shown = statement.by if statement.standing is Standing.PROVEN else statement.why
        where = f" ({_when(statement.at)})" if statement.at else ""
        table.add_row(
            Text(statement.standing.value, colours[statement.standing]), Text(statement.what), Text(shown + where)
        )
    return table


def _when(at: str) -> str:
    """A time as people read it; where something stands in the file, as it is."""
    try:
        return f"{datetime.fromisoformat(at).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except ValueError:
        return at


@click.command()
@click.argument("traceback_id", metavar="TRACEBACK")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="The file to write; TRACEBACK.zip if not given."
)
@click.option("--without-logs", is_flag=True, help="Don't ask the agents to prove that their logs hold the answers.")
@click.option("--timestamp", metavar="URL", help="Have it stamped by a time stamp authority (RFC 3161).")
@json_option
@config_option
def bundle(
    traceback_id: str,
    out: Path | None,
    without_logs: bool,
    timestamp: str | None,
    as_json: bool,
    config_path: Path,
) -> None:
    """Write one traceback's evidence as one file that anybody can verify: order, questions, answers, proofs, summary.

    Every agent that answered is asked to prove that its log holds the answer; one that can't be reached is named, and
    the bundle says that there is no proof. The telephone numbers stand in it in full. The first characters of an id
    are enough.

    \b
    hopback-coordinator bundle 6d2b5e1e
    hopback-coordinator verify --roots consortium.pem --person ann=ed25519:K7x... 6d2b5e1e.zip
    """
    from coordinator.config import ConfigError
    from coordinator.evidence.statements import Standing
    from coordinator.evidence.verify import verify as verified
    from coordinator.online import notary_of, online_key
    from coordinator.store.evidence import NoEvidenceError

    with opened_store(config_path) as (loaded, store), opened_engine(config_path) as (_, engine):
        found = find_traceback(store, traceback_id).traceback
        notary = notary_of(loaded, engine, now)
        try:
            online_key(loaded, now())  # before any agent is asked
            evidence = notary.collect(found.id)
            if not without_logs:
                for provider in _with_log_proofs(loaded, notary, evidence):
                    click.echo(f"No proof from the log of {provider}: its agent can't be reached.", err=True)
            data, trust = notary.sealed(evidence), notary.trust()
        except NoEvidenceError as error:
            raise click.UsageError(f"no bundle of {str(found.id)[:8]}: {error}") from None
        except ConfigError as error:
            raise misconfigured(error) from None
    if timestamp:
        data = _stamped(data, timestamp)
    file = out or Path(f"{str(found.id)[:8]}.zip")
    write_whole(file, data)
    verdict = verified(data, trust)
    counts = {standing.value: 0 for standing in Standing}
    for statement in verdict.statements:
        counts[statement.standing.value] += 1
    if as_json:
        write_json({"file": str(file), "bytes": len(data), "statements": counts})
    else:
        click.echo(
            f"{file}: {len(data):,} bytes, {counts['proven']} statements proven, {counts['not proven']} not proven"
            + (f", {counts['broken']} BROKEN" if counts["broken"] else "")
        )
    if counts["broken"]:
        raise SystemExit(BROKEN)


def _with_log_proofs(loaded: LoadedConfig, notary: Notary, evidence: pb.TracebackEvidence) -> list[str]:
    """Put the agents' proofs into the evidence; gives the providers that gave none."""
    import asyncio
    from dataclasses import replace

    from coordinator.audits.client import AgentAudits
    from coordinator.online import way_to_agents
    from coordinator.runtime import tls_files
    from protos.live import Live

    async def ask() -> list[str]:
        async with way_to_agents(loaded, Live(tls_files(loaded, now()))) as transport:
            return await replace(notary, audits=AgentAudits(transport)).add_log_proofs(evidence)

    return asyncio.run(ask())


def _stamped(data: bytes, url: str) -> bytes:
    """The bundle with the time stamp that an authority gives it."""
    import urllib.error
    import urllib.request

    from coordinator.evidence import container
    from coordinator.evidence.bundle import with_timestamp
    from coordinator.evidence.members import MANIFEST
    from coordinator.evidence.timestamp import request

    if not url.startswith(("http://", "https://")):
        raise click.BadParameter("write an http or https URL", param_hint="--timestamp")
    query = request(container.read(data).members[MANIFEST])
    asked = urllib.request.Request(url, query, {"Content-Type": "application/timestamp-query"})  # noqa: S310
    try:
        with urllib.request.urlopen(asked, timeout=30) as response:  # noqa: S310 (a scheme of the two)
            token: bytes = response.read(1_000_000)
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        raise Failed(f"no time stamp from {url}: {error}; the bundle was not written") from None
    return with_timestamp(data, token)


def write_whole(file: Path, data: bytes) -> None:
    """Write the file whole or not at all, readable by its owner alone: telephone numbers are in it."""
    import os
    import tempfile

    try:
        descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
        Path(temporary).replace(file)
    except OSError as error:
        raise Failed(f"{file} can't be written: {error.strerror}") from None
