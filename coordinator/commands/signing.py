"""Signatures of persons over sets of orders: `hopback-coordinator order submit`, `approve`, `export` and `import`.

Whoever signs uses a key file of her own. `submit` and `approve` take a set by its id, where the coordinator's database
is at hand, or a file that `export` made, on a machine that knows nothing of the coordinator; `import` takes in what
comes back, every signature checked.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.commands.frame import (
    BadData,
    Misconfigured,
    config_option,
    now,
    numbers_option,
    opened_engine,
    show_rich,
    text_of,
    write_json,
)

if TYPE_CHECKING:
    import uuid

    from coordinator.config import LoadedConfig
    from coordinator.ordering.orders import OrderSet
    from coordinator.store.orders import OrderBook
    from protos.signing import Domain, Signer

_path = click.Path(exists=True, dir_okay=False, path_type=Path)
all_option = click.option("--all", "everything", is_flag=True, help="Show every order, not the first ones alone.")
_key_option = click.option("--key", "key_path", type=_path, required=True, help="Your private key (PEM, Ed25519).")


@click.command("submit")
@click.argument("name", metavar="SET|FILE")
@_key_option
@config_option
def order_submit(name: str, key_path: Path, config_path: Path) -> None:
    """Sign a set of orders as its submitter, here or, with a FILE that was exported, on your own machine."""
    from protos.signing import Domain

    _sign(name, Domain.ORDER, key_path, config_path, sure=True)


@click.command("approve")
@click.argument("name", metavar="SET|FILE")
@_key_option
@click.option("--yes", "sure", is_flag=True, help="Don't ask whether this is what you want to approve.")
@all_option
@numbers_option
@config_option
def order_approve(
    name: str, key_path: Path, sure: bool, everything: bool, show_numbers: bool, config_path: Path
) -> None:
    """See what you approve, and sign it; nobody can approve what she submitted."""
    from protos.signing import Domain

    _sign(name, Domain.APPROVAL, key_path, config_path, sure=sure, show_numbers=show_numbers, everything=everything)


@click.command("export")
@click.argument("name", metavar="SET")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write.")
@config_option
def order_export(name: str, out: Path, config_path: Path) -> None:
    """Write a set to a file, to be signed elsewhere. Telephone numbers stand in it."""
    from coordinator.ordering.orders import to_file

    with opened_engine(config_path) as (_, engine):
        from coordinator.store.orders import OrderBook

        orders = find_set(OrderBook(engine), name)
    _write(out, to_file(orders))
    click.echo(
        f"{out}: {len(orders.orders):,} to sign with `hopback-coordinator order submit|approve {out} --key KEY`, "
        f"then `hopback-coordinator order import {out}`."
    )


@click.command("import")
@click.argument("file", type=_path)
@config_option
def order_import(file: Path, config_path: Path) -> None:
    """Take in the signatures of a file, each checked; a set that is not known yet is taken in with them."""
    from coordinator.ordering.orders import OrdersError, from_file

    with opened_engine(config_path) as (loaded, engine):
        from coordinator.store.orders import OrderBook

        book = OrderBook(engine)
        try:
            came = from_file(text_of(file))
            if {order.coordinator for order in came.orders} != {loaded.config.coordinator.name}:
                raise OrdersError(f"they are for the coordinator {came.orders[0].coordinator}")  # noqa: TRY301
            taken = take_in(loaded, book, came)
        except OrdersError as error:
            raise BadData(f"{file}: {error}") from None
        click.echo(f"{len(taken)} new: {', '.join(taken)}." if taken else "Nothing new.")
        show_set(loaded, book, find_set(book, str(came.id)))


# What other commands use, too


def signer_at(path: Path) -> Signer:
    """A person's key; a file that is none ends the command."""
    from protos.signing import KeyFormatError, read_signer

    try:
        return read_signer(path)
    except KeyFormatError as error:
        raise Misconfigured(str(error)) from None


def take_in(loaded: LoadedConfig, book: OrderBook, came: OrderSet) -> list[str]:
    """Keep those signatures of a set that are new; who made them, in words.

    Raises:
        OrdersError: one of them doesn't count; then none is kept.
    """
    from coordinator.ordering.orders import merged, signer_of
    from protos.signing import Domain, SealChecker

    persons, seals = loaded.config.orders.persons, SealChecker()
    known = book.load(came.id)
    new = merged(known, came.signatures) if known else list(came.signatures)
    names = [signer_of(came, one, persons, seals) for one in new]
    if known is None:
        book.add(came, now())
    for one, name in zip(new, names, strict=True):
        book.sign(came.id, one, name, now())
    kinds = {Domain.ORDER: "submitted", Domain.APPROVAL: "approved"}
    return [f"{kinds[one.domain]} by {name}" for one, name in zip(new, names, strict=True)]


