"""`hopback-coordinator api order attach`: Identity headers that came with the calls of orders.

A header is read and checked on this machine, and at the coordinator again. It stands beside its order: nothing that
was signed changes by it, and one that is there stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.callers import ORDERS
from coordinator.commands.api_line import Line, patience_option
from coordinator.commands.api_orders import orders_of
from coordinator.commands.frame import BadData, text_of

if TYPE_CHECKING:
    from coordinator.stir.passport import Identity

_path = click.Path(exists=True, dir_okay=False, path_type=Path)
_PART = 100
"""Headers in one message."""


@click.command("attach")
@click.argument("set_id", metavar="SET")
@click.option("--order", "order_id", default="", help="Id of the order; may be left out where the set has but one.")
@click.option("--identity", "file", type=_path, required=True, help="File with the Identity header of its call.")
@patience_option
@click.pass_obj
def attach(line: Line, set_id: str, order_id: str, file: Path) -> None:
    """Hand in the Identity header (STIR/SHAKEN) that came with the call of an order, whatever its state: a cross-check.

    \b
    hopback-coordinator api order attach 5f1c2a7e --order 81c0 --identity header.txt
    """
    from coordinator.stir.passport import PassportError, parse_identity
    from protos.codec import digest

    try:
        identity = parse_identity(text_of(file))
    except PassportError as error:
        raise BadData(f"{file}: {error}") from None
    _, orders = orders_of(line, set_id)
    found = [
        digest(exact)
        for order, exact in zip(orders.orders, orders.exact, strict=True)
        if str(order.order_id).startswith(order_id.lower())
    ]
    if len(found) != 1:
        raise click.UsageError(
            f"--order: {len(found) or 'no'} orders of this set have ids that begin so: "
            f"see `hopback-coordinator api order show {set_id}`"
        )
    known = send_identities(line, {found[0]: identity})
    click.echo("It was there before." if known else "Attached.")


def send_identities(line: Line, identities: Mapping[bytes, Identity]) -> int:
    """Hand in headers by their orders' digests; how many were there before. What is refused ends the command."""
    from hopback.v1 import order_pb2 as pb

    rest, known, refused = iter(identities.items()), 0, list[str]()
    while some := list(islice(rest, _PART)):
        request = pb.AttachIdentitiesRequest(
            identities=[pb.OrderIdentity(order_sha256=order, header=one.text) for order, one in some]
        )
        done = line.patiently(lambda: line.call(ORDERS, "AttachIdentities", request, pb.AttachIdentitiesResponse))  # noqa: B023
        known += sum(one.existing for one in done.results)
        refused += [
            f"{order.hex()[:8]}: {one.refused}"
            for (order, _), one in zip(some, done.results, strict=True)
            if one.refused
        ]
    if refused:
        raise BadData("\n  ".join(["these Identity headers were not taken:", *refused]))
    return known
