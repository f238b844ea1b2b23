"""Seals: one signature for many messages, each of which stands alone; nothing else passes for one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from protos.signing import Domain, KeyFormatError, Proof, PublicKey, Seal, SealChecker, Signer, read_signer
from tests.protos.evidence_kit import ANN, BOB, bytes_of

MESSAGES = [b"one", b"two", b"three"]


def good(proof: Proof, leaf: bytes, domain: Domain = Domain.ORDER, key: PublicKey = ANN.public) -> bool:
    return proof.covers(leaf) and SealChecker().is_good(proof.seal, domain, key)


class TestASeal:
    def test_lets_each_of_many_messages_stand_alone(self) -> None:
        proofs = ANN.prove(Domain.ORDER, MESSAGES)
        assert len({proof.seal for proof in proofs}) == 1
        assert all(good(proof, leaf) for proof, leaf in zip(proofs, MESSAGES, strict=True))

    def test_covers_no_other_message(self) -> None:
        proofs = ANN.prove(Domain.ORDER, MESSAGES)
        assert not good(proofs[0], b"two")
        assert not good(proofs[1], b"one")

    def test_counts_in_its_own_domain_alone(self) -> None:
        (proof,) = ANN.prove(Domain.ORDER, [b"one"])
        for domain in set(Domain) - {Domain.ORDER}:
            assert not good(proof, b"one", domain)
            renamed = Proof(replace(proof.seal, algorithm=domain.algorithm), 0, b"")
            assert not good(renamed, b"one", domain)

    def test_counts_for_its_own_key_alone(self) -> None:
        (proof,) = ANN.prove(Domain.ORDER, [b"one"])
        assert not good(proof, b"one", key=BOB.public)
        claimed = Proof(replace(proof.seal, key_id=BOB.key_id), 0, b"")
        assert not good(claimed, b"one", key=BOB.public)
        assert not good(claimed, b"one")

    @given(st.integers(0, 10_000), st.integers(0, 7))
    @settings(max_examples=100, deadline=None)
    def test_with_any_bit_changed_is_none(self, place: int, bit: int) -> None:
        (seal,) = {proof.seal for proof in ANN.prove(Domain.ORDER, MESSAGES)}
        for name in ("key_id", "root", "signature"):
            value = bytearray(getattr(seal, name))
            value[place % len(value)] ^= 1 << bit
            bent = replace(seal, **{name: bytes(value)})  # type: ignore[arg-type]
            assert not SealChecker().is_good(bent, Domain.ORDER, ANN.public)

    def test_of_another_size_is_none(self) -> None:
        seal = ANN.prove(Domain.ORDER, MESSAGES)[0].seal
        for size in (0, 2, 4, 2**32, -1):
            assert not SealChecker().is_good(replace(seal, size=size), Domain.ORDER, ANN.public)

    def test_travels_unchanged(self) -> None:
        seal = ANN.prove(Domain.ORDER, MESSAGES)[0].seal
        assert Seal.of_message(seal.to_message()) == seal


class TestAChecker:
    def test_remembers_only_good_seals_and_not_for_ever(self) -> None:
        checker = SealChecker(remembered=2)
        seals = [ANN.prove(Domain.ORDER, [b"%d" % number])[0].seal for number in range(4)]
        assert all(checker.is_good(seal, Domain.ORDER, ANN.public) for seal in seals * 2)
        assert len(checker._good) == 2
        bad = replace(seals[0], signature=bytes(64))
        assert not checker.is_good(bad, Domain.ORDER, ANN.public)
        assert not checker.is_good(bad, Domain.ORDER, ANN.public)
        assert not checker.is_good(seals[3], Domain.ORDER, BOB.public), "a good seal is good for one key"


class TestAPublicKey:
    def test_has_a_text_form(self) -> None:
        assert PublicKey.parse(str(ANN.public)) == ANN.public
        assert str(ANN.public).startswith("ed25519:")

    @pytest.mark.parametrize("text", ["", "ed25519:", "ed25519:AAAA", "rsa:AAAA", "ed25519:!" + "A" * 43, "ed25519:é"])
    def test_is_refused_in_any_other_form(self, text: str) -> None:
        with pytest.raises(KeyFormatError):
            PublicKey.parse(text)

    def test_is_known_by_the_digest_of_its_subject_public_key_info(self) -> None:
        from hashlib import sha256

        key = Ed25519PrivateKey.from_private_bytes(bytes_of("key of ann", 32)).public_key()
        der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        assert ANN.key_id == sha256(der).digest()


class TestASigningKeyFile:
    def write(self, path: Path, key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey, mode: int = 0o600) -> Path:
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(pem)
        path.chmod(mode)
        return path

    def test_is_read(self, tmp_path: Path) -> None:
        key = Ed25519PrivateKey.generate()
        assert read_signer(self.write(tmp_path / "key", key)).key_id == Signer(key).key_id

    def test_is_refused_when_others_can_read_it(self, tmp_path: Path) -> None:
        with pytest.raises(KeyFormatError, match="chmod 600"):
            read_signer(self.write(tmp_path / "key", Ed25519PrivateKey.generate(), 0o640))

    def test_is_refused_when_it_is_of_another_kind_no_key_or_missing(self, tmp_path: Path) -> None:
        with pytest.raises(KeyFormatError, match="no Ed25519"):
            read_signer(self.write(tmp_path / "key", ec.generate_private_key(ec.SECP256R1())))
        (tmp_path / "key").write_text("nonsense")
        with pytest.raises(KeyFormatError, match="no unencrypted private key"):
            read_signer(tmp_path / "key")
        with pytest.raises(KeyFormatError, match="can't be read"):
            read_signer(tmp_path / "nowhere")
