"""`hopback-coordinator order`: drafts, submissions and approvals; what a traceback needs before anybody is asked.

Here sets are drafted and looked at; `signing` adds what persons sign, `drafting` is what whoever drafts shares.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.commands.drafting import (
    desk_of,
    drafted,
    identity_option,
    keep_drafts,
    one_draft,
    wording_of,
    wording_options,
)
from coordinator.commands.frame import (
    BAD_DATA,
    Misconfigured,
    config_option,
    json_option,
    now,
    numbers_option,
    opened_engine,
    show_rich,
    text_of,
    write_json,
)
from coordinator.commands.signing import (
    all_option,
    find_set,
    order_approve,
    order_export,
    order_import,
    order_submit,
    show_set,
)
from protos.program import Commands

if TYPE_CHECKING:
    from coordinator.config import LoadedConfig

_path = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(cls=Commands)
def order() -> None:
    """Orders: which calls may be traced, who says so, who approved it.

    \b
    hopback-coordinator order new --file calls.csv --campaign auto-warranty --evidence complaint.wav \\
        --certify "I have listened to the recording."
    hopback-coordinator order submit 5f1c2a7e --key ann.key
    hopback-coordinator order approve 5f1c2a7e --key bob.key
    hopback-coordinator trace --set 5f1c2a7e
    """


@order.command("new")
@click.option("--file", "file", type=_path, help="Calls: CSV with a header, columns called, at, terminating, ...")
@click.option("--called", default="", help="Called number of one call, E.164: +12025550143.")
@click.option("--at", default="", help="When that call was set up, with zone: 2026-11-20T18:03:11Z.")
@click.option("--terminating", default="", help="Id of the provider that delivered it.")
@click.option("--calling", default="", help="Number shown as caller: a hint that is often false.")
@click.option("--window", default="", help="How far records may lie from the time, either side; 300s at most.")
@identity_option
@wording_options
@click.option("--submitter", default="", help="Who will submit it; may be left out where only one person may.")
@json_option
@numbers_option
@config_option
def order_new(
    file: Path | None,
    called: str,
    at: str,
    terminating: str,
    calling: str,
    window: str,
    identity_file: Path | None,
    submitter: str,
    as_json: bool,
    show_numbers: bool,
    config_path: Path,
    **words: str,
) -> None:
    """Draft orders for one call, or for every call of a file. Nobody is asked anything before they are approved.

    A file may have columns purpose, legal_basis, campaign, evidence, certification and identity of its own. A row of
    which no order can be made is named with its line; then the exit code is 65.
    """
    from coordinator.ordering.intake import RejectedCall

    fields = {"called": called, "at": at, "terminating": terminating, "calling": calling, "window": window}
    if (file is None) == (not called):
        raise click.UsageError("name one call (--called, --at, --terminating), or a file of calls (--file)")
    if file and identity_file:
        raise click.UsageError("--identity is for one call: a file of calls has a column identity")
    fields["identity"] = text_of(identity_file) if identity_file else ""
    wording, life = wording_of(words)
    with opened_engine(config_path) as (loaded, engine):
        from coordinator.store.orders import OrderBook

        desk = desk_of(loaded, engine, _submitter(loaded, submitter), file.parent if file else Path(), life)
        rows = drafted(desk, text_of(file), wording, file) if file else [one_draft(desk, fields, wording)]
        made = keep_drafts(engine, [row for row in rows if not isinstance(row, RejectedCall)])
        show_set(loaded, OrderBook(engine), made, as_json=as_json, show_numbers=show_numbers)
    if len(made.orders) < len(rows):
        sys.exit(BAD_DATA)


@order.command("show")
@click.argument("name", metavar="SET|ORDER")
@all_option
@json_option
@numbers_option
@config_option
def order_show(name: str, everything: bool, as_json: bool, show_numbers: bool, config_path: Path) -> None:
    """Show a set of orders, and who signed it; the first characters of its id are enough."""
    with opened_engine(config_path) as (loaded, engine):
        from coordinator.store.orders import OrderBook

        book = OrderBook(engine)
        found = find_set(book, name)
        show_set(loaded, book, found, as_json=as_json, show_numbers=show_numbers, everything=everything)


@order.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@json_option
@config_option
def order_list(limit: int, as_json: bool, config_path: Path) -> None:
    """List the sets of orders that were drafted last."""
    from coordinator.ordering.orders import state_of
    from coordinator.present.orders import set_json, sets_table
    from protos.signing import SealChecker

    with opened_engine(config_path) as (loaded, engine):
        from coordinator.store.orders import OrderBook, known_set

        book, seals = OrderBook(engine), SealChecker()
        persons = loaded.config.orders.persons
        summaries = book.recent(limit)
        known = [known_set(book, summary.id) for summary in summaries]
        states = [state_of(orders, persons, seals, now()) for orders in known]
        signed = [book.signers(orders.id) for orders in known]
    if as_json:
        write_json([set_json(*row) for row in zip(known, states, signed, strict=True)])
    elif not known:
        click.echo("No orders yet: draft some with `hopback-coordinator order new`.")
    else:
        show_rich(sets_table(zip(known, states, strict=True)))


for command in (order_submit, order_approve, order_export, order_import):
    order.add_command(command)


def _submitter(loaded: LoadedConfig, name: str) -> str:
    submitters = loaded.config.orders.submitters
    if not submitters:
        raise Misconfigured(f"{loaded.file}: orders.submitters: nobody may submit orders; name persons and their keys")
    if not name and len(submitters) == 1:
        return next(iter(submitters))
    if name not in submitters:
        raise click.UsageError(f"--submitter: one of {', '.join(submitters)} must submit it")
    return name
