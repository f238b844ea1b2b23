"""What one operator alone can't do: statements that count only with the signatures of two different ones.

Operators have Ed25519 keys of their own, which the configuration pins by name. A statement is exact bytes that begin
with what they are, so that a signature for one thing never counts for another, and end with when they expire, so that
an old one can't be brought out again. Each operator signs alone, wherever the key lies; what travels between them is a
small file.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.message import DecodeError

from hopback.v1 import evidence_pb2 as pb
from protos.identity import InvalidIdentityError, ProviderId, parse_provider_id
from protos.signing import Domain, Proof, PublicKey, Seal, SealChecker, Signer

NEEDED: Final = 2
"""Operators who must sign."""
TOKEN_LIFETIME: Final = timedelta(seconds=600)
_WHAT: Final = "enrolment token"
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


class StatementError(ValueError):
    """The file holds no statement that could count; the message says why."""


@dataclass(frozen=True, slots=True)
class Token:
    """That whoever shows the token of this digest is `provider`, once, until it expires (aware UTC, whole seconds)."""

    provider: ProviderId
    sha256: bytes
    expires: datetime

    @property
    def exact(self) -> bytes:
        """The bytes that operators sign."""
        return f"hopback-enrolment-token-v1\n{self.provider}\n{self.sha256.hex()}\n{self.expires:{_TIME}}\n".encode()


@dataclass(frozen=True, slots=True)
class Signed:
    """A statement and the signatures under it, by the names that the operators gave themselves."""

    statement: Token
    signatures: tuple[tuple[str, Seal], ...] = ()

    def by(self, operator: str, signer: Signer) -> Signed:
        """The same with one more signature; an operator's second one replaces the first."""
        others = tuple(each for each in self.signatures if each[0] != operator)
        seal, _ = signer.seal(Domain.REGISTRY, [self.statement.exact])
        return replace(self, signatures=(*others, (operator, seal)))


def problem(signed: Signed, operators: Mapping[str, PublicKey], now: datetime, checker: SealChecker) -> str | None:
    """Why the statement does not count at `now`; None when two different operators stand behind it."""
    expires = signed.statement.expires
    if now >= expires:
        return f"it expired at {expires:{_TIME}}: begin anew"
    if expires > now + TOKEN_LIFETIME:
        return f"it would count until {expires:{_TIME}}, longer than {TOKEN_LIFETIME.total_seconds():.0f} s: begin anew"
    good = {
        operators[name].raw
        for name, seal in signed.signatures
        if name in operators and _signed(signed.statement.exact, seal, operators[name], checker)
    }
    if len(good) < NEEDED:
        strangers = sorted(name for name, _ in signed.signatures if name not in operators)
        bad = f"; not among the configured operators: {', '.join(strangers)}" if strangers else ""
        return f"good signatures of different operators: {len(good)}, needed: {NEEDED}{bad}"
    return None


def _signed(exact: bytes, seal: Seal, key: PublicKey, checker: SealChecker) -> bool:
    return Proof(seal, 0, b"").covers(exact) and seal.size == 1 and checker.is_good(seal, Domain.REGISTRY, key)


def to_json(signed: Signed) -> str:
    """The file that travels between operators."""
    statement = signed.statement
    said = {
        "what": _WHAT,
        "provider": statement.provider,
        "sha256": statement.sha256.hex(),
        "expires": f"{statement.expires:{_TIME}}",
        "signatures": [
            {"operator": name, "seal": base64.b64encode(seal.to_message().SerializeToString()).decode()}
            for name, seal in signed.signatures
        ],
    }
    return json.dumps(said, indent=2) + "\n"


def from_json(text: str) -> Signed:
    """What `to_json` wrote; nothing of it is believed yet.

    Raises:
        StatementError: it is no such file.
    """
    try:
        said = json.loads(text)
        sha256, expires = bytes.fromhex(said["sha256"]), _time(said["expires"])
        if said["what"] != _WHAT:
            raise StatementError(f"it is no {_WHAT}")
        statement = Token(parse_provider_id(said["provider"]), sha256, expires)
        if len(sha256) != 32:
            raise StatementError("sha256 must be 64 hex digits")
        signatures = tuple(_signatures(said["signatures"]))
    except InvalidIdentityError as error:
        raise StatementError(str(error)) from None
    except (KeyError, TypeError, AttributeError, binascii.Error, DecodeError):
        raise StatementError("fields are missing or of the wrong kind") from None
    except ValueError as error:
        raise error if isinstance(error, StatementError) else StatementError(f"it does not read: {error}") from None
    return Signed(statement, signatures)


def _signatures(entries: Iterable[Mapping[str, str]]) -> Iterable[tuple[str, Seal]]:
    for entry in entries:
        seal = pb.Seal.FromString(base64.b64decode(entry["seal"], validate=True))
        if not isinstance(entry["operator"], str):
            raise StatementError("an operator must be named")
        yield entry["operator"], Seal.of_message(seal)


def _time(text: str) -> datetime:
    return datetime.strptime(text, _TIME).replace(tzinfo=UTC)
