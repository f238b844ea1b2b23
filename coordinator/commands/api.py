"""`hopback-coordinator api`: the coordinator's services from another machine, with a certificate of one's own.

Here are tracebacks and tasks; `api_orders`, `api_export`, `api_report` and `api_registry` add theirs. An id may be
shortened to its first characters wherever that leaves one alone among those that the caller may see.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.callers import SERVICE
from coordinator.commands.api_export import export
from coordinator.commands.api_identity import attach
from coordinator.commands.api_import import import_calls
from coordinator.commands.api_line import Line, patience_option, plain, traceback_called, whole_id
from coordinator.commands.api_orders import order, orders_of
from coordinator.commands.api_registry import registry
from coordinator.commands.api_report import report
from coordinator.commands.frame import BadData, json_option, numbers_option, show_rich, write_json
from coordinator.commands.tables import table
from protos.program import Commands

if TYPE_CHECKING:
    from hopback.v1 import traceback_pb2 as pb

_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_PAGE = 1000
"""Tasks in one message."""
_BLOCK = 1000
"""Orders that are submitted in one message."""


@click.group(cls=Commands)
@click.option(
    "--server", required=True, envvar="HOPBACK_SERVER", metavar="HOST:PORT", help="Where the coordinator listens."
)
@click.option("--name", default="lab", show_default=True, envvar="HOPBACK_SERVER_NAME", help="The coordinator's name.")
@click.option("--certificate", type=_file, required=True, envvar="HOPBACK_CERTIFICATE", help="Your certificate (PEM).")
@click.option("--key", type=_file, required=True, envvar="HOPBACK_KEY", help="Its key (PEM).")
@click.option("--roots", type=_file, required=True, envvar="HOPBACK_ROOTS", help="The roots that you trust (PEM).")
@click.pass_context
def api(context: click.Context, server: str, name: str, certificate: Path, key: Path, roots: Path) -> None:
    """Use a coordinator's services from elsewhere.

    Who you are is what your certificate says; you see what your role may see. The options may stand in the environment.

    \b
    export HOPBACK_SERVER=traceback.example:7443 HOPBACK_ROOTS=ca.crt
    export HOPBACK_CERTIFICATE=ann-tls.crt HOPBACK_KEY=ann-tls.key
    hopback-coordinator api import calls.csv --campaign auto-warranty --evidence complaint.wav \\
        --certify "I have listened to the recording." --sign-with ann.key
    hopback-coordinator api order approve 5f1c2a7e --key bob.key      # as bob
    hopback-coordinator api submit --set 5f1c2a7e
    hopback-coordinator api watch 6d2b5e1e
    hopback-coordinator api export bundle 6d2b5e1e
    hopback-coordinator api report transparency --quarter 2026Q3
    """
    context.obj = Line(server, name, certificate, key, roots)


@api.command()
@click.argument("orders", nargs=-1, metavar="[SHA256]...")
@click.option("--set", "set_id", default="", help="All orders of this set.")
@patience_option
@json_option
@click.pass_obj
def submit(line: Line, orders: tuple[str, ...], set_id: str, as_json: bool) -> None:
    """Begin tracebacks under approved orders: of a whole set, or named by the SHA-256 of each.

    Each is begun or refused for itself; then the exit code is 65. To submit an order again changes nothing.

    \b
    hopback-coordinator api submit --set 5f1c2a7e
    hopback-coordinator api submit 3f9a0c...
    """
    from coordinator.present.live import console, progress_bar
    from hopback.v1 import traceback_pb2 as pb
    from protos.codec import digest

    if bool(orders) == bool(set_id):
        raise click.UsageError("name orders by their SHA-256, or a set of them with --set")
    try:
        digests = [bytes.fromhex(text) for text in orders]
    except ValueError:
        raise click.BadParameter("write each order's SHA-256 as 64 hexadecimal digits", param_hint="SHA256") from None
    if set_id:
        digests = [digest(exact) for exact in orders_of(line, set_id)[1].exact]
    results: list[pb.Submitted] = []
    with progress_bar(console(stderr=True)) as bar:
        working = bar.add_task("Submitting", total=len(digests))
        for start in range(0, len(digests), _BLOCK):
            request = pb.SubmitRequest(order_sha256=digests[start : start + _BLOCK])
            done = line.patiently(lambda: line.call(SERVICE, "Submit", request, pb.SubmitResponse, long=True))  # noqa: B023
            results += done.results
            bar.advance(working, len(done.results))
    refused = sum(bool(one.refused) for one in results)
    if as_json:
        write_json([plain(result) for result in results])
    elif set_id:
        known = sum(one.existing for one in results)
        click.echo(f"{len(results) - refused - known:,} begun, {known:,} were begun before, {refused:,} refused.")
        click.echo(
            "How they go: `hopback-coordinator api list --campaign NAME`, with `--status` for those that stopped."
        )
        for said in dict.fromkeys(one.refused for one in results if one.refused):
            click.echo(f"refused: {said}")
    else:
        for order_sha256, result in zip(digests, results, strict=True):
            said = f"refused: {result.refused}" if result.refused else result.traceback_id
            click.echo(f"{order_sha256.hex()[:8]}  {said}{'  (submitted before)' if result.existing else ''}")
    if refused:
        raise SystemExit(BadData.exit_code)


@api.command()
@click.argument("traceback_id", metavar="ID")
@json_option
@numbers_option
@click.pass_obj
def show(line: Line, traceback_id: str, as_json: bool, show_numbers: bool) -> None:
    """Show one traceback as far as you may see it."""
    from coordinator.commands.api_chain import drawn
    from hopback.v1 import traceback_pb2 as pb

    request = pb.GetRequest(traceback_id=traceback_called(line, traceback_id))
    found = line.call(SERVICE, "Get", request, pb.GetResponse).traceback
    if as_json:
        write_json(plain(found))
    else:
        show_rich(drawn(found, line.role, show_numbers=show_numbers))


@api.command()
@click.argument("traceback_id", metavar="ID")
@patience_option
@json_option
@numbers_option
@click.pass_obj
def watch(line: Line, traceback_id: str, as_json: bool, show_numbers: bool) -> None:
    """Watch a traceback until nothing of it can change for you; with --json one line for each state.

    A coordinator that restarts meanwhile is waited for; what changed then is seen at once, no state is shown twice.
    """
    from rich.live import Live

    from coordinator.commands.api_chain import drawn
    from coordinator.present.live import console
    from hopback.v1 import traceback_pb2 as pb

    request = pb.WatchRequest(traceback_id=line.patiently(lambda: traceback_called(line, traceback_id)))
    last: list[pb.TracebackView] = []

    def states() -> Iterator[pb.TracebackView]:
        for state in line.stream(SERVICE, "Watch", request, pb.WatchResponse):
            if last != [state.traceback]:
                last[:] = [state.traceback]
                yield state.traceback

    if as_json:

        def lines() -> None:
            for state in states():
                click.echo(json.dumps(plain(state)))

        line.patiently(lines)
        return
    role = line.role
    with Live(console=console(), auto_refresh=False) as live:

        def drawing() -> None:
            for state in states():
                live.update(drawn(state, role, show_numbers=show_numbers), refresh=True)

        line.patiently(drawing)


@api.command("list")
@click.option("--status", default="", help="Only this status, for example origin_found.")
@click.option("--campaign", default="", help="Only this campaign.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many.")
@json_option
@numbers_option
@click.pass_obj
def list_tracebacks(line: Line, status: str, campaign: str, limit: int, as_json: bool, show_numbers: bool) -> None:
    """List the tracebacks that you may see, newest first; `api export tracebacks` writes all of them."""
    from coordinator.commands.api_chain import listed
    from coordinator.tracing.chain import Status
    from hopback.v1 import traceback_pb2 as pb

    if status and status not in (known := (*(one.value for one in Status), "open", "answered")):
        raise click.BadParameter(
            f"one of {', '.join(known)} (the last two are what providers see)", param_hint="--status"
        )
    request = pb.ListRequest(status=status, campaign=campaign, page_size=limit)
    found: list[pb.TracebackView] = []
    for page in line.pages(SERVICE, "List", request, pb.ListResponse):  # one may be short, and not the last one
        found.extend(page.tracebacks)
        if len(found) >= limit:
            break
    if as_json:
        write_json([plain(view) for view in found[:limit]])
    elif found:
        show_rich(listed(found[:limit], show_numbers=show_numbers))
        if page.next_page_token or len(found) > limit:
            click.echo("There are more: see --limit, or `hopback-coordinator api export tracebacks`.")
    else:
        click.echo("No tracebacks that you may see.")


@api.command()
@click.argument("traceback_id", metavar="ID")
@click.option("--reason", required=True, help="Why; it is kept.")
@json_option
@click.pass_obj
def cancel(line: Line, traceback_id: str, reason: str, as_json: bool) -> None:
    """Close a traceback for good."""
    from hopback.v1 import traceback_pb2 as pb

    request = pb.CancelRequest(traceback_id=traceback_called(line, traceback_id), reason=reason)
    view = line.call(SERVICE, "Cancel", request, pb.CancelResponse).traceback
    if as_json:
        write_json(plain(view))
    else:
        click.echo(f"{view.traceback_id}: {view.status}")


@api.command()
@click.option("--all", "everything", is_flag=True, help="Those that are answered, too.")
@json_option
@numbers_option
@click.pass_obj
def tasks(line: Line, everything: bool, as_json: bool, show_numbers: bool) -> None:
    """List what persons are asked, by when it is due."""
    from coordinator.commands.api_chain import minute, second

    found = list(_tasks(line, open_only=not everything))
    if as_json:
        write_json([plain(task) for task in found])
        return
    if not found:
        click.echo("Nobody is asked anything." if everything else "Nothing waits for a person.")
        return
    called = ("Called",) if show_numbers else ()
    rows = [
        (task.task_id[:8], task.provider, *(task.called_number for _ in called), second(task.at_unix_ms),
         minute(task.due_unix_ms), _stands(task))
        for task in found
    ]  # fmt: skip
    fixed = ("Task", *called, "At (UTC)", "Due (UTC)")
    show_rich(table((fixed[0], "Provider", *fixed[1:], "State"), rows, whole=fixed))
    if not show_numbers:
        click.echo("Which calls to look for: --show-numbers.")


def _stands(task: pb.TaskView) -> str:
    if task.upstream_name:
        return f"to be matched: {task.upstream_name}"
    if task.to_attest:
        return "to be attested"
    return task.state.replace("_", " ") + (", look again" if task.why == "second_look" else "")


def _say_task(task: pb.TaskView, suggestions: Iterable[str] = ()) -> None:
    """Where a task stands after a change, and what is next."""
    short = task.task_id[:8]
    click.echo(f"Task {short}: {_stands(task)}.")
    if task.upstream_name:
        perhaps = ", ".join(suggestions)
        who = f" Perhaps it is {perhaps}." if perhaps else ""
        click.echo(f"Next: an analyst says who that is: `hopback-coordinator api match {short} PROVIDER`.{who}")
    elif task.to_attest:
        click.echo(f"Next: an approver, at the coordinator: `hopback-coordinator tasks attest {short} --key KEY`.")


@api.command()
@click.argument("task_id", metavar="TASK")
@click.option("--outcome", required=True, help="upstream, originated_here, foreign_upstream, not_found, refused, ...")
@click.option("--upstream", default="", help="Who handed the call over: a provider id, or a name as you know it.")
@click.option("--handover", default="", help="confirmed or denied: was the call handed to who named this provider?")
@click.option("--ask-called", default="", help="Number to ask the upstream for, where it was translated.")
@click.option("--seized-at", default="", help="When the provider's own record says that the call began, with zone.")
@click.option("--refusal", default="", help="policy or records_gap, for the outcome refused.")
@click.option("--note", default="", help="Anything else.")
@click.option("--person", required=True, help="Who answers.")
@click.option("--token", default="", help="The one-time token of a letter.")
@json_option
@click.pass_obj
def answer(line: Line, /, task_id: str, seized_at: str, as_json: bool, **said: str) -> None:
    """Answer a task for a provider."""
    from datetime import UTC, datetime

    from coordinator.ordering.intake import parse_time
    from hopback.v1 import traceback_pb2 as pb
    from protos.codec import unix_ms

    try:
        seized = unix_ms(parse_time(seized_at, datetime.now(UTC))) if seized_at else 0
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--seized-at") from None
    request = pb.AnswerTaskRequest(task_id=_task_called(line, task_id), seized_at_unix_ms=seized, **said)
    response = line.call(SERVICE, "AnswerTask", request, pb.AnswerTaskResponse)
    if as_json:
        write_json(plain(response.task))
        return
    _say_task(response.task, response.suggestions)


@api.command()
@click.argument("task_id", metavar="TASK")
@click.argument("provider")
@json_option
@click.pass_obj
def match(line: Line, task_id: str, provider: str, as_json: bool) -> None:
    """Say that the name which was typed in the answer to TASK means PROVIDER.

    \b
    hopback-coordinator api tasks                              # which names are to be matched
    hopback-coordinator api registry suggest "Birch Telecom LLC"
    hopback-coordinator api match 81c0 birch
    """
    from hopback.v1 import traceback_pb2 as pb

    request = pb.MatchTaskRequest(task_id=_task_called(line, task_id), provider=provider)
    task = line.call(SERVICE, "MatchTask", request, pb.MatchTaskResponse).task
    if as_json:
        write_json(plain(task))
    else:
        _say_task(task)


order.add_command(attach)
for command in (import_calls, order, export, report, registry):
    api.add_command(command)


def _task_called(line: Line, text: str) -> str:
    return whole_id(text, "task", lambda: (task.task_id for task in _tasks(line, open_only=False)))


def _tasks(line: Line, *, open_only: bool) -> Iterator[pb.TaskView]:
    from hopback.v1 import traceback_pb2 as pb

    request = pb.ListTasksRequest(open_only=open_only, page_size=_PAGE)
    for page in line.pages(SERVICE, "ListTasks", request, pb.ListTasksResponse):
        yield from page.tasks
