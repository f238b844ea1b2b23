"""`hopback-cdr`: does hopback read this file of call records right?

For engineers who connect a switch. Every command ends with 0, or with 2 (the command line is wrong), 78 (the mapping
is) or 65 (the file is, or no format or several claim it), after saying what is wrong. Results go to standard output,
everything else to standard error. Numbers are masked unless `--show-numbers` is given.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from protos.printable import printable
from protos.program import Program

if TYPE_CHECKING:
    from rich.console import Console

    from cdr_adapters.inspection import Inspection
    from cdr_adapters.mapping import MappingFile

EXIT_DATA: Final = 65
EXIT_CONFIG: Final = 78
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")


@click.group(cls=Program, extra="agent", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hopback")
def main() -> None:
    """Read files of call records as hopback's agents do, and see what comes of it.

    \b
    hopback-cdr formats
    hopback-cdr identify cdr.csv
    hopback-cdr inspect cdr.csv --mapping switch-1.toml
    """


@main.command()
@_AS_JSON
def formats(as_json: bool) -> None:
    """List the formats, and how far each has been tried."""
    from cdr_adapters import registry

    with _told():
        adapters = [registry.adapter(name) for name in registry.names()]
    if as_json:
        _print_json([{"name": a.name, "grade": a.grade.value, "summary": a.summary} for a in adapters])
        return
    table = _table("format", "grade", "what")
    for adapter in adapters:
        table.add_row(adapter.name, adapter.grade.value, adapter.summary)
    _console().print(table)


@main.command()
@click.argument("file", type=_FILE)
@_AS_JSON
def identify(file: Path, as_json: bool) -> None:
    """Say which format FILE is of: exactly one must claim it."""
    from cdr_adapters.identify import identify as identify_file

    with _told():
        name = identify_file(file)
    if as_json:
        _print_json({"file": str(file), "format": name})
    else:
        click.echo(name)


@main.command()
@click.argument("file", type=_FILE)
@click.option("--mapping", "mapping_file", type=_FILE, help="TOML with the keys of one [[sources]] table.")
@click.option("--limit", type=click.IntRange(0, 10_000), default=20, show_default=True, help="Calls to show.")
@click.option("--show-numbers", is_flag=True, help="Show telephone numbers in full.")
@_AS_JSON
def inspect(file: Path, mapping_file: Path | None, limit: int, show_numbers: bool, as_json: bool) -> None:
    """Read FILE by its mapping: calls, rejects by reason with their lines, time range, trunks seen.

    \b
    hopback-cdr inspect capture.pcap.gz
    hopback-cdr inspect cdr.csv --mapping switch-1.toml

    \b
    A mapping to begin with:
        format = "delimited"
        zone = "America/New_York"
        [columns]
        called_in = { column = "dnis" }
        seizure = { column = "start", format = "%Y-%m-%d %H:%M:%S" }
    """
    from cdr_adapters.inspection import inspect_batches
    from cdr_adapters.mapping import MappingError
    from cdr_adapters.raw import AdapterError
    from cdr_adapters.read import check_source, read_source

    try:
        with _told():
            mapping = _mapping(file, mapping_file)
        check_source(mapping.source, mapping.formats)
    except (MappingError, AdapterError) as error:
        _fail(str(error), EXIT_CONFIG)
    with _told():
        batches = read_source(file, mapping.source, mapping.formats)
        found = inspect_batches(batches, sample=limit, show_numbers=show_numbers)
    if as_json:
        _print_json({"file": str(file), "format": mapping.source.format} | found.as_json())
    else:
        _show(file, mapping, found)


def _mapping(file: Path, mapping_file: Path | None) -> MappingFile:
    """The mapping that was given, else the one that the file's format brings itself."""
    from cdr_adapters import registry
    from cdr_adapters.identify import identify as identify_file
    from cdr_adapters.mapping import MappingError, MappingFile, SourceMapping, TrunkFormats, load_mapping

    if mapping_file is not None:
        return load_mapping(mapping_file)
    name = identify_file(file)
    if registry.adapter(name).default_columns is None:
        raise MappingError(
            f"{file} is of format {name}, which doesn't say what its columns mean: give --mapping with at least "
            "format, a called number and a time"
        )
    return MappingFile(SourceMapping(name=name, path="*", format=name), TrunkFormats())


