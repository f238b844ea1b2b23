"""`hopback-coordinator trace` and `import`: calls are traced under approved orders, and never without.

An order comes from `hopback-coordinator order`. For trying things out, where both persons' keys lie beside each other,
`--submit-key` and `--approve-key` draft, submit and approve on the spot; the order is one like any other.
"""

from __future__ import annotations

import hashlib
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

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
    BadData,
    config_option,
    json_option,
    now,
    numbers_option,
    office_of,
    opened_store,
    text_of,
)
from coordinator.commands.signing import find_set, signer_at, take_in

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from coordinator.config import LoadedConfig
    from coordinator.ordering.drafts import Draft, Wording
    from coordinator.ordering.orders import OrderSet
    from coordinator.running.foreground import Office
    from coordinator.store.orders import OrderBook
    from coordinator.store.sql_store import SqlStore
    from protos.orders import Granted

F = TypeVar("F", bound=Callable[..., Any])

_key = click.Path(exists=True, dir_okay=False, path_type=Path)


def _key_options(function: F) -> F:
    """Keys of persons, in a lab."""
    submit = click.option("--submit-key", type=_key, help="In a lab: draft an order, and submit it with this key.")
    approve = click.option(
        "--approve-key",
        "approve_keys",
        type=_key,
        multiple=True,
        help="In a lab: approve it with this key; repeatable.",
    )
    return submit(approve(function))


@click.command()
@click.option("--order", "order_name", default="", help="Id of an approved order: trace its call.")
@click.option("--set", "set_name", default="", help="Id of an approved set of orders: trace all its calls.")
@click.option("--called", default="", help="Called number, E.164: +12025550143.")
@click.option("--at", default="", help="When the call was set up, with zone: 2026-11-20T18:03:11Z.")
@click.option("--terminating", default="", help="Id of the provider that delivered the call.")
@click.option("--calling", default="", help="Number shown as caller: a hint that is often false.")
@click.option("--window", default="", help="How far records may lie from --at, either side, e.g. 60s; 300s at most.")
@identity_option
@click.option("--hop-limit", type=click.IntRange(1, 32), help="How many providers may be asked at most.")
@wording_options
@_key_options
@json_option
@numbers_option
@config_option
def trace(
    order_name: str,
    set_name: str,
    called: str,
    at: str,
    terminating: str,
    calling: str,
    window: str,
    identity_file: Path | None,
    hop_limit: int | None,
    submit_key: Path | None,
    approve_keys: tuple[Path, ...],
    as_json: bool,
    show_numbers: bool,
    config_path: Path,
    **words: str,
) -> None:
    """Trace the call of an approved order, and watch the chain grow; with --set, all calls of a set.

    \b
    hopback-coordinator trace --order 5f1c2a7e

    In a lab, where keys lie at hand, a call can be ordered, approved and traced in one go:

    \b
    hopback-coordinator trace --called +12025550143 --at 2026-11-20T18:03:11Z --terminating ginkgo \\
        --submit-key people/ann.key --approve-key people/bob.key
    """
    if sum(map(bool, (order_name, set_name, called))) != 1:
        raise click.UsageError("name an approved order (--order), a set of them (--set), or in a lab a call (--called)")
    if identity_file and not called:
        raise click.UsageError("--identity is for a call (--called); an order has the one that it was drafted with")
    fields = {"called": called, "at": at, "terminating": terminating, "calling": calling, "window": window}
    with opened_store(config_path) as (loaded, store):
        from coordinator.store.engine import engine_for
        from coordinator.store.orders import OrderBook

        office = office_of(loaded, store)
        with engine_for(loaded.store_url) as engine:
            book = OrderBook(engine)
            if called:
                wording, life = wording_of(words)
                lab = _Lab(loaded, engine, submit_key, approve_keys)
                desk = desk_of(loaded, engine, lab.submitter, Path(), life, hop_limit)
                header = {"identity": text_of(identity_file)} if identity_file else {}
                granted = lab.granted([one_draft(desk, fields | header, tried_out(wording, fields))])
            else:
                granted = _granted_set(book, set_name) if set_name else [_granted_order(book, order_name)]
        _require_startable(loaded, granted)
        if set_name:
            _trace_many(office, store, granted, as_json=as_json)
        else:
            [kept] = store.submit(_tracebacks(granted), now(), priority=_priorities(granted), lease=office.lease())
            office.trace_one(kept, as_json=as_json, show_numbers=show_numbers)


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@wording_options
@_key_options
@json_option
@config_option
def import_calls(
    file: Path,
    submit_key: Path | None,
    approve_keys: tuple[Path, ...],
    as_json: bool,
    config_path: Path,
    **words: str,
) -> None:
    """In a lab: order, approve and trace every call of FILE: CSV, columns called, at, terminating, and optional ones.

    In earnest, draft the file with `order new --file`, have it submitted and approved, and `trace --set` it.

    Each row that can't be traced is named with its line and the reason, the others are traced, and the exit code is
    65. With --json every finished traceback is one line of JSON, with the line of FILE that it came from. Optional
    columns are calling, window and identity.

    \b
    called,at,terminating,calling
    +12025550143,2026-11-20T18:03:11Z,ginkgo,+12025550199
    """
    from coordinator.ordering.intake import RejectedCall

    with opened_store(config_path) as (loaded, store):
        from coordinator.store.engine import engine_for

        office = office_of(loaded, store)
        text, (wording, life) = text_of(file), wording_of(words)
        with engine_for(loaded.store_url) as engine:
            lab = _Lab(loaded, engine, submit_key, approve_keys)
            desk = desk_of(loaded, engine, lab.submitter, file.parent, life)
            rows = drafted(desk, text, tried_out(wording, {"file": text}), file)
            good = [row for row in rows if not isinstance(row, RejectedCall)]
            granted = lab.granted(good) if good else []
        _require_startable(loaded, granted)
        rejected = len(rows) - len(good)
        _trace_many(office, store, granted, lines=[draft.line for draft in good], rejected=rejected, as_json=as_json)
    if rejected:
        sys.exit(BAD_DATA)


