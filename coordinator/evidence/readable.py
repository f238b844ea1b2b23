"""A bundle for readers: as text, as one HTML page without scripts, as PDF, and as JSON.

All of it follows from the evidence alone, the same every time. What other parties wrote is shown as text, never as
markup. The numbers stand in it in full: a bundle is for those who may see its order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from coordinator.evidence.hop_statements import HopSeen, said
from coordinator.evidence.statements import Standing, Statement
from coordinator.evidence.verify import Verdict
from protos.codec import from_unix_ms
from protos.orders import Order

READ_ME = """\
Evidence of a traceback of a telephone call, made by hopback.

  summary.html    what was ordered, asked and answered, for reading
  summary.pdf     the same, for printing
  evidence.json   the same, for programs
  evidence.pb     the evidence itself: exact bytes, signatures, proofs (hopback.v1.TracebackEvidence)
  roots.pem       the roots of the machines' certificates, as the coordinator has them
  identity.txt    the Identity header that came with the call (STIR/SHAKEN), where one did
  sti-certificates.pem  its signer's certificate, and those between it and a root
  MANIFEST.json   size and SHA-256 of each of these
  MANIFEST.seal   the coordinator's signature over MANIFEST.json
  MANIFEST.tsr    a time stamp over MANIFEST.json (RFC 3161), where there is one

To verify, offline, with roots and persons' keys that you got on another way than with this file:

  hopback-coordinator verify --roots YOUR-ROOTS.pem --person NAME=ed25519:KEY FILE

It says what is proven, by whom, and what is not, and names every broken byte.
"""

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2733; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; vertical-align: top; padding: .3rem .6rem;
border-bottom: 1px solid #d5dde5; } th { color: #52606d; font-weight: 600; }
code { font: 13px/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
.proven { color: #0b6b3a; } .not-proven { color: #8a5a00; } .broken { color: #a4161a; font-weight: 600; }
@media print { body { margin: 0; max-width: none; } }
"""


def page(verdict: Verdict) -> str:
    """The summary as one HTML page."""
    rows = "".join(_html_row(cells) for cells in hop_rows(verdict.hops))
    facts = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in order_rows(verdict))
    statements = "".join(_html_statement(statement) for statement in verdict.statements)
    headings = "".join(f"<th>{name}</th>" for name in HOP_COLUMNS)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Traceback evidence</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>Evidence of a traceback</h1>\n"
        f"<h2>The order</h2>\n<table>{facts}</table>\n"
        f"<h2>Who was asked, and what they answered</h2>\n<table><tr>{headings}</tr>{rows}</table>\n"
        "<h2>What this proves, and what not</h2>\n"
        "<p>As the coordinator's own software saw it when this was made. READ-ME.txt says how to verify it.</p>\n"
        f"<table><tr><th></th><th>what</th><th>shown by, or why not</th></tr>{statements}</table>\n</body></html>\n"
    )


HOP_COLUMNS = ("hop", "provider", "asked at (UTC)", "number and time asked for", "answer", "answered at (UTC)")


def hop_rows(seen: Iterable[HopSeen]) -> list[tuple[str, ...]]:
    """One row of text for each hop, in `HOP_COLUMNS`."""
    rows: list[tuple[str, ...]] = []
    for hop in seen:
        asked = hop.asked
        question = f"{asked.question.called} at {moment(asked.question.at)}" if asked else ""
        if hop.message.sisters:
            question += f", not the calls of {', '.join(one.traceback_id for one in hop.message.sisters)}"
        if hop.message.HasField("contested"):
            question += ", once more: its answer was contested"
        answer = said(hop.answer) if hop.answer else (hop.message.note or "no signed answer")
        rows.append(
            (
                str(hop.message.position + 1),
                hop.message.provider,
                moment(asked.authority.issued) if asked else "",
                question,
                answer,
                moment(hop.finding.answered) if hop.finding else "",
            )
        )
    return rows