def find_set(book: OrderBook, name: str) -> OrderSet:
    """The set whose id, or of one of whose orders the id, begins with `name`."""
    from coordinator.ordering.orders import OrdersError
    from coordinator.store.orders import known_set

    found: list[uuid.UUID] = book.find_sets(name) or [
        identity for sha256 in book.find_orders(name) for identity in book.sets_of(sha256)
    ]
    if not found:
        raise click.UsageError(f"no orders have an id that begins with {name!r}: see `hopback-coordinator order list`")
    if len(set(found)) > 1:
        raise click.UsageError(f"several begin with {name!r}: " + ", ".join(str(one)[:13] for one in found))
    try:
        return known_set(book, found[0])
    except OrdersError as error:
        raise click.UsageError(str(error)) from None


def show_set(
    loaded: LoadedConfig,
    book: OrderBook,
    orders: OrderSet,
    *,
    as_json: bool = False,
    show_numbers: bool = False,
    everything: bool = False,
) -> None:
    """A set, who signed it and what is next, for people or for programs."""
    from coordinator.ordering.orders import state_of
    from coordinator.present.orders import next_step, set_json, whole_set
    from protos.signing import SealChecker

    table, signed = loaded.config.orders, book.signers(orders.id)
    state = state_of(orders, table.persons, SealChecker(), now())
    if as_json:
        write_json(set_json(orders, state, signed))
        return
    needed = table.approvals
    show_rich(whole_set(orders, state, signed, approvals=needed, show_numbers=show_numbers, everything=everything))
    click.echo(next_step(orders, state))


def _sign(
    name: str,
    domain: Domain,
    key_path: Path,
    config_path: Path,
    *,
    sure: bool,
    show_numbers: bool = False,
    everything: bool = False,
) -> None:
    from coordinator.ordering.orders import OrdersError, from_file, sign, to_file
    from coordinator.present.orders import whole_set
    from protos.signing import Domain as Domains

    signer, file = signer_at(key_path), Path(name)
    try:
        if file.is_file():
            orders = from_file(text_of(file))
            submitted = {one.seal.key_id for one in orders.signatures if one.domain is Domains.ORDER}
            if domain is Domains.APPROVAL and signer.key_id in submitted:
                raise OrdersError("this key submitted them: another person must approve them")  # noqa: TRY301
            if domain is Domains.APPROVAL:
                show_rich(whole_set(orders, None, (), show_numbers=show_numbers, everything=everything))
                _ask_whether(sure)
            _write(file, to_file(sign(orders, domain, signer)))
            click.echo(f"{file}: signed. Send it back, for `hopback-coordinator order import {file}`.")
            return
        with opened_engine(config_path) as (loaded, engine):
            from coordinator.store.orders import OrderBook

            book = OrderBook(engine)
            orders = find_set(book, name)
            signed = sign(orders, domain, signer)
            if domain is Domains.APPROVAL:
                _check(loaded, signed)
                show_set(loaded, book, orders, show_numbers=show_numbers, everything=everything)
                _ask_whether(sure)
            taken = take_in(loaded, book, signed)
            click.echo(f"Set {str(orders.id)[:8]}: {', '.join(taken) or 'was signed by this key before'}.")
            _say_next(loaded, book, orders.id)
    except OrdersError as error:
        raise BadData(f"{name}: {error}") from None


def _check(loaded: LoadedConfig, signed: OrderSet) -> None:
    """Refuse before anybody is asked whether he is sure.

    Raises:
        OrdersError: the last signature doesn't count.
    """
    from coordinator.ordering.orders import signer_of
    from protos.signing import SealChecker

    signer_of(signed, signed.signatures[-1], loaded.config.orders.persons, SealChecker())


def _ask_whether(sure: bool) -> None:
    if not sure:
        click.confirm("Do you approve these orders?", abort=True)


def _say_next(loaded: LoadedConfig, book: OrderBook, set_id: uuid.UUID) -> None:
    from coordinator.ordering.orders import state_of
    from coordinator.present.orders import next_step
    from coordinator.store.orders import known_set
    from protos.signing import SealChecker

    orders = known_set(book, set_id)
    click.echo(next_step(orders, state_of(orders, loaded.config.orders.persons, SealChecker(), now())))


def _write(path: Path, text: str) -> None:
    """Whole or not at all, readable by the owner alone: telephone numbers stand in it."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.touch(mode=0o600)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise BadData(f"{path} can't be written: {error.strerror}") from None
