"""The client of the agents for all that counts: signed questions under orders, and their signed answers, checked.

An envelope holds one or many questions to one provider, sealed together by this coordinator's online key, the orders
that they name, and the signed answers that named the provider (of those, what proves the naming). The online key alone
gets nothing: without orders that persons signed, an agent answers nothing.

What comes back counts when one seal covers all answers, by a key that a pinned root certifies as that provider's now,
and when every answer is bound to its very question, order and provider. Then each is kept with the proof that lets it
stand alone, and the provider's checkpoint, which vouches that they are in its log, goes to whoever watches over logs.
Anything else is one of the four errors of `tracing.ports`; nothing that another company's machine sends can raise
anything else. How bytes travel is told in `coordinator.lookups.transport`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from coordinator.lookups.envelope import Order, Packed, encode
from coordinator.lookups.transport import Transport
from coordinator.tracing.ports import BadAnswerError, Exchange, Provider, Reply
from coordinator.tracing.signed import SignedAnswer, SignedQuestion, SisterNaming, keep, seal_id, signed_answer
from hopback.v1 import evidence_pb2 as evidence
from hopback.v1 import hop_pb2 as pb
from protos import envelopes
from protos.certificates import CertificateError, Certified, PinnedRoots
from protos.codec import ContractError
from protos.envelopes import Responses
from protos.hops import Asked
from protos.identity import ProviderId, provider_uri
from protos.merkle import Tree, tree_of
from protos.printable import printable
from protos.signing import Domain, Proof, Seal, SealChecker, Signer
from protos.types import Question

ASK: Final = "/hopback.v1.HopService/Ask"

_BY_PROVIDER: Final = Domain.ANSWER.algorithm
_MOST_ORDERS: Final = 20_000
"""So many orders are kept ready to travel."""

ORIGINATES_NONE: Final = frozenset({"intermediate", "inbound-only"})
"""Roles in the registry of providers that have no customers who place calls, and bring in none from abroad."""


class Orders(Protocol):
    """Where approved orders are."""

    def signed(self, sha256s: Collection[bytes]) -> Mapping[bytes, Order]:
        """Those of these orders that are there, by digest."""
        ...


class Certificates(Protocol):
    """Where the certificates of earlier answers are."""

    def certificate(self, seal: Seal) -> bytes | None:
        """The certificate (DER) that came with the answers of this seal, None when the seal is not known."""
        ...


class CheckpointSink(Protocol):
    """Who watches over the providers' logs; must not block."""

    def came(self, provider: ProviderId, checkpoint: evidence.SignedCheckpoint, certificate: bytes) -> None:
        """With answers of `provider`, sealed by the key of `certificate` (DER), came this; it is not checked."""
        ...


class NobodyWatches:
    """A sink that lets checkpoints go; they are kept with the answers all the same."""

    def came(self, provider: ProviderId, checkpoint: evidence.SignedCheckpoint, certificate: bytes) -> None:
        """Nothing."""


