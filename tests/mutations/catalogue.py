"""Every defence, switched off: where it stands, how it reads, how it would read without, which tests must go red.

A mutation whose text is not in its file any more, or not exactly once, fails at once: whoever changes a defence changes
its mutation. The tests named are the narrowest that show the defence.
"""

# ruff: noqa: E501 (lines stand here as they stand in their files)

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutation:
    """One defence switched off: `before` becomes `after` in `path`, and some test of `tests` must fail."""

    name: str
    path: str
    before: str
    after: str
    tests: str


MUTATIONS: tuple[Mutation, ...] = (
    Mutation(
        "a seal of one domain counts in another",
        "protos/signing.py",
        "        if seal.algorithm != domain.algorithm:\n            return False\n",
        "",
        "tests/protos/test_signing.py::TestASeal",
    ),
    Mutation(
        "a bad signature counts",
        "protos/signing.py",
        "        except (InvalidSignature, ValueError):\n            return False\n",
        "        except (InvalidSignature, ValueError):\n            return True\n",
        "tests/protos/test_signing.py::TestASeal",
    ),
    Mutation(
        "a good seal is remembered for every key",
        "protos/signing.py",
        "        known = (seal, key.raw)\n",
        '        known = (seal, b"")\n',
        "tests/protos/test_signing.py::TestAChecker",
    ),
    Mutation(
        "a signing key that others can read is taken",
        "protos/signing.py",
        "    if open_to_others:\n",
        "    if False:\n",
        "tests/protos/test_signing.py::TestASigningKeyFile",
    ),
    Mutation(
        "a path of any length proves inclusion",
        "protos/merkle.py",
        "    return hashed if last == 0 else None\n",
        "    return hashed\n",
        "tests/protos/test_merkle.py::TestInclusion",
    ),
    Mutation(
        "consistency looks at the new root alone",
        "protos/merkle.py",
        "    return last == 0 and was == old_root and now == new_root\n",
        "    return last == 0 and now == new_root\n",
        "tests/protos/test_merkle.py::TestConsistency",
    ),
    Mutation(
        "a certificate of any issuer counts",
        "protos/certificates.py",
        "        if not any(_issued_by(leaf, root) for root in self._roots):\n",
        "        if False:\n",
        "tests/protos/test_certificates.py",
    ),
    Mutation(
        "an order needs no submitter's signature",
        "protos/orders.py",
        "    if key is None or not _signed(granted.submission, exact, Domain.ORDER, key, seals, covers):\n",
        "    if key is None:\n",
        "tests/protos/test_orders.py::TestAGrant",
    ),
    Mutation(
        "an approval needs no signature",
        "protos/orders.py",
        "        if not _signed(proof, exact, Domain.APPROVAL, persons.approvers[name], seals, covers):\n",
        "        if False:\n",
        "tests/protos/test_orders.py::TestAGrant",
    ),
    Mutation(
        "the submitter approves",
        "protos/orders.py",
        "        if name != order.submitter and persons.approvers[name] != key:\n",
        "        if True:\n",
        "tests/protos/test_orders.py::TestAGrant",
    ),
    Mutation(
        "one approval counts for many",
        "protos/orders.py",
        "    return None if len(approved) >= persons.approvals else RefusalReason.ORDER_NOT_APPROVED\n",
        "    return None\n",
        "tests/protos/test_orders.py::TestAGrant",
    ),
    Mutation(
        "an order lives as long as it likes",
        "protos/orders.py",
        "        if not timedelta(0) < self.expires - self.issued <= LONGEST_LIFE:\n",
        "        if False:\n",
        "tests/protos/test_orders.py::TestAnOrder",
    ),
    Mutation(
        "an answer to another question is taken",
        "protos/hops.py",
        "    if not bound or message.provider != expected or naming.provider != expected:\n",
        "    if message.provider != expected or naming.provider != expected:\n",
        "tests/protos/test_hops.py::TestAnAnswer",
    ),
    Mutation(
        "answers differ in size",
        "protos/hops.py",
        "    return exact + _padding(left // 2) + _padding(left - left // 2)\n",
        "    return exact\n",
        "tests/protos/test_hops.py::TestAnAnswer",
    ),
    Mutation(
        "an envelope may hold any number of orders",
        "protos/hops.py",
        "    if len(message.orders) > count or len(message.namings) > count or len(message.seals) > 4 * count:\n",
        "    if False:\n",
        "tests/protos/test_hops.py::TestEnvelopes",
    ),
    Mutation(
        "an order for another coordinator counts",
        "agent/gate/checks.py",
        "    return None if case.granted.order.coordinator == case.envelope.coordinator else RefusalReason.ORDER_INVALID\n",
        "    return None\n",
        "tests/agent/gate/test_checks.py::TestTheOrder",
    ),
    Mutation(
        "an order that nobody signed counts",
        "agent/gate/checks.py",
        "    return grant_problem(case.granted, case.rules.persons, case.envelope, case.envelope.covers)\n",
        "    return None\n",
        "tests/agent/gate/test_checks.py::TestTheOrder",
    ),
    Mutation(
        "an order that has expired counts",
        "agent/gate/checks.py",
        "    return None if order.issued <= now + CLOCKS_DIFFER and now < order.expires else RefusalReason.ORDER_EXPIRED\n",
        "    return None\n",
        "tests/agent/gate/test_checks.py::TestTheOrder",
    ),
    Mutation(
        "a question lives for ever",
        "agent/gate/checks.py",
        "    return None if valid else RefusalReason.LIFETIME\n",
        "    return None\n",
        "tests/agent/gate/test_checks.py::TestTheQuestionsLife",
    ),
    Mutation(
        "anybody is the terminating provider",
        "agent/gate/checks.py",
        "        return None if terminating and question.named_by is None and not authority.position else _NOT_NAMED\n",
        "        return None\n",
        "tests/agent/gate/test_checks.py::TestTheTerminatingProvider",
    ),
    Mutation(
        "a naming of somebody else is enough",
        "agent/gate/checks.py",
        "        and naming.upstream == case.rules.me\n",
        "",
        "tests/agent/gate/test_checks.py::TestTheNaming",
    ),
    Mutation(
        "a naming under another order is enough",
        "agent/gate/checks.py",
        "        naming.order_sha256 == authority.order_sha256\n        and ",
        "        ",
        "tests/agent/gate/test_checks.py::TestTheNaming",
    ),
    Mutation(
        "another number may be asked for than was named",
        "agent/gate/checks.py",
        "        and naming.called == question.called\n",
        "",
        "tests/agent/gate/test_checks.py::TestTheNaming",
    ),
    Mutation(
        "a naming needs no signature",
        "agent/gate/checks.py",
        "    return None if good else RefusalReason.NAMING_SIGNATURE\n",
        "    return None\n",
        "tests/agent/gate/test_checks.py::TestTheNaming",
    ),
    Mutation(
        "a naming signed by any certified provider counts",
        "agent/gate/checks.py",
        "        if one.uri == uri and timely and not case.rules.is_revoked(one):\n",
        "        if timely and not case.rules.is_revoked(one):\n",
        "tests/agent/gate/test_checks.py::TestTheNaming",
    ),
    Mutation(
        "a revoked provider's naming counts",
        "agent/gate/checks.py",
        "        if one.uri == uri and timely and not case.rules.is_revoked(one):\n",
        "        if one.uri == uri and timely:\n",
        "tests/agent/gate/test_checks.py::TestTheNaming",
    ),
    Mutation(
        "a provider that is no neighbour may name",
        "agent/gate/checks.py",
        "    return None if named_by is None or named_by in case.rules.neighbours else RefusalReason.UNKNOWN_PROVIDER\n",
        "    return None\n",
        "tests/agent/gate/test_checks.py::TestTheNaming",
    ),
    Mutation(
        "a question may reach beyond its order",
        "agent/gate/checks.py",
        "        and abs(question.at - order.at) + question.window <= order.window\n",
        "",
        "tests/agent/gate/test_checks.py::TestInsideTheOrder",
    ),
    Mutation(
        "a chain may be longer than its order says",
        "agent/gate/checks.py",
        "        and case.asked.authority.position < order.hop_limit\n",
        "",
        "tests/agent/gate/test_checks.py::TestInsideTheOrder",
    ),
    Mutation(
        "a provider's own limits are not kept",
        "agent/gate/checks.py",
        "    if question.window > limits.window:\n",
        "    if False:\n",
        "tests/agent/gate/test_checks.py::TestThisProvidersOwnLimits",
    ),
    Mutation(
        "the deny list is not read",
        "agent/gate/checks.py",
        "    return RefusalReason.DENIED if mentioned else None\n",
        "    return None\n",
        "tests/agent/gate/test_checks.py::TestThisProvidersOwnLimits",
    ),
    Mutation(
        "budgets are not kept",
        "agent/gate/gate.py",
        "        if not memory.budgets_at(now).allow(number, at - reach, at + reach, campaign):\n",
        "        if False:\n",
        "tests/agent/gate/test_ask.py",
    ),
    Mutation(
        "the same id may bear another question",
        "agent/gate/gate.py",
        "        if before.question_sha256 != sha256:\n",
        "        if False:\n",
        "tests/agent/gate/test_hostile.py::TestAQuestionThatComesAgain",
    ),
    Mutation(
        "a question that comes again is searched again",
        "agent/gate/gate.py",
        "        if before is not None:\n",
        "        if False:\n",
        "tests/agent/gate/test_hostile.py::TestAQuestionThatComesAgain",
    ),
    Mutation(
        "questions need no seal",
        "agent/gate/envelope.py",
        "        if not covered or not self._seals.is_good(requests.seal, Domain.QUESTION, signer.key):\n",
        "        if False:\n",
        "tests/agent/gate/test_altered.py",
    ),
    Mutation(
        "a question for another provider is taken",
        "agent/gate/envelope.py",
        "        if any(asked.question.target != self._me for asked in requests.asked):\n",
        "        if False:\n",
        "tests/agent/gate/test_altered.py",
    ),
    Mutation(
        "whoever's certificate signed may ask",
        "agent/gate/envelope.py",
        "if c.uri in uris and c.uri.startswith(_COORDINATOR)]",
        "if c.uri.startswith(_COORDINATOR)]",
        "tests/agent/gate",
    ),
    Mutation(
        "a role may call every method",
        "coordinator/api/service.py",
        "        if caller.role not in ALLOWED.get(method, frozenset()):\n",
        "        if False:\n",
        "tests/coordinator/api/test_matrix.py",
    ),
    Mutation(
        "a requester sees everybody's tracebacks",
        "coordinator/store/views.py",
        "exists().where(OrderSetRow.id == OrderRow.set_id, OrderSetRow.submitter == caller.name)",
        "exists().where(OrderSetRow.id == OrderRow.set_id)",
        "tests/coordinator/api/test_matrix.py",
    ),
    Mutation(
        "a provider sees others' hops",
        "coordinator/store/views.py",
        "        .where(HopRow.provider == provider)\n        .order_by",
        "        .order_by",
        "tests/coordinator/api",
    ),
    Mutation(
        "names count for roles that nobody gave them",
        "coordinator/api/callers.py",
        "    if caller.role is not Role.PROVIDER and caller.name not in listed.get(caller.role, ()):\n",
        "    if False:\n",
        "tests/coordinator/api/test_matrix.py::TestWhoCalls",
    ),
    Mutation(
        "a denied handover ends a chain as if all agreed",
        "coordinator/traceback.py",
        "        if answer.handover is Handover.NOT_MINE and answer.outcome in FINDINGS:\n",
        "        if False:\n",
        "tests/coordinator/test_liars.py",
    ),
    Mutation(
        "a bundle's manifest needs no seal",
        "coordinator/evidence/verify.py",
        "        made.append(_proven(what, uri + self._whose_roots) if good is None else _broken(what, good))\n",
        "        made.append(_proven(what, uri + self._whose_roots))\n",
        "tests/coordinator/evidence/test_verify.py::TestNothingAlteredPasses",
    ),
    Mutation(
        "a bundle's hops need not follow from each other",
        "coordinator/evidence/verify.py",
        " or digest(before.message.naming) != asked.authority.naming_sha256:\n",
        ":\n",
        "tests/coordinator/evidence/test_verify.py::TestADishonestCoordinator",
    ),
    Mutation(
        "a bundle's questions may be of another order",
        "coordinator/evidence/verify.py",
        "        if problem is None and (granted is None or asked.authority.order_sha256 != granted.sha256):\n",
        "        if False:\n",
        "tests/coordinator/evidence/test_verify.py::TestADishonestCoordinator",
    ),
    Mutation(
        "text of others is markup on the page",
        "coordinator/evidence/readable.py",
        '"".join(f"<td>{escape(cell)}</td>" for cell in cells)',
        '"".join(f"<td>{cell}</td>" for cell in cells)',
        "tests/coordinator/evidence/test_verify.py::TestWhatReadersSee",
    ),
)
