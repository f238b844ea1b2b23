"""The keys of a run: of the agents, of who submits orders, of who approves them. They follow from the seed.

One key stands for all agents: certificates and seals are checked by the coordinator's client of the agents, in whose
place the simulated network is.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protos.codec import digest
from protos.orders import Persons
from protos.signing import Signer

SUBMITTER, APPROVER = "ann", "bob"


class Keys:
    """See the module."""

    def __init__(self, seed: int) -> None:
        self.agents, self.submitter, self.approver = (
            Signer(Ed25519PrivateKey.from_private_bytes(digest(f"key {whose} {seed}".encode())))
            for whose in ("agents", SUBMITTER, APPROVER)
        )
        self.persons = Persons({SUBMITTER: self.submitter.public}, {APPROVER: self.approver.public})
