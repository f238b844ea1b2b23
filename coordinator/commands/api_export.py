"""`hopback-coordinator api export`: a traceback's evidence in one file, and many tracebacks as lines.

Files are written whole or not at all, readable by their owner alone: telephone numbers are in them.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from coordinator.callers import SERVICE
from coordinator.commands.api_line import Line, patience_option, plain, traceback_called
from coordinator.commands.frame import Failed, json_option, write_json
from coordinator.commands.reporting import period_of, period_options
from protos.program import Commands

if TYPE_CHECKING:
    from rich.progress import Progress

    from hopback.v1 import traceback_pb2 as pb

COLUMNS = ("id", "submitted_at", "status", "called", "at", "terminating", "campaign", "found", "hops", "path")
_PAGE = 500
_out = click.Path(dir_okay=False, path_type=Path)


@click.group(cls=Commands)
def export() -> None:
    """Write tracebacks to files: one with all its evidence, or many as lines.

    \b
    hopback-coordinator api export bundle 6d2b5e1e
    hopback-coordinator api export tracebacks --campaign auto-warranty --format csv --out auto-warranty.csv
    """


@export.command()
@click.argument("traceback_id", metavar="ID")
@click.option("--out", type=_out, help="The file to write; ID.zip if not given.")
@click.option("--without-logs", is_flag=True, help="Don't have the agents prove that their logs hold the answers.")
@patience_option
@json_option
@click.pass_obj
def bundle(line: Line, traceback_id: str, out: Path | None, without_logs: bool, as_json: bool) -> None:
    """Fetch the evidence of a closed traceback as one file that anybody can verify.

    It is what `hopback-coordinator bundle` writes. The file arrives whole, by its digest, or is not written.

    \b
    hopback-coordinator api export bundle 6d2b5e1e --out case-17.zip
    hopback-coordinator verify --roots consortium.pem --person ann=ed25519:K7x... case-17.zip
    """
    from coordinator.commands.evidence import write_whole
    from hopback.v1 import traceback_pb2 as pb

    identity = line.patiently(lambda: traceback_called(line, traceback_id))
    request = pb.ExportBundleRequest(traceback_id=identity, without_logs=without_logs)
    data, missing = line.patiently(lambda: _fetched(line, request))
    file = out or Path(f"{identity[:8]}.zip")
    write_whole(file, data)
    for provider in missing:
        click.echo(f"No proof from the log of {provider}: its agent can't be reached.", err=True)
    if as_json:
        write_json({"file": str(file), "bytes": len(data), "without_proof": missing})
    else:
        click.echo(f"{file}: {len(data):,} bytes. What it proves says `hopback-coordinator verify {file}`.")


def _fetched(line: Line, request: pb.ExportBundleRequest) -> tuple[bytes, list[str]]:
    from hopback.v1 import traceback_pb2 as pb
    from protos.codec import digest

    parts, size, sha256, missing = io.BytesIO(), 0, b"", list[str]()
    with _bar() as bar:
        working = bar.add_task("Fetching", total=None)
        for part in line.stream(SERVICE, "ExportBundle", request, pb.ExportBundleResponse):
            if part.size:
                size, sha256, missing = part.size, part.sha256, list(part.without_proof)
                bar.update(working, total=size)
            parts.write(part.data)
            bar.advance(working, len(part.data))
    data = parts.getvalue()
    if len(data) != size or digest(data) != sha256:
        raise Failed("the file did not arrive whole; nothing was written")
    return data, missing


@export.command()
@click.option("--status", default="", help="Only this status, for example origin_found.")
@click.option("--campaign", default="", help="Only this campaign.")
@period_options
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format jsonl: an object a line.")
@click.option("--out", type=_out, help="Write it to a file.")
@patience_option
@click.pass_obj
def tracebacks(
    line: Line, status: str, campaign: str, since: str, until: str, form: str, as_json: bool, out: Path | None
) -> None:
    """Write all tracebacks that you may see, with their hops, newest first; telephone numbers stand in full.

    JSON lines hold what `show --json` writes; CSV has a line a traceback, its path from the terminating provider on,
    and an apostrophe before whatever a spreadsheet would take for a formula, such as a number's plus.

    \b
    hopback-coordinator api export tracebacks --status origin_found --since 2026-10-01 > october.jsonl
    hopback-coordinator api export tracebacks --campaign auto-warranty --format csv --out auto-warranty.csv
    """
    from hopback.v1 import traceback_pb2 as pb
    from protos.codec import unix_ms

    first, last = period_of("", since, until)
    request = pb.ListRequest(
        status=status,
        campaign=campaign,
        page_size=_PAGE,
        since_unix_ms=unix_ms(first),
        until_unix_ms=unix_ms(last) if until else 0,
        with_hops=True,
    )
    write = _json_line if as_json or form == "jsonl" else _csv_line
    count = 0
    with _whole(out) as file, _bar() as bar:
        working = bar.add_task("Tracebacks", total=None)
        if write is _csv_line:
            file.write(_csv(COLUMNS))
        for page in line.pages(SERVICE, "List", request, pb.ListResponse, long=True):
            file.writelines(write(view) for view in page.tracebacks)
            count += len(page.tracebacks)
            bar.update(working, completed=count)
    if out is not None:
        click.echo(f"{out}: {count:,} tracebacks.", err=True)


def _json_line(view: pb.TracebackView) -> str:
    return json.dumps(plain(view), ensure_ascii=False) + "\n"


def _csv_line(view: pb.TracebackView) -> str:
    from coordinator.commands.tables import iso
    from protos.codec import from_unix_ms

    path = [hop.provider for hop in view.hops if not hop.superseded]
    return _csv(
        (
            view.traceback_id,
            iso(from_unix_ms(view.submitted_unix_ms)),
            view.status,
            view.called_number,
            iso(from_unix_ms(view.at_unix_ms)),
            view.terminating,
            view.campaign,
            view.found,
            len(path),
            " < ".join(path),
        )
    )


def _csv(cells: tuple[object, ...]) -> str:
    from coordinator.reports.tables import safe_cell

    buffer = io.StringIO()
    csv.writer(buffer).writerow([safe_cell(cell) for cell in cells])
    return buffer.getvalue()


def _bar() -> Progress:
    from coordinator.present.live import console, progress_bar

    return progress_bar(console(stderr=True))


@contextmanager
def _whole(out: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that is there when it is complete."""
    if out is None:
        yield sys.stdout
        return
    temporary: Callable[[], None] = lambda: None  # noqa: E731
    try:
        descriptor, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
        temporary = Path(name).unlink
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(out)
        temporary = lambda: None  # noqa: E731
    except OSError as error:
        raise Failed(f"{out} can't be written: {error.strerror}") from None
    finally:
        temporary()
