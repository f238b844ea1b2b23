"""Time stamps (RFC 3161): an outside authority's word that a manifest existed at a time.

The request is made and the answer checked here, without network; whoever sends it posts the request as
`application/timestamp-query` (RFC 3161, 3.4). Needs `rfc3161-client` (extra "timestamp").
"""

from __future__ import annotations

from datetime import datetime


class TimestampError(ValueError):
    """The token proves nothing; the message says why."""


def request(manifest: bytes) -> bytes:
    """The request for a time stamp over `manifest` (DER), with a nonce, asking for the authority's certificate."""
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    made = TimestampRequestBuilder().data(manifest).hash_algorithm(HashAlgorithm.SHA256).build()
    return bytes(made.as_bytes())


def stamped_at(token: bytes, manifest: bytes, roots: bytes) -> datetime:
    """When `token` (a TimeStampResp, DER) says that `manifest` existed, by an authority of one of `roots` (PEM).

    Raises:
        TimestampError: it says nothing of these bytes, is of no such authority, or can't be read.
    """
    try:
        from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response
    except ImportError:
        raise TimestampError("time stamps need the extra: pip install 'hopback[timestamp]'") from None
    from cryptography import x509

    try:
        response = decode_timestamp_response(token)
        builder = VerifierBuilder()
        for root in x509.load_pem_x509_certificates(roots):
            builder = builder.add_root_certificate(root)
        builder.build().verify_message(response, manifest)
    except VerificationError as error:
        raise TimestampError(f"the time stamp is not valid: {error}") from None
    except ValueError as error:
        raise TimestampError(f"the time stamp or its roots can't be read: {error}") from None
    return response.tst_info.gen_time
