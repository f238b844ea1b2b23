"""How `hopback-coordinator api` reaches a coordinator: one channel a call, refusals as words, patience with restarts.

A call that may be made twice without harm is made again while the coordinator can't be reached (it restarts, or its
database does), for as long as `--patience` says: `watch` begins with the present state, a list goes on with the page
that failed, a file is fetched anew. Anything else fails at once, and says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from coordinator.callers import SERVICE
from coordinator.commands.frame import Failed

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message

    from coordinator.callers import Caller, Role

T = TypeVar("T")
M = TypeVar("M", bound="Message")
F = TypeVar("F", bound=Callable[..., Any])

_TIMEOUT_S = 30
_LONG_S = 600
"""For what the coordinator computes: reports, bundles, sets of orders."""
_PAGE = 1000
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_STEADY_S = 60.0
"""A call that lasted so long did reach the coordinator."""


@dataclass(frozen=True, slots=True)
class Line:
    """How the service is reached, and for how long it may be away."""

    server: str
    name: str
    certificate: Path
    key: Path
    roots: Path
    patience_s: float = 0.0
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def call(self, service: str, method: str, request: Message, kind: type[M], *, long: bool = False) -> M:
        """One message, one answer."""
        with self._told(), self._reached() as channel:
            call = channel.unary_unary(f"/{service}/{method}", type(request).SerializeToString, kind.FromString)
            found: M = call(request, timeout=_LONG_S if long else _TIMEOUT_S)
            return found

    def pages(self, service: str, method: str, request: Any, kind: type[M], *, long: bool = False) -> Iterator[M]:
        """A list, page after page; one that failed is asked for again, the others are not."""
        while True:
            page: Any = self.patiently(lambda: self.call(service, method, request, kind, long=long))
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def stream(self, service: str, method: str, request: Message, kind: type[M]) -> Iterator[M]:
        """One message, many answers."""
        with self._told(), self._reached() as channel:
            call = channel.unary_stream(f"/{service}/{method}", type(request).SerializeToString, kind.FromString)
            yield from call(request)

    def send(self, service: str, method: str, requests: Iterable[Message], kind: type[M]) -> M:
        """Many messages, one answer."""
        with self._told(), self._reached() as channel:
            call = channel.stream_unary(f"/{service}/{method}", _serialized, kind.FromString)
            found: M = call(iter(requests), timeout=_LONG_S)
            return found

    def patiently(self, attempt: Callable[[], T]) -> T:
        """Do this, again and again while the coordinator can't be reached; only for what may be done twice."""
        until, pause = 0.0, 0.0
        while True:
            began = self.now()
            try:
                return attempt()
            except UnreachedError as error:
                if not until or self.now() - began > _STEADY_S:  # what was reached for so long is away anew
                    until, pause = self.now() + self.patience_s, _FIRST_PAUSE_S
                    if self.patience_s:
                        click.echo(f"{error.message}; trying again", err=True)
                if self.now() + pause > until:
                    raise
                self.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)

    def caller(self) -> Caller | None:
        """Who the certificate says that we are; None where it says nobody."""
        from cryptography import x509

        from coordinator.callers import Role, caller_of

        try:
            leaf = x509.load_pem_x509_certificate(self.certificate.read_bytes())
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (OSError, ValueError, x509.ExtensionNotFound):
            return None
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        own = {uri.rpartition("/")[2] for uri in uris}
        return caller_of(uris, dict.fromkeys(Role, own))

    @property
    def role(self) -> Role | None:
        """What the certificate says that we are."""
        caller = self.caller()
        return caller.role if caller is not None else None

    @contextmanager
    def _reached(self) -> Iterator[grpc.Channel]:
        import grpc

        from coordinator.lookups.transport import LARGEST_MESSAGE
        from protos.identity import coordinator_tls_name

        credentials = grpc.ssl_channel_credentials(
            self.roots.read_bytes(), self.key.read_bytes(), self.certificate.read_bytes()
        )
        options = (
            ("grpc.ssl_target_name_override", coordinator_tls_name(self.name)),
            ("grpc.max_receive_message_length", LARGEST_MESSAGE),
        )
        with grpc.secure_channel(self.server, credentials, options) as channel:
            yield channel

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the service says no with ends the command."""
        import grpc

        from protos.printable import printable

        try:
            yield
        except grpc.RpcError as error:
            code, details = error.code(), printable(error.details() or "")
            kind = UnreachedError if code is grpc.StatusCode.UNAVAILABLE else Failed
            raise kind(f"{code.name.lower().replace('_', ' ')}: {details}") from None


class UnreachedError(Failed):
    """The coordinator can't be reached now."""


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()


def patience_option(function: F) -> F:
    """For commands that take long, or wait: sets `patience_s` of the line."""

    def keep(context: click.Context, parameter: click.Parameter, value: str) -> None:
        from dataclasses import replace

        from coordinator.ordering.intake import parse_duration

        del parameter
        try:
            seconds = parse_duration(value).total_seconds()
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
        if isinstance(context.obj, Line):  # not while the shell completes
            context.obj = replace(context.obj, patience_s=seconds)

    return click.option(
        "--patience",
        default="2m",
        show_default=True,
        expose_value=False,
        callback=keep,
        help="For how long the coordinator may be away.",
    )(function)


def plain(message: Message) -> dict[str, Any]:
    """A message as JSON, every field named as in the contract."""
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def whole_id(text: str, kind: str, candidates: Callable[[], Iterable[str]]) -> str:
    """The id that was typed, or the one among `candidates` that begins with it.

    Raises:
        click.UsageError: none or several do.
    """
    import uuid

    try:
        return str(uuid.UUID(text))
    except ValueError:
        pass
    if not text or set(text.lower()) - set("0123456789abcdef-"):
        raise click.UsageError(f"{text!r} is no id of a {kind}")
    found = {one for one in candidates() if one.startswith(text.lower())}
    if len(found) != 1:
        what = f"no {kind} that you may see begins" if not found else f"several {kind}s begin"
        raise click.UsageError(f"{what} with {text!r}")
    return found.pop()


def traceback_called(line: Line, text: str) -> str:
    """The traceback that was meant."""
    from hopback.v1 import traceback_pb2 as pb

    def ids() -> Iterator[str]:
        for page in line.pages(SERVICE, "List", pb.ListRequest(page_size=_PAGE), pb.ListResponse):
            yield from (view.traceback_id for view in page.tracebacks)

    return whole_id(text, "traceback", ids)
