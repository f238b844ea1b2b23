"""The client of EnrolmentService: first certificates for a token, new ones for the present ones, the revocation list.

Whoever listens must prove to be the coordinator that the configuration names, by a certificate of a pinned root. What
it says when it refuses is passed on, cut and freed of control characters.
"""

from __future__ import annotations

from typing import Final, TypeVar

import grpc
import grpc.aio
from cryptography import x509

from hopback.v1 import enrolment_pb2 as pb
from protos.codec import ContractError, check, parse
from protos.errors import read_fault
from protos.live import Live
from protos.printable import printable
from protos.renewal import Obtain, Obtained, RenewalError
from protos.tls import TlsFiles, channel_credentials, coordinator_channel_options, open_channel_credentials

TIMEOUT_S: Final = 30.0
_SERVICE: Final = "/hopback.v1.EnrolmentService/"
_OPTIONS: Final = (("grpc.max_receive_message_length", 8 * 1024 * 1024), ("grpc.enable_retries", 0))
M = TypeVar("M", pb.EnrolResponse, pb.RenewResponse, pb.RevocationsResponse)


def by_token(endpoint: str, coordinator: str, roots: bytes, token: str) -> Obtain:
    """Certificates from the coordinator that listens there without asking for a certificate, for a one-time token."""

    async def obtain(tls_request: bytes, evidence_request: bytes) -> Obtained:
        request = pb.EnrolRequest(token=token, tls_csr=tls_request, evidence_csr=evidence_request)
        credentials = open_channel_credentials(roots)
        got = await _call(endpoint, coordinator, credentials, "Enrol", request.SerializeToString(), pb.EnrolResponse())
        if not _certificates(got.roots) <= _certificates(roots):
            raise RenewalError(
                f"{endpoint} sends other roots than those that lie here: compare them with the coordinator's operator "
                "before anything is trusted; the token is used up"
            )
        return Obtained(got.tls_certificate, got.evidence_certificate)

    return obtain


def by_certificate(endpoint: str, coordinator: str, tls: Live[TlsFiles]) -> Obtain:
    """Certificates from the coordinator that listens there, for the one in use."""

    async def obtain(tls_request: bytes, evidence_request: bytes) -> Obtained:
        request = pb.RenewRequest(tls_csr=tls_request, evidence_csr=evidence_request)
        credentials = channel_credentials(tls.current)
        got = await _call(endpoint, coordinator, credentials, "Renew", request.SerializeToString(), pb.RenewResponse())
        return Obtained(got.tls_certificate, got.evidence_certificate)

    return obtain


async def fetch_list(endpoint: str, coordinator: str, tls: TlsFiles) -> bytes:
    """The list of revoked certificates (DER); nothing of it is believed yet.

    Raises:
        RenewalError: none was had.
    """
    got = await _call(endpoint, coordinator, channel_credentials(tls), "Revocations", b"", pb.RevocationsResponse())
    return got.list


def _certificates(pem: bytes) -> frozenset[x509.Certificate]:
    try:
        return frozenset(x509.load_pem_x509_certificates(pem))
    except ValueError:
        raise RenewalError("what should be roots holds no certificates in PEM form") from None


async def _call(
    endpoint: str, coordinator: str, credentials: grpc.ChannelCredentials, method: str, request: bytes, response: M
) -> M:
    options = (*_OPTIONS, *coordinator_channel_options(coordinator))
    try:
        async with grpc.aio.secure_channel(endpoint, credentials, options=options) as channel:
            received = await channel.unary_unary(_SERVICE + method, None, None)(request, timeout=TIMEOUT_S)
        parsed = parse(response, received)
        check(parsed)
    except grpc.aio.AioRpcError as error:
        raise RenewalError(f"{endpoint}: {_reason(error)}") from None
    except ContractError as error:
        raise RenewalError(f"{endpoint} sent no answer of this contract: {error}") from None
    return parsed


def _reason(error: grpc.aio.AioRpcError) -> str:
    fault = read_fault(error)
    if fault is not None:
        return fault.message
    details = error.details() or ""
    if "Hostname Verification Check failed" in details:
        return "whoever listens there shows another party's certificate, not the coordinator's"
    if "CERTIFICATE_VERIFY_FAILED" in details:
        return "the certificate shown there is of no root that lies here, or expired"
    return printable(details or error.code().name, 200)
