"""`hopback-agent verify`: whether the index is sound, as a table of what is broken or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from agent.commands.frame import AS_JSON, CONFIG, EXIT_CONFIG, console, fail, failures

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from agent.verify import Progress, Verdict

_FILES_SHOWN: Final = 5


@click.command()
@CONFIG
@AS_JSON
def verify(config: Path, as_json: bool) -> None:
    """Read every byte of the index and say whether it is sound, from its files alone; nothing is changed.

    What is broken is named, with the source files to index again. Indexing and answering may go on meanwhile. Ends with
    0 when the index is sound, 1 when something is broken, 78 when the configuration or the root key is not its own.

    \b
    hopback-agent verify /etc/hopback/agent.toml
    hopback-agent verify /etc/hopback/agent.toml --json
    """
    with failures():
        from agent.config import load
        from agent.index.errors import WrongKeyError
        from agent.inspection import read_keys
        from agent.verify import exit_code
        from agent.verify import verify as verdict_on

        loaded = load(config)
        keys = read_keys(loaded)
        try:
            with _progress(console(stderr=True), quiet=as_json) as told:
                verdict = verdict_on(loaded.index.directory, keys, told)
        except WrongKeyError as error:
            fail(str(error), EXIT_CONFIG)
        if as_json:
            click.echo(json.dumps(verdict_json(verdict), indent=2))
        else:
            console().print(verdict_table(verdict))
        sys.exit(exit_code(verdict))


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict for machines."""
    from agent.tables import iso
    from agent.verify import read_again

    return {
        "sound": verdict.is_sound,
        "directory": str(verdict.directory),
        "generation": verdict.generation,
        "read": {
            "segments": verdict.segments,
            "days": verdict.days,
            "rows": verdict.rows,
            "bytes": verdict.bytes,
        },
        "problems": [
            {
                "file": problem.file,
                "what": problem.what,
                "remedy": problem.remedy,
                "source": problem.source,
                "earliest": iso(problem.earliest),
                "latest": iso(problem.latest),
                "read_again": [{"source": source, "file": file} for source, file in problem.read_again],
            }
            for problem in verdict.problems
        ],
        "read_again": read_again(verdict.problems),
        "notes": [{"file": note.file, "what": note.what} for note in verdict.notes],
    }


def verdict_table(verdict: Verdict) -> RenderableType:
    """The verdict for people: what is broken first, what to do, then what was read."""
    from rich.console import Group
    from rich.text import Text

    from agent.tables import new_table, row, spaced, time_text

    parts: list[RenderableType] = []
    if verdict.problems:
        broken = new_table("Broken", "file", "what", "source", "from", "to", "what to do")
        for problem in verdict.problems:
            span = time_text(problem.earliest), time_text(problem.latest)
            remedy = problem.remedy
            if problem.read_again:
                names = [file for _, file in problem.read_again]
                more = f" and {len(names) - _FILES_SHOWN} more (--json names all)" if len(names) > _FILES_SHOWN else ""
                remedy = f"{remedy}: {', '.join(names[:_FILES_SHOWN])}{more}"
            row(broken, problem.file, problem.what, problem.source, *span, remedy)
        parts.append(broken)
    if verdict.notes:
        notes = new_table("Worth knowing", "file", "what")
        for note in verdict.notes:
            row(notes, note.file, note.what)
        parts.append(notes)
    read = (
        f"{verdict.rows:,} rows in {verdict.segments:,} segments of {verdict.days:,} days, {verdict.bytes:,} bytes, "
        f"up to commit {verdict.generation:,}"
    )
    if verdict.is_sound:
        parts.append(Text(f"Sound: {read}.", style="bold green"))
    else:
        count = len(verdict.problems)
        files = f"{count} thing{'s are' if count > 1 else ' is'} broken"
        parts.append(Text(f"Not sound: {files}. Sound: {read}.", style="bold red"))
    return Group(*spaced(parts))


@contextmanager
def _progress(screen: Console, *, quiet: bool) -> Iterator[Progress]:
    """A bar for who looks at a terminal."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    columns = BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=screen, transient=True, disable=quiet or not screen.is_terminal) as progress:
        task = progress.add_task("reading", total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)
