"""Seals: one Ed25519 signature (RFC 8032) over the root of a Merkle tree of exact messages of one kind.

What is signed is a text that names algorithm, domain and version, so that a signature made for one kind of message
never counts for another, then a zero byte, the number of leaves as eight bytes (big-endian), and the root. A message
that is signed alone is a tree of one leaf.

Keys are known by the SHA-256 digest of their SubjectPublicKeyInfo. Whose key it is, and whether that party may sign
such a thing, is for others to decide (`protos.certificates`, `protos.orders`).
"""

from __future__ import annotations

import base64
import enum
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hopback.v1 import evidence_pb2 as pb
from protos.merkle import Tree, leaf_hash, root_by_path, tree_of
from protos.values import value

KEY_PREFIX: Final = "ed25519:"
_SPKI: Final = bytes.fromhex("302a300506032b6570032100")
"""What stands before the 32 bytes of an Ed25519 key in its SubjectPublicKeyInfo (RFC 8410)."""


class KeyFormatError(ValueError):
    """A text or file that should hold a key holds none; the message says what and where."""


class Domain(enum.Enum):
    """What is signed: a seal of one domain never counts for another."""

    ORDER = "order"
    APPROVAL = "approval"
    QUESTION = "question"
    ANSWER = "answer"
    CHECKPOINT = "checkpoint"
    ATTESTATION = "attestation"
    WITNESS = "witness"
    IDENTITY = "identity"
    REGISTRY = "registry"
    BUNDLE = "bundle"

    @property
    def algorithm(self) -> str:
        """The versioned name that stands in the seal and is signed with it."""
        return f"ed25519-hopback-{self.value}-v1"


@value
class Seal:
    """One signature over a tree of `size` leaves."""

    algorithm: str
    key_id: bytes
    size: int
    root: bytes
    signature: bytes

    @property
    def signed(self) -> bytes:
        """The exact bytes that the signature covers."""
        return b"%b\x00%b%b" % (self.algorithm.encode(), self.size.to_bytes(8, "big"), self.root)

    def to_message(self) -> pb.Seal:
        """The seal as it travels."""
        return pb.Seal(
            algorithm=self.algorithm, key_id=self.key_id, size=self.size, root=self.root, signature=self.signature
        )

    @classmethod
    def of_message(cls, message: pb.Seal) -> Seal:
        """The seal that came; nothing of it is believed yet."""
        return cls(message.algorithm, message.key_id, message.size, message.root, message.signature)


@value
class Proof:
    """That a message is leaf `index` of what `seal` covers, by `path` from the leaf's sibling upwards."""

    seal: Seal
    index: int
    path: bytes = field(repr=False)

    def covers(self, leaf: bytes) -> bool:
        """Whether the path leads from these exact bytes to the sealed root; the signature is another question."""
        return root_by_path(leaf_hash(leaf), self.index, self.seal.size, self.path) == self.seal.root


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key and its id."""

    raw: bytes
    key_id: bytes = field(init=False, compare=False, repr=False)
    """SHA-256 of the SubjectPublicKeyInfo."""

    def __post_init__(self) -> None:
        if len(self.raw) != 32:
            raise KeyFormatError("an Ed25519 public key has 32 bytes")
        object.__setattr__(self, "key_id", sha256(_SPKI + self.raw).digest())

    def __str__(self) -> str:
        """The text form that configuration files use."""
        return KEY_PREFIX + base64.b64encode(self.raw).decode()

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """The key in a text such as "ed25519:K7x...=".

        Raises:
            KeyFormatError: it holds none.
        """
        if not text.startswith(KEY_PREFIX):
            raise KeyFormatError(f"a public key begins with {KEY_PREFIX!r} and goes on with 32 bytes in base64")
        try:
            return cls(base64.b64decode(text[len(KEY_PREFIX) :], validate=True))
        except ValueError as error:
            raise KeyFormatError(f"what follows {KEY_PREFIX!r} is no key: {error}") from None

    @classmethod
    def of(cls, key: Ed25519PublicKey) -> PublicKey:
        """The value of a key object."""
        return cls(key.public_bytes_raw())


class Signer:
    """Signs with one private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey.of(key.public_key())
        self.key_id = self.public.key_id

    def seal_tree(self, domain: Domain, tree: Tree) -> Seal:
        """One signature for all leaves of `tree`."""
        unsigned = Seal(domain.algorithm, self.key_id, len(tree), tree.root, b"")
        return Seal(domain.algorithm, self.key_id, len(tree), tree.root, self._key.sign(unsigned.signed))

    def seal(self, domain: Domain, leaves: Iterable[bytes]) -> tuple[Seal, Tree]:
        """One signature for all `leaves` (at least one), and the tree that gives each its path."""
        tree = tree_of(leaves)
        return self.seal_tree(domain, tree), tree

    def prove(self, domain: Domain, leaves: Sequence[bytes]) -> list[Proof]:
        """One signature for all leaves, each with the proof that lets it stand alone."""
        seal, tree = self.seal(domain, leaves)
        return [Proof(seal, index, path) for index, path in enumerate(tree.paths())]


class SealChecker:
    """Verifies seals, each distinct one once: a bounded memory of those that were good."""

    def __init__(self, remembered: int = 4096) -> None:
        self._good: OrderedDict[tuple[Seal, bytes], None] = OrderedDict()
        self._remembered = remembered

    def is_good(self, seal: Seal, domain: Domain, key: PublicKey) -> bool:
        """Whether `seal` is of this domain and by this key."""
        known = (seal, key.raw)
        if seal.algorithm != domain.algorithm:
            return False
        if known in self._good:
            self._good.move_to_end(known)
            return True
        if seal.key_id != key.key_id or not 0 < seal.size < 2**32 or len(seal.root) != 32:
            return False
        try:
            Ed25519PublicKey.from_public_bytes(key.raw).verify(seal.signature, seal.signed)
        except (InvalidSignature, ValueError):
            return False
        self._good[known] = None
        if len(self._good) > self._remembered:
            self._good.popitem(last=False)
        return True


def read_signer(path: Path) -> Signer:
    """The signer whose private key (PEM, PKCS#8, Ed25519) stands in a file that others can't read.

    Raises:
        KeyFormatError: it can't be read, can be read by others, or holds no such key.
    """
    try:
        open_to_others, pem = path.stat().st_mode & 0o077, path.read_bytes()
    except OSError as error:
        raise KeyFormatError(f"signing key {path} can't be read: {error.strerror}") from None
    if open_to_others:
        raise KeyFormatError(f"signing key {path} can be read by others: chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise KeyFormatError(f"signing key {path} holds no unencrypted private key in PEM form") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFormatError(f"signing key {path} is no Ed25519 key")
    return Signer(key)
