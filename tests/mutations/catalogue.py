"""Every defence, switched off: where it stands, how it reads, how it would read without, which tests must go red.

A mutation whose text is not in its file any more, or not exactly once, fails at once: whoever changes a defence changes
its mutation. The tests named are the narrowest that show the defence.
"""

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
