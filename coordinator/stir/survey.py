"""What the Identity headers of a campaign's calls have in common: who signs, at which levels, how that agrees. Pure.

An agreement is a signer where the chain ended, at the origin or the gateway; calls whose chain is not finished, or
whose signer nobody knows, count on neither side.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from coordinator.stir.certificates import Grade
from coordinator.stir.crosscheck import CONTRADICTIONS, CrossCheck, Kind
from coordinator.stir.revocation import State
from protos.identity import ProviderId

NOBODY = "not verified"


@dataclass(frozen=True, slots=True)
class Checked:
    """One call's cross-check, and the origin or gateway that its chain found."""

    check: CrossCheck
    found: ProviderId | None


@dataclass(frozen=True, slots=True)
class Signing:
    """One signer: calls, at which levels, verified to a pinned root; in how many of how many calls it agrees.

    `revocation` counts calls by whether its certificate was revoked; those where no root vouches for it are in none.
    """

    signer: str
    calls: int
    levels: tuple[tuple[str, int], ...]
    verified: int
    agrees: int
    of: int
    revocation: tuple[tuple[State, int], ...] = ()

    def level(self, name: str) -> int:
        """Calls attested A, B or C."""
        return dict(self.levels).get(name, 0)


@dataclass(frozen=True, slots=True)
class Recurrence:
    """One origid of one signer that several calls bear, and where their chains ended."""

    signer: str
    origid: str
    calls: int
    ends: tuple[tuple[ProviderId, int], ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """What the headers of many calls say; every list is in order of how often, then by name."""

    headers: int
    agrees: int
    of: int
    signers: tuple[Signing, ...]
    recurring: tuple[Recurrence, ...]
    contradictions: tuple[tuple[Kind, int], ...]

    @property
    def rate(self) -> float | None:
        """The share that agrees, between 0 and 1; None where nothing can be said."""
        return self.agrees / self.of if self.of else None


def survey(checked: Iterable[Checked]) -> Survey:
    """What these cross-checks have in common."""
    every = list(checked)
    by_signer: dict[str, list[CrossCheck]] = defaultdict(list)
    by_origid: dict[tuple[str, str], list[Checked]] = defaultdict(list)
    for one in every:
        by_signer[signer_name(one.check)].append(one.check)
        if one.check.origid:
            by_origid[signer_name(one.check), one.check.origid].append(one)
    signers = [_signing(name, some) for name, some in by_signer.items()]
    recurring = [_recurrence(*key, some) for key, some in by_origid.items() if len(some) > 1]
    kinds = Counter(one.kind for each in every for one in each.check.findings if one.kind in CONTRADICTIONS)
    return Survey(
        headers=len(every),
        agrees=sum(one.agrees for one in signers),
        of=sum(one.of for one in signers),
        signers=tuple(sorted(signers, key=lambda one: (-one.calls, one.signer))),
        recurring=tuple(sorted(recurring, key=lambda one: (-one.calls, one.signer, one.origid))),
        contradictions=tuple(sorted(kinds.items(), key=lambda entry: (-entry[1], entry[0].value))),
    )


def signer_name(check: CrossCheck) -> str:
    """A signer for people: its id, else the codes of its certificate, else that nobody knows it."""
    if check.signer is not None:
        return check.signer
    return f"SPC {' '.join(check.codes)}" if check.codes else NOBODY


def _signing(name: str, some: list[CrossCheck]) -> Signing:
    states = Counter(one.revocation.state for one in some if one.revocation is not None)
    said = [one.agrees for one in some if one.agrees is not None]
    return Signing(
        signer=name,
        calls=len(some),
        levels=tuple(sorted(Counter(one.attestation for one in some).items())),
        verified=sum(one.grade is Grade.VERIFIED for one in some),
        agrees=sum(said),
        of=len(said),
        revocation=tuple((state, states[state]) for state in State if states[state]),
    )


def _recurrence(signer: str, origid: str, some: list[Checked]) -> Recurrence:
    ends = Counter(one.found for one in some if one.found is not None)
    return Recurrence(signer, origid, len(some), tuple(sorted(ends.items(), key=lambda entry: (-entry[1], entry[0]))))
