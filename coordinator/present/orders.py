"""Orders as people and programs see them: what somebody signs, as it stands in the exact bytes that he signs.

For people numbers are masked unless asked for, and every text is shown as text, never as markup.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from rich import box
from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from coordinator.ordering.orders import OrderSet, State
from coordinator.present.chains import counted, number
from protos.codec import digest
from protos.orders import Order
from protos.signing import Domain

SHOWN: Final = 20
_STYLES = {State.APPROVED: "bold green", State.SUBMITTED: "bold yellow", State.DRAFT: "bold yellow"}
_NEXT: Final = {
    State.DRAFT: "its submitter signs it: `hopback-coordinator order submit {} --key KEY`",
    State.SUBMITTED: "another person approves it: `hopback-coordinator order approve {} --key KEY`",
    State.APPROVED: "its calls may be traced: `hopback-coordinator trace --set {}`",
    State.EXPIRED: "nobody may be asked under set {} any more: draft a new one",
}

Signed = Sequence[tuple[str, str, datetime]]
"""Who signed, as what (order or approval), and when that was taken in."""


def next_step(orders: OrderSet, state: State) -> str:
    """What to do with a set now."""
    return "Next: " + _NEXT[state].format(str(orders.id)[:8])


def purpose(order: Order) -> str:
    """What the traceback is for, in words."""
    return order.purpose.name.lower().replace("_", " ")


def _window(order: Order) -> str:
    return f"{order.window / timedelta(seconds=1):g} s"


def orders_table(orders: Sequence[Order], *, show_numbers: bool) -> Table:
    """One line an order; window and campaign where they are not the same for all."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    fixed = ("Order", "Called", "At (UTC)", "Calling")
    differing = {
        name: cell
        for name, cell in (("Window", _window), ("Campaign", lambda order: order.campaign))
        if len({cell(order) for order in orders}) > 1
    }
    for name in (*fixed, "Delivered by", *differing):
        table.add_column(name, overflow="fold", no_wrap=name in fixed)
    for order in orders:
        table.add_row(
            str(order.order_id)[:8],
            number(order.called, show=show_numbers),
            f"{order.at:%Y-%m-%d %H:%M:%S}",
            number(order.calling, show=show_numbers),
            Text(order.terminating),
            *(Text(cell(order)) for cell in differing.values()),
        )
    return table


def whole_set(
    orders: OrderSet,
    state: State | None,
    signed: Signed,
    *,
    approvals: int = 1,
    show_numbers: bool = False,
    everything: bool = False,
) -> RenderableType:
    """Everything that is signed with a set; of many orders the first ones, unless every one is wanted."""
    shown = len(orders.orders) if everything else SHOWN
    facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, texts in (
        ("Campaign", (order.campaign for order in orders.orders)),
        ("Window", map(_window, orders.orders)),
        ("Purpose", map(purpose, orders.orders)),
        ("Legal basis", (order.legal_basis for order in orders.orders)),
        ("Certified", (order.certification for order in orders.orders)),
        ("Evidence", (f"SHA-256 {order.evidence_sha256.hex()}" for order in orders.orders)),
    ):
        facts.add_row(name, Text(_few(Counter(texts))))
    facts.add_row("Coordinator", Text(orders.orders[0].coordinator))
    facts.add_row("Hop limit", _few(Counter(str(order.hop_limit) for order in orders.orders)))
    facts.add_row("Valid until", f"{orders.expires:%Y-%m-%d %H:%M:%S} UTC")
    facts.add_row("Submitted by", Text(_by(signed, Domain.ORDER) or f"{orders.submitter}: not yet"))
    facts.add_row(
        "Approved by", Text(_by(signed, Domain.APPROVAL) or "nobody yet", style="") + f"  ({approvals} needed)"
    )
    heading = Text.assemble(
        ("Set ", "bold"), (str(orders.id)[:8], "bold"), f"   {counted(len(orders.orders), 'order')}"
    )
    if state is not None:
        heading.append(f"   {state.value}", style=_STYLES.get(state, "bold red"))
    parts: list[RenderableType] = [heading, orders_table(orders.orders[:shown], show_numbers=show_numbers)]
    if len(orders.orders) > shown:
        times = [order.at for order in orders.orders]
        parts.append(
            Text(
                f"and {len(orders.orders) - shown:,} more, of calls between {min(times):%Y-%m-%d %H:%M} and "
                f"{max(times):%Y-%m-%d %H:%M} UTC, delivered by "
                + _few(Counter(order.terminating for order in orders.orders))
                + " (every one with --all, where a set is shown or approved)"
            )
        )
    return Group(*parts, facts)


def sets_table(rows: Iterable[tuple[OrderSet, State]]) -> Table:
    """One line a set."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    folding = ("Campaign", "Submitter")
    for name in ("Set", "Orders", *folding, "Valid until (UTC)", "State"):
        justify: JustifyMethod = "right" if name == "Orders" else "left"
        table.add_column(name, overflow="fold", justify=justify, no_wrap=name not in folding)
    for orders, state in rows:
        table.add_row(
            str(orders.id)[:8],
            f"{len(orders.orders):,}",
            Text(_few(Counter(order.campaign for order in orders.orders))),
            Text(orders.submitter),
            f"{orders.expires:%Y-%m-%d %H:%M}",
            Text(state.value, style=_STYLES.get(state, "bold red")),
        )
    return table


def set_json(orders: OrderSet, state: State, signed: Signed) -> dict[str, Any]:
    """The JSON object of one set, with everything in it."""
    return {
        "set": str(orders.id),
        "state": state.value,
        "submitter": orders.submitter,
        "signatures": [
            {"person": person, "as": "submitter" if domain == Domain.ORDER.value else "approver", "at": _iso(at)}
            for person, domain, at in signed
        ],
        "orders": [order_json(order, exact) for order, exact in zip(orders.orders, orders.exact, strict=True)],
    }


def order_json(order: Order, exact: bytes) -> dict[str, Any]:
    """The JSON object of one order."""
    return {
        "order": str(order.order_id),
        "sha256": digest(exact).hex(),
        "coordinator": order.coordinator,
        "purpose": order.purpose.name.lower().replace("_", "-"),
        "legal_basis": order.legal_basis,
        "campaign": order.campaign,
        "evidence_sha256": order.evidence_sha256.hex(),
        "called": order.called,
        "at": _iso(order.at),
        "window_ms": order.window // timedelta(milliseconds=1),
        "calling": order.calling,
        "terminating": order.terminating,
        "hop_limit": order.hop_limit,
        "issued": _iso(order.issued),
        "expires": _iso(order.expires),
        "submitter": order.submitter,
        "certification": order.certification,
    }


def _by(signed: Signed, domain: Domain) -> str:
    return ", ".join(f"{person} ({at:%Y-%m-%d %H:%M} UTC)" for person, known, at in signed if known == domain.value)


def _few(counts: Counter[str]) -> str:
    """Up to three different texts, most frequent first, and how many more there are."""
    texts = [text for text, _ in counts.most_common(3)]
    more = len(counts) - len(texts)
    return "; ".join(texts) + (f"; and {more:,} more" if more else "")


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
