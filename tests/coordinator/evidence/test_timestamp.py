"""Time stamps of an outside authority: a real one (openssl ts) stamps, and nothing else passes."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.evidence import container
from coordinator.evidence.bundle import bundle, with_timestamp
from coordinator.evidence.members import MANIFEST
from coordinator.evidence.statements import Standing
from coordinator.evidence.timestamp import TimestampError, request, stamped_at
from coordinator.evidence.verify import verify
from tests.coordinator.evidence.made import industry, whole

CONFIG = """
[req]
distinguished_name = name
prompt = no
x509_extensions = root
[name]
CN = Synthetic time stamp authority
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[tsa]
default_tsa = tsa_one
[tsa_one]
serial = serial
crypto_device = builtin
signer_cert = leaf.pem
signer_key = leaf.key
certs = leaf.pem
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
ess_cert_id_alg = sha256
"""

COMMANDS = (
    "req -x509 -newkey rsa:2048 -nodes -days 30 -config tsa.cnf -keyout root.key -out root.pem",
    "req -newkey rsa:2048 -nodes -config tsa.cnf -subj /CN=stamps -keyout leaf.key -out leaf.csr",
    "x509 -req -in leaf.csr -CA root.pem -CAkey root.key -CAcreateserial -days 30"
    " -extfile tsa.cnf -extensions leaf -out leaf.pem",
)


def openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tsa")
    (directory / "tsa.cnf").write_text(CONFIG)
    (directory / "serial").write_text("01\n")
    for line in COMMANDS:
        openssl(directory, *line.split())
    return directory


def stamp(authority: Path, data: bytes) -> bytes:
    (authority / "request.tsq").write_bytes(request(data))
    openssl(authority, "ts", "-reply", "-config", "tsa.cnf", "-queryfile", "request.tsq", "-out", "reply.tsr")
    return (authority / "reply.tsr").read_bytes()


class TestAStamp:
    def test_says_when_these_bytes_existed(self, authority: Path) -> None:
        at = stamped_at(stamp(authority, b"manifest"), b"manifest", (authority / "root.pem").read_bytes())
        assert at.utcoffset() is not None

    def test_says_nothing_of_other_bytes(self, authority: Path) -> None:
        with pytest.raises(TimestampError):
            stamped_at(stamp(authority, b"manifest"), b"another", (authority / "root.pem").read_bytes())

    def test_of_an_authority_of_no_trusted_root_says_nothing(self, authority: Path, tmp_path: Path) -> None:
        industry(tmp_path)
        with pytest.raises(TimestampError):
            stamped_at(stamp(authority, b"manifest"), b"manifest", (tmp_path / "ca.crt").read_bytes())

    @pytest.mark.parametrize("token", [b"", b"nonsense", bytes(100)])
    def test_that_is_none_is_refused(self, authority: Path, token: bytes) -> None:
        with pytest.raises(TimestampError):
            stamped_at(token, b"manifest", (authority / "root.pem").read_bytes())


class TestABundleWithAStamp:
    def test_proves_when_it_existed(self, authority: Path, tmp_path: Path) -> None:
        parties = industry(tmp_path)
        made = bundle(whole(parties), parties.trust, parties.signers["lab"])
        token = stamp(authority, container.read(made).members[MANIFEST])
        stamped = with_timestamp(made, token)
        (statement,) = [s for s in verify(stamped, parties.trust).statements if "stamp" in s.what]
        assert statement.standing is Standing.NOT_PROVEN
        trust = replace(parties.trust, timestamp_roots=(authority / "root.pem").read_bytes())
        verdict = verify(stamped, trust)
        assert verdict.standing is Standing.PROVEN
        (statement,) = [s for s in verdict.statements if "stamp" in s.what]
        assert statement.standing is Standing.PROVEN
        wrong = with_timestamp(made, stamp(authority, b"another manifest"))
        assert verify(wrong, trust).standing is Standing.BROKEN
