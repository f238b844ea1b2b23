"""`hopback-cdr`: for engineers who connect a switch's files.

Every command ends with 0, or with 1 (the file differs from what was expected of it, or no answer was found), 2 (the
command line is wrong), 65 (the file can't be read as asked) or 78 (a mapping is wrong), after a message that says what
to do. Telephone numbers are masked unless `--show-numbers` is given.

The installed program is `agent.kit`, which adds what needs an agent's matcher and trunk map to `program`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cdr_adapters.kit.params import (
    AS_JSON,
    FILE,
    LOCAL,
    OUT,
    SHOW_NUMBERS,
    FormatName,
    Option,
    Records,
    how_it_is_read,
    local_file,
)
from cdr_adapters.kit.run import EXIT_CONFIG, EXIT_DIFFERS, print_json, subject, told, write_whole
from protos.program import Program

if TYPE_CHECKING:
    from pyarrow import RecordBatch

    from cdr_adapters.kit.convert import Target
    from cdr_adapters.kit.golden import Golden
    from cdr_adapters.kit.ports import AgentFiles
    from cdr_adapters.kit.subject import Subject
    from cdr_adapters.kit.wanted import Wanted

_HELP: Final = """Read files of call records as hopback's agents do, and see what comes of it.

FILE is a path or a URL (s3://, gs://, sftp://, file://).

\b
hopback-cdr identify cdr.csv
hopback-cdr init cdr.csv --out switch-1.toml
hopback-cdr inspect cdr.csv --mapping switch-1.toml
hopback-cdr lookup cdr.csv --mapping switch-1.toml --called +12025550143 --at 2026-11-20T15:00:00Z

\b
Shell completion (or zsh_source, fish_source):
eval "$(_HOPBACK_CDR_COMPLETE=bash_source hopback-cdr)"
"""


@click.command()
@click.argument("name", type=FormatName(), required=False)
@click.option("--markdown", "as_markdown", is_flag=True, help="A table for documents.")
@AS_JSON
def formats(name: str | None, as_markdown: bool, as_json: bool) -> None:
    """List the formats, how far each was tried, and what it records; or tell all about the one called NAME."""
    import inspect as introspection

    from cdr_adapters import registry
    from cdr_adapters.kit.facts import facts_of, markdown

    with told():
        facts = [facts_of(one) for one in ([name] if name else registry.names())]
        text = introspection.getdoc(registry.adapter(name).module) if name else None
    if as_json:
        listed = [
            {"name": f.name, "grade": f.grade, "summary": f.summary, "upstream": f.upstream, "zone": f.zone}
            for f in facts
        ]
        print_json(listed[0] | {"documentation": text} if name else listed)
        return
    if as_markdown:
        click.echo(markdown(facts), nl=False)
        return
    from cdr_adapters.kit import show

    if name:
        show.format_in_detail(show.console(), facts[0], text or "")
    else:
        show.formats(show.console(), facts)


@click.command()
@FILE
@AS_JSON
def identify(file: str, as_json: bool) -> None:
    """Say which format FILE is of: exactly one must claim it."""
    from cdr_adapters.kit.subject import format_of

    with told(), local_file(file) as path:
        name = format_of(path)
    if as_json:
        print_json({"file": file, "format": name})
    else:
        click.echo(name)


@click.command()
@FILE
@how_it_is_read
@click.option("--trunks", type=LOCAL, help="TOML with [[trunks]]: which trunks does it lack?")
@click.option("--limit", type=click.IntRange(0, 10_000), default=20, show_default=True, help="Calls to show.")
@SHOW_NUMBERS
@AS_JSON
@click.pass_obj
def inspect(
    agent: AgentFiles | None,
    file: str,
    wanted: Wanted,
    trunks: Path | None,
    limit: int,
    show_numbers: bool,
    as_json: bool,
) -> None:
    """Read FILE: calls, rejects by reason with their lines, time range, zone, trunks, formats of numbers.

    \b
    hopback-cdr inspect capture.pcap.gz
    hopback-cdr inspect cdr.csv --mapping switch-1.toml
    hopback-cdr inspect cdr.csv --config agent.toml --source switch-1
    """
    from datetime import UTC, datetime

    map_file = trunks or wanted.config
    with subject(file, wanted, agent) as about:
        from cdr_adapters.kit import show
        from cdr_adapters.kit.inspection import Inspector
        from cdr_adapters.kit.progress import progress
        from cdr_adapters.kit.reading import both, completed_mapping, mapper_of
        from cdr_adapters.kit.warnings import warnings

        known = agent.trunks(map_file) if map_file is not None and agent is not None else None
        inspector = Inspector(now=datetime.now(UTC), sample=limit, show_numbers=show_numbers)
        mapper = mapper_of(about)
        with progress(about.path, quiet=as_json) as advance:
            for raw, batch in both(about, mapper):
                inspector.add_raw(raw, mapper)
                inspector.add(batch)
                advance(inspector.found.records)
        found, source = inspector.found, completed_mapping(about)
        unmapped = None if known is None else found.unmapped(known)
        suspicions = warnings(found, source, show_numbers=show_numbers)
        if as_json:
            print_json(show.inspection_json(about, source, found, suspicions, unmapped))
        else:
            show.inspection(show.console(), about, source, found, suspicions, unmapped)


@click.command()
@FILE
@how_it_is_read
@click.option("--to", type=click.Choice(["parquet", "csv", "jsonl"]), required=True, help="Into which format.")
@click.option("--out", type=OUT, help="Where to; CSV and JSON lines go to standard output without it.")
@click.option("--force", is_flag=True, help="Replace --out if it is there.")
@click.pass_obj
def convert(agent: AgentFiles | None, file: str, wanted: Wanted, to: Target, out: Path | None, force: bool) -> None:
    """Write the calls in FILE as canonical columns: numbers in E.164, times in UTC. They are in full: keep it safe.

    \b
    hopback-cdr convert cdr.csv --mapping switch-1.toml --to parquet --out calls.parquet
    """
    if out is None and to == "parquet":
        raise click.UsageError("a Parquet file needs --out.")
    if out is not None and out.exists() and not force:
        raise click.UsageError(f"{out} is there already: give --force to replace it.")
    with subject(file, wanted, agent) as about:
        from cdr_adapters.kit.convert import convert as write
        from cdr_adapters.kit.progress import progress
        from cdr_adapters.read import read_source

        rejected = 0

        def calls() -> Iterator[RecordBatch]:
            nonlocal rejected
            count = 0
            with progress(about.path, quiet=out is None) as advance:
                for batch in read_source(about.path, about.mapping.source, about.mapping.formats):
                    rejected += len(batch.rejected)
                    count += batch.calls.num_rows
                    advance(count)
                    yield batch.calls

        written = write(calls(), to, out)
    note = f"; {rejected:,} records were rejected: see hopback-cdr inspect" if rejected else ""
    click.echo(f"{written:,} calls{f' in {out}' if out else ''}{note}", err=True)


@click.command()
@FILE
@how_it_is_read
@click.option("--out", type=OUT, help="Where to; else to standard output.")
@SHOW_NUMBERS
@click.pass_obj
def golden(agent: AgentFiles | None, file: str, wanted: Wanted, out: Path | None, show_numbers: bool) -> None:
    """Write down what FILE is read as, a line a record, to be looked at once and kept beside it.

    \b
    hopback-cdr golden cdr.csv --mapping switch-1.toml --out cdr.golden
    """
    with subject(file, wanted, agent) as about:
        text = _golden(about, show_numbers=show_numbers).text
    if out is None:
        click.echo(text, nl=False)
    else:
        write_whole(out, text)
        click.echo(f"{out}: look it through, then keep it beside {file}", err=True)


@click.command()
@FILE
@how_it_is_read
@click.option("--expect", type=LOCAL, required=True, metavar="GOLDEN", help="What hopback-cdr golden wrote.")
@AS_JSON
@click.pass_obj
def test(agent: AgentFiles | None, file: str, wanted: Wanted, expect: Path, as_json: bool) -> None:
    """Say whether FILE is still read as GOLDEN says; ends with 1 and the differences when it is not.

    \b
    hopback-cdr test cdr.csv --mapping switch-1.toml --expect cdr.golden
    """
    with subject(file, wanted, agent) as about:
        from cdr_adapters.kit.golden import differences, read_golden

        expected = read_golden(expect)
        found = _golden(about, show_numbers=expected.show_numbers)
        differing = list(differences(expected, found))
    if as_json:
        print_json({"file": file, "expect": str(expect), "same": not differing, "differences": differing})
    elif differing:
        click.echo("\n".join(differing))
        click.echo(f"hopback-cdr: {file} is not read as {expect} says (- expected, + found)", err=True)
    else:
        click.echo(f"{file}: as {expect} says")
    if differing:
        sys.exit(EXIT_DIFFERS)


def _golden(about: Subject, *, show_numbers: bool) -> Golden:
    from cdr_adapters.kit.golden import golden_of
    from cdr_adapters.read import read_source

    batches = read_source(about.path, about.mapping.source, about.mapping.formats)
    return golden_of(batches, about.mapping.source.format, show_numbers=show_numbers)


@click.command()
@FILE
@click.option("--format", "format_", type=FormatName(), help="The format, where the file doesn't give it away.")
@click.option("--option", "options", type=Option(), multiple=True, help="An option of the format; may be given often.")
@click.option("--out", type=OUT, help="Write the mapping there; else to standard output.")
@AS_JSON
def init(file: str, format_: str | None, options: tuple[tuple[str, Any], ...], out: Path | None, as_json: bool) -> None:
    """Propose a mapping from FILE itself, and say how sure each guess is and why. What is unsure is left to you.

    \b
    hopback-cdr init cdr.csv --out switch-1.toml
    hopback-cdr check-map switch-1.toml cdr.csv
    """
    from datetime import UTC, datetime

    with told(), local_file(file) as path:
        from cdr_adapters.kit import show
        from cdr_adapters.kit.proposal import propose

        proposal = propose(path, file, datetime.now(UTC), format_, dict(options))
    if out is not None:
        write_whole(out, proposal.toml)
    if as_json:
        print_json(proposal.as_json())
        return
    if out is None:
        click.echo(proposal.toml, nl=False)
    show.proposal(show.console(stderr=out is None), proposal, out)


@click.command("check-map")
@click.argument("mapping", type=LOCAL)
@click.argument("file", type=Records(), required=False)
@AS_JSON
def check_map(mapping: Path, file: str | None, as_json: bool) -> None:
    """Say everything that is wrong or doubtful about MAPPING, with its line; with FILE, try it on the first records.

    MAPPING is a mapping, or an agent's configuration: then each of its sources is checked.

    \b
    hopback-cdr check-map switch-1.toml
    hopback-cdr check-map switch-1.toml cdr.csv
    """
    from contextlib import ExitStack

    with told(), ExitStack() as stack:
        from cdr_adapters.kit import show
        from cdr_adapters.kit.check_map import as_json as in_json
        from cdr_adapters.kit.check_map import check

        path = stack.enter_context(local_file(file)) if file is not None else None
        checked = check(mapping, path)
    if as_json:
        print_json(in_json(mapping, file, checked))
    else:
        show.checked(show.console(), mapping, file, checked)
    if not all(source.usable for source in checked):
        sys.exit(EXIT_CONFIG)


def program(*more: click.Command, agent: AgentFiles | None = None) -> Program:
    """The program with `more` commands; `agent` reads an agent's files where commands take them."""

    main = Program(
        "hopback-cdr",
        extra="agent",
        help=_HELP,
        context_settings={"help_option_names": ["-h", "--help"], "obj": agent},
    )
    click.version_option(package_name="hopback")(main)
    for command in (formats, identify, inspect, convert, golden, test, init, check_map, *more):
        main.add_command(command)
    return main


main = program()
