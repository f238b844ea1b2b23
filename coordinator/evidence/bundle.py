"""Making a bundle: the evidence, its readable forms, the manifest, the coordinator's seal."""

from __future__ import annotations

from coordinator.evidence import container, pdf, readable
from coordinator.evidence.members import (
    EVIDENCE,
    IDENTITY,
    MANIFEST,
    MEMBERS,
    READABLE,
    ROOTS,
    SEAL,
    SIGNERS,
    TIMESTAMP,
    manifest_of,
)
from coordinator.evidence.signatures import Trust
from coordinator.evidence.verify import verify
from hopback.v1 import bundle_pb2 as pb
from protos.codec import from_unix_ms
from protos.signing import Domain, Signer


def bundle(
    evidence: pb.TracebackEvidence, trust: Trust, signer: Signer, header: tuple[bytes, bytes] | None = None
) -> bytes:
    """The file of a bundle; `trust` is what the coordinator itself trusts, `signer` is the online key.

    `header` is the Identity header that came with the call, with its signer's certificates (PEM).

    What is read in it was seen by the same verification that others will use.
    """
    exact = evidence.SerializeToString(deterministic=True)
    sealed = {EVIDENCE: exact, ROOTS: trust.roots}
    if header is not None:
        sealed[IDENTITY], sealed[SIGNERS] = header
    shown = verify(_whole(sealed, signer, dict.fromkeys(READABLE, b"")), trust)
    made = from_unix_ms(evidence.made_unix_ms)
    forms = {
        "READ-ME.txt": readable.READ_ME.encode(),
        "summary.html": readable.page(shown).encode(),
        "summary.pdf": pdf.document(shown, made),
        "evidence.json": readable.as_json(shown).encode(),
    }
    return _whole(sealed, signer, forms)


def with_timestamp(data: bytes, token: bytes) -> bytes:
    """The bundle with a time stamp over its manifest (RFC 3161, DER)."""
    held = container.read(data, MEMBERS)
    return container.write({**held.members, TIMESTAMP: token})


def _whole(sealed: dict[str, bytes], signer: Signer, readable_forms: dict[str, bytes]) -> bytes:
    members = {**readable_forms, **sealed}
    manifest = manifest_of(members)
    seal, _ = signer.seal(Domain.BUNDLE, [manifest])
    return container.write(
        {**members, MANIFEST: manifest, SEAL: seal.to_message().SerializeToString(deterministic=True)}
    )