def tried_out(wording: Wording, fields: dict[str, str]) -> Wording:
    """What a trial says where nothing was said: that it is one, and the digest of what was handed in as evidence."""
    from dataclasses import replace

    handed_in = "\n".join(f"{name}={value}" for name, value in fields.items())
    return replace(
        wording,
        campaign=wording.campaign or "trial",
        evidence=wording.evidence or hashlib.sha256(handed_in.encode()).hexdigest(),
        certification=wording.certification or "Tried out in a lab.",
    )


class _Lab:
    """Where the keys of submitter and approvers lie beside each other, so that an order is made in one go."""

    def __init__(
        self, loaded: LoadedConfig, engine: Engine, submit_key: Path | None, approve_keys: Sequence[Path]
    ) -> None:
        from coordinator.ordering.orders import name_of

        if submit_key is None or not approve_keys:
            raise click.UsageError(
                "no call is traced without an approved order: draft one with `hopback-coordinator order new`, have it "
                "submitted and approved, then name it with --order; or, in a lab that `init` made, give --submit-key "
                "people/ann.key and --approve-key people/bob.key"
            )
        self._loaded, self._engine = loaded, engine
        self._submitting = signer_at(submit_key)
        self._approving = [signer_at(path) for path in approve_keys]
        name = name_of(self._submitting.key_id, loaded.config.orders.submitters)
        if name is None:
            raise click.UsageError(f"--submit-key: no person of orders.submitters in {loaded.file} has this key")
        self.submitter = name

    def granted(self, drafts: Sequence[Draft]) -> list[Granted]:
        """The orders of these drafts, submitted and approved."""
        from coordinator.ordering.orders import OrdersError, sign
        from coordinator.store.orders import OrderBook
        from protos.signing import Domain

        signed = sign(keep_drafts(self._engine, drafts), Domain.ORDER, self._submitting)
        for signer in self._approving:
            signed = sign(signed, Domain.APPROVAL, signer)
        try:
            take_in(self._loaded, OrderBook(self._engine), signed)
        except OrdersError as error:
            raise click.UsageError(str(error)) from None
        return signed.granted() or []


def _granted_set(book: OrderBook, name: str) -> list[Granted]:
    return _submitted(find_set(book, name), name)


def _granted_order(book: OrderBook, name: str) -> Granted:
    found = book.find_orders(name)
    if not found:
        raise click.UsageError(f"no order has an id that begins with {name!r}: see `hopback-coordinator order list`")
    if len(found) > 1:
        raise click.UsageError(f"several orders begin with {name!r}: give more of the id")
    granted = book.granted(found).get(found[0])
    if granted is None:
        raise BadData(f"order {name} is not submitted: `hopback-coordinator order submit {name} --key KEY`")
    return granted


def _submitted(orders: OrderSet, name: str) -> list[Granted]:
    granted = orders.granted()
    if granted is None:
        raise BadData(f"set {name} is not submitted: `hopback-coordinator order submit {name} --key KEY`")
    return granted


def _require_startable(loaded: LoadedConfig, granted: Sequence[Granted]) -> None:
    from coordinator.ordering.orders import start_problem
    from protos.signing import SealChecker

    seals, table, coordinator = SealChecker(), loaded.config.orders, loaded.config.coordinator.name
    for one in granted:
        problem = start_problem(one, table.persons, seals, coordinator, now())
        if problem is not None:
            name = str(one.order.order_id)[:8]
            raise BadData(
                f"order {name} can't be traced under: {problem}",
                f"what is to be done: `hopback-coordinator order show {name}`",
            )


def _tracebacks(granted: Sequence[Granted]) -> list[Any]:
    from coordinator.ordering.orders import call_of
    from coordinator.tracing.chain import Traceback

    return [Traceback(uuid.uuid4(), call_of(one.order, one.sha256)) for one in granted]


def _priorities(granted: Sequence[Granted]) -> Callable[[Any], Any]:
    from coordinator.tracing.priorities import priority_of
    from protos.orders import Purpose

    urgent = {one.sha256 for one in granted if one.order.purpose is Purpose.THREAT_TO_LIFE}
    return lambda traceback: priority_of(traceback.call.at, now(), threat_to_life=traceback.call.order_sha256 in urgent)


def _trace_many(
    office: Office,
    store: SqlStore,
    granted: Sequence[Granted],
    *,
    lines: Sequence[int] = (),
    rejected: int = 0,
    as_json: bool,
) -> None:
    tracebacks = _tracebacks(granted)
    store.submit(tracebacks, now(), priority=_priorities(granted))
    by_id = {one.id: line for one, line in zip(tracebacks, lines, strict=False)}
    office.trace_many([one.id for one in tracebacks], as_json=as_json, lines=by_id or None, rejected=rejected)
