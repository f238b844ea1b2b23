"""The few facts of a SIP message from which call legs are told, parsed from its start line and header bytes.

RFC 3261: compact and folded headers, several Via values in one field, name-addr and addr-spec; RFC 3966 tel: URIs;
RFC 3325 P-Asserted-Identity; RFC 8224 Identity (the attestation claim of RFC 8588 is read, not verified).

Keeps only INVITE requests that open a dialog and final responses to INVITE; `parse_message` says None for the rest. It
refuses an INVITE that lacks what RFC 3261 8.1.1 makes mandatory: such a message can't be told apart from others.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from urllib.parse import unquote

ANONYMOUS_USERS = frozenset({"", "anonymous", "restricted", "private", "unavailable", "unknown", "withheld"})
"""User parts of a From header which say that the caller's number is withheld (RFC 3323 and common practice)."""

_COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "y": "identity"}
_WANTED = frozenset({"via", "from", "to", "call-id", "cseq", "p-asserted-identity", "identity"})
_REQUEST = re.compile(r"([A-Za-z]+) +(\S+) +SIP/2\.0\s*", re.ASCII)
_RESPONSE = re.compile(r"SIP/2\.0 +([1-6][0-9]{2})(?: .*)?", re.ASCII | re.DOTALL)
_CSEQ = re.compile(r"([0-9]{1,10})\s+([A-Za-z]+)", re.ASCII)
_VIA = re.compile(
    r"SIP\s*/\s*2\.0\s*/\s*\S+\s+(\[[^\]]*\]|[^\s:;,]+)\s*(?::\s*([0-9]{1,5}))?", re.ASCII | re.IGNORECASE
)
_TAG = re.compile(r";\s*tag\s*=\s*([^\s;,]+)", re.IGNORECASE)
_BRANCH = re.compile(r";\s*branch\s*=\s*([^\s;,]+)", re.IGNORECASE)
_ANGLED = re.compile(r"<([^<>]*)>")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_FOLD = re.compile(r"\r?\n[ \t]+")
_LONGEST_FIELD = 4096
"""No field that we read is longer in a real message; bounds the work that a hostile one can cause."""
_MOST_VIAS = 70
"""Max-Forwards starts at 70 (RFC 3261 8.1.1.6): a longer Via chain is no call."""


class MalformedSipError(ValueError):
    """An INVITE that can't be read. The message names the field and never repeats its content."""


@dataclass(frozen=True, slots=True)
class Via:
    """One Via value: the sender's own name for itself (host, or host:port, lower case) and its transaction's branch."""

    sent_by: str
    branch: str


@dataclass(frozen=True, slots=True)
class Invite:
    """An INVITE without To tag: a call set-up.

    Attributes:
        called: user part of the Request-URI as `user_of` gives it; empty when it has none.
        calling: user part of From, or of P-Asserted-Identity when From names no number.
        vias: topmost (the sender's) first.
        attestation: A, B or C as the Identity header claims, "?" when it has one that doesn't say, empty without one.
    """

    call_id: str
    cseq: int
    from_tag: str
    called: str
    calling: str
    vias: tuple[Via, ...]
    attestation: str


@dataclass(frozen=True, slots=True)
class Final:
    """A final response (200 to 699) to an INVITE. `via` is that of the request's sender, to whom it goes."""

    call_id: str
    cseq: int
    via: Via
    code: int


def parse_message(start_line: bytes, header: bytes) -> Invite | Final | None:
    """Parse one message; None when it is neither an INVITE that opens a dialog nor a final response to an INVITE.

    Raises:
        MalformedSipError: an INVITE without a readable Via, From, To, Call-ID, CSeq or Request-URI.
    """
    line = _text(start_line).strip()
    request = _REQUEST.fullmatch(line)
    if request is not None:
        return _invite(request[2], _fields(header)) if request[1] == "INVITE" else None
    response = _RESPONSE.fullmatch(line)
    if response is None:
        return None
    code = int(response[1])
    return _final(code, header) if code >= 200 else None


def user_of(uri: str) -> str:
    """The user part of a sip:, sips: or tel: URI, percent-decoded; empty if there is none.

    Password and parameters are left out (the routing number of RFC 4694 too), but for `;phone-context=` (RFC 3966),
    without which a local number means nothing.
    """
    scheme, colon, rest = uri.strip().partition(":")
    if not colon:
        return ""
    scheme = scheme.lower()
    if scheme == "tel":
        user = rest
    elif scheme in ("sip", "sips"):
        user, at, _ = rest.rpartition("@")
        if not at:
            return ""
        user = user.partition(":")[0]
    else:
        return ""
    number, *parameters = user.split(";")
    context = next((p for p in parameters if p.lower().startswith("phone-context=")), None)
    return unquote(number).strip() + (f";{context}" if context else "")


