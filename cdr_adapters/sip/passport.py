"""What a call's signalling claims about its caller: PASSporT claims and the verification status, as text.

RFC 8224 Identity header with RFC 8225 PASSporT; the claims attest and origid of RFC 8588; `verstat` of 3GPP TS 24.229
7.2A.20. Claims only: no signature is verified here, no certificate fetched, and no URL in a header is ever followed.
A `div` PASSporT (RFC 8946) or any other that attests nothing is passed over; the compact form of RFC 8225 7 leaves its
claims out and says nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_VERSTAT = re.compile(r";\s*verstat\s*=\s*([A-Za-z0-9-]{1,64})(?![A-Za-z0-9-])", re.ASCII | re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_ORIGID = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Claims:
    """Attestation level (A, B, C) and origination identifier; empty where nothing says."""

    attestation: str = ""
    origid: str = ""


NO_CLAIMS = Claims()


def claims_of(identities: Iterable[str]) -> Claims:
    """The claims of the first Identity value that attests a level; none when no value does."""
    for header in identities:
        for identity in header.split(","):
            payload = _payload(identity)
            if payload.get("attest") in ("A", "B", "C"):
                origid = payload.get("origid")
                told = isinstance(origid, str) and _ORIGID.fullmatch(origid) is not None
                return Claims(str(payload["attest"]), str(origid) if told else "")
    return NO_CLAIMS


def _payload(identity: str) -> dict[str, Any]:
    parts = identity.split(";")[0].strip().split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def verstat_of(headers: Iterable[str]) -> str:
    """The first verification status among From and P-Asserted-Identity values; empty when there is none."""
    for header in headers:
        if (match := _VERSTAT.search(_QUOTED.sub("", header))) is not None:
            return match[1]
    return ""
