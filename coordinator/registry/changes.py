"""What of the registry may be changed, and in which form it is said. Pure.

    add             NAME                         a new provider, without an agent
    name            NAME
    endpoint        HOST:PORT [HOST:PORT ...]    or empty: no agent any more; or dial-out: the agent calls us
    roles           WORD [WORD ...]
    reach           agent | dial_out | person    dial_out makes the endpoint dial-out
    deadlines       {"zone": "America/Denver"}   its own keys of [deadlines], as JSON
    alias           KIND:VALUE                   end-alias the same: it holds no longer
    contact         ADDRESS                      gets invitations and reminders; end-contact
    escalation      LEVEL:ADDRESS                hears of overdue answers from that escalation on; end-escalation
    certificate     SHA-256 in hexadecimal       of the certificate; end-certificate revokes it

Whoever controls these controls where questions go and whose answers count: so one operator proposes, and another
confirms.
"""

from __future__ import annotations

import enum
import json
import re
from dataclasses import dataclass

from pydantic import ValidationError

from coordinator.deadlines.settings import DeadlinesTable
from coordinator.registry.aliases import AliasError, AliasKind, parse_alias, parse_alias_value
from coordinator.registry.files import RegistryFileError, parse_endpoints
from coordinator.tasks.smtp import AddressError, parse_address
from protos.identity import ProviderId

REACHES = ("agent", "dial_out", "person")
_ROLE = re.compile(r"[a-z][a-z_-]{0,31}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LEVEL = re.compile(r"[1-9]", re.ASCII)


class ChangeKind(enum.Enum):
    """What is changed. Values are stable: they are stored, and typed."""

    ADD = "add"
    NAME = "name"
    ENDPOINT = "endpoint"
    ROLES = "roles"
    REACH = "reach"
    DEADLINES = "deadlines"
    ALIAS = "alias"
    END_ALIAS = "end-alias"
    CONTACT = "contact"
    END_CONTACT = "end-contact"
    ESCALATION = "escalation"
    END_ESCALATION = "end-escalation"
    CERTIFICATE = "certificate"
    END_CERTIFICATE = "end-certificate"


class ChangeError(ValueError):
    """What is proposed can't be; the message says why."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one provider, its value in the one form that is stored."""

    provider: ProviderId
    kind: ChangeKind
    value: str


def parse_change(provider: ProviderId, kind: str, value: str) -> Change:
    """A change from what was typed.

    Raises:
        ChangeError: there is no such kind, or the value is none of it.
    """
    try:
        which = ChangeKind(kind)
    except ValueError:
        raise ChangeError(f"{kind!r} can't be changed: one of {', '.join(k.value for k in ChangeKind)}") from None
    try:
        return Change(provider, which, _value(which, value.strip()))
    except (AliasError, AddressError, RegistryFileError, ValidationError, ValueError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ChangeError(f"{kind}: {said.removeprefix('Value error, ')}") from None


def _value(kind: ChangeKind, text: str) -> str:
    match kind:
        case ChangeKind.ADD | ChangeKind.NAME:
            return parse_alias_value(AliasKind.NAME, text)
        case ChangeKind.ENDPOINT:
            return parse_endpoints(text) or ""
        case ChangeKind.ROLES:
            words = sorted(set(text.replace(",", " ").split()))
            if any(_ROLE.fullmatch(word) is None for word in words):
                raise ChangeError("roles are words in lower case such as intermediate gateway")
            return " ".join(words)
        case ChangeKind.REACH:
            if text not in REACHES:
                raise ChangeError(f"one of {', '.join(REACHES)}")
            return text
        case ChangeKind.DEADLINES:
            own = json.loads(text or "{}")
            if not isinstance(own, dict):
                raise ChangeError('a JSON object such as {"zone": "America/Denver"}')
            DeadlinesTable().with_own(own)
            return json.dumps(own, sort_keys=True)
        case ChangeKind.ALIAS | ChangeKind.END_ALIAS:
            which, value = parse_alias(text)
            return f"{which.value}:{value}"
        case ChangeKind.CONTACT | ChangeKind.END_CONTACT:
            return parse_address(text)
        case ChangeKind.ESCALATION | ChangeKind.END_ESCALATION:
            level, _, address = text.partition(":")
            if _LEVEL.fullmatch(level) is None:
                raise ChangeError("write it as LEVEL:ADDRESS, with a level of 1 to 9")
            return f"{level}:{parse_address(address)}"
        case ChangeKind.CERTIFICATE | ChangeKind.END_CERTIFICATE:
            digest = text.lower().replace(":", "")
            if _SHA256.fullmatch(digest) is None:
                raise ChangeError("the SHA-256 of the certificate: 64 hexadecimal digits, colons are fine")
            return digest
