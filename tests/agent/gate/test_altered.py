"""A valid request, altered in every field and every link, one at a time: refused with its reason, no record is read.

Who alters is the strongest that there is: whoever holds the coordinator's online key signs the questions anew after
each alteration. What falls then, falls because of the persons' and the downstream provider's signatures, and of what
they say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from hopback.v1 import evidence_pb2 as evidence
from hopback.v1 import hop_pb2 as hop
from hopback.v1 import lookup_pb2 as lookup
from protos.codec import ContractError, digest, parse
from protos.hops import Asked, decode_question
from protos.identity import coordinator_uri
from protos.signing import Domain
from protos.types import ErrorReason, Outcome, RefusalReason
from tests.agent.authority import Kit
from tests.agent.gate.gated import Gated
from tests.agent.provider import ALDER, CEDAR, OTHER

R, E = RefusalReason, ErrorReason
Reason = RefusalReason | ErrorReason


@dataclass
class Valid:
    """A question to a named provider, all of whose signatures stand in trees of several leaves."""

    kit: Kit
    message: hop.AskRequest

    @classmethod
    def made(cls, kit: Kit) -> Valid:
        orders = kit.grant([kit.order(terminating=CEDAR, called=OTHER) for _ in range(5)])
        namings = kit.name(orders)
        questions = [kit.ask(granted, named) for granted, named in zip(orders, namings, strict=True)]
        return cls(kit, parse(hop.AskRequest(), kit.envelope(questions, orders, namings)))

    def only(self, number: int) -> Valid:
        """The same with one of the questions alone, and what belongs to it."""
        message = hop.AskRequest()
        message.CopyFrom(self.message)
        asked = decode_question(self.message.questions[number])
        del message.questions[:], message.orders[:], message.namings[:]
        message.questions.append(asked.exact)
        message.orders.extend(o for o in self.message.orders if digest(o.order) == asked.authority.order_sha256)
        message.namings.extend(n for n in self.message.namings if digest(n.naming) == asked.authority.naming_sha256)
        valid = Valid(self.kit, message)
        valid.seal_anew()
        return valid

    @property
    def question(self) -> lookup.Question:
        """The one question."""
        return parse(lookup.Question(), self.message.questions[0])

    def put(self, question: lookup.Question) -> None:
        """Replace the question; its signature no longer fits."""
        self.message.questions[0] = question.SerializeToString(deterministic=True)

    def ask_for(self, **digests: bytes) -> None:
        """Let the question name other digests, and sign it."""
        question = self.question
        for name, value in digests.items():
            setattr(question, name, value)
        self.put(question)
        self.seal_anew()

    def seal_anew(self) -> None:
        """Sign the questions with the coordinator's online key."""
        seal, _ = self.kit.lab.signer.seal(Domain.QUESTION, self.message.questions)
        self.message.seal.CopyFrom(seal.to_message())

    def asked(self) -> list[Asked]:
        """What is asked."""
        return [decode_question(exact) for exact in self.message.questions]


Alteration = tuple[str, Callable[[Valid], None], Reason | tuple[Reason, ...]]


def _other(value: object, field: Any) -> Any:
    """Another value of the same form."""
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:] if value else bytes(32)
    if isinstance(value, str):
        return {"terminating": "dogwood", "coordinator": "other", "submitter": "bob"}.get(field.name) or (
            "+12025550177" if "number" in field.name else (value[:-1] + ("a" if value[-1:] != "a" else "b"))
        )
    assert isinstance(value, int)
    return value + 1 if field.name != "window_ms" else value - 1


# Seals, proofs, certificates: each link


def _flip(data: bytes, at: int = 0) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]


SEAL = ("algorithm", "key_id", "size", "root", "signature")


