"""`hopback-coordinator order`: drafts, submissions and approvals; what a traceback needs before anybody is asked.

Whoever signs uses a key file of her own. `submit` and `approve` take a set by its id, where the coordinator's database
is at hand, or a file that `export` made, on a machine that knows nothing of the coordinator; `import` takes in what
comes back, every signature checked.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from coordinator.commands.frame import (
    BAD_DATA,
    BadData,
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

if TYPE_CHECKING:
    import uuid

    from sqlalchemy import Engine

    from coordinator.config import LoadedConfig
    from coordinator.drafts import Draft, Wording
    from coordinator.orders import OrderSet
    from coordinator.store.orders import OrderBook
    from protos.signing import Domain, Signer

F = TypeVar("F", bound=Callable[..., Any])

_path = click.Path(exists=True, dir_okay=False, path_type=Path)
_key_option = click.option("--key", "key_path", type=_path, required=True, help="Your private key (PEM, Ed25519).")
_purposes = click.Choice(["unlawful-robocalls", "threat-to-life", "court-order"])


def wording_options(function: F) -> F:
    """What an order says besides the call."""
    for option in reversed(
        (
            click.option("--purpose", type=_purposes, default="unlawful-robocalls", show_default=True),
            click.option("--basis", default="47 U.S.C. 222(d)(2)", show_default=True, help="What permits it."),
            click.option("--campaign", default="", help="Name of the campaign that the calls belong to."),
            click.option("--evidence", default="", help="File that shows the call; the order names its SHA-256."),
            click.option("--certify", "certification", default="", help="What the submitter certifies, in words."),
            click.option("--life", default="72h", show_default=True, help="How long it is valid; 72h at most."),
        )
    ):
        function = option(function)
    return function


identity_option = click.option(
    "--identity", "identity_file", type=_path, help="File with the call's Identity header (STIR/SHAKEN): a cross-check."
)


@click.group()
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
    from coordinator.intake import RejectedCall

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
        _show(loaded, OrderBook(engine), made, as_json=as_json, show_numbers=show_numbers)
    if len(made.orders) < len(rows):
        sys.exit(BAD_DATA)


@order.command("submit")
@click.argument("name", metavar="SET|FILE")
@_key_option
@config_option
def order_submit(name: str, key_path: Path, config_path: Path) -> None:
    """Sign a set of orders as its submitter, here or, with a FILE that was exported, on your own machine."""
    from protos.signing import Domain

    _sign(name, Domain.ORDER, key_path, config_path, show_numbers=False, sure=True)


@order.command("approve")
@click.argument("name", metavar="SET|FILE")
@_key_option
@click.option("--yes", "sure", is_flag=True, help="Don't ask whether this is what you want to approve.")
@numbers_option
@config_option
def order_approve(name: str, key_path: Path, sure: bool, show_numbers: bool, config_path: Path) -> None:
    """See what you approve, and sign it; nobody can approve what she submitted."""
    from protos.signing import Domain

    _sign(name, Domain.APPROVAL, key_path, config_path, show_numbers=show_numbers, sure=sure)


@order.command("show")
@click.argument("name", metavar="SET|ORDER")
@json_option
@numbers_option
@config_option
def order_show(name: str, as_json: bool, show_numbers: bool, config_path: Path) -> None:
    """Show a set of orders, and who signed it; the first characters of its id are enough."""
    with opened_engine(config_path) as (loaded, engine):
        from coordinator.store.orders import OrderBook

        book = OrderBook(engine)
        _show(loaded, book, find_set(book, name), as_json=as_json, show_numbers=show_numbers)


@order.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@json_option
@config_option
def order_list(limit: int, as_json: bool, config_path: Path) -> None:
    """List the sets of orders that were drafted last."""
    from coordinator.orders import state_of
    from coordinator.present_orders import set_json, sets_table
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


@order.command("export")
@click.argument("name", metavar="SET")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write.")
@config_option
def order_export(name: str, out: Path, config_path: Path) -> None:
    """Write a set to a file, to be signed elsewhere. Telephone numbers stand in it."""
    from coordinator.orders import to_file

    with opened_engine(config_path) as (_, engine):
        from coordinator.store.orders import OrderBook

        orders = find_set(OrderBook(engine), name)
    _write(out, to_file(orders))
    click.echo(
        f"{out}: {len(orders.orders):,} to sign with `hopback-coordinator order submit|approve {out} --key KEY`, "
        f"then `hopback-coordinator order import {out}`."
    )


@order.command("import")
@click.argument("file", type=_path)
@config_option
def order_import(file: Path, config_path: Path) -> None:
    """Take in the signatures of a file, each checked; a set that is not known yet is taken in with them."""
    from coordinator.orders import OrdersError, from_file

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
        _show(loaded, book, find_set(book, str(came.id)))


# What the commands share, `trace` and `import` among them


def wording_of(words: dict[str, str]) -> tuple[Wording, Any]:
    """What `wording_options` gave, and the life of an order."""
    from coordinator.drafts import Wording
    from coordinator.intake import parse_duration
    from protos.orders import LONGEST_LIFE

    try:
        life = parse_duration(words["life"])
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--life") from None
    if not life or life > LONGEST_LIFE:
        raise click.BadParameter("an order is valid for 72h at most", param_hint="--life")
    wording = Wording(words["purpose"], words["basis"], words["campaign"], words["evidence"], words["certification"])
    return wording, life


def desk_of(
    loaded: LoadedConfig, engine: Any, submitter: str, directory: Path, life: Any, hop_limit: int | None = None
) -> Any:
    """Where drafts are made, with the registry as it is now."""
    from coordinator.drafts import Desk
    from coordinator.intake import Intake
    from coordinator.registry import RegistrySnapshot
    from coordinator.store.sql_store import SqlStore

    store, defaults = SqlStore(engine), loaded.config.trace
    intake = Intake(RegistrySnapshot(store.providers()), now(), defaults.window, hop_limit or defaults.hop_limit)
    return Desk(loaded.config.coordinator.name, submitter, intake, directory, life)


def one_draft(desk: Any, fields: dict[str, str], wording: Wording) -> Draft:
    """The draft for one call; what is wrong with it ends the command."""
    from coordinator.intake import IntakeError

    try:
        made: Draft = desk.draft(fields, wording)
    except IntakeError as error:
        names = {"legal_basis": "basis", "certification": "certify"}
        problems = []
        for problem in error.problems:
            name, _, rest = problem.partition(":")
            problems.append(f"--{names.get(name, name)}:{rest}" if rest else problem)
        raise click.UsageError("\n  ".join(["no order can be made of this call:", *problems])) from None
    return made


def drafted(desk: Any, text: str, wording: Wording, file: Path) -> list[Any]:
    """Drafts and rejected rows of a file; the latter are named. A file without a good row ends the command."""
    from coordinator.intake import CallsFileError, RejectedCall

    try:
        rows = list(desk.drafts(text, wording))
    except CallsFileError as error:
        raise BadData(f"{file}: {error}") from None
    rejected = [row for row in rows if isinstance(row, RejectedCall)]
    for row in rejected:
        click.echo(f"{file}:{row.line}: {'; '.join(row.problems)}", err=True)
    if len(rejected) == len(rows):
        raise BadData(f"{file}: no order can be made of any of its {len(rows):,} rows")
    return rows


def keep_drafts(engine: Engine, drafts: Sequence[Draft]) -> OrderSet:
    """These drafts as a set in the database, beside it the Identity headers that came with their calls."""
    from coordinator.orders import OrdersError, OrderSet
    from coordinator.stir.book import IdentityBook
    from coordinator.store.orders import OrderBook
    from protos.codec import digest
    from protos.orders import encode_order

    try:
        made = OrderSet.of(encode_order(draft.order) for draft in drafts)
    except OrdersError as error:
        raise BadData(str(error)) from None
    came = {
        digest(exact): (draft.order.campaign, draft.identity)
        for exact, draft in zip(made.exact, drafts, strict=True)
        if draft.identity is not None
    }
    if came:
        IdentityBook(engine).keep(came, now())
    OrderBook(engine).add(made, now())
    return made


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
    from coordinator.orders import merged, signer_of
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
    from coordinator.store.orders import known_set

    found: list[uuid.UUID] = book.find_sets(name) or [
        identity for sha256 in book.find_orders(name) for identity in book.sets_of(sha256)
    ]
    if not found:
        raise click.UsageError(f"no orders have an id that begins with {name!r}: see `hopback-coordinator order list`")
    if len(set(found)) > 1:
        raise click.UsageError(f"several begin with {name!r}: " + ", ".join(str(one)[:13] for one in found))
    return known_set(book, found[0])


def _submitter(loaded: LoadedConfig, name: str) -> str:
    submitters = loaded.config.orders.submitters
    if not submitters:
        raise Misconfigured(f"{loaded.file}: orders.submitters: nobody may submit orders; name persons and their keys")
    if not name and len(submitters) == 1:
        return next(iter(submitters))
    if name not in submitters:
        raise click.UsageError(f"--submitter: one of {', '.join(submitters)} must submit it")
    return name


def _sign(name: str, domain: Domain, key_path: Path, config_path: Path, *, show_numbers: bool, sure: bool) -> None:
    from coordinator.orders import OrdersError, from_file, sign, to_file
    from coordinator.present_orders import whole_set
    from protos.signing import Domain as Domains

    signer, file = signer_at(key_path), Path(name)
    try:
        if file.is_file():
            orders = from_file(text_of(file))
            submitted = {one.seal.key_id for one in orders.signatures if one.domain is Domains.ORDER}
            if domain is Domains.APPROVAL and signer.key_id in submitted:
                raise OrdersError("this key submitted them: another person must approve them")  # noqa: TRY301
            if domain is Domains.APPROVAL:
                show_rich(whole_set(orders, None, (), show_numbers=show_numbers))
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
                _show(loaded, book, orders, show_numbers=show_numbers)
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
    from coordinator.orders import signer_of
    from protos.signing import SealChecker

    signer_of(signed, signed.signatures[-1], loaded.config.orders.persons, SealChecker())


def _ask_whether(sure: bool) -> None:
    if not sure:
        click.confirm("Do you approve these orders?", abort=True)


def _show(
    loaded: LoadedConfig, book: OrderBook, orders: OrderSet, *, as_json: bool = False, show_numbers: bool = False
) -> None:
    from coordinator.orders import state_of
    from coordinator.present_orders import next_step, set_json, whole_set
    from protos.signing import SealChecker

    table, signed = loaded.config.orders, book.signers(orders.id)
    state = state_of(orders, table.persons, SealChecker(), now())
    if as_json:
        write_json(set_json(orders, state, signed))
        return
    show_rich(whole_set(orders, state, signed, approvals=table.approvals, show_numbers=show_numbers))
    click.echo(next_step(orders, state))


def _say_next(loaded: LoadedConfig, book: OrderBook, set_id: uuid.UUID) -> None:
    from coordinator.orders import state_of
    from coordinator.present_orders import next_step
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