class SignedAgents:
    """Implements `coordinator.tracing.ports.BatchClient` for questions under orders."""

    def __init__(
        self,
        transport: Transport,
        *,
        signer: Signer,
        certificate: bytes,
        roots: PinnedRoots,
        orders: Orders,
        certificates: Certificates,
        clock: Callable[[], datetime],
        checkpoints: CheckpointSink | None = None,
        is_revoked: Callable[[Certified], bool] = lambda certified: False,  # noqa: ARG005
    ) -> None:
        """`certificate` (DER) is of the key of `signer`, `roots` are those of evidence certificates."""
        self._transport = transport
        self._signer = signer
        self._certificate = certificate
        self._roots = roots
        self._orders = _Remembered(orders)
        self._certificates = certificates
        self._clock = clock
        self._checkpoints = checkpoints or NobodyWatches()
        self._is_revoked = is_revoked
        self._seals = SealChecker()
        self._certificate_of: dict[bytes, bytes] = {}

    def renew(self, signer: Signer, certificate: bytes) -> None:
        """From now on sign with this key, of this certificate (DER)."""
        self._signer, self._certificate = signer, certificate

    async def ask(self, provider: Provider, question: Question, exact: bytes, timeout: timedelta) -> Reply:
        """One attempt at one question.

        Raises:
            AgentError: one of its four kinds.
        """
        [reply] = await self.ask_many(provider, [(question, exact)], timeout)
        return reply

    async def ask_many(
        self, provider: Provider, asked: Sequence[tuple[Question, bytes]], timeout: timedelta
    ) -> list[Reply]:
        """One attempt at many questions in one envelope.

        Raises:
            AgentError: one of its four kinds, for all of them; BadAnswerError also where one of these questions lacks
                what an agent must see, so that it is told from the others and harms none of them.
        """
        own = self._certificate
        seal, tree = self._signer.seal(Domain.QUESTION, [exact for _, exact in asked])
        request = self._envelope([question for question, _ in asked], [exact for _, exact in asked], seal, own)
        received = await self._transport.call(provider, ASK, request, timeout)
        try:
            responses = envelopes.decode_responses(received, len(asked))
            answers = self._sealed_by(provider.id, responses)
            replies = _replies(provider, asked, responses, tree, answers, _exchange(provider.id, seal, own, responses))
        except (ContractError, CertificateError) as error:
            raise BadAnswerError(printable(str(error)), received) from None
        self._certificate_of[responses.seal.key_id] = responses.certificate
        self._checkpoints.came(provider.id, responses.checkpoint, responses.certificate)
        return replies

    def _envelope(self, questions: Sequence[Question], exacts: Sequence[bytes], seal: Seal, own: bytes) -> bytes:
        wanted: dict[bytes, None] = {}
        namings: dict[bytes, SignedAnswer | SisterNaming] = {}
        for question in questions:
            authority = question.authority
            if authority is None:
                raise BadAnswerError("this traceback has no order, and no agent answers without one")
            wanted[authority.order_sha256] = None
            if authority.naming_sha256 is not None:
                named = question.named if isinstance(question, SignedQuestion) else None
                if named is None:
                    raise BadAnswerError("the signed answer that names this provider is missing")
                namings[authority.naming_sha256] = named
            if authority.sisters and isinstance(question, SignedQuestion):
                namings.update((one.sister.naming_sha256, one) for one in question.sisters)
        # An attestation is by a person, whose key the agent has pinned or doesn't believe: no certificate goes along.
        sealed = (named.proof.seal for named in namings.values())
        signers = {seal.key_id: seal for seal in sealed if seal.algorithm == _BY_PROVIDER}
        return encode(
            exacts,
            seal,
            self._orders.packed(wanted),
            namings.values(),
            [own, *(self._certified_by(one) for one in signers.values())],
        )

    def _certified_by(self, seal: Seal) -> bytes:
        known = self._certificate_of.get(seal.key_id)
        if known is None:
            known = self._certificates.certificate(seal)
            if known is None:
                raise BadAnswerError("the certificate under the answer that names this provider is missing")
            self._certificate_of[seal.key_id] = known
        return known

    def _sealed_by(self, provider: ProviderId, responses: Responses) -> Tree:
        """The tree of the answers, which are sealed by a key of the provider.

        Raises:
            CertificateError: it is not the provider's, or not now.
            ContractError: the seal doesn't cover the answers.
        """
        certified, seal = self._roots.certified(responses.certificate), responses.seal
        if certified.uri != provider_uri(provider):
            raise CertificateError(f"the answers are certified as another party's, not as those of {provider}")
        if not certified.valid_at(self._clock()):
            raise CertificateError(f"the certificate under the answers of {provider} is not valid now")
        if self._is_revoked(certified):
            raise CertificateError(f"the certificate under the answers of {provider} is revoked")
        answers = tree_of(parts.leaf for parts in responses.parts)
        covered = seal.size == len(answers) and seal.root == answers.root
        if not covered or not self._seals.is_good(seal, Domain.ANSWER, certified.key):
            raise CertificateError(f"the answers are not sealed by {provider}")
        return answers


class _Remembered:
    """Orders that were used lately: every hop of a chain needs the same one."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._known: OrderedDict[bytes, Packed] = OrderedDict()

    def packed(self, sha256s: Collection[bytes]) -> list[Packed]:
        """All of these, ready to travel.

        Raises:
            BadAnswerError: one is not there.
        """
        missing = [sha256 for sha256 in sha256s if sha256 not in self._known]
        if missing:
            self._known.update((sha256, Packed(one)) for sha256, one in self._orders.signed(missing).items())
        try:
            found = [self._known[sha256] for sha256 in sha256s]
        except KeyError:
            raise BadAnswerError("the order of this traceback is not in the store") from None
        while len(self._known) > _MOST_ORDERS:
            self._known.popitem(last=False)
        return found


def _replies(
    provider: Provider,
    asked: Sequence[tuple[Question, bytes]],
    responses: Responses,
    questions: Tree,
    answers: Tree,
    exchange: Exchange,
) -> list[Reply]:
    """The answers, each bound to its question.

    Raises:
        ContractError: one is no answer to its question.
    """
    originates = provider.role not in ORIGINATES_NONE
    replies = []
    paths = zip(answers.paths(), questions.paths(), strict=True)
    for index, (parts, (question, exact), (path, question_path)) in enumerate(
        zip(responses.parts, asked, paths, strict=True)
    ):
        if question.authority is None:
            raise ValueError("no such question is in an envelope")
        proof = Proof(responses.seal, index, path)
        signed = signed_answer(parts, proof, Asked(exact, question, question.authority), originates=originates)
        replies.append(Reply(signed, keep(parts, proof, question_path), exchange))
    return replies


def _exchange(provider: ProviderId, seal: Seal, certificate: bytes, responses: Responses) -> Exchange:
    """What is kept once of an envelope: all but questions, orders, namings and answers, which are kept one by one."""
    sent = pb.AskRequest(seal=seal.to_message(), certificates=[certificate])
    received = pb.AskResponse(
        seal=responses.seal.to_message(), certificate=responses.certificate, checkpoint=responses.checkpoint
    )
    return Exchange(
        provider,
        seal_id(responses.seal),
        sent.SerializeToString(deterministic=True),
        received.SerializeToString(deterministic=True),
    )
