"""The Identity header of a call (RFC 8224), and the PASSporT in it (RFC 8225): SHAKEN (RFC 8588) and div (RFC 8946).

Read, not verified: `coordinator.stir.certificates` does that. What is taken is the full form,
`header.payload.signature;info=<URL>;alg=ES256;ppt=shaken`, one header or several (one a line, or with commas between);
one of them must be SHAKEN's, beside it there may be div ones, and others, which say nothing here. Refused, each with
its reason: the compact form, which leaves the claims out, any other algorithm, a certificate's URL that isn't https, an
extension that must be understood (crit, RFC 7515 4.1.11), claims that are missing or out of bounds, a key that stands
twice. Parameters beside the token count without case, as SIP has them (RFC 3261 7.3.1), its JSON with it. No URL is
ever followed. No message repeats a telephone number.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

LONGEST: Final = 16_384
"""Characters of everything that one call's report may hold."""
LONGEST_TOKEN: Final = 8_192
MOST: Final = 10
MOST_NUMBERS: Final = 50
SIGNATURE_BYTES: Final = 64
FRESH: Final = timedelta(seconds=60)
"""A header's time may differ from the call's by this (RFC 8224 4.1)."""

_DIVERTING: Final = ("div", "div-o")
_PREFIX: Final = re.compile(r"^\s*(?:identity|y)\s*:", re.IGNORECASE | re.ASCII)
_FOLD: Final = re.compile(r"\r?\n[ \t]+")
_PIECES: Final = re.compile(r'"[^"]{0,256}"|<[^<>]{0,2100}>|[^",;<]+|.', re.DOTALL)
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_PARAMETER: Final = re.compile(r'\s*([A-Za-z0-9-]{1,32})\s*=\s*(?:"([^"\\]*)"|<([^<>]*)>|([^\s;"<>]*))\s*', re.ASCII)
_NUMBER: Final = re.compile(r"\+?[0-9*#]{1,15}", re.ASCII)
_ORIGID: Final = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
_URL: Final = re.compile(r"https://[\x21-\x7e]{1,2000}", re.ASCII)
_FIRST_IAT: Final = 946_684_800  # 2000
_LAST_IAT: Final = 4_102_444_800  # 2100


class PassportError(ValueError):
    """It is no Identity header that says anything here; the message says why, and repeats no telephone number."""


@dataclass(frozen=True, slots=True)
class Passport:
    """One PASSporT: what it claims, and over which bytes it is signed.

    Attributes:
        kind: `shaken`, `div`, or `div-o`, which is div with the original PASSporT in it; that one is left unread.
        attestation: A, B or C; empty for a div one.
        orig: digits of the calling number as signed; empty where it is no telephone number.
        dest: digits of the called numbers as signed; those that are URIs are left out.
        diverted: div only: digits of the number that the call was for before it was forwarded.
        issued: `iat`, aware UTC, whole seconds: a claim of the signer's.
        origid: SHAKEN only: the signer's opaque name for its customer or for where the call came from.
        x5u: where the signer says that its certificate lies.
        signed: the bytes that are signed; `signature` are the 64 bytes of r and s.
    """

    kind: str
    issued: datetime
    x5u: str
    attestation: str = ""
    origid: str = ""
    orig: str = field(default="", repr=False)
    dest: tuple[str, ...] = field(default=(), repr=False)
    diverted: str = field(default="", repr=False)
    signed: bytes = field(default=b"", repr=False)
    signature: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """What came with one call: the SHAKEN PASSporT, div ones beside it, and the text that they were read from."""

    shaken: Passport
    div: tuple[Passport, ...] = ()
    text: str = field(default="", repr=False)


def parse_identity(text: str) -> Identity:
    """The Identity header or headers of one call.

    Raises:
        PassportError: it is none, or says nothing here.
    """
    if len(text) > LONGEST:
        raise PassportError(f"{len(text):,} characters are too many: at most {LONGEST:,}")
    values = _values(text)
    if not values:
        raise PassportError("there is no header in it")
    if len(values) > MOST:
        raise PassportError(f"{len(values)} headers are too many: at most {MOST}")
    passports = [one for one in map(_passport, values) if one is not None]
    shaken = [one for one in passports if one.kind == "shaken"]
    if not shaken and any(one.kind == "div-o" for one in passports):
        raise PassportError("SHAKEN's PASSporT lies inside a div-o one: hand it in by itself, as a header of its own")
    if not shaken:
        raise PassportError("none of its PASSporTs is SHAKEN's: nothing is attested")
    if len(shaken) > 1:
        raise PassportError(f"{len(shaken)} of its PASSporTs are SHAKEN's: name the one that the called side verified")
    return Identity(shaken[0], tuple(one for one in passports if one.kind in _DIVERTING), "\n".join(values))


def same_number(signed: str, number: str) -> bool:
    """Whether signed digits are this number; ten digits are one of the North American Numbering Plan without its 1."""
    digits = number.removeprefix("+")
    return signed == digits or (len(signed) == 10 and digits == f"1{signed}")


def _values(text: str) -> list[str]:
    """Each header by itself, without its name."""
    lines = (_PREFIX.sub("", line, count=1) for line in _FOLD.sub(" ", text.strip()).splitlines())
    return [value.strip() for line in lines for value in _split(line, ",") if value.strip()]


