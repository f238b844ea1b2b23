"""Orders as the coordinator's people make them: drafted from calls, submitted by one person, approved by others.

What is drafted together is a set: one signature of a person covers all of it, as one seal over the orders' exact bytes
(`protos.signing`), and each order stands alone by its path. A set travels as a file (JSON), so that a person can sign
on a machine of her own, where her key is, without the coordinator's database; what comes back is taken in signature by
signature, each checked.

Whose signature counts is pinned in the configuration, person by person. Nobody approves what she submitted herself, and
no key that the coordinator's machine holds counts: with that alone, no order can be made. A signature is refused where
it is of an unknown key, of another kind, or doesn't cover exactly this set.
"""

from __future__ import annotations

import base64
import binascii
import enum
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from coordinator.tracing.chain import Call
from hopback.v1 import evidence_pb2 as pb
from protos.codec import ContractError, digest, parse
from protos.merkle import Tree, tree_of
from protos.orders import LONGEST_LIFE, Granted, Order, Persons, Purpose, decode_order, encode_order, grant_problem
from protos.signing import Domain, Proof, PublicKey, Seal, SealChecker, Signer
from protos.types import RefusalReason

FORMAT: Final = "hopback orders 1"
DEFAULT_LIFE: Final = LONGEST_LIFE
MOST_ORDERS: Final = 100_000
_NAMESPACE: Final = uuid.UUID("5b1c0b1e-6c0b-5c7e-9a55-9d4f1f0f7d10")
_SIGNS: Final = {Domain.ORDER: "submission", Domain.APPROVAL: "approval"}


class OrdersError(ValueError):
    """What was to be done with these orders can't be; the message says why and what to do."""


class State(enum.Enum):
    """Where a set of orders stands. Values are shown in JSON."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    APPROVED = "approved"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Terms:
    """What an order says besides the call, the same for all calls of one draft unless their rows say otherwise."""

    coordinator: str
    purpose: Purpose
    legal_basis: str
    campaign: str
    evidence_sha256: bytes
    submitter: str
    certification: str
    life: timedelta = DEFAULT_LIFE


def order_of(call: Call, terms: Terms, now: datetime, order_id: uuid.UUID, salt: bytes) -> Order:
    """An order for this call, issued now; `salt` are 16 random bytes.

    Raises:
        OrdersError: the terms don't make one.
    """
    issued = now.replace(microsecond=now.microsecond // 1000 * 1000)
    try:
        order = Order(
            order_id=order_id,
            coordinator=terms.coordinator,
            purpose=terms.purpose,
            legal_basis=terms.legal_basis,
            campaign=terms.campaign,
            evidence_sha256=terms.evidence_sha256,
            called=call.called,
            at=call.at,
            window=call.window,
            calling=call.calling,
            terminating=call.terminating,
            hop_limit=call.hop_limit,
            issued=issued,
            expires=issued + terms.life,
            submitter=terms.submitter,
            certification=terms.certification,
            salt=salt,
        )
        decode_order(encode_order(order))
    except ValueError as error:
        raise OrdersError(str(error)) from None
    return order


def call_of(order: Order, sha256: bytes) -> Call:
    """The call that this order names, to be traced under it."""
    return Call(
        called=order.called,
        at=order.at,
        terminating=order.terminating,
        calling=order.calling,
        window=order.window,
        hop_limit=order.hop_limit,
        order_sha256=sha256,
        expires=order.expires,
    )


@dataclass(frozen=True, slots=True)
class Signature:
    """One person's seal over a set: a submission or an approval."""

    domain: Domain
    seal: Seal