def order_rows(verdict: Verdict) -> list[tuple[str, str]]:
    """The order as names and values; empty when it can't be read."""
    if verdict.granted is None or verdict.evidence is None:
        return []
    order = verdict.granted.order
    return [
        ("traceback", verdict.evidence.traceback_id),
        ("result, as the coordinator has it", verdict.evidence.status.replace("_", " ")),
        ("order", str(order.order_id)),
        ("called number", order.called),
        ("time of the call", moment(order.at)),
        ("window", f"{order.window.total_seconds():g} s on either side"),
        ("caller ID as displayed", order.calling or "none given"),
        ("terminating provider", order.terminating),
        ("purpose", order.purpose.name.lower().replace("_", " ")),
        ("legal basis", order.legal_basis),
        ("campaign", order.campaign),
        ("SHA-256 of the evidence", order.evidence_sha256.hex()),
        ("certified by", f"{order.submitter}: {order.certification}"),
        ("valid", f"{moment(order.issued)} to {moment(order.expires)}"),
        ("SHA-256 of the order", verdict.granted.sha256.hex()),
    ]


def moment(time: datetime) -> str:
    """A time for readers, UTC to the millisecond."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}.{time.microsecond // 1000:03d}Z"


def as_json(verdict: Verdict) -> str:
    """The evidence for programs; keys are stable, times ISO 8601 in UTC."""
    message = verdict.evidence
    shown: dict[str, Any] = {
        "traceback": message.traceback_id if message else None,
        "coordinator": message.coordinator if message else None,
        "status": message.status if message else None,
        "made": _iso(from_unix_ms(message.made_unix_ms)) if message else None,
        "order": _order_json(verdict.granted.order, verdict.granted.sha256) if verdict.granted else None,
        "hops": [_hop_json(hop) for hop in verdict.hops],
        "statements": [statement_json(statement) for statement in verdict.statements],
    }
    return json.dumps(shown, indent=1) + "\n"


def statement_json(statement: Statement) -> dict[str, str | None]:
    """One statement of a verdict."""
    return {
        "standing": statement.standing.value,
        "what": statement.what,
        "by": statement.by or None,
        "why": statement.why or None,
        "at": statement.at or None,
    }


def _order_json(order: Order, sha256: bytes) -> dict[str, Any]:
    return {
        "id": str(order.order_id),
        "sha256": sha256.hex(),
        "called": order.called,
        "at": _iso(order.at),
        "window_ms": round(order.window.total_seconds() * 1000),
        "calling": order.calling,
        "terminating": order.terminating,
        "purpose": order.purpose.name,
        "legal_basis": order.legal_basis,
        "campaign": order.campaign,
        "evidence_sha256": order.evidence_sha256.hex(),
        "submitter": order.submitter,
        "certification": order.certification,
        "issued": _iso(order.issued),
        "expires": _iso(order.expires),
    }


def _hop_json(hop: HopSeen) -> dict[str, Any]:
    asked, answer = hop.asked, hop.answer
    return {
        "position": hop.message.position,
        "provider": hop.message.provider,
        "asked": _iso(asked.authority.issued) if asked else None,
        "called": asked.question.called if asked else None,
        "at": _iso(asked.question.at) if asked else None,
        "named_by": asked.question.named_by if asked else None,
        "sisters": [sister.traceback_id for sister in hop.message.sisters],
        "contested": hop.message.HasField("contested"),
        "outcome": answer.outcome.name if answer else None,
        "upstream": answer.upstream if answer else None,
        "handover": answer.handover.name if answer else None,
        "answered": _iso(hop.finding.answered) if hop.finding else None,
        "note": hop.message.note or None,
    }


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _html_row(cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>\n"


def _html_statement(statement: Statement) -> str:
    kind = statement.standing.value.replace(" ", "-")
    shown = statement.by if statement.standing is Standing.PROVEN else statement.why
    where = f" ({statement.at})" if statement.at else ""
    return (
        f'<tr><td class="{kind}">{statement.standing.value}</td><td>{escape(statement.what)}</td>'
        f"<td>{escape(shown + where)}</td></tr>\n"
    )
