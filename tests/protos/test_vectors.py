"""The published test vectors are what this code does."""

from __future__ import annotations

import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from protos import merkle
from tests.protos import vectors


def test_the_published_vectors_are_what_the_code_makes() -> None:
    assert vectors.FILE.read_text() == vectors.text(), "run `python -m tests.protos.vectors`"


def test_the_published_signatures_hold_without_any_of_this_code() -> None:
    published = json.loads(vectors.FILE.read_text())
    import base64
    import hashlib

    order = bytes.fromhex(published["order"]["exact"])
    seal = published["order"]["approval_by_bob"]
    root = hashlib.sha256(b"\x00" + order).digest()
    signed = seal["algorithm"].encode() + b"\x00" + (1).to_bytes(8, "big") + root
    public = base64.b64decode(published["keys"]["bob"]["public"].removeprefix("ed25519:"))
    Ed25519PublicKey.from_public_bytes(public).verify(bytes.fromhex(seal["signature"]), signed)
    assert bytes.fromhex(seal["root"]) == root


def test_the_published_trees_lead_to_their_roots() -> None:
    for tree in json.loads(vectors.FILE.read_text())["merkle_trees"]:
        leaves = [bytes.fromhex(leaf) for leaf in tree["leaves"]]
        for index, path in enumerate(tree["inclusion"]):
            root = merkle.root_by_path(merkle.leaf_hash(leaves[index]), index, len(leaves), bytes.fromhex(path))
            assert root == bytes.fromhex(tree["root"])
