"""What the Identity header in a bundle shows: who signed it, and whether it fits the order's call.

The header is there on the coordinator's word alone: nobody in the path has signed that it came with this call, and what
it claims is the signer's claim. So of all it says only who signed can be proven, to whoever trusts a root of his own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from coordinator.evidence.statements import Standing, Statement, broken, proven, unproven
from coordinator.stir.certificates import Grade, Shelf, SignerError, read_pem, read_roots
from coordinator.stir.passport import FRESH, Passport, PassportError, parse_identity, same_number
from protos.orders import Order


def header_statements(header: bytes, signers: bytes, sti_roots: bytes, order: Order | None) -> list[Statement]:
    """What this header shows, with these signers' certificates (PEM), to a party that trusts these roots (PEM)."""
    try:
        shaken = parse_identity(header.decode()).shaken
        certificates = read_pem(signers) if signers else []
    except (PassportError, UnicodeDecodeError, SignerError) as error:
        return [broken("the Identity header and its certificates can be read", str(error))]
    came = unproven(
        "the Identity header came with the reported call",
        "the coordinator says so: nobody in the path has signed that, and what it claims is its signer's claim",
    )
    counted = unproven(
        "the certificate that the Identity header was signed with was not revoked before the call",
        "a bundle holds no list of revoked certificates: the STI-PA's lists of that time tell",
    )
    signed = _signed(shaken, certificates, sti_roots)
    return [came, signed, *([counted] if signed.standing is Standing.PROVEN else []), *_fits(shaken, order)]


def _signed(shaken: Passport, certificates: Iterable[bytes], sti_roots: bytes) -> Statement:
    what = f"the Identity header attests {shaken.attestation}, and was signed by the holder of its certificate"
    try:
        judged = Shelf(certificates, read_roots(sti_roots) if sti_roots else ()).judge(shaken)
    except SignerError as error:
        return unproven(what, f"your --sti-roots: {error}")
    if judged.signer is None:
        return unproven(what, judged.why)
    holder = f"SPC {' '.join(judged.signer.codes)}" if judged.signer.codes else judged.signer.subject
    if judged.grade is Grade.VERIFIED:
        return replace(proven(what, f"{holder}, by a root of your --sti-roots"), at=shaken.issued.isoformat())
    hint = "" if sti_roots else " (give --sti-roots to check against your own)"
    return unproven(what, f"its certificate names {holder}, but {judged.why}{hint}")


def _fits(shaken: Passport, order: Order | None) -> list[Statement]:
    """Whether numbers and time are those of the order."""
    if order is None:
        return []
    what = "the Identity header names the numbers and the time of the order's call"
    others = []
    if order.calling is None or not same_number(shaken.orig, order.calling):
        others.append("calling number")
    if not any(same_number(one, order.called) for one in shaken.dest):
        others.append("called number")
    if abs(shaken.issued - order.at) > FRESH:
        others.append("time")
    if others:
        return [unproven(what, f"it names another {', '.join(others)}: forwarding and translation may be why")]
    return [proven(what, "what both say")]