def _links(valid: Valid) -> Iterator[Alteration]:
    proofs: dict[str, tuple[Callable[[Valid], Any], Reason]] = {
        "submission": (lambda v: v.message.orders[0].submission, R.ORDER_SIGNATURE),
        "naming": (lambda v: v.message.namings[0].proof, R.NAMING_SIGNATURE),
    }
    for name, (proof, reason) in proofs.items():
        for node in range(len(proof(valid).path) // 32):
            yield f"{name}: path node {node}", partial(_alter_node, proof, node), reason
        yield f"{name}: path a node shorter", partial(_cut_path, proof, 32), reason
        yield f"{name}: path a byte shorter", partial(_cut_path, proof, 1), reason
        yield f"{name}: path a node longer", partial(_lengthen_path, proof, 1), reason
        yield f"{name}: path longer than any", partial(_lengthen_path, proof, 24), E.INVALID_FIELD
        yield f"{name}: index", partial(_alter_index, proof), reason
        elsewhere = (R.ORDER_SIGNATURE, reason)
        yield f"{name}: another seal", partial(_set_place, proof, lambda place, seals: (place + 1) % seals), elsewhere
        yield f"{name}: no such seal", partial(_set_place, proof, lambda _, seals: seals), E.INVALID_FIELD
        for field in SEAL:
            yield f"{name}: seal's {field}", partial(_alter_seal, proof, field), reason
    approved = (R.ORDER_SIGNATURE, R.ORDER_NOT_APPROVED)
    yield "approval: another seal", partial(_set_approval, lambda place, seals: (place + 1) % seals), approved
    yield "approval: no such seal", partial(_set_approval, lambda _, seals: seals), E.INVALID_FIELD
    for field in SEAL:  # by another key, nobody whom this provider knows approved
        reason = R.ORDER_NOT_APPROVED if field == "key_id" else R.ORDER_SIGNATURE
        yield f"approval: seal's {field}", partial(_alter_approval, field), reason
    yield "approval: good, but of another set of orders", _approve_others, R.ORDER_SIGNATURE
    for field in SEAL:
        yield f"questions: seal's {field}", partial(_alter_own_seal, field), E.SIGNATURE
    yield "questions: no seal", lambda v: v.message.ClearField("seal"), E.INVALID_FIELD
    yield "order: left out", lambda v: v.message.ClearField("orders"), R.ORDER_MISSING
    yield "approvals: left out", lambda v: v.message.orders[0].ClearField("approvals"), R.ORDER_NOT_APPROVED
    yield "naming: left out", lambda v: v.message.ClearField("namings"), (R.NOT_NAMED, E.INVALID_FIELD)
    yield "naming: the other part's digest", _alter_finding_digest, R.NAMING_SIGNATURE
    for number, whose in enumerate(valid.message.certificates):
        of_lab = whose == valid.kit.lab.certificate
        reason = E.SIGNATURE if of_lab else R.NAMING_SIGNATURE
        which = "coordinator's" if of_lab else "downstream's"
        yield f"{which} certificate: left out", partial(_drop_certificate, number), reason
        yield f"{which} certificate: another party's", partial(_other_certificate, number), reason
        for at in (0, len(whose) // 3, len(whose) // 2, len(whose) - 1):
            yield f"{which} certificate: byte {at}", partial(_alter_certificate, number, at), reason


def _alter_node(proof: Callable[[Valid], Any], node: int, valid: Valid) -> None:
    proof(valid).path = _flip(proof(valid).path, 32 * node)


def _cut_path(proof: Callable[[Valid], Any], bytes_: int, valid: Valid) -> None:
    proof(valid).path = proof(valid).path[:-bytes_]


def _lengthen_path(proof: Callable[[Valid], Any], nodes: int, valid: Valid) -> None:
    proof(valid).path += bytes(32 * nodes)


def _alter_index(proof: Callable[[Valid], Any], valid: Valid) -> None:
    proof(valid).index ^= 1


def _set_place(proof: Callable[[Valid], Any], place: Callable[[int, int], int], valid: Valid) -> None:
    proof(valid).seal = place(proof(valid).seal, len(valid.message.seals))


def _set_approval(place: Callable[[int, int], int], valid: Valid) -> None:
    approvals = valid.message.orders[0].approvals
    approvals[0] = place(approvals[0], len(valid.message.seals))


def _approve_others(valid: Valid) -> None:
    (other,) = valid.kit.grant([valid.kit.order()])
    valid.message.seals.append(other.approvals[0].to_message())
    valid.message.orders[0].approvals[0] = len(valid.message.seals) - 1


def _altered_seal(seal: evidence.Seal, field: str) -> None:
    value = getattr(seal, field)
    if field == "algorithm":
        changed: Any = value.replace("-v1", "-v2")
    else:
        changed = value + 1 if isinstance(value, int) else _flip(value)
    setattr(seal, field, changed)


def _alter_seal(proof: Callable[[Valid], Any], field: str, valid: Valid) -> None:
    _altered_seal(valid.message.seals[proof(valid).seal], field)


def _alter_approval(field: str, valid: Valid) -> None:
    _altered_seal(valid.message.seals[valid.message.orders[0].approvals[0]], field)


def _alter_own_seal(field: str, valid: Valid) -> None:
    _altered_seal(valid.message.seal, field)


def _alter_finding_digest(valid: Valid) -> None:
    valid.message.namings[0].finding_sha256 = _flip(valid.message.namings[0].finding_sha256)


def _drop_certificate(number: int, valid: Valid) -> None:
    del valid.message.certificates[number]


def _other_certificate(number: int, valid: Valid) -> None:
    valid.message.certificates[number] = valid.kit.party(coordinator_uri("other")).certificate


def _alter_certificate(number: int, at: int, valid: Valid) -> None:
    valid.message.certificates[number] = _flip(valid.message.certificates[number], at)


# What is signed by persons and by the downstream: each field


def _order_fields() -> Iterator[Alteration]:
    for field in evidence.Order.DESCRIPTOR.fields:
        reason = R.ORDER_INVALID if field.name == "coordinator" else R.ORDER_SIGNATURE
        yield f"order: {field.name}", partial(_alter_order, field), reason
    yield "order: a byte more", lambda v: _put_order(v, v.message.orders[0].order + b"\x90\x06\x01"), R.ORDER_SIGNATURE


def _alter_order(field: Any, valid: Valid) -> None:
    order = parse(evidence.Order(), valid.message.orders[0].order)
    if field.name == "order_id":
        order.order_id = str(UUID(int=7))
    elif field.name == "purpose":
        order.purpose = evidence.PURPOSE_COURT_ORDER
    elif field.name == "calling_number":
        order.calling_number = "+12025550199"
    else:
        setattr(order, field.name, _other(getattr(order, field.name), field))
    _put_order(valid, order.SerializeToString(deterministic=True))


def _put_order(valid: Valid, exact: bytes) -> None:
    valid.message.orders[0].order = exact
    valid.ask_for(order_sha256=digest(exact))


NAMING: dict[str, Reason] = {
    "order_sha256": R.NOT_NAMED,
    "provider": R.NOT_NAMED,
    "upstream": R.NOT_NAMED,
    "called_number": R.NOT_NAMED,
    "at_unix_ms": R.NAMING_SIGNATURE,
    "salt": R.NAMING_SIGNATURE,
    "call_tag": R.NAMING_SIGNATURE,
    "padding": R.NAMING_SIGNATURE,
}
FOLLOWED = {"provider": "named_by", "called_number": "called_number", "at_unix_ms": "at_unix_ms"}
"""Fields that the question can follow, so that the signature alone stands between."""


def _naming_fields() -> Iterator[Alteration]:
    assert {field.name for field in evidence.Naming.DESCRIPTOR.fields} == set(NAMING)
    for field in evidence.Naming.DESCRIPTOR.fields:
        yield f"naming: {field.name}", partial(_alter_naming, field, follow=False), NAMING[field.name]
    for name in FOLLOWED:
        field = evidence.Naming.DESCRIPTOR.fields_by_name[name]
        yield f"naming and question: {name}", partial(_alter_naming, field, follow=True), R.NAMING_SIGNATURE


def _alter_naming(field: Any, valid: Valid, *, follow: bool) -> None:
    exact = valid.message.namings[0].naming
    naming = parse(evidence.Naming(), exact)
    if field.name == "padding":
        naming.padding[0] = b"\1" + naming.padding[0][1:]
    elif field.name == "provider":
        naming.provider = "alder"  # as long as "cedar", and a neighbour too
    elif field.name == "upstream":
        naming.upstream = "alder"
    elif field.name == "at_unix_ms":
        naming.at_unix_ms -= 1000
    else:
        setattr(naming, field.name, _other(getattr(naming, field.name), field))
    altered = naming.SerializeToString(deterministic=True)
    assert len(altered) == len(exact)
    valid.message.namings[0].naming = altered
    if follow:
        question = valid.question
        setattr(question, FOLLOWED[field.name], getattr(naming, field.name))
        question.window_ms -= 2000
        valid.put(question)
        if field.name == "provider":
            del valid.message.certificates[:]
            valid.message.certificates.extend([valid.kit.lab.certificate, valid.kit.provider(ALDER).certificate])
    valid.ask_for(naming_sha256=digest(altered))


# The question itself, signed anew by the coordinator: each field


def _set(name: str, value: Any, valid: Valid) -> None:
    question = valid.question
    if isinstance(value, list):
        getattr(question, name).extend(value)
    else:
        setattr(question, name, value(getattr(question, name)) if callable(value) else value)
    valid.put(question)


QUESTION: dict[str, tuple[Any, Reason | None]] = {
    "question_id": (str(UUID(int=99)), None),
    "target": ("cedar", E.WRONG_TARGET),
    "called_number": ("+12025550177", R.NOT_NAMED),
    "at_unix_ms": (lambda at: at + 1, R.OUTSIDE_ORDER),
    "window_ms": (lambda window: window + 1, R.OUTSIDE_ORDER),
    "named_by": ("alder", R.NOT_NAMED),
    "calling_number": ("+12025550199", R.OUTSIDE_ORDER),
    "deadline_unix_ms": (lambda deadline: deadline + 600_000, R.LIFETIME),
    "order_sha256": (bytes(32), R.ORDER_MISSING),
    "naming_sha256": (bytes(32), R.NOT_NAMED),
    "issued_unix_ms": (lambda issued: issued + 10_000, R.LIFETIME),
    "nonce": (bytes(16), None),
    "position": (0, R.NOT_NAMED),
    "sisters": ([lookup.Sister(naming_sha256=bytes(32), question_id=bytes(16))], R.SISTERS),
}
"""Each field, another value, and why the question falls; None: it is another question under the same order."""


def _question_fields(valid: Valid) -> Iterator[Alteration]:
    assert {field.name for field in lookup.Question.DESCRIPTOR.fields} == set(QUESTION)
    for name, (value, reason) in QUESTION.items():
        yield f"question: {name}, not signed anew", partial(_set, name, value), (E.SIGNATURE, E.WRONG_TARGET)
        if reason is not None:
            yield f"question: {name}", partial(_set_and_sign, name, value), reason


def _set_and_sign(name: str, value: Any, valid: Valid) -> None:
    _set(name, value, valid)
    valid.seal_anew()


async def _why(gated: Gated, valid: Valid) -> Reason:
    try:
        response = await gated.send(valid.message.SerializeToString())
    except ContractError as error:
        return error.reason
    ((answer, _),) = gated.check(response, valid.asked())
    assert answer.outcome is Outcome.REFUSED
    assert (answer.upstream, answer.ask_called, answer.time_correction) == (None, None, timedelta(0))
    return answer.refusal


async def test_every_alteration_is_refused_with_its_reason_and_no_record_is_read(gated: Gated) -> None:
    batch = Valid.made(gated.kit)
    alterations: list[Alteration] = [
        *_links(batch.only(2)),
        *_order_fields(),
        *_naming_fields(),
        *_question_fields(batch),
    ]
    wrong: dict[str, Reason] = {}
    for name, alter, expected in alterations:
        valid = batch.only(2)
        alter(valid)
        why = await _why(gated, valid)
        if why not in (expected if isinstance(expected, tuple) else (expected,)):
            wrong[name] = why
    assert wrong == {}
    assert len(alterations) > 90
    assert gated.records.reads == 0
    assert len({name for name, _, _ in alterations}) == len(alterations)


@pytest.mark.parametrize("number", range(5))
async def test_unaltered_it_is_answered(gated: Gated, number: int) -> None:
    valid = Valid.made(gated.kit).only(number)
    ((answer, _),) = gated.check(await gated.send(valid.message.SerializeToString()), valid.asked())
    assert answer.outcome is Outcome.ORIGINATED_HERE
    assert gated.records.reads == 1


@pytest.mark.parametrize("name", [name for name, (_, reason) in QUESTION.items() if reason is None])
async def test_what_only_tells_questions_apart_makes_another_question(gated: Gated, name: str) -> None:
    valid = Valid.made(gated.kit).only(0)
    _set_and_sign(name, QUESTION[name][0], valid)
    ((answer, _),) = gated.check(await gated.send(valid.message.SerializeToString()), valid.asked())
    assert answer.outcome is Outcome.ORIGINATED_HERE


async def test_in_a_batch_one_altered_link_spoils_its_own_question_alone(kit: Kit, tmp_path: Path) -> None:
    gated = Gated(kit, tmp_path / "agent")
    valid = Valid.made(kit)
    submission, naming = valid.message.orders[3].submission, valid.message.namings[1].proof
    submission.path = bytes(32) + submission.path[32:]
    naming.path = naming.path[:32] + bytes(32) + naming.path[64:]
    answers = gated.check(await gated.send(valid.message.SerializeToString()), valid.asked())
    assert [answer.refusal for answer, _ in answers] == [
        R.UNSPECIFIED,
        R.NAMING_SIGNATURE,
        R.UNSPECIFIED,
        R.ORDER_SIGNATURE,
        R.UNSPECIFIED,
    ]
    await gated.close()


def _shuffled(items: Sequence[Any]) -> list[Any]:
    return [items[1], items[0], *items[2:]]


async def test_questions_in_another_order_than_they_were_sealed_are_not_taken(gated: Gated) -> None:
    valid = Valid.made(gated.kit)
    questions = _shuffled(valid.message.questions)
    del valid.message.questions[:]
    valid.message.questions.extend(questions)
    assert await _why(gated, valid) is E.SIGNATURE
