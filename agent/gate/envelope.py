"""What came, taken as a coordinator's envelope of questions, or not taken at all.

What is wrong with an envelope is an error of gRPC with its reason: nothing in it can be believed, so nothing in it is
answered. In this order:

1. the bytes are an AskRequest within its bounds (MALFORMED, INVALID_FIELD);
2. every question is addressed to this provider (WRONG_TARGET);
3. the seal's key has an evidence certificate of a pinned root, valid now, and it names the party whose TLS certificate
   opened the connection (SIGNATURE);
4. that certificate has not been revoked (REVOKED);
5. the seal is good and covers exactly these questions, in this order (SIGNATURE).

Who may connect at all was decided before (`agent.server`). Of the certificates that came only those of pinned roots
count; a certificate that proves nothing is as good as none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from protos.certificates import CertificateError, Certified, PinnedRoots
from protos.codec import ContractError
from protos.envelopes import Requests
from protos.hops import Asked
from protos.identity import ProviderId
from protos.merkle import Inclusions, Whole, tree_of, whole
from protos.signing import Domain, Proof, PublicKey, Seal, SealChecker
from protos.types import ErrorReason

IsRevoked = Callable[[Certified], bool]
"""Whether a certificate counts no longer."""

_COORDINATOR = "hopback://coordinator/"


@dataclass(slots=True)
class Envelope:
    """Questions that one coordinator did sign, and what came with them; nothing of that is believed yet.

    `asker` is the URI that its certificates carry, `certificates` are those of pinned roots, by key id.
    """

    requests: Requests
    asker: str
    certificates: dict[bytes, list[Certified]]
    seals: SealChecker
    _trees: dict[tuple[int, bytes], Inclusions | Whole] = field(default_factory=dict)
    _tree_of: dict[int, tuple[Seal, Inclusions | Whole]] = field(default_factory=dict)
    _good: dict[tuple[int, str, bytes], tuple[Seal, bool]] = field(default_factory=dict)

    @property
    def asked(self) -> Sequence[Asked]:
        """The questions."""
        return self.requests.asked

    @property
    def coordinator(self) -> str:
        """The name of who asks."""
        return self.asker.removeprefix(_COORDINATOR)

    def covers(self, proof: Proof, leaf: bytes) -> bool:
        """As `Proof.covers`; many proofs in one tree share their steps."""
        seal, index, path = proof.seal, proof.index, proof.path
        # a seal is kept beside what is known of it, so that nothing else can come to bear its id
        known = self._tree_of.get(id(seal))
        if known is None:
            known = self._tree_of[id(seal)] = seal, self._tree(seal)
        return known[1].proves(leaf, index, path)

    def is_good(self, seal: Seal, domain: Domain, key: PublicKey) -> bool:
        """As `SealChecker.is_good`, for a seal of this envelope: many proofs share it."""
        known = self._good.get((id(seal), domain._value_, key.raw))
        if known is None:
            known = self._good[id(seal), domain._value_, key.raw] = seal, self.seals.is_good(seal, domain, key)
        return known[1]

    def _tree(self, seal: Seal) -> Inclusions | Whole:
        if not self._trees:
            self._trees.update(whole_trees(self.requests))
        tree = self._trees.get((seal.size, seal.root))
        if tree is None:
            tree = self._trees[seal.size, seal.root] = Inclusions(seal.size, seal.root)
        return tree


def whole_trees(requests: Requests) -> dict[tuple[int, bytes], Whole]:
    """The trees, by size and root, of which all leaves came in this envelope, as they do in a large one."""
    orders, namings = requests.orders, requests.namings
    claimed: dict[tuple[int, bytes], dict[int, bytes]] = defaultdict(dict)
    for granted in orders.values():
        seal = granted.submission.seal
        if 1 < seal.size <= len(orders):
            claimed[seal.size, seal.root][granted.submission.index] = granted.exact
    for sha256, named in namings.items():
        seal = named.proof.seal
        if 1 < seal.size <= len(namings):
            claimed[seal.size, seal.root][named.proof.index] = sha256 + named.finding_sha256
    trees = ((key, whole(*key, leaves)) for key, leaves in claimed.items())
    return {key: tree for key, tree in trees if tree is not None}


class Reception:
    """Takes envelopes for one provider."""

    def __init__(self, me: ProviderId, roots: PinnedRoots, seals: SealChecker, is_revoked: IsRevoked) -> None:
        self._me = me
        self._roots = roots
        self._seals = seals
        self._is_revoked = is_revoked

    def take(self, requests: Requests, asker_uris: Collection[str], now: datetime) -> Envelope:
        """The envelope, if the coordinator that the connection proved did sign it.

        Raises:
            protos.codec.ContractError: it can't be taken; the reason is one of those above.
        """
        if len(requests.certificates) > 1 + len(requests.namings):
            raise ContractError(
                ErrorReason.INVALID_FIELD, "there are more certificates than questions can need", ("certificates",)
            )
        if any(asked.question.target != self._me for asked in requests.asked):
            raise ContractError(
                ErrorReason.WRONG_TARGET, "a question is addressed to another provider", ("questions.target",)
            )
        certificates = self._read(requests.certificates)
        signer = self._signer(requests.seal, certificates, asker_uris, now)
        tree = tree_of(asked.exact for asked in requests.asked)
        covered = requests.seal.size == len(tree) and requests.seal.root == tree.root
        if not covered or not self._seals.is_good(requests.seal, Domain.QUESTION, signer.key):
            raise ContractError(ErrorReason.SIGNATURE, "the seal does not cover these questions", ("seal",))
        return Envelope(requests, signer.uri, certificates, self._seals)

    def _read(self, certificates: Iterable[bytes]) -> dict[bytes, list[Certified]]:
        read: dict[bytes, list[Certified]] = {}
        for der in certificates:
            try:
                certified = self._roots.certified(der)
            except CertificateError:
                continue
            read.setdefault(certified.key.key_id, []).append(certified)
        return read

    def _signer(
        self, seal: Seal, certificates: dict[bytes, list[Certified]], uris: Collection[str], now: datetime
    ) -> Certified:
        held = [c for c in certificates.get(seal.key_id, ()) if c.uri in uris and c.uri.startswith(_COORDINATOR)]
        valid = [certified for certified in held if certified.valid_at(now)]
        if not valid:
            raise ContractError(
                ErrorReason.SIGNATURE,
                "no valid certificate of a pinned root says that the key which signed is that of who asks"
                if not held
                else "the certificate of the key that signed is not valid now",
                ("certificates",),
            )
        kept = [certified for certified in valid if not self._is_revoked(certified)]
        if not kept:
            raise ContractError(ErrorReason.REVOKED, "the certificate of the key that signed has been revoked")
        return kept[0]
