"""What commands share that draft orders: the options that say what an order says, and the way from rows to drafts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from coordinator.commands.frame import BadData, now

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from coordinator.config import LoadedConfig
    from coordinator.ordering.drafts import Draft, Wording
    from coordinator.ordering.orders import OrderSet

F = TypeVar("F", bound=Callable[..., Any])

_path = click.Path(exists=True, dir_okay=False, path_type=Path)
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


def wording_of(words: dict[str, str]) -> tuple[Wording, Any]:
    """What `wording_options` gave, and the life of an order."""
    from coordinator.ordering.drafts import Wording
    from coordinator.ordering.intake import parse_duration
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
    from coordinator.ordering.drafts import Desk
    from coordinator.ordering.intake import Intake
    from coordinator.registry import RegistrySnapshot
    from coordinator.store.sql_store import SqlStore

    store, defaults = SqlStore(engine), loaded.config.trace
    intake = Intake(RegistrySnapshot(store.providers()), now(), defaults.window, hop_limit or defaults.hop_limit)
    return Desk(loaded.config.coordinator.name, submitter, intake, directory, life)


def one_draft(desk: Any, fields: dict[str, str], wording: Wording) -> Draft:
    """The draft for one call; what is wrong with it ends the command."""
    from coordinator.ordering.intake import IntakeError

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
    from coordinator.ordering.intake import CallsFileError, RejectedCall

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
    """These drafts as a set in the database, their calls in their campaigns, Identity headers beside them."""
    from coordinator.campaigns.book import CampaignBook
    from coordinator.ordering.orders import OrdersError, OrderSet
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
    if OrderBook(engine).add(made, now()):
        CampaignBook(engine).take_orders(made, made.submitter, now())
    return made
