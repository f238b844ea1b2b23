"""OrderService: sets of orders that people draft and sign elsewhere; `rpc` says how every call goes.

No key travels, and nothing is signed here: what comes are the exact bytes of orders and the seals over them, each
checked against the persons of the configuration, and by whoever starts a traceback, and by every agent, again. A person
hands in no signature but her own. The calls of a set are taken into their campaigns, so that these can be looked at
however their calls came.

Identity headers come beside, as they do with a call that is reported: they ask nobody and name no hop, so that no
signature covers them, and the set that was signed stays the same to the byte, whenever one is handed in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime

import grpc
from sqlalchemy.exc import IntegrityError

from coordinator.api.rpc import Door, Handlers, RefusedError, malformed, not_now, not_there, read_uuid
from coordinator.callers import Caller, Role
from coordinator.campaigns.book import CampaignBook
from coordinator.ordering.orders import MOST_ORDERS, OrdersError, OrderSet, Signature, signer_of, state_by
from coordinator.stir.book import IdentityBook, Taken
from coordinator.stir.passport import Identity, PassportError, parse_identity
from coordinator.store.order_views import OrderViews, SetSeen
from coordinator.store.orders import OrderBook, known_set
from coordinator.store.pages import BadPageError
from hopback.v1 import order_pb2 as pb
from protos.codec import ContractError, unix_ms
from protos.orders import Persons
from protos.signing import Domain, Seal, SealChecker

_PART = 1000
"""Orders in one message."""
_LARGEST = 64 * 1024 * 1024
"""Bytes of a set."""
KINDS = {pb.SIGNATURE_KIND_SUBMISSION: Domain.ORDER, pb.SIGNATURE_KIND_APPROVAL: Domain.APPROVAL}
_KIND_OF = {domain.value: kind for kind, domain in KINDS.items()}
_OF_ROLE = {Role.REQUESTER: Domain.ORDER, Role.APPROVER: Domain.APPROVAL}


@dataclass(frozen=True, slots=True)
class OrderApi:
    """Implements the service; each method takes a caller and messages, and gives messages or raises RefusedError."""

    door: Door
    name: str
    book: OrderBook
    views: OrderViews
    campaigns: CampaignBook
    identities: IdentityBook
    persons: Persons
    clock: Callable[[], datetime]

    async def draft_orders(
        self, caller: Caller, requests: AsyncIterator[pb.DraftOrdersRequest]
    ) -> pb.DraftOrdersResponse:
        """Take in a set without signatures; the same set again changes nothing."""
        exact: list[bytes] = []
        size = 0
        async for request in requests:
            exact.extend(request.orders)
            size += sum(map(len, request.orders))
            if len(exact) > MOST_ORDERS or size > _LARGEST:
                raise malformed(f"a set holds 1 to {MOST_ORDERS:,} orders, and {_LARGEST >> 20} MiB at most")
        try:
            orders = await self.door.apart(lambda: OrderSet.of(exact))
        except OrdersError as error:
            raise malformed(error) from None
        self._check_draft(caller, orders)
        try:
            fresh = await self.door.apart(lambda: self._keep(caller, orders))
        except IntegrityError:
            raise not_now("one of these orders is in another set already: draft it anew") from None
        seen = self.views.get(caller, orders.id, self.clock())
        if seen is None:
            raise not_there("set of orders")
        return pb.DraftOrdersResponse(set=self._view(seen), existing=not fresh)

    def _check_draft(self, caller: Caller, orders: OrderSet) -> None:
        one = orders.orders[0]
        if caller.role is Role.REQUESTER and orders.submitter != caller.name:
            raise malformed(f"these orders are to be submitted by {orders.submitter}, not by {caller.name}")
        if orders.submitter not in self.persons.submitters:
            raise malformed(f"{orders.submitter} may not submit orders here")
        if one.coordinator != self.name:
            raise malformed(f"they are for the coordinator {one.coordinator}, not for {self.name}")
        if orders.expires <= self.clock():
            raise malformed(f"they expired at {orders.expires:%Y-%m-%d %H:%M:%S} UTC")

    def _keep(self, caller: Caller, orders: OrderSet) -> bool:
        now = self.clock()
        if not self.book.add(orders, now):
            return False
        self.campaigns.take_orders(orders, caller.name, now)
        return True

    async def list_order_sets(self, caller: Caller, request: pb.ListOrderSetsRequest) -> pb.ListOrderSetsResponse:
        """A page of sets that the caller may see, newest first."""
        try:
            found, token = self.views.page(caller, self.clock(), size=request.page_size, token=request.page_token)
        except BadPageError as error:
            raise malformed(error) from None
        return pb.ListOrderSetsResponse(sets=[self._view(one) for one in found], next_page_token=token)

    async def get_order_set(
        self, caller: Caller, request: pb.GetOrderSetRequest
    ) -> AsyncIterator[pb.GetOrderSetResponse]:
        """A set with the exact bytes of its orders, so that whoever signs can see what, and sign that."""
        seen = self.views.get(caller, read_uuid(request.set_id), self.clock())
        if seen is None:
            raise not_there("set of orders")
        try:
            orders = await self.door.apart(lambda: known_set(self.book, seen.id))
        except OrdersError as error:
            raise not_now(error) from None
        view = self._view(seen, seals=True)
        yield pb.GetOrderSetResponse(set=view, orders=orders.exact[:_PART])
        for start in range(_PART, len(orders.exact), _PART):
            yield pb.GetOrderSetResponse(orders=orders.exact[start : start + _PART])

    async def sign_order_set(self, caller: Caller, request: pb.SignOrderSetRequest) -> pb.SignOrderSetResponse:
        """Take in a person's own signature, checked."""
        now, domain = self.clock(), KINDS[request.kind]
        if domain is not _OF_ROLE[caller.role]:
            raise RefusedError(
                grpc.StatusCode.PERMISSION_DENIED, f"the role {caller.role.value} signs no {domain.value}"
            )
        seen = self.views.get(caller, read_uuid(request.set_id), now)
        if seen is None:
            raise not_there("set of orders")
        if now >= seen.expires:
            raise not_now(f"it expired at {seen.expires:%Y-%m-%d %H:%M:%S} UTC: draft a new one")
        orders = await self.door.apart(lambda: known_set(self.book, seen.id))
        try:
            signature = Signature(domain, Seal.of_message(request.seal))
            person = signer_of(orders, signature, self.persons, SealChecker())
        except (OrdersError, ContractError) as error:
            raise malformed(error) from None
        if person != caller.name:
            raise malformed(f"this is the signature of {person}: who signs hands it in")
        self.book.sign(seen.id, signature, person, now)
        after = self.views.get(caller, seen.id, now)
        if after is None:
            raise not_there("set of orders")
        return pb.SignOrderSetResponse(set=self._view(after))

    async def attach_identities(
        self, caller: Caller, request: pb.AttachIdentitiesRequest
    ) -> pb.AttachIdentitiesResponse:
        """Take in headers that came with calls; each is taken or refused for itself."""
        now, wanted = self.clock(), [one.order_sha256 for one in request.identities]
        if len(set(wanted)) < len(wanted):
            raise malformed("an order is named twice")
        campaigns = self.views.campaigns_of(caller, wanted, now)
        came: dict[bytes, tuple[str, Identity]] = {}
        refused: dict[bytes, str] = {}
        for one in request.identities:
            try:
                identity = parse_identity(one.header)
            except PassportError as error:
                refused[one.order_sha256] = str(error)
                continue
            if one.order_sha256 in campaigns:
                came[one.order_sha256] = campaigns[one.order_sha256], identity
            else:
                refused[one.order_sha256] = "there is no such order"
        by = f"{caller.role.value}/{caller.name}"
        taken = await self.door.apart(lambda: self.identities.keep(came, now, by))
        refused |= {order: what.refusal for order, what in taken.items() if what.refusal}
        return pb.AttachIdentitiesResponse(
            results=[
                pb.AttachedIdentity(existing=taken.get(order) is Taken.SAME, refused=refused.get(order, ""))
                for order in wanted
            ]
        )

    def _view(self, seen: SetSeen, *, seals: bool = False) -> pb.OrderSetView:
        first = self.views.first_order(seen.id)
        granted = self.book.granted([first]).get(first)
        state = state_by(granted, seen.expires, self.persons, SealChecker(), self.clock())
        view = pb.OrderSetView(
            set_id=str(seen.id),
            size=seen.size,
            submitter=seen.submitter,
            campaigns=self.views.campaigns(seen.id),
            state=state.value,
            drafted_unix_ms=unix_ms(seen.drafted_at),
            expires_unix_ms=unix_ms(seen.expires),
            approvals_needed=self.persons.approvals,
        )
        for one in self.views.signed(seen.id):
            entry = view.signatures.add(kind=_KIND_OF[one.domain], person=one.person, signed_unix_ms=unix_ms(one.at))
            if seals:
                entry.seal.ParseFromString(one.seal)
        return view

    def methods(self) -> Handlers:
        """Handlers by name of the method."""
        door = self.door
        return {
            "DraftOrders": door.collecting("DraftOrders", pb.DraftOrdersRequest, self.draft_orders),
            "ListOrderSets": door.unary("ListOrderSets", pb.ListOrderSetsRequest, self.list_order_sets),
            "GetOrderSet": door.streaming("GetOrderSet", pb.GetOrderSetRequest, self.get_order_set),
            "SignOrderSet": door.unary("SignOrderSet", pb.SignOrderSetRequest, self.sign_order_set),
            "AttachIdentities": door.unary("AttachIdentities", pb.AttachIdentitiesRequest, self.attach_identities),
        }
