"""The few facts of a SIP message from which call legs are told, parsed from its start line and header bytes.

RFC 3261: compact and folded headers, several Via values in one field, name-addr and addr-spec; RFC 3966 tel: URIs;
RFC 3325 P-Asserted-Identity; RFC 8224 Identity (see `passport`); RFC 5806 Diversion, RFC 7044 History-Info.

Keeps INVITE requests that open a dialog, final responses to INVITE, and BYE; `parse_message` says None for the rest. It
refuses an INVITE that lacks what RFC 3261 8.1.1 makes mandatory: such a message can't be told apart from others.

The called number is that of the Request-URI, whatever a redirection says: that is the number under which this provider
got the call, or sent it. What Diversion and History-Info claim about numbers dialled before is kept beside it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from cdr_adapters.sip.passport import claims_of, verstat_of

ANONYMOUS_USERS = frozenset({"", "anonymous", "restricted", "private", "unavailable", "unknown", "withheld"})
"""User parts of a From header which say that the caller's number is withheld (RFC 3323 and common practice)."""

_COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "y": "identity"}
_MANDATORY = frozenset({"via", "from", "to", "call-id", "cseq"})
_HINTS = frozenset({"p-asserted-identity", "remote-party-id", "identity", "diversion", "history-info"})
_WANTED = _MANDATORY | _HINTS
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
        callers: user parts that name the caller, best first: P-Asserted-Identity, From unless withheld,
            Remote-Party-ID; those with digits before a From without.
        vias: topmost (the sender's) first.
        attestation, origid: as the Identity header claims; verstat: of P-Asserted-Identity or From. Empty without.
        first_called: the number first dialled as History-Info, else Diversion claims; empty when not redirected.
        diverted_by: the last number that sent the call on, as Diversion, else History-Info claims; empty likewise.
    """

    call_id: str
    cseq: int
    from_tag: str
    called: str
    callers: tuple[str, ...]
    vias: tuple[Via, ...]
    attestation: str = ""
    origid: str = ""
    verstat: str = ""
    first_called: str = ""
    diverted_by: str = ""

    @property
    def calling(self) -> str:
        """The best of `callers`; empty when nobody says."""
        return self.callers[0] if self.callers else ""


@dataclass(frozen=True, slots=True)
class Final:
    """A final response (200 to 699) to an INVITE. `via` is that of the request's sender, to whom it goes."""

    call_id: str
    cseq: int
    via: Via
    code: int


@dataclass(frozen=True, slots=True)
class Bye:
    """A BYE: the end of an answered call. `tags` are its From and To tags, of which one is the caller's."""

    call_id: str
    tags: tuple[str, str]


Message = Invite | Final | Bye


def parse_message(start_line: bytes, header: bytes) -> Message | None:
    """Parse one message; None when it is neither an INVITE that opens a dialog, nor a final response to one, nor a BYE.

    Raises:
        MalformedSipError: an INVITE without a readable Via, From, To, Call-ID, CSeq or Request-URI.
    """
    line = _text(start_line).strip()
    request = _REQUEST.fullmatch(line)
    if request is not None:
        if request[1] == "INVITE":
            return _invite(request[2], _fields(header))
        return _bye(header) if request[1] == "BYE" else None
    response = _RESPONSE.fullmatch(line)
    if response is None:
        return None
    code = int(response[1])
    return _final(code, header) if code >= 200 else None


def split_message(payload: bytes) -> tuple[bytes, bytes]:
    """Start line and header of a message.

    Raises:
        MalformedSipError: the header does not end within `payload`.
    """
    end = payload.find(b"\r\n\r\n")
    if end < 0:
        raise MalformedSipError("INVITE whose header is cut off")
    start, _, header = payload[:end].partition(b"\r\n")
    return start, header


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
    asserted = fields.get("p-asserted-identity", [])
    claims = claims_of(fields.get("identity", ()))
    first_called, diverted_by = _redirection(fields.get("history-info", []), fields.get("diversion", []))
    return Invite(
        call_id=_only(fields, "call-id"),
        cseq=cseq,
        from_tag=_parameter(_TAG, from_value),
        called=user_of(uri),
        callers=_callers(from_value, asserted, fields.get("remote-party-id", [])),
        vias=_vias(fields),
        attestation=claims.attestation,
        origid=claims.origid,
        verstat=verstat_of((*asserted, from_value)),
        first_called=first_called,
        diverted_by=diverted_by,
    )


def _bye(header: bytes) -> Bye | None:
    try:
        fields = _fields(header)
        tags = _parameter(_TAG, _only(fields, "from")), _parameter(_TAG, _only(fields, "to"))
        return Bye(_only(fields, "call-id"), tags)
    except MalformedSipError:
        return None  # when the call ended stays unknown


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
                if key in _MANDATORY:
                    raise MalformedSipError(f"INVITE with {len(value)} characters of {key}")
                value = ""
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


def _addresses(values: list[str]) -> list[str]:
    """The URIs of a header that may have several values, in order."""
    found: list[str] = []
    for value in values:
        bare = _QUOTED.sub("", value)
        angled = _ANGLED.findall(bare)
        found += angled or [one.partition(";")[0] for one in bare.split(",")]
    return found


def _callers(from_value: str, asserted: list[str], remote_party: list[str]) -> tuple[str, ...]:
    from_uri = _address(from_value)
    from_user = user_of(from_uri)
    withheld = from_user.lower() in ANONYMOUS_USERS or "anonymous.invalid" in from_uri.lower()
    told = [user_of(uri) for uri in _addresses(asserted)]
    said = [] if withheld else [from_user]
    known = [*told, *said, *(user_of(uri) for uri in _addresses(remote_party))]
    numbers = [user for user in known if any(c.isdigit() for c in user)]
    return tuple(dict.fromkeys([*numbers, *said]))


def _redirection(history: list[str], diversion: list[str]) -> tuple[str, str]:
    """The number first dialled and the last one that sent the call on (RFC 7044: oldest first; RFC 5806: newest)."""
    went = [user for uri in _addresses(history) if (user := user_of(uri.partition("?")[0]))]
    sent_on = [user for uri in _addresses(diversion) if (user := user_of(uri.partition("?")[0]))]
    first = went[0] if len(went) > 1 else sent_on[-1] if sent_on else ""
    return first, sent_on[0] if sent_on else went[-2] if len(went) > 1 else ""