def _split(text: str, separator: str) -> list[str]:
    """The parts between separators that stand neither in quotes nor in angle brackets."""
    parts = [""]
    for piece in _PIECES.findall(text):
        if piece == separator:
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def _passport(value: str) -> Passport | None:
    """The PASSporT of one header; None for one of a kind that says nothing here."""
    token, *rest = _split(value, ";")
    token, parameters = token.strip(), _parameters(rest)
    if len(token) > LONGEST_TOKEN:
        raise PassportError(f"a PASSporT of {len(token):,} characters is too long: at most {LONGEST_TOKEN:,}")
    if token.startswith(".."):
        raise PassportError("it is the compact form, which leaves the claims out: hand in the full form")
    parts = token.split(".")
    if len(parts) != 3 or not all(_BASE64URL.fullmatch(part) for part in parts):
        raise PassportError("it is no PASSporT: three parts of base64url text with dots between")
    header, payload = _object(parts[0], "header"), _object(parts[1], "payload")
    if (header.get("typ"), header.get("alg")) != ("passport", "ES256"):
        raise PassportError("its header must say typ passport and alg ES256")
    if "crit" in header:
        raise PassportError("its header has an extension that must be understood (crit), and is not known here")
    if parameters.get("alg", "ES256").upper() != "ES256":
        raise PassportError("the header's alg is another than ES256")
    x5u = header.get("x5u")
    if not isinstance(x5u, str) or _URL.fullmatch(x5u) is None:
        raise PassportError("x5u must be the https URL of the signer's certificate")
    if parameters.get("info") != x5u:
        raise PassportError("info must name the same URL as x5u does")
    kind = header.get("ppt")
    if "ppt" in parameters and parameters["ppt"].lower() != kind:
        raise PassportError("the header's ppt is another than the PASSporT's")
    if kind not in ("shaken", *_DIVERTING):
        return None
    signature = _decoded(parts[2], "signature")
    if len(signature) != SIGNATURE_BYTES:
        raise PassportError(f"an ES256 signature has {SIGNATURE_BYTES} bytes, not {len(signature)}")
    return Passport(
        kind=kind,
        issued=_issued(payload.get("iat")),
        x5u=x5u,
        attestation=_attestation(payload.get("attest")) if kind == "shaken" else "",
        origid=_origid(payload.get("origid")) if kind == "shaken" else "",
        orig=_one_number(payload, "orig"),
        dest=_numbers(payload.get("dest")),
        diverted=_one_number(payload, "div") if kind in _DIVERTING else "",
        signed=f"{parts[0]}.{parts[1]}".encode("ascii"),
        signature=signature,
    )


def _parameters(parts: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in parts:
        if not part.strip():
            continue
        match = _PARAMETER.fullmatch(part)
        if match is None:
            continue  # of an extension: generic-param, RFC 3261 25.1
        name = match[1].lower()
        if name in found:
            raise PassportError(f"the parameter {name} stands twice")
        found[name] = next((value for value in match.groups()[1:] if value is not None), "")
    return found


def _decoded(part: str, what: str) -> bytes:
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise PassportError(f"the {what} is no base64url text") from None


def _object(part: str, what: str) -> dict[str, Any]:
    try:
        found = json.loads(_decoded(part, what).decode("utf-8"), object_pairs_hook=_distinct)
    except PassportError:
        raise
    except (ValueError, RecursionError):
        raise PassportError(f"the {what} is no JSON") from None
    if not isinstance(found, dict):
        raise PassportError(f"the {what} is no JSON object")
    return found


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise PassportError("a key stands twice in its JSON")
    return found


def _attestation(value: Any) -> str:
    if value not in ("A", "B", "C"):
        raise PassportError("attest must be A, B or C")
    return str(value)


def _origid(value: Any) -> str:
    if not isinstance(value, str) or _ORIGID.fullmatch(value) is None:
        raise PassportError("origid must be 1 to 128 printable characters")
    return value


def _issued(value: Any) -> datetime:
    if not isinstance(value, int) or isinstance(value, bool) or not _FIRST_IAT <= value < _LAST_IAT:
        raise PassportError("iat must be a time in whole seconds since 1970, in this century")
    return datetime.fromtimestamp(value, UTC)


def _one_number(payload: dict[str, Any], name: str) -> str:
    party = payload.get(name)
    if not isinstance(party, dict) or not ({"tn", "uri"} & set(party)):
        raise PassportError(f"{name} must be an object with a tn or a uri")
    return _digits(party["tn"], name) if "tn" in party else ""


def _numbers(party: Any) -> tuple[str, ...]:
    if not isinstance(party, dict) or not ({"tn", "uri"} & set(party)):
        raise PassportError("dest must be an object with a tn or a uri")
    numbers = party.get("tn", [])
    if isinstance(numbers, str):
        numbers = [numbers]
    if not isinstance(numbers, list) or len(numbers) > MOST_NUMBERS:
        raise PassportError(f"dest.tn must be a list of {MOST_NUMBERS} numbers at most")
    return tuple(_digits(one, "dest") for one in numbers)


def _digits(value: Any, name: str) -> str:
    """Digits as RFC 8224 8.3 writes a number: no +, no visual separators; a + that is there all the same is put off."""
    if not isinstance(value, str) or _NUMBER.fullmatch(value) is None:
        raise PassportError(f"{name}.tn must be a telephone number in digits")
    return value.removeprefix("+")
