"""`hopback-coordinator api order`: sets of orders, signed with keys that stay here, and what came with their calls.

What travels are orders, as exact bytes, and seals over them. Whoever
signs does so over the bytes that came and that were shown to her: a coordinator that shows one set and means another
gets no signature for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.callers import ORDERS
from coordinator.commands.api_line import Line, plain, whole_id
from coordinator.commands.frame import BadData, json_option, numbers_option, show_rich, write_json
from coordinator.commands.signing import all_option, signer_at
from coordinator.commands.tables import table
from protos.program import Commands

if TYPE_CHECKING:
    from coordinator.ordering.orders import OrderSet
    from hopback.v1 import order_pb2 as pb
    from protos.signing import Domain

_path = click.Path(exists=True, dir_okay=False, path_type=Path)
_key_option = click.option(
    "--key", "key_path", type=_path, required=True, help="Your key for orders (PEM, Ed25519); it stays here."
)


@click.group(cls=Commands)
def order() -> None:
    """Sets of orders: what waits for a signature, and signing with a key that stays on this machine.

    \b
    hopback-coordinator api order list
    hopback-coordinator api order show 5f1c2a7e
    hopback-coordinator api order submit 5f1c2a7e --key ann.key
    hopback-coordinator api order approve 5f1c2a7e --key bob.key
    """


@order.command("list")
@json_option
@click.pass_obj
def list_sets(line: Line, as_json: bool) -> None:
    """List the sets that you may see, newest first; to an approver, those that wait for a decision."""
    from coordinator.commands.api_chain import minute

    found = list(_sets(line))
    if as_json:
        write_json([plain(one) for one in found])
    elif found:
        rows = [
            (
                one.set_id[:8],
                f"{one.size:,}",
                ", ".join(one.campaigns),
                one.submitter,
                minute(one.expires_unix_ms),
                one.state,
            )
            for one in found
        ]
        columns = ("Set", "Orders", "Campaign", "Submitter", "Valid until (UTC)", "State")
        show_rich(table(columns, rows, right=("Orders",), whole=("Set", "Orders", "Valid until (UTC)", "State")))
    else:
        click.echo("No orders that you may see.")


@order.command("show")
@click.argument("set_id", metavar="SET")
@all_option
@json_option
@numbers_option
@click.pass_obj
def show_set(line: Line, set_id: str, everything: bool, as_json: bool, show_numbers: bool) -> None:
    """Show a set of orders, and who signed it."""
    from coordinator.ordering.orders import State
    from coordinator.present.orders import set_json

    view, orders = orders_of(line, set_id)
    if as_json:
        write_json(set_json(orders, State(view.state), _signed(view)))
        return
    _show(view, orders, show_numbers=show_numbers, everything=everything)
    click.echo(next_of(view))


_yes_option = click.option("--yes", "sure", is_flag=True, help="Don't ask whether this is what you want to sign.")


@order.command("submit")
@click.argument("set_id", metavar="SET")
@_key_option
@_yes_option
@all_option
@json_option
@numbers_option
@click.pass_obj
def submit_set(
    line: Line, set_id: str, key_path: Path, sure: bool, everything: bool, as_json: bool, show_numbers: bool
) -> None:
    """See what you certify, and sign it as the submitter."""
    from protos.signing import Domain

    signer = signer_at(key_path)
    view, orders = orders_of(line, set_id)
    _see(
        view,
        orders,
        "Do you certify and submit these orders?",
        sure=sure,
        as_json=as_json,
        show_numbers=show_numbers,
        everything=everything,
    )
    _done(
        sign_set(line, orders, Domain.ORDER, signer.seal_tree(Domain.ORDER, orders.tree).to_message()), as_json=as_json
    )


@order.command("approve")
@click.argument("set_id", metavar="SET")
@_key_option
@_yes_option
@all_option
@json_option
@numbers_option
@click.pass_obj
def approve_set(
    line: Line, set_id: str, key_path: Path, sure: bool, everything: bool, as_json: bool, show_numbers: bool
) -> None:
    """See what you approve, and sign it; nobody can approve what she submitted."""
    from protos.signing import Domain

    signer = signer_at(key_path)
    view, orders = orders_of(line, set_id)
    if any(one.domain is Domain.ORDER and one.seal.key_id == signer.key_id for one in orders.signatures):
        raise BadData("this key submitted them: another person must approve them")
    _see(
        view,
        orders,
        "Do you approve these orders?",
        sure=sure,
        as_json=as_json,
        show_numbers=show_numbers,
        everything=everything,
    )
    seal = signer.seal_tree(Domain.APPROVAL, orders.tree).to_message()
    _done(sign_set(line, orders, Domain.APPROVAL, seal), as_json=as_json)


def _see(
    view: pb.OrderSetView,
    orders: OrderSet,
    question: str,
    *,
    sure: bool,
    everything: bool,
    as_json: bool,
    show_numbers: bool,
) -> None:
    """Show what is to be signed, and ask; a program that wants JSON has seen it elsewhere, and says so."""
    if as_json and not sure:
        raise click.UsageError("--json shows nothing to be asked about: see `api order show SET`, and say --yes")
    if not as_json:
        _show(view, orders, show_numbers=show_numbers, everything=everything)
    if not sure:
        click.confirm(question, abort=True)


def orders_of(line: Line, text: str) -> tuple[pb.OrderSetView, OrderSet]:
    """A set with its orders, as its own bytes make it: its id is computed here, never believed."""
    from coordinator.ordering.orders import OrdersError, OrderSet, Signature
    from coordinator.present.live import console, progress_bar
    from hopback.v1 import order_pb2 as pb
    from protos.codec import ContractError
    from protos.signing import Seal

    identity = line.patiently(lambda: whole_id(text, "set", lambda: (one.set_id for one in _sets(line))))

    def fetch() -> tuple[pb.OrderSetView, list[bytes]]:
        view, exact = pb.OrderSetView(), list[bytes]()
        with progress_bar(console(stderr=True)) as bar:
            working = bar.add_task("Fetching orders", total=None)
            request = pb.GetOrderSetRequest(set_id=identity)
            for part in line.stream(ORDERS, "GetOrderSet", request, pb.GetOrderSetResponse):
                if part.HasField("set"):
                    view = part.set
                    bar.update(working, total=view.size)
                exact += part.orders
                bar.update(working, completed=len(exact))
        return view, exact

    view, exact = line.patiently(fetch)
    try:
        signatures = [Signature(_domain(one.kind), Seal.of_message(one.seal)) for one in view.signatures]
        orders = OrderSet.of(exact, signatures)
    except (OrdersError, ContractError) as error:
        raise BadData(f"what came is no set of orders: {error}") from None
    if str(orders.id) != identity:
        raise BadData("what came is another set of orders than the one that was asked for")
    if orders.orders[0].coordinator != line.name:
        raise BadData(f"these orders are for the coordinator {orders.orders[0].coordinator}, not for {line.name}")
    return view, orders


def _sets(line: Line) -> Iterator[pb.OrderSetView]:
    from hopback.v1 import order_pb2 as pb

    for page in line.pages(ORDERS, "ListOrderSets", pb.ListOrderSetsRequest(), pb.ListOrderSetsResponse):
        yield from page.sets


def _domain(kind: int) -> Domain:
    from hopback.v1 import order_pb2 as pb
    from protos.signing import Domain

    return Domain.APPROVAL if kind == pb.SIGNATURE_KIND_APPROVAL else Domain.ORDER


def sign_set(line: Line, orders: OrderSet, domain: Domain, seal: Any) -> pb.OrderSetView:
    from hopback.v1 import order_pb2 as pb
    from protos.signing import Domain as Domains

    kind = pb.SIGNATURE_KIND_APPROVAL if domain is Domains.APPROVAL else pb.SIGNATURE_KIND_SUBMISSION
    request = pb.SignOrderSetRequest(set_id=str(orders.id), kind=kind, seal=seal)
    return line.patiently(lambda: line.call(ORDERS, "SignOrderSet", request, pb.SignOrderSetResponse, long=True)).set


def _signed(view: pb.OrderSetView) -> list[Any]:
    from protos.codec import from_unix_ms

    return [(one.person, _domain(one.kind).value, from_unix_ms(one.signed_unix_ms)) for one in view.signatures]


def _show(view: pb.OrderSetView, orders: OrderSet, *, show_numbers: bool, everything: bool) -> None:
    from coordinator.ordering.orders import State
    from coordinator.present.orders import whole_set

    signed, needed = _signed(view), view.approvals_needed
    state = State(view.state)
    show_rich(whole_set(orders, state, signed, approvals=needed, show_numbers=show_numbers, everything=everything))


def _done(view: pb.OrderSetView, *, as_json: bool) -> None:
    if as_json:
        write_json(plain(view))
    else:
        click.echo(f"Set {view.set_id[:8]}: signed; it is {view.state}.")
        click.echo(next_of(view))


def next_of(view: pb.OrderSetView) -> str:
    short = view.set_id[:8]
    approved = Counter(_domain(one.kind).value for one in view.signatures)["approval"]
    return "Next: " + {
        "draft": f"{view.submitter} signs it: `hopback-coordinator api order submit {short} --key KEY`",
        "submitted": (
            f"{view.approvals_needed - approved} more must approve it, others than {view.submitter}: "
            f"`hopback-coordinator api order approve {short} --key KEY`"
        ),
        "approved": (
            f"{view.submitter} or an analyst begins its tracebacks: `hopback-coordinator api submit --set {short}`"
        ),
    }.get(view.state, "nobody may be asked under it any more: draft a new one")
