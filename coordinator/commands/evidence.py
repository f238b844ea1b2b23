"""`verify`: what a bundle proves, without store and network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.commands.frame import BadData, json_option, show_rich, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from coordinator.evidence.verify import Verdict
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
@json_option
def verify(
    file: Path,
    roots: Path | None,
    persons: tuple[str, ...],
    approvals: int,
    timestamp_roots: Path | None,
    as_json: bool,
) -> None:
    """Say what an evidence bundle proves, by whom, and what not; offline, against keys that you trust.

    Without --roots and --person the keys in the bundle itself are taken, and every statement says so. Exit codes: 0
    nothing is broken, 3 nothing is broken but keys of your own are missing, 65 broken.

    \b
    hopback-coordinator verify --roots consortium.pem --person ann=ed25519:K7x... --person bob=ed25519:9fQ... FILE
    """
    from coordinator.evidence.readable import statement_json
    from coordinator.evidence.verify import Standing, Trust
    from coordinator.evidence.verify import verify as verified

    trust = Trust(
        persons=dict(map(_person, persons)),
        roots=roots.read_bytes() if roots else b"",
        approvals=approvals,
        timestamp_roots=timestamp_roots.read_bytes() if timestamp_roots else b"",
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

    from coordinator.evidence.verify import Standing

    colours = {Standing.PROVEN: "green", Standing.NOT_PROVEN: "yellow", Standing.BROKEN: "bold red"}
    table = Table(
        box=box.SIMPLE_HEAD, title=Text(f"{name}: {verdict.standing.value}"), title_justify="left", pad_edge=False
    )
    table.add_column("", no_wrap=True)
    table.add_column("what", ratio=3)
    table.add_column("shown by, or why not", ratio=2)
    for statement in verdict.statements:
        shown = statement.by if statement.standing is Standing.PROVEN else statement.why
        where = f" ({statement.at})" if statement.at else ""
        table.add_row(
            Text(statement.standing.value, colours[statement.standing]), Text(statement.what), Text(shown + where)
        )
    return table
