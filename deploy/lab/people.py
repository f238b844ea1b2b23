"""Who signs in a lab: two persons with keys of their own, the coordinator's online key, every provider's evidence key.

The coordinator's `init` has made the persons' keys and the lab authority. Here each agent gets its evidence certificate
and the tables that make it take these persons' orders, and a tracing gets the options that make an order on the spot.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.config import OrdersTable, load
from coordinator.lab_ca import LabAuthority

SUBMITTER, APPROVER = "ann", "bob"


@dataclass(frozen=True)
class People:
    """The persons and the authority of the coordinator that lies in `home`."""

    home: Path
    authority: LabAuthority
    orders: OrdersTable

    @classmethod
    def of(cls, home: Path) -> People:
        """Those that `hopback-coordinator init` made."""
        loaded = load(home / "coordinator.toml")
        return cls(home, LabAuthority.open(home / "ca"), loaded.config.orders)

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
