"""What a bundle's file holds: its members by name, and the manifest of those that the coordinator seals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

EVIDENCE: Final = "evidence.pb"
ROOTS: Final = "roots.pem"
MANIFEST: Final = "MANIFEST.json"
SEAL: Final = "MANIFEST.seal"
TIMESTAMP: Final = "MANIFEST.tsr"
IDENTITY: Final = "identity.txt"
SIGNERS: Final = "sti-certificates.pem"
READABLE: Final = ("READ-ME.txt", "summary.html", "summary.pdf", "evidence.json")
MEMBERS: Final = (*READABLE, EVIDENCE, ROOTS, IDENTITY, SIGNERS, MANIFEST, SEAL, TIMESTAMP)
REQUIRED: Final = tuple(name for name in MEMBERS if name not in (IDENTITY, SIGNERS, TIMESTAMP))


def manifest_of(members: Mapping[str, bytes]) -> bytes:
    """The manifest: size and SHA-256 of every member that the coordinator seals."""
    entries = {name: {"size": len(content), "sha256": sha256(content).hexdigest()} for name, content in members.items()}
    return (json.dumps({"bundle": 1, "members": entries}, indent=1) + "\n").encode()
