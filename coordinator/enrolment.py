"""EnrolmentService: certificates over the network, for those whom the authority lets have one.

    Enrol         at the port without client certificates; the one-time token is the proof
    Renew         at the port with them; the present certificate is the proof
    Revocations   at both: the list is signed, and no secret

Decisions are the authority's (`coordinator.authority`); this module reads messages, asks it outside the event loop's
thread (a key that is a command takes its time) one request after the other, and says why something is not granted.
What is refused is logged with who asked, never with a token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Final, NoReturn, TypeVar

import grpc
import structlog
from google.protobuf.message import Message

from coordinator.authority.authority import Authority, NotGrantedError, Pair
from coordinator.authority.issuing import RequestError
from coordinator.authority.issuing_key import AuthorityError
from hopback.v1 import enrolment_pb2 as pb
from protos.codec import ContractError, check, parse
from protos.errors import Fault, trailing_metadata
from protos.tls import PeerSerials, peer_uris
from protos.types import ErrorReason

SERVICE: Final = "hopback.v1.EnrolmentService"

log = structlog.get_logger()
T = TypeVar("T")
M = TypeVar("M", bound=Message)
Context = Any
"""grpc.aio.ServicerContext[bytes, bytes]; the stubs know no handlers of raw bytes."""


class Enrolment:
    """The service over one authority. `close` it when the server has stopped."""

    def __init__(self, authority: Authority, clock: Callable[[], datetime]) -> None:
        self._authority, self._clock = authority, clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="authority")
        self._serials = PeerSerials()

    def close(self) -> None:
        """What is under way ends first."""
        self._thread.shutdown()

    def methods(self) -> dict[str, Any]:
        """For the port where clients show certificates."""
        return {"Renew": self._handler(self._renew), "Revocations": self._handler(self._revocations)}

    def open_methods(self) -> dict[str, Any]:
        """For the port where nobody does."""
        return {"Enrol": self._handler(self._enrol), "Revocations": self._handler(self._revocations)}

    async def revocation_list(self) -> bytes:
        """The present list (DER).

        Raises:
            AuthorityError: the ledger or the key fails.
        """
        return await self._run(lambda: self._authority.revocation_list(self._clock()))

    async def renew_own(self, uri: str, serial: int, tls_request: bytes, evidence_request: bytes) -> Pair:
        """New certificates for the coordinator in whose process the authority is.

        Raises:
            NotGrantedError, AuthorityError: as `Authority.renew`.
        """
        return await self._run(
            lambda: self._authority.renew([uri], serial, tls_request, evidence_request, self._clock())
        )

    async def _enrol(self, request: bytes, context: Context) -> bytes:
        del context
        asked = _read(pb.EnrolRequest(), request)
        pair = await self._run(
            lambda: self._authority.enrol(asked.token, asked.tls_csr, asked.evidence_csr, self._clock())
        )
        log.info("enrolled", party=pair.uri)
        response = pb.EnrolResponse(
            tls_certificate=pair.tls, evidence_certificate=pair.evidence, roots=self._authority.roots
        )
        return response.SerializeToString()

    async def _renew(self, request: bytes, context: Context) -> bytes:
        asked = _read(pb.RenewRequest(), request)
        proved = context.auth_context()
        uris, serial = peer_uris(proved), self._serials.of(proved)
        pair = await self._run(
            lambda: self._authority.renew(uris, serial, asked.tls_csr, asked.evidence_csr, self._clock())
        )
        log.info("renewed", party=pair.uri)
        return pb.RenewResponse(tls_certificate=pair.tls, evidence_certificate=pair.evidence).SerializeToString()

    async def _revocations(self, request: bytes, context: Context) -> bytes:
        del context
        _read(pb.RevocationsRequest(), request)
        return pb.RevocationsResponse(list=await self.revocation_list()).SerializeToString()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _handler(self, method: Callable[[bytes, Context], Any]) -> Any:
        async def handle(request: bytes, context: Context) -> bytes:
            try:
                answer: bytes = await method(request, context)
                return answer
            except ContractError as error:
                fault = Fault.of(error)
            except RequestError as error:
                fault = Fault(ErrorReason.INVALID_FIELD, str(error), ("csr",))
            except NotGrantedError as error:
                fault = Fault(ErrorReason.SIGNATURE, str(error))
            except AuthorityError as error:
                log.error("authority_failed", error=str(error))  # noqa: TRY400 (the text says it all)
                await _unavailable(context)
            log.warning(
                "not_granted", reason=fault.message, peer=context.peer(), shown=peer_uris(context.auth_context())
            )
            await context.abort(fault.code, fault.message, trailing_metadata(fault))
            raise AssertionError("abort always raises")

        return grpc.unary_unary_rpc_method_handler(handle)


async def _unavailable(context: Context) -> NoReturn:
    await context.abort(grpc.StatusCode.UNAVAILABLE, "the authority can't issue now; try again later")
    raise AssertionError("abort always raises")


def _read(message: M, request: bytes) -> M:
    parsed = parse(message, request)
    check(parsed)
    return parsed
