"""The cross-check against STIR/SHAKEN as people see it, under a chain and under a campaign. No telephone number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from coordinator.stir.certificates import Grade, Judged
from coordinator.stir.crosscheck import CONTRADICTIONS, CrossCheck, Kind
from coordinator.stir.passport import Passport
from coordinator.stir.revocation import State
from coordinator.stir.survey import Survey, signer_name

GRADES = {
    Grade.VERIFIED: "verified to a pinned root",
    Grade.CHAIN_UNKNOWN: "signature good, certificate not verified",
    Grade.NOT_VERIFIED: "not verified",
}
REVOKED = {
    State.NOT_REVOKED: "no",
    State.REVOKED_BEFORE: "before",
    State.REVOKED_SINCE: "since",
    State.UNKNOWN: "not known",
}
HINT = "A header is a hint: no hop follows from it."


def block(check: CrossCheck) -> RenderableType:
    """A few lines for under the chain."""
    lines = [Text(line) for line in grade_lines(check)]
    for one in check.findings:
        alarming = one.kind in CONTRADICTIONS
        lines.append(Text(one.words, style="yellow" if alarming else "bold" if one.kind is Kind.LEAD else ""))
    return Group(
        Text(), Text(title(check), style="bold"), *(Padding(line, (0, 0, 0, 2)) for line in [*lines, Text(HINT)])
    )


def title(check: CrossCheck) -> str:
    """The header in one line."""
    codes = f" (SPC {' '.join(check.codes)})" if check.signer and check.codes else ""
    by = "" if check.grade is Grade.NOT_VERIFIED else f", signed by {signer_name(check)}{codes}"
    return f"STIR/SHAKEN: attestation {check.attestation}{by}"


def grade_lines(check: CrossCheck | Judged) -> list[str]:
    """How much is known of who signed, and whether the certificate was revoked, where that is not why."""
    words, known = GRADES[check.grade], check.revocation
    lines = [f"{words}{f': {check.why}' if check.why else ''}"]
    if known is not None and known.words != check.why:
        lines.append(known.words)
    return [f"{line[0].upper()}{line[1:]}." for line in lines]


def passport_rows(passport: Passport, judged: Judged, *, show: bool) -> list[tuple[str, object]]:
    """One PASSporT as names and values."""
    from protos.e164 import masked

    def number(digits: str) -> str:
        return f"+{digits}" if show else masked(f"+{digits}")

    signer = judged.signer
    rows: list[tuple[str, object]] = [
        ("attestation", passport.attestation or None),
        ("calling number", number(passport.orig) if passport.orig else None),
        ("called number", ", ".join(map(number, passport.dest)) or None),
        ("forwarded from", number(passport.diverted) if passport.diverted else None),
        ("signed at", f"{passport.issued:%Y-%m-%d %H:%M:%S} UTC"),
        ("origid", passport.origid or None),
        ("certificate at", passport.x5u),
        ("SPC", " ".join(signer.codes) or None if signer else None),
        ("certificate", f"{signer.subject}, SHA-256 {signer.sha256[:16]}" if signer else None),
        ("grade", " ".join(grade_lines(judged))),
    ]
    return [row for row in rows if row[1] is not None]


def survey_lines(found: Survey) -> list[str]:
    """A campaign's headers in a few lines."""
    rate = found.rate
    lines = [f"STIR/SHAKEN: {found.headers:,} calls came with a header. {HINT}"]
    if rate is not None:
        agree = f"{found.agrees:,} of {found.of:,} finished chains end at the signer"
        lines.append(f"Agreement: {agree} ({100 * rate:.0f} %).")
    if found.contradictions:
        told = ", ".join(f"{kind.value.replace('_', ' ')} {count:,}" for kind, count in found.contradictions)
        lines.append(f"Contradictions: {told}.")
    return lines


def signer_rows(found: Survey, most: int) -> list[Sequence[object]]:
    """Signers that recur: name, calls, levels, verified, agreement, whether revoked."""
    return [
        (
            one.signer,
            f"{one.calls:,}",
            *(f"{one.level(level):,}" for level in "ABC"),
            f"{one.verified:,}",
            f"{one.agrees:,} of {one.of:,}" if one.of else "",
            ", ".join(f"{REVOKED[state]} {count:,}" for state, count in one.revocation),
        )
        for one in found.signers[:most]
    ]


def recurring_rows(found: Survey, most: int) -> list[Sequence[object]]:
    """Origids that recur: signer, origid, calls, where their chains ended."""
    return [
        (one.signer, one.origid, f"{one.calls:,}", ", ".join(f"{who} {count:,}" for who, count in one.ends))
        for one in found.recurring[:most]
    ]


def survey_json(found: Survey) -> dict[str, Any]:
    """The JSON object of a campaign's headers."""
    return {
        "headers": found.headers,
        "agrees": found.agrees,
        "of": found.of,
        "rate": round(found.rate, 4) if found.rate is not None else None,
        "signers": [
            {
                "signer": one.signer,
                "calls": one.calls,
                "levels": dict(one.levels),
                "verified": one.verified,
                "revocation": {state.value: count for state, count in one.revocation},
                "agrees": one.agrees,
                "of": one.of,
            }
            for one in found.signers
        ],
        "recurring": [
            {"signer": one.signer, "origid": one.origid, "calls": one.calls, "ends": dict(one.ends)}
            for one in found.recurring
        ],
        "contradictions": {kind.value: count for kind, count in found.contradictions},
    }
