"""Who signs in a lab: two persons with keys of their own, the coordinator's online key, every provider's evidence key.

The coordinator's `init` has made the persons' keys and the lab authority. Here each agent gets its evidence certificate
and the tables that make it take these persons' orders, and a tracing gets the options that make an order on the spot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from coordinator.authority.lab_ca import LabAuthority, make_person_key
from coordinator.config import load
from coordinator.ordering.orders import OrderSet, call_of, sign
from coordinator.store.orders import OrderBook
from coordinator.tracing.chain import Call
from protos.codec import digest
from protos.orders import Granted, Order, Persons, encode_order
from protos.signing import Domain, read_signer

COORDINATOR = "lab"
SUBMITTER, APPROVER = "ann", "bob"


@dataclass(frozen=True)
class People:
    """The persons and the authority of the coordinator that lies in `home`."""

    home: Path
    authority: LabAuthority
    orders: Persons

    @classmethod
    def of(cls, home: Path) -> People:
        """Those that `hopback-coordinator init` made."""
        loaded = load(home / "coordinator.toml")
        return cls(home, LabAuthority.open(home / "ca"), loaded.config.orders.persons)

    @classmethod
    def made(cls, home: Path, now: datetime) -> People:
        """New ones in `home`, with an authority whose certificates are valid at `now`, and no coordinator yet."""
        authority = LabAuthority.create(home / "ca", clock=lambda: now)
        authority.issue_coordinator_evidence(COORDINATOR, home)
        submitter, approver = (make_person_key(home / "people" / f"{name}.key") for name in (SUBMITTER, APPROVER))
        return cls(home, authority, Persons({SUBMITTER: submitter}, {APPROVER: approver}))

    def granted(self, orders: Sequence[Order]) -> list[Granted]:
        """These orders, submitted together by the one and approved together by the other."""
        return self._signed(orders).granted() or []

    def keep(self, book: OrderBook, orders: Sequence[Order], now: datetime) -> list[Call]:
        """The same, kept in a coordinator's book; gives the calls that may be traced under them."""
        made = self._signed(orders)
        book.add(made, now)
        for signature, name in zip(made.signatures, (SUBMITTER, APPROVER), strict=True):
            book.sign(made.id, signature, name, now)
        return [call_of(order, digest(exact)) for order, exact in zip(made.orders, made.exact, strict=True)]

    def _signed(self, orders: Sequence[Order]) -> OrderSet:
        made = OrderSet.of(map(encode_order, orders))
        for name, domain in ((SUBMITTER, Domain.ORDER), (APPROVER, Domain.APPROVAL)):
            made = sign(made, domain, read_signer(self.home / "people" / f"{name}.key"))
        return made

    @property
    def config(self) -> Path:
        """The coordinator's configuration file."""
        return self.home / "coordinator.toml"

    @property
    def keys(self) -> list[str]:
        """Options of `hopback-coordinator trace` and `import`: submitted by one person, approved by the other."""
        submit, approve = (str(self.home / "people" / f"{name}.key") for name in (SUBMITTER, APPROVER))
        return ["--submit-key", submit, "--approve-key", approve]

    def tables(self, provider: str, out: Path) -> dict[str, Any]:
        """Certificates for an agent, issued into `out`, and what its configuration says of who signs."""
        self.authority.issue_provider(provider, out)
        evidence = self.authority.issue_provider_evidence(provider, out)
        return {
            "signing": {"key": evidence.key.name, "certificate": evidence.certificate.name},
            "orders": {
                "approvals": self.orders.approvals,
                "submitters": {name: str(key) for name, key in self.orders.submitters.items()},
                "approvers": {name: str(key) for name, key in self.orders.approvers.items()},
            },
            "audit": {"directory": "audit"},
        }