def _invite(uri: str, fields: dict[str, list[str]]) -> Invite | None:
    to = _only(fields, "to")
    if _parameter(_TAG, to):
        return None  # in a dialog: a re-INVITE, no new call
    cseq, _ = _cseq(fields)
    from_value = _only(fields, "from")
    vias = _vias(fields)
    return Invite(
        call_id=_only(fields, "call-id"),
        cseq=cseq,
        from_tag=_parameter(_TAG, from_value),
        called=user_of(uri),
        calling=_calling(from_value, fields.get("p-asserted-identity", [])),
        vias=vias,
        attestation=_attestation(fields.get("identity", [])),
    )


def _final(code: int, header: bytes) -> Final | None:
    try:
        fields = _fields(header)
        cseq, method = _cseq(fields)
        if method != "INVITE":
            return None
        return Final(_only(fields, "call-id"), cseq, _vias(fields)[0], code)
    except MalformedSipError:
        return None  # the call is known by its INVITE; only its outcome stays unknown


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")


def _fields(header: bytes) -> dict[str, list[str]]:
    """Header fields that matter, by full lower-case name, in order."""
    found: dict[str, list[str]] = {}
    unfolded = _FOLD.sub(" ", _text(header))
    for line in unfolded.split("\n"):
        name, colon, value = line.partition(":")
        key = name.strip().lower()
        key = _COMPACT.get(key, key)
        if colon and key in _WANTED:
            if len(value) > _LONGEST_FIELD:
                if key != "identity":
                    raise MalformedSipError(f"INVITE with {len(value)} characters of {key}")
                value = ""  # a hint only
            found.setdefault(key, []).append(value.strip())
    return found


def _only(fields: dict[str, list[str]], name: str) -> str:
    values = fields.get(name)
    if not values or not values[0]:
        raise MalformedSipError(f"INVITE without {name}")
    return values[0]


def _cseq(fields: dict[str, list[str]]) -> tuple[int, str]:
    match = _CSEQ.match(_only(fields, "cseq"))
    if match is None:
        raise MalformedSipError("INVITE with an unreadable cseq")
    return int(match[1]), match[2].upper()


def _vias(fields: dict[str, list[str]]) -> tuple[Via, ...]:
    vias: list[Via] = []
    for value in fields.get("via", []):
        for one in _QUOTED.sub('""', value).split(","):
            match = _VIA.match(one.strip())
            if match is None:
                raise MalformedSipError("INVITE with an unreadable via")
            host = match[1].lower()
            sent_by = f"{host}:{match[2]}" if match[2] else host
            vias.append(Via(sent_by, _parameter(_BRANCH, one)))
    if not vias:
        raise MalformedSipError("INVITE without via")
    if len(vias) > _MOST_VIAS:
        raise MalformedSipError(f"INVITE with {len(vias)} via values")
    return tuple(vias)


def _parameter(pattern: re.Pattern[str], value: str) -> str:
    """A header parameter's value: looked for behind the URI, never inside a display name or the angle brackets."""
    bare = _ANGLED.sub("<>", _QUOTED.sub('""', value))
    match = pattern.search(bare)
    return match[1] if match else ""


def _address(value: str) -> str:
    """The URI of a name-addr or addr-spec."""
    bare = _QUOTED.sub("", value)
    angled = _ANGLED.search(bare)
    return angled[1] if angled else bare.partition(";")[0]


def _calling(from_value: str, asserted: list[str]) -> str:
    uri = _address(from_value)
    user = user_of(uri)
    withheld = user.lower() in ANONYMOUS_USERS or "anonymous.invalid" in uri.lower()
    if not withheld and any(c.isdigit() for c in user):
        return user
    for value in asserted:
        for one in _QUOTED.sub("", value).split(","):
            if number := user_of(_address(one)):
                return number
    return "" if withheld else user


def _attestation(identities: list[str]) -> str:
    if not identities:
        return ""
    for identity in identities:
        try:
            payload = identity.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        except (IndexError, ValueError, binascii.Error, RecursionError):
            continue
        attest = claims.get("attest") if isinstance(claims, dict) else None
        if attest in ("A", "B", "C"):
            return str(attest)
    return "?"