@dataclass(frozen=True)
class OrderSet:
    """Orders that are signed together; `exact` are their bytes in the order of the seals' leaves."""

    exact: tuple[bytes, ...] = field(repr=False)
    orders: tuple[Order, ...]
    tree: Tree = field(repr=False, compare=False)
    signatures: tuple[Signature, ...] = ()

    @classmethod
    def of(cls, exact: Iterable[bytes], signatures: Iterable[Signature] = ()) -> OrderSet:
        """The set of these orders.

        Raises:
            OrdersError: there are none, too many, or not of one submitter and coordinator; one is no order.
        """
        kept = tuple(exact)
        if not 0 < len(kept) <= MOST_ORDERS:
            raise OrdersError(f"a set holds 1 to {MOST_ORDERS:,} orders")
        try:
            orders = tuple(map(decode_order, kept))
        except ContractError as error:
            raise OrdersError(f"one of them is no order: {error}") from None
        if len({(order.submitter, order.coordinator) for order in orders}) > 1:
            raise OrdersError("all orders of a set must be of one submitter and for one coordinator")
        if len({order.order_id for order in orders}) < len(orders):
            raise OrdersError("an order is in the set twice")
        return cls(kept, orders, tree_of(kept), tuple(signatures))

    @property
    def id(self) -> uuid.UUID:
        """By what people name the set; the same orders make the same set."""
        return uuid.uuid5(_NAMESPACE, self.tree.root.hex())

    @property
    def submitter(self) -> str:
        """The person who is to submit it."""
        return self.orders[0].submitter

    @property
    def expires(self) -> datetime:
        """When the first of its orders ends."""
        return min(order.expires for order in self.orders)

    def granted(self) -> list[Granted] | None:
        """Its orders with the signatures that are there; None without a submission."""
        submission = next((one for one in self.signatures if one.domain is Domain.ORDER), None)
        approvals = tuple(one.seal for one in self.signatures if one.domain is Domain.APPROVAL)
        if submission is None:
            return None
        return [
            Granted(order, exact, Proof(submission.seal, index, path), approvals)
            for index, (order, exact, path) in enumerate(zip(self.orders, self.exact, self.tree.paths(), strict=True))
        ]


def sign(orders: OrderSet, domain: Domain, signer: Signer) -> OrderSet:
    """The set with one more signature; signing twice changes nothing."""
    if any(one.domain is domain and one.seal.key_id == signer.key_id for one in orders.signatures):
        return orders
    return replace(orders, signatures=(*orders.signatures, Signature(domain, signer.seal_tree(domain, orders.tree))))


def signer_of(orders: OrderSet, signature: Signature, persons: Persons, seals: SealChecker) -> str:
    """Whose signature this is, checked.

    Raises:
        OrdersError: it doesn't count, and why.
    """
    kind, seal = _SIGNS.get(signature.domain, "signature"), signature.seal
    if (seal.size, seal.root) != (len(orders.tree), orders.tree.root):
        raise OrdersError(f"the {kind} is for another set of orders, or these were changed after it was signed")
    tables = [("orders.submitters", persons.submitters), ("orders.approvers", persons.approvers)]
    (table, known), (other, others) = tables if signature.domain is Domain.ORDER else reversed(tables)
    name = name_of(seal.key_id, known)
    if name is None:
        whose = name_of(seal.key_id, others)
        theirs = f": it is the key of {whose} in {other}" if whose else ""
        raise OrdersError(f"the {kind} is by a key that {table} in the configuration doesn't name{theirs}")
    if not seals.is_good(seal, signature.domain, known[name]):
        raise OrdersError(f"the {kind} of {name} is forged or damaged")
    if signature.domain is Domain.ORDER and name != orders.submitter:
        raise OrdersError(f"these orders are to be submitted by {orders.submitter}, not by {name}")
    if signature.domain is Domain.APPROVAL:
        own = persons.submitters.get(orders.submitter)
        if name == orders.submitter or own == known[name]:
            raise OrdersError(f"{name} submits these orders: another person must approve them")
    return name


def name_of(key_id: bytes, known: Mapping[str, PublicKey]) -> str | None:
    """The person whose key this is."""
    return next((name for name, key in known.items() if key.key_id == key_id), None)


