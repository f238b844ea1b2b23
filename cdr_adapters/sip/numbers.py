"""When two numbers in SIP signalling are one number, written by two providers in two formats.

For joining the legs of a call inside one provider only; what a number is in E.164 is said by the mapping.
"""

from __future__ import annotations

from cdr_adapters.sip.message import Invite

_TAIL = 7
"""Digits by which numbers in different formats are first brought together; shorter ones are extensions."""

_WHOLE = 10
"""Common last digits that make two numbers in different formats the same one."""


def digits(user: str) -> str:
    """The digits of a user part, in order, with those of a tech prefix, without those of a parameter."""
    return "".join(c for c in user.partition(";")[0] if c in "0123456789")


def same_number(one: str, other: str) -> bool:
    """Whether two user parts are one number in different formats: with country code, 00, + or tech prefix, or not."""
    a, b = sorted((digits(one), digits(other)), key=len)
    if len(a) < _TAIL:
        return bool(a) and a == b
    return b.endswith(a) or a[-_WHOLE:] == b[-_WHOLE:]


def number_keys(invite: Invite) -> set[tuple[str, str]]:
    """Keys of which two INVITEs share one whenever `same_numbers` holds of them."""
    called = digits(invite.called)[-_TAIL:]
    return {(called, digits(caller)[-_TAIL:]) for caller in invite.callers or ("",)}


def same_numbers(one: Invite, other: Invite) -> bool:
    """Whether called and calling are the same; a network may assert a caller beside or in place of the one it got."""
    return same_number(one.called, other.called) and any(
        same_number(mine, its) for mine in one.callers for its in other.callers
    )
