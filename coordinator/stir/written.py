"""A cross-check as JSON: what programs see, and what is kept of it when the header goes. Pure.

Keys are stable. No telephone number is in it; an origid that is no UUID may hold one, and is left out of what is kept.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import datetime
from typing import Any

from coordinator.stir.certificates import Grade
from coordinator.stir.crosscheck import CrossCheck, Finding, Kind
from coordinator.stir.revocation import Revocation, State
from protos.identity import parse_provider_id


def as_json(check: CrossCheck) -> dict[str, Any]:
    """The JSON object of a cross-check."""
    return {
        "attestation": check.attestation,
        "grade": check.grade.value,
        "why": check.why or None,
        "revocation": revocation_json(check.revocation),
        "codes": list(check.codes),
        "signer": check.signer,
        "origid": check.origid or None,
        "issued": check.issued.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "agrees": check.agrees,
        "findings": [{"kind": one.kind.value, "words": one.words, "facts": dict(one.facts)} for one in check.findings],
    }


def revocation_json(known: Revocation | None) -> dict[str, Any] | None:
    """The JSON object of what is known of a certificate's revocation."""
    if known is None:
        return None
    return {"state": known.state.value, "words": known.words, "stolen": known.stolen}


def keep(check: CrossCheck) -> str:
    """What is kept when the header goes."""
    return json.dumps(as_json(replace(check, origid=lasting(check.origid) or "")))


def lasting(origid: str) -> str | None:
    """An origid that can stay, as ATIS-1000074 5.2.4 wants it: a UUID, which tells nobody's number."""
    try:
        return origid if str(uuid.UUID(origid)) == origid.lower() else None
    except ValueError:
        return None


def kept(text: str) -> CrossCheck:
    """The inverse of `keep`.

    Raises:
        ValueError: it is none.
    """
    try:
        said = json.loads(text)
        return CrossCheck(
            attestation=said["attestation"],
            grade=Grade(said["grade"]),
            why=said["why"] or "",
            codes=tuple(said["codes"]),
            signer=parse_provider_id(said["signer"]) if said["signer"] else None,
            origid=said["origid"] or "",
            issued=datetime.fromisoformat(said["issued"]),
            agrees=said["agrees"],
            revocation=_revocation(said.get("revocation")),
            findings=tuple(Finding(Kind(one["kind"]), one["words"], one["facts"]) for one in said["findings"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"it is no cross-check: {error!r}") from None


def _revocation(said: dict[str, Any] | None) -> Revocation | None:
    """None where it was kept before revocation was looked at, too."""
    return Revocation(State(said["state"]), said["words"], said["stolen"]) if said else None
