"""`hopback-coordinator api`: the coordinator's service from another machine, with a certificate of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from coordinator.commands.frame import Failed, json_option, numbers_option, show_rich, write_json

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message
    from rich.table import Table

    from hopback.v1 import traceback_pb2 as pb

F = TypeVar("F", bound=Callable[..., Any])
_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class _Line:
    """How the service is reached."""

    server: str
    name: str
    certificate: Path
    key: Path
    roots: Path


@click.group()
@click.option(
    "--server", required=True, envvar="HOPBACK_SERVER", metavar="HOST:PORT", help="Where the coordinator listens."
)
@click.option("--name", default="lab", show_default=True, envvar="HOPBACK_SERVER_NAME", help="The coordinator's name.")
@click.option("--certificate", type=_file, required=True, envvar="HOPBACK_CERTIFICATE", help="Your certificate (PEM).")
@click.option("--key", type=_file, required=True, envvar="HOPBACK_KEY", help="Its key (PEM).")
@click.option("--roots", type=_file, required=True, envvar="HOPBACK_ROOTS", help="The roots that you trust (PEM).")
@click.pass_context
def api(context: click.Context, server: str, name: str, certificate: Path, key: Path, roots: Path) -> None:
    """Use a coordinator's service from elsewhere: submit, watch, show, list, cancel, tasks, answer.

    Who you are is what your certificate says; you see what your role may see. The options may stand in the environment.

    \b
    export HOPBACK_SERVER=traceback.example:7443 HOPBACK_CERTIFICATE=ann.crt HOPBACK_KEY=ann.key HOPBACK_ROOTS=ca.crt
    hopback-coordinator api list
    hopback-coordinator api watch 6d2b5e1e-...
    """
    context.obj = _Line(server, name, certificate, key, roots)


@api.command()
@click.argument("orders", nargs=-1, required=True, metavar="SHA256...")
@json_option
@click.pass_obj
def submit(line: _Line, orders: tuple[str, ...], as_json: bool) -> None:
    """Begin tracebacks under approved orders, named by the SHA-256 of each."""
    from hopback.v1 import traceback_pb2 as pb

    try:
        digests = [bytes.fromhex(text) for text in orders]
    except ValueError:
        raise click.BadParameter("write each order's SHA-256 as 64 hexadecimal digits", param_hint="SHA256") from None
    response = _call(line, "Submit", pb.SubmitRequest(order_sha256=digests), pb.SubmitResponse)
    if as_json:
        write_json([_plain(result) for result in response.results])
    else:
        for text, result in zip(orders, response.results, strict=True):
            said = f"refused: {result.refused}" if result.refused else result.traceback_id
            click.echo(f"{text[:8]}  {said}{'  (submitted before)' if result.existing else ''}")
    if any(result.refused for result in response.results):
        raise SystemExit(65)


@api.command()
@click.argument("traceback_id", metavar="ID")
@json_option
@numbers_option
@click.pass_obj
def show(line: _Line, traceback_id: str, as_json: bool, show_numbers: bool) -> None:
    """Show one traceback as far as you may see it."""
    from hopback.v1 import traceback_pb2 as pb

    response = _call(line, "Get", pb.GetRequest(traceback_id=traceback_id), pb.GetResponse)
    if as_json:
        write_json(_plain(response.traceback))
    else:
        show_rich(_chain(response.traceback, show_numbers=show_numbers))


@api.command()
@click.argument("traceback_id", metavar="ID")
@json_option
@numbers_option
@click.pass_obj
def watch(line: _Line, traceback_id: str, as_json: bool, show_numbers: bool) -> None:
    """Watch a traceback until nothing of it can change for you; with --json one line for each state."""
    import json

    from rich.live import Live

    from coordinator.live import console
    from hopback.v1 import traceback_pb2 as pb

    with _reached(line) as channel, _told():
        method = channel.unary_stream(_path("Watch"), pb.WatchRequest.SerializeToString, pb.WatchResponse.FromString)
        states = method(pb.WatchRequest(traceback_id=traceback_id))
        if as_json:
            for state in states:
                click.echo(json.dumps(_plain(state.traceback)))
            return
        with Live(console=console(), auto_refresh=False) as live:
            for state in states:
                live.update(_chain(state.traceback, show_numbers=show_numbers), refresh=True)


@api.command("list")
@click.option("--status", default="", help="Only this status, for example origin_found.")
@click.option("--campaign", default="", help="Only this campaign.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many.")
@json_option
@numbers_option
@click.pass_obj
def list_tracebacks(line: _Line, status: str, campaign: str, limit: int, as_json: bool, show_numbers: bool) -> None:
    """List the tracebacks that you may see, newest first."""
    from hopback.v1 import traceback_pb2 as pb

    request = pb.ListRequest(status=status, campaign=campaign, page_size=limit)
    views = _call(line, "List", request, pb.ListResponse).tracebacks
    if as_json:
        write_json([_plain(view) for view in views])
    else:
        show_rich(
            _table(("id", "called", "at (UTC)", "status", "found", "campaign"), [_row(v, show_numbers) for v in views])
        )


@api.command()
@click.argument("traceback_id", metavar="ID")
@click.option("--reason", required=True, help="Why; it is kept.")
@json_option
@click.pass_obj
def cancel(line: _Line, traceback_id: str, reason: str, as_json: bool) -> None:
    """Close a traceback for good."""
    from hopback.v1 import traceback_pb2 as pb

    request = pb.CancelRequest(traceback_id=traceback_id, reason=reason)
    view = _call(line, "Cancel", request, pb.CancelResponse).traceback
    if as_json:
        write_json(_plain(view))
    else:
        click.echo(f"{view.traceback_id}: {view.status}")


@api.command()
@click.option("--all", "everything", is_flag=True, help="Those that are answered, too.")
@json_option
@numbers_option
@click.pass_obj
def tasks(line: _Line, everything: bool, as_json: bool, show_numbers: bool) -> None:
    """List what persons are asked, by when it is due."""
    from hopback.v1 import traceback_pb2 as pb

    found = _call(line, "ListTasks", pb.ListTasksRequest(open_only=not everything), pb.ListTasksResponse).tasks
    if as_json:
        write_json([_plain(task) for task in found])
        return
    rows = [
        (task.task_id, task.provider, _number(task.called_number, show_numbers), _time(task.at_unix_ms), task.named_by,
         task.state.replace("_", " "), _time(task.due_unix_ms))
        for task in found
    ]  # fmt: skip
    show_rich(_table(("task", "provider", "called", "at (UTC)", "named by", "state", "due (UTC)"), rows))


@api.command()
@click.argument("task_id", metavar="TASK")
@click.option("--outcome", required=True, help="upstream, originated_here, foreign_upstream, not_found, refused, ...")
@click.option("--upstream", default="", help="Who handed the call over: a provider id, or a name as you know it.")
@click.option("--person", required=True, help="Who answers.")
@click.option("--token", default="", help="The one-time token of a letter.")
@json_option
@click.pass_obj
def answer(line: _Line, task_id: str, outcome: str, upstream: str, person: str, token: str, as_json: bool) -> None:
    """Answer a task for a provider."""
    from hopback.v1 import traceback_pb2 as pb

    request = pb.AnswerTaskRequest(task_id=task_id, outcome=outcome, upstream=upstream, person=person, token=token)
    response = _call(line, "AnswerTask", request, pb.AnswerTaskResponse)
    if as_json:
        write_json(_plain(response.task))
    else:
        click.echo(f"{response.task.task_id}: {response.task.state}")


@contextmanager
def _reached(line: _Line) -> Iterator[grpc.Channel]:
    import grpc

    from protos.identity import coordinator_tls_name

    credentials = grpc.ssl_channel_credentials(
        line.roots.read_bytes(), line.key.read_bytes(), line.certificate.read_bytes()
    )
    pinned = (("grpc.ssl_target_name_override", coordinator_tls_name(line.name)),)
    with grpc.secure_channel(line.server, credentials, pinned) as channel:
        yield channel


@contextmanager
def _told() -> Iterator[None]:
    """What the service says no with ends the command."""
    import grpc

    from protos.printable import printable

    try:
        yield
    except grpc.RpcError as error:
        code, details = error.code(), printable(error.details() or "")
        raise Failed(f"{code.name.lower().replace('_', ' ')}: {details}") from None


def _call(line: _Line, method: str, request: Message, kind: Any) -> Any:
    with _reached(line) as channel, _told():
        call = channel.unary_unary(_path(method), type(request).SerializeToString, kind.FromString)
        return call(request, timeout=_TIMEOUT_S)


def _path(method: str) -> str:
    from coordinator.api.callers import SERVICE

    return f"/{SERVICE}/{method}"


def _plain(message: Message) -> dict[str, Any]:
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _chain(view: pb.TracebackView, *, show_numbers: bool) -> Table:
    rows = []
    for hop in view.hops:
        said = hop.problem or hop.outcome or "asking"
        rows.append(
            (hop.provider, hop.named_by, said.lower().replace("_", " "), hop.upstream, _time(hop.ended_unix_ms))
        )
    called = _number(view.called_number, show_numbers)
    title = f"{view.traceback_id}  {called} at {_time(view.at_unix_ms)}: {view.status.replace('_', ' ')} {view.found}"
    return _table(("provider", "named by", "answer", "came from", "answered (UTC)"), rows, title)


def _row(view: pb.TracebackView, show_numbers: bool) -> tuple[str, ...]:
    called = _number(view.called_number, show_numbers)
    status = view.status.replace("_", " ")
    return view.traceback_id, called, _time(view.at_unix_ms), status, view.found, view.campaign


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], title: str | None = None) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title=Text(title) if title else None, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for cells in rows:
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _number(text: str, show: bool) -> str:
    from coordinator.present import number

    return number(text or None, show=show)


def _time(unix_ms: int) -> str:
    from protos.codec import from_unix_ms

    return f"{from_unix_ms(unix_ms):%Y-%m-%d %H:%M:%S}" if unix_ms else ""
