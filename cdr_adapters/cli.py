"""`hopback-cdr`: for engineers who connect a switch's files.

Every command ends with 0, or with 1 (the file differs from what was expected of it, or no answer was found), 2 (the
command line is wrong), 65 (the file can't be read as asked) or 78 (a mapping is wrong), after a message that says what
to do. Telephone numbers are masked unless `--show-numbers` is given.

The installed program is `agent.kit`, which adds what needs an agent's matcher and trunk map to `program`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from cdr_adapters.kit.params import AS_JSON, FILE, SHOW_NUMBERS, FormatName, how_it_is_read, local_file
from protos.program import Program

if TYPE_CHECKING:
    from pathlib import Path

    from cdr_adapters.kit.ports import AgentFiles
    from cdr_adapters.kit.subject import Subject
    from cdr_adapters.kit.wanted import Wanted

EXIT_DIFFERS: Final = 1
EXIT_DATA: Final = 65
EXIT_CONFIG: Final = 78

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
@AS_JSON
def formats(name: str | None, as_json: bool) -> None:
    """List the formats, how far each was tried, and what it records; or tell all about the one called NAME."""
    import inspect as introspection

    from cdr_adapters import registry
    from cdr_adapters.kit.facts import facts_of

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
@click.option("--trunks", type=click.Path(exists=True, dir_okay=False), help="TOML with [[trunks]]: what does it lack?")
@click.option("--limit", type=click.IntRange(0, 10_000), default=20, show_default=True, help="Calls to show.")
@SHOW_NUMBERS
@AS_JSON
@click.pass_obj
def inspect(
    agent: AgentFiles | None,
    file: str,
    wanted: Wanted,
    trunks: str | None,
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
    from pathlib import Path

    from cdr_adapters.kit.inspection import Inspector
    from cdr_adapters.kit.progress import progress
    from cdr_adapters.kit.reading import both, completed_mapping, mapper_of
    from cdr_adapters.kit.warnings import warnings

    map_file = Path(trunks) if trunks else wanted.config
    with told(), local_file(file) as path, read_as(path, file, wanted, agent) as subject:
        known = agent.trunks(map_file) if map_file is not None and agent is not None else None
        inspector = Inspector(now=datetime.now(UTC), sample=limit, show_numbers=show_numbers)
        mapper = mapper_of(subject)
        with progress(path, quiet=as_json) as advance:
            for raw, batch in both(subject, mapper):
                inspector.add_raw(raw, mapper)
                inspector.add(batch)
                advance(inspector.found.records)
        found, source = inspector.found, completed_mapping(subject)
        unmapped = None if known is None else found.unmapped(known)
        suspicions = warnings(found, source, show_numbers=show_numbers)
        from cdr_adapters.kit import show

        if not as_json:
            show.inspection(show.console(), subject, source, found, suspicions, unmapped)
            return
        told_of = {"file": file, "format": source.format, "mapping": subject.origin, "zone": show.zone(subject, source)}
        lacking = {
            side: [{"trunk": trunk, "address": address, "calls": calls} for trunk, address, calls in routes]
            for side, routes in (unmapped or {}).items()
        }
        print_json(told_of | found.as_json() | {"warnings": suspicions} | ({"unmapped": lacking} if unmapped else {}))


def program(*more: click.Command, agent: AgentFiles | None = None) -> Program:
    """The program with `more` commands; `agent` reads an agent's files where commands take them."""

    main = Program(
        "hopback-cdr",
        extra="agent",
        help=_HELP,
        context_settings={"help_option_names": ["-h", "--help"], "obj": agent},
    )
    click.version_option(package_name="hopback")(main)
    for command in (formats, identify, inspect, *more):
        main.add_command(command)
    return main


@contextmanager
def read_as(path: Path, shown: str, wanted: Wanted, agent: AgentFiles | None) -> Iterator[Subject]:
    """How a file is read; what is wrong with a mapping ends the program with 78, even if it shows only later."""
    from cdr_adapters.kit.subject import subject_of
    from cdr_adapters.mapping import MappingError
    from cdr_adapters.raw import AdapterError
    from cdr_adapters.read import check_source

    try:
        subject = subject_of(path, shown, wanted, agent)
        try:
            check_source(subject.mapping.source, subject.mapping.formats)
        except AdapterError as error:
            raise MappingError(str(error)) from None
        yield subject
    except MappingError as error:
        fail(str(error), EXIT_CONFIG)


def print_json(value: Any) -> None:
    """Data on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def fail(message: str, code: int) -> None:
    """End with a message."""
    click.echo(f"hopback-cdr: {message}", err=True)
    sys.exit(code)


@contextmanager
def told() -> Iterator[None]:
    """Turn what a person can do something about into a message and an exit code."""
    from cdr_adapters.mapping import MappingError
    from cdr_adapters.raw import AdapterError

    try:
        yield
    except MappingError as error:
        fail(str(error), EXIT_CONFIG)
    except AdapterError as error:
        fail(str(error), EXIT_DATA)


main = program()
