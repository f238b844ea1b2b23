"""The test vectors of docs/vectors: made from fixed keys, the same bytes every time (Ed25519 is deterministic).

`python -m tests.protos.vectors` writes them anew; a test holds the file in step.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protos import envelopes, merkle
from protos.codec import digest
from protos.signing import Domain, Proof, Seal, Signer
from tests.protos import evidence_kit as kit

FILE = Path(__file__).parents[2] / "docs" / "vectors" / "evidence.json"
LEAVES = [b"", b"\x00", b"\x10", b" !", b"01", b"@ABC", b"PQRSTUVW"]


def _key(name: str) -> dict[str, str]:
    private = kit.bytes_of(f"key of {name}", 32)
    signer = Signer(Ed25519PrivateKey.from_private_bytes(private))
    return {"private": private.hex(), "public": str(signer.public), "key_id": signer.key_id.hex()}


def _seal(seal: Seal) -> dict[str, Any]:
    return {
        "algorithm": seal.algorithm,
        "key_id": seal.key_id.hex(),
        "size": seal.size,
        "root": seal.root.hex(),
        "signed": seal.signed.hex(),
        "signature": seal.signature.hex(),
    }


def _proof(proof: Proof) -> dict[str, Any]:
    return {"seal": _seal(proof.seal), "index": proof.index, "path": proof.path.hex()}


def _trees() -> list[dict[str, Any]]:
    made = []
    for size in range(1, len(LEAVES) + 1):
        hashes = [merkle.leaf_hash(leaf) for leaf in LEAVES[:size]]
        tree = merkle.Tree(hashes)

        def node(level: int, index: int, hashes: list[bytes] = hashes) -> bytes:
            return merkle.Tree(hashes[index << level : (index + 1) << level]).root

        made.append(
            {
                "leaves": [leaf.hex() for leaf in LEAVES[:size]],
                "root": tree.root.hex(),
                "inclusion": [path.hex() for path in tree.paths()],
                "consistency": [merkle.consistency_path(old, size, node).hex() for old in range(1, size + 1)],
            }
        )
    return made


def vectors() -> dict[str, Any]:
    """All of them, as they stand in the file."""
    questions = [kit.FIRST_EXACT, kit.SECOND_EXACT]
    seal, tree = kit.ONLINE.seal(Domain.QUESTION, questions)
    return {
        "about": "Synthetic test vectors of hopback.v1 evidence; all bytes in hexadecimal. See docs/protocol.md.",
        "keys": {name: _key(name) for name in ("ann", "bob", "coordinator lab", "ginkgo", "birch")},
        "merkle_trees": _trees(),
        "order": {
            "exact": kit.GRANTED.exact.hex(),
            "sha256": kit.GRANTED.sha256.hex(),
            "submission_by_ann": _proof(kit.GRANTED.submission),
            "approval_by_bob": _seal(kit.GRANTED.approvals[0]),
        },
        "questions": {
            "exact": [exact.hex() for exact in questions],
            "sha256": [digest(exact).hex() for exact in questions],
            "seal_by_coordinator": _seal(seal),
            "paths": [path.hex() for path in tree.paths()],
        },
        "answer": {
            "to_question": 0,
            "naming": kit.PARTS.naming.hex(),
            "finding": kit.PARTS.finding.hex(),
            "leaf": kit.PARTS.leaf.hex(),
            "proof_by_ginkgo": _proof(kit.NAMED.proof),
        },
        "ask_request": envelopes.encode_requests(questions, seal, [kit.GRANTED], [kit.NAMED], []).hex(),
    }


def text() -> str:
    """The file's text."""
    return json.dumps(vectors(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