def _show(file: Path, mapping: MappingFile, found: Inspection) -> None:
    source = mapping.source
    console = _console()
    twice = f", {found.twice} of them second readings of a local time that occurred twice" if found.twice else ""
    console.print(f"{file}: {source.format}, {found.records:,} records", markup=False, style="bold")
    console.print(f"calls {found.calls:,}{twice}; skipped {found.skipped:,} (not chosen by where, or no records)")
    if found.earliest and found.latest:
        console.print(
            f"times {found.earliest:%Y-%m-%d %H:%M:%S} to {found.latest:%Y-%m-%d %H:%M:%S} UTC; {_zone(mapping)}"
        )
    rejected = sum(rejects.count for rejects in found.rejected.values())
    console.print(f"rejected {rejected:,}", style="yellow" if rejected else None)
    if found.rejected:
        table = _table("reason", "detail", "records", "lines or rows")
        for (reason, detail), rejects in sorted(found.rejected.items(), key=lambda entry: -entry[1].count):
            more = ", ..." if rejects.count > len(rejects.rows) else ""
            table.add_row(reason, printable(detail), f"{rejects.count:,}", ", ".join(map(str, rejects.rows)) + more)
        console.print(table)
    mapped = source.columns.specs if source.columns else {}
    never = [name for name in mapped if name in found.filled and not found.filled[name]]
    if never and found.calls:
        console.print(f"mapped, but without a value in any call: {', '.join(never)}", style="yellow")
    _show_peers(console, found)
    _show_sample(console, found)


def _zone(mapping: MappingFile) -> str:
    source = mapping.source
    offset = source.clock_offset.total_seconds()
    clock = f", clock {abs(offset):g} s {'fast' if offset > 0 else 'slow'}" if offset else ""
    if source.zone is not None:
        return f"zone {source.zone} from the mapping{clock}"
    return f"times say their zone or count from an epoch{clock}"


def _show_peers(console: Console, found: Inspection) -> None:
    table = _table("seen in", "value", "calls")
    for name, counts in found.peers.items():
        for value, count in counts.most_common():
            table.add_row(name, printable(value), f"{count:,}")
    if table.row_count:
        console.print(table)


def _show_sample(console: Console, found: Inspection) -> None:
    if not found.sample:
        return
    names = ["called_in", "called_out", "calling", "ingress_trunk", "ingress_address"]
    names += ["egress_trunk", "egress_address", "disposition"]
    names = [name for name in names if any(call[name] is not None for call in found.sample)]
    table = _table("row", "seized (UTC)", "within", *names)
    for call in found.sample:
        earliest, latest = call["seizure_earliest"], call["seizure_latest"]
        time = f"{earliest:%Y-%m-%d %H:%M:%S}.{earliest.microsecond // 1000:03}"
        within = f"{(latest - earliest).total_seconds():g} s"
        table.add_row(str(call["row"]), time, within, *(printable(call[name] or "") for name in names))
    console.print(table)


def _table(*headings: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _console() -> Console:
    from rich.console import Console

    # a file or a pipe has no width; lines broken at 80 would be unreadable there
    return Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 200)


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _fail(message: str, code: int) -> None:
    click.echo(f"hopback-cdr: {message}", err=True)
    sys.exit(code)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what a person can do something about into a message and an exit code."""
    from cdr_adapters.raw import AdapterError

    try:
        yield
    except AdapterError as error:
        _fail(str(error), EXIT_DATA)