def state_of(orders: OrderSet, persons: Persons, seals: SealChecker, now: datetime) -> State:
    """Where the set stands; signatures that don't count are as if absent."""
    granted = orders.granted()
    return state_by(granted[0] if granted else None, orders.expires, persons, seals, now)


def state_by(granted: Granted | None, expires: datetime, persons: Persons, seals: SealChecker, now: datetime) -> State:
    """Where a set stands by any one of its orders, None where it was not submitted; what signs one signs all."""
    if now >= expires:
        return State.EXPIRED
    if granted is None:
        return State.DRAFT
    problem = grant_problem(granted, persons, seals)
    if problem is RefusalReason.ORDER_NOT_APPROVED:
        return State.SUBMITTED
    return State.DRAFT if problem is not None else State.APPROVED


def start_problem(
    granted: Granted, persons: Persons, seals: SealChecker, coordinator: str, now: datetime
) -> str | None:
    """Why no traceback may start from this order, None when one may."""
    order = granted.order
    problem = grant_problem(granted, persons, seals)
    if problem is RefusalReason.ORDER_NOT_APPROVED:
        return f"it lacks approval: {persons.approvals} of other persons than {order.submitter} must approve it"
    if problem is not None:
        return f"the signature of {order.submitter} is missing or doesn't count: submit it first"
    if order.coordinator != coordinator:
        return f"it is for the coordinator {order.coordinator}, not for {coordinator}"
    if now >= order.expires:
        return f"it expired at {order.expires:%Y-%m-%d %H:%M:%S} UTC: submit a new one"
    if now < order.issued - timedelta(minutes=1):
        return f"it counts only from {order.issued:%Y-%m-%d %H:%M:%S} UTC on: check this machine's clock"
    return None


# Files


def to_file(orders: OrderSet) -> str:
    """The set as a file, with the signatures that it has."""
    return json.dumps(
        {
            "format": FORMAT,
            "orders": [_text(exact) for exact in orders.exact],
            "signatures": [
                {
                    "kind": _SIGNS[one.domain],
                    "seal": _text(one.seal.to_message().SerializeToString(deterministic=True)),
                }
                for one in orders.signatures
            ],
        },
        indent=1,
    )


def from_file(text: str) -> OrderSet:
    """The set in a file; none of its signatures is checked yet.

    Raises:
        OrdersError: it is no such file.
    """
    try:
        content: Any = json.loads(text)
    except ValueError as error:
        raise OrdersError(f"it is no JSON: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise OrdersError(f"it is no file of orders: its format is not {FORMAT!r}")
    if set(content) != {"format", "orders", "signatures"}:
        raise OrdersError("a file of orders has format, orders and signatures, and nothing else")
    exact, signatures = content["orders"], content["signatures"]
    if not isinstance(exact, list) or not isinstance(signatures, list):
        raise OrdersError("orders and signatures must be lists")
    return OrderSet.of(map(_bytes, exact), map(_signature, signatures))


def _signature(entry: Any) -> Signature:
    kinds = {name: domain for domain, name in _SIGNS.items()}
    if not isinstance(entry, dict) or set(entry) != {"kind", "seal"} or entry["kind"] not in kinds:
        raise OrdersError("a signature has a kind, submission or approval, and a seal")
    try:
        return Signature(kinds[entry["kind"]], Seal.of_message(parse(pb.Seal(), _bytes(entry["seal"]))))
    except ContractError as error:
        raise OrdersError(f"a signature holds no seal: {error}") from None


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise OrdersError("it holds something that is no base64 text") from None


def merged(known: OrderSet, came: Sequence[Signature]) -> list[Signature]:
    """Those of `came` that `known` lacks."""
    have = {(one.domain, one.seal.key_id) for one in known.signatures}
    return [one for one in came if (one.domain, one.seal.key_id) not in have]


def evidence_digest(evidence: bytes) -> bytes:
    """By what an order names the recording, complaint or whatever else shows that the call was made."""
    return digest(evidence)
