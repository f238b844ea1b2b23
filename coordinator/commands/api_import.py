"""`hopback-coordinator api import`: orders from a file of calls, made on this machine.

A file is read and checked here, every bad row with its reason; what travels are orders, as exact bytes, the seal over
them where they are signed at once, and beside them the Identity headers that came with the calls.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.callers import ORDERS
from coordinator.commands.api_identity import send_identities
from coordinator.commands.api_line import Line, patience_option
from coordinator.commands.api_orders import next_of, sign_set
from coordinator.commands.api_registry import known_providers
from coordinator.commands.api_words import in_reach
from coordinator.commands.drafting import wording_of, wording_options
from coordinator.commands.frame import BAD_DATA, BadData, json_option, now, write_json
from coordinator.commands.signing import signer_at

if TYPE_CHECKING:
    from datetime import timedelta

    from coordinator.campaigns.files import Distinct
    from coordinator.ordering.drafts import Wording
    from coordinator.ordering.orders import OrderSet
    from hopback.v1 import order_pb2 as pb
    from protos.orders import Order

_path = click.Path(exists=True, dir_okay=False, path_type=Path)
_PART = 1000
"""Orders in one message."""


@click.command("import")
@click.argument("file", type=_path)
@click.option("--format", "form", type=click.Choice(["csv", "jsonl", "parquet"]), help="Where the ending doesn't tell.")
@wording_options
@click.option("--submitter", default="", help="Who will sign as submitter; you, if not given.")
@click.option("--sign-with", "key_path", type=_path, help="Your key for orders: submit them at once.")
@click.option("--dry-run", is_flag=True, help="Read and check, send nothing.")
@patience_option
@json_option
@click.pass_obj
def import_calls(
    line: Line,
    /,
    file: Path,
    form: str | None,
    submitter: str,
    key_path: Path | None,
    dry_run: bool,
    as_json: bool,
    **words: str,
) -> None:
    """Draft orders for the calls of FILE (CSV, JSON lines or Parquet), and send them to be signed and approved.

    Columns: called, at, terminating[, calling][, window][, identity]. Several reports of one call are one order. Every
    row that is no call is named with its line and the reason; the others are taken, and the exit code is 65. Nobody is
    asked anything before the orders are submitted, approved by another person, and their tracebacks begun.

    \b
    hopback-coordinator api import calls.parquet --campaign auto-warranty --evidence complaint.wav \\
        --certify "I have listened to the recording." --sign-with ann.key
    """
    from coordinator.campaigns.files import distinct, read_reports
    from coordinator.ordering.intake import CallsFileError, Intake, RejectedCall
    from coordinator.present.chains import counted
    from coordinator.registry import RegistrySnapshot
    from protos.codec import digest

    wording, life = wording_of(words)
    signer = signer_at(key_path) if key_path else None
    who = submitter or _own_name(line)
    intake = Intake(RegistrySnapshot(line.patiently(lambda: known_providers(line))), now())
    try:
        rows = list(read_reports(file, intake, form))
    except CallsFileError as error:
        raise BadData(f"{file}: {error}") from None
    rejected = [row for row in rows if isinstance(row, RejectedCall)]
    reports = [row for row in rows if not isinstance(row, RejectedCall)]
    for row in rejected:
        click.echo(f"{file}:{row.line}: {in_reach('; '.join(row.problems), line.role)}", err=True)
    if not reports:
        raise BadData(f"{file}: no order can be made of any of its {len(rows):,} rows")
    calls, _ = distinct(reports)
    counts: dict[str, Any] = {
        "orders": len(calls),
        "repeated": len(reports) - len(calls),
        "identities": sum(one.identity is not None for one in calls),
        "rejected": [{"line": row.line, "problems": list(row.problems)} for row in rejected],
    }
    said = (
        f"{counted(len(calls), 'order')}; {counted(len(rows), 'row')}, {counts['repeated']:,} of a call that is there"
    )
    said += f" already, {len(rejected):,} rejected"
    if counts["identities"]:
        said += f"; {counted(counts['identities'], 'Identity header')}"
    made = _set_of(line, calls, wording, life, who, file.parent)
    if dry_run:
        write_json(counts) if as_json else click.echo(f"{said}. Nothing was sent.")
    else:
        view = _draft(line, made)
        headers = {
            digest(exact): one.identity
            for exact, one in zip(made.exact, calls, strict=True)
            if one.identity is not None
        }
        send_identities(line, headers)
        if signer is not None:
            from protos.signing import Domain

            view = sign_set(line, made, Domain.ORDER, signer.seal_tree(Domain.ORDER, made.tree).to_message())
        if as_json:
            write_json(counts | {"set": view.set_id, "state": view.state})
        else:
            click.echo(f"{said}. Set {view.set_id[:8]}: {view.state}.")
            click.echo(next_of(view))
    if rejected:
        sys.exit(BAD_DATA)


def _own_name(line: Line) -> str:
    from coordinator.callers import Role

    caller = line.caller()
    if caller is None or caller.role is not Role.REQUESTER:
        raise click.UsageError("--submitter: say who will submit these orders; your certificate is no requester's")
    return caller.name


def _set_of(
    line: Line, calls: list[Distinct], wording: Wording, life: timedelta, submitter: str, directory: Path
) -> OrderSet:
    """The calls as a set of orders; what is wrong with what is said of them all ends the command."""
    from coordinator.ordering.drafts import PURPOSES, evidence_named
    from coordinator.ordering.orders import OrdersError, OrderSet, Terms, order_of
    from protos.orders import encode_order

    problems = [
        f"--{option}: missing"
        for option, text in (("campaign", wording.campaign), ("certify", wording.certification))
        if not text
    ]
    try:
        evidence = evidence_named(wording.evidence, directory)
    except ValueError as error:
        problems.append(f"--evidence: {error}")
    if problems:
        raise click.UsageError("\n  ".join(["no order can be made of these calls:", *problems]))
    terms = Terms(
        coordinator=line.name,
        purpose=PURPOSES[wording.purpose],
        legal_basis=wording.legal_basis,
        campaign=wording.campaign,
        evidence_sha256=evidence,
        submitter=submitter,
        certification=wording.certification,
        life=life,
    )
    at = now()

    def orders() -> Iterator[Order]:
        for one in calls:
            yield order_of(one.call, terms, at, uuid.uuid4(), os.urandom(16))

    try:
        return OrderSet.of(map(encode_order, orders()))
    except OrdersError as error:
        raise BadData(str(error)) from None


def _draft(line: Line, orders: OrderSet) -> pb.OrderSetView:
    from coordinator.present.live import console, progress_bar
    from hopback.v1 import order_pb2 as pb

    def send() -> pb.OrderSetView:
        with progress_bar(console(stderr=True)) as bar:
            working = bar.add_task("Sending orders", total=len(orders.exact))

            def parts() -> Iterator[pb.DraftOrdersRequest]:
                for start in range(0, len(orders.exact), _PART):
                    some = orders.exact[start : start + _PART]
                    yield pb.DraftOrdersRequest(orders=some)
                    bar.advance(working, len(some))

            return line.send(ORDERS, "DraftOrders", parts(), pb.DraftOrdersResponse).set

    return line.patiently(send)
