"""`hopback-agent audit`: what was asked and answered, for who has to account for it: listed, shown, proven, verified.

Everything is read beside a running agent, and nothing is changed. Telephone numbers are shown only with --show-numbers,
which needs the root key; without the key, what is sealed stays so.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.commands.frame import AS_JSON, CONFIG, EXIT_CONFIG, EXIT_DATA, console, fail, failures
from protos.program import Commands

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.audit.present import Shown
    from agent.audit.reader import AuditReader
    from agent.audit.sealing import AuditKey
    from agent.config import AgentConfig

BROKEN = 1


class _Day(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4, here from 8.1
    name = "DAY"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        try:
            return value if isinstance(value, date) else date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no day: write it as 2026-11-20 (UTC).", param, ctx)


_NUMBERS = click.option("--show-numbers", is_flag=True, help="Show telephone numbers; needs the root key.")
_WHICH = click.argument("which")


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    options = (
        click.option("--day", type=_Day(), help="Entries of this UTC day."),
        click.option("--since", type=_Day(), help="Entries of this UTC day and later."),
        click.option("--until", type=_Day(), help="Entries of this UTC day and before."),
        click.option("--campaign", help="Entries about orders of this campaign."),
        click.option("--coordinator", help="Entries of this coordinator, by name or URI; or operator:NAME."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(cls=Commands)
def audit() -> None:
    """What was asked and answered: a log that can only grow, and that others can check.

    \b
    hopback-agent audit list /etc/hopback/agent.toml --day 2026-11-20
    hopback-agent audit show /etc/hopback/agent.toml 1042
    hopback-agent audit verify /etc/hopback/agent.toml
    """


@audit.command("list")
@CONFIG
@_filters
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at most.")
@_NUMBERS
@AS_JSON
def list_entries(config: Path, limit: int, show_numbers: bool, as_json: bool, **filters: Any) -> None:
    """List entries, newest first: when, who asked, campaign, outcome, what was disclosed; `show` has the rest.

    \b
    hopback-agent audit list /etc/hopback/agent.toml --campaign auto-warranty-2026-11 --coordinator lab
    """
    with _opened(config, needs_key=show_numbers) as log:
        from agent.audit import present
        from agent.audit.selection import selected
        from agent.tables import new_table, row, time_text

        found = selected(log.reader, log.key, _wanted(filters), newest_first=True)
        entries = [present.shown(filed, numbers=show_numbers) for filed in islice(found, limit)]
        if as_json:
            click.echo(json.dumps([present.as_json(entry) for entry in entries], indent=2))
            return
        columns = ["entry", "when (UTC)", "what", "who", "campaign", "outcome", "disclosed"]
        numbers = ["called", "calling", "ask next"] if show_numbers else []
        table = new_table(f"Audit log of {log.config.me}", *columns, *numbers, numbers=("entry",))
        for entry in entries:
            filed = entry.filed
            cells = (filed.index, time_text(filed.at), entry.what, entry.who, filed.campaign or None)
            told = (entry.outcome or None, entry.disclosed, *(entry.numbers if show_numbers else ()))
            row(table, *cells, *told)
        console().print(table)
        if not entries:
            click.echo("No entry is like that.")
        elif len(entries) == limit:
            click.echo(
                f"The newest {limit} are shown; see more with --limit, or all with `hopback-agent audit export`."
            )


@audit.command()
@CONFIG
@_WHICH
@_NUMBERS
@AS_JSON
def show(config: Path, which: str, show_numbers: bool, as_json: bool) -> None:
    """Show all that is logged about WHICH: the number of an entry, or a question's id or digest (SHA-256, hex).

    \b
    hopback-agent audit show /etc/hopback/agent.toml 8b0c3c7e-2f11-4f0e-9d53-6f2a53a4d111
    """
    with _opened(config, needs_key=show_numbers) as log:
        from agent.audit import present
        from agent.audit.book import read_entry
        from agent.tables import new_table, row

        entries: list[Shown] = []
        for index in _about(log.reader, which):
            filed = read_entry(log.reader, index, log.reader.entry(index), log.key)
            entries.append(present.shown(filed, numbers=show_numbers))
        if as_json:
            click.echo(json.dumps([present.as_json(entry) for entry in entries], indent=2))
            return
        for entry in entries:
            table = new_table(f"Entry {entry.filed.index}", "", "")
            for name, value in present.lines(entry):
                row(table, name, value)
            console().print(table)


@audit.command()
@CONFIG
@_WHICH
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the proof (a ProveAnswerResponse) there."
)
@AS_JSON
def prove(config: Path, which: str, out: Path | None, as_json: bool) -> None:
    """Prove that the entries about WHICH are in the log: their bytes, and the paths to the last signed checkpoint.

    Sealed parts stay sealed; whoever has the checkpoint needs nothing else to check the proof (RFC 6962).

    \b
    hopback-agent audit prove /etc/hopback/agent.toml 1042 --out entry.proof
    """
    with _opened(config) as log:
        from agent.audit.proving import proof_of
        from agent.tables import new_table, row
        from protos.merkle import nodes

        proof = proof_of(log.reader, _about(log.reader, which))
        if not proof.entries:
            fail("no signed checkpoint covers that yet: the next answer brings one", EXIT_DATA)
        if out is not None:
            out.write_bytes(proof.SerializeToString(deterministic=True))
        size, root = log.signed_state(proof.checkpoint.SerializeToString())
        if as_json:
            found = [
                {"entry": one.index, "bytes": one.entry.hex(), "path": [node.hex() for node in nodes(one.path)]}
                for one in proof.entries
            ]
            exact = proof.checkpoint.SerializeToString().hex()
            click.echo(json.dumps({"size": size, "root": root.hex(), "checkpoint": exact, "entries": found}, indent=2))
            return
        table = new_table(f"Proof in the log of {size} entries, root {root.hex()}", "entry", "bytes", "path")
        for one in proof.entries:
            row(table, one.index, len(one.entry), "\n".join(node.hex() for node in nodes(one.path)))
        console().print(table)
        if out is not None:
            click.echo(f"Written to {out}.")


@audit.command()
@CONFIG
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A checkpoint that somebody else kept (a SignedCheckpoint); repeat it for several.",
)
@click.option(
    "--roots",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Roots of the keys that signed, where they are not those of the configuration any more.",
)
@AS_JSON
def verify(config: Path, checkpoints: tuple[Path, ...], roots: Path | None, as_json: bool) -> None:
    """Derive everything anew from the files alone, and compare every byte and every checkpoint ever signed.

    Ends with 0 when the log is whole, with 1 when something is not as it was, naming the first file, entry and byte.

    \b
    hopback-agent audit verify /etc/hopback/agent.toml
    hopback-agent audit verify /etc/hopback/agent.toml --checkpoint from-the-coordinator.checkpoint
    """
    with failures():
        from agent.audit.errors import AuditBrokenError, AuditError
        from agent.audit.layout import LOG_DIRECTORY
        from agent.audit.verify import Trust
        from agent.audit.verify import verify as verified
        from agent.config import load
        from protos.certificates import CertificateError, PinnedRoots

        loaded = load(config)
        key = _key(loaded, needed=False)
        pinned = roots or (loaded.signing and loaded.signing.evidence_roots) or loaded.listen.roots
        try:
            trust = Trust(loaded.me, PinnedRoots.from_pem(pinned.read_bytes()), key)
            report = verified(
                loaded.audit.directory / LOG_DIRECTORY, trust, [(path, path.read_bytes()) for path in checkpoints]
            )
        except CertificateError as error:
            fail(f"{pinned}: {error}", EXIT_CONFIG)
        except AuditBrokenError as error:
            if as_json:
                place = {"file": str(error.path), "entry": error.entry, "byte": error.byte, "problem": error.problem}
                click.echo(json.dumps({"whole": False, **place}, indent=2))
                sys.exit(BROKEN)
            fail(f"Broken: {error}", BROKEN)
        except AuditError as error:
            fail(str(error))
        if as_json:
            told = {"entries": report.entries, "root": report.root.hex(), "checkpoints": report.checkpoints}
            rest = {"unsigned": report.unsigned, "cut": list(report.cut), "sealed_parts_opened": key is not None}
            click.echo(json.dumps({"whole": True, **told, **rest}, indent=2))
            return
        screen = console()
        screen.print(
            f"Whole: {report.entries:,} entries, {report.checkpoints:,} checkpoints, root {report.root.hex()}.",
            style="bold green",
            markup=False,
        )
        if report.unsigned:
            click.echo(f"No checkpoint covers the last {report.unsigned:,} entries: nothing left with them.")
        for name in report.cut:
            click.echo(f"{name}: a torn end that was found after a crash; no checkpoint covers it.")
        if key is None:
            click.echo("Without the root key, sealed parts were compared by their hashes alone.")


@audit.command()
@CONFIG
@_filters
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
@_NUMBERS
def export(config: Path, out: Path, show_numbers: bool, **filters: Any) -> None:
    """Write entries as CSV, oldest first. Cells that a spreadsheet would take for a formula begin with a quote.

    \b
    hopback-agent audit export /etc/hopback/agent.toml --since 2026-10-01 --until 2026-12-31 --out quarter.csv
    """
    with _opened(config, needs_key=show_numbers) as log:
        import os

        from agent.audit import present
        from agent.audit.selection import selected

        entries = selected(log.reader, log.key, _wanted(filters), newest_first=False)
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            count = present.write_csv((present.shown(filed, numbers=show_numbers) for filed in entries), file)
        click.echo(f"{count:,} entries written to {out}.")


@dataclass(frozen=True, slots=True)
class _Opened:
    config: AgentConfig
    reader: AuditReader
    key: AuditKey | None

    def signed_state(self, signed: bytes) -> tuple[int, bytes]:
        from agent.audit.reader import size_and_root

        found = size_and_root(signed)
        if found is None:
            fail("the last checkpoint was altered: run `hopback-agent audit verify`", EXIT_DATA)
        return found


@contextmanager
def _opened(config: Path, *, needs_key: bool = False) -> Iterator[_Opened]:
    """The log and, where it is at hand, the key; what is wrong with either ends the command."""
    with failures():
        from agent.audit.errors import AuditBrokenError, AuditError
        from agent.audit.layout import LOG_DIRECTORY
        from agent.audit.reader import AuditReader
        from agent.audit.sealing import SealBrokenError
        from agent.config import load

        loaded = load(config)
        key = _key(loaded, needed=needs_key)
        try:
            with AuditReader.open(loaded.audit.directory / LOG_DIRECTORY) as reader:
                yield _Opened(loaded, reader, key)
        except AuditBrokenError as error:
            fail(str(error), EXIT_DATA)
        except AuditError as error:
            fail(str(error))
        except SealBrokenError as error:
            fail(f"{loaded.audit.directory}: {error}", EXIT_CONFIG)


def _key(config: AgentConfig, *, needed: bool) -> AuditKey | None:
    from agent.audit.sealing import AuditKey
    from agent.inspection import read_keys
    from agent.mistakes import ConfigError

    try:
        return AuditKey(read_keys(config).audit_secret())
    except ConfigError:
        if needed:
            raise
        return None


def _wanted(filters: dict[str, Any]) -> Any:
    from agent.audit.selection import Wanted

    day = filters["day"]
    if day and (filters["since"] or filters["until"]):
        raise click.UsageError("--day goes without --since and --until.")
    return Wanted(day or filters["since"], day or filters["until"], filters["campaign"], filters["coordinator"])


def _about(reader: AuditReader, which: str) -> list[int]:
    from agent.audit.selection import about

    try:
        return about(reader, which)
    except ValueError:
        raise click.UsageError(f"{which!r} is no number of an entry, no question's id and no digest of one.") from None
    except LookupError as error:
        raise click.UsageError(f"{error.args[0]}.") from None
