"""RegistryService: who is who, for people and their programs; `rpc` says how every call goes.

Over the wire nothing changes but by two analysts, one who proposes and another who confirms; names of persons are the
same as at the coordinator itself, so that nobody confirms there what she proposed here. A provider sees its own entry.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from coordinator.api.rpc import Door, Handlers, malformed, not_now, not_there, read_uuid
from coordinator.callers import Caller, Role
from coordinator.registry.aliases import AliasError, parse_alias
from coordinator.registry.book import Entry, Proposal, RegistryBook
from coordinator.registry.changes import ChangeError, parse_change
from coordinator.registry.changing import RegistryError
from coordinator.tracing.ports import Provider
from hopback.v1 import registry_pb2 as pb
from protos.codec import unix_ms
from protos.identity import InvalidIdentityError, ProviderId, parse_provider_id

_PAGE = 1000
_SUGGESTED = 8
_PROPOSALS = 200


@dataclass(frozen=True, slots=True)
class RegistryApi:
    """Implements the service; each method takes a caller and a message, and gives a message or raises RefusedError."""

    door: Door
    book: RegistryBook
    clock: Callable[[], datetime]

    async def list_providers(self, caller: Caller, request: pb.ListProvidersRequest) -> pb.ListProvidersResponse:
        """A page of who is who, by id; the last id is the next page's token."""
        del caller
        size = request.page_size or _PAGE
        found = self.book.providers(after=request.page_token, limit=size + 1)
        page = found[:size]
        more = page[-1].id if len(found) > size else ""
        return pb.ListProvidersResponse(providers=[_provider(one) for one in page], next_page_token=more)

    async def get_provider(self, caller: Caller, request: pb.GetProviderRequest) -> pb.GetProviderResponse:
        """Everything about one provider; to a provider, about itself alone."""
        wanted = self._named(request.provider)
        if wanted is None or (caller.role is Role.PROVIDER and wanted != caller.name):
            raise not_there("provider")
        entry = self.book.entry(wanted)
        if entry is None:
            raise not_there("provider")
        return _entry(entry)

    def _named(self, text: str) -> ProviderId | None:
        try:
            kind, value = parse_alias(text)
        except AliasError:
            try:
                return parse_provider_id(text)
            except InvalidIdentityError as error:
                raise malformed(error) from None
        return self.book.holder(kind, value, self.clock()) if kind.is_number else None

    async def suggest_providers(
        self, caller: Caller, request: pb.SuggestProvidersRequest
    ) -> pb.SuggestProvidersResponse:
        """Who may be meant by what was typed; nobody is picked."""
        limit, now = request.limit or _SUGGESTED, self.clock()
        found = await self.door.apart(lambda: self.book.index().suggest(request.name, now, limit))
        before = [] if caller.role is Role.REQUESTER else self.book.matches(request.name, 5)
        return pb.SuggestProvidersResponse(
            suggestions=[
                pb.SuggestionView(provider=one.provider, score=one.score, alias=one.alias, why=one.why) for one in found
            ],
            matched_before=[
                pb.MatchView(provider=one.provider, picked_by=one.picked_by, picked_unix_ms=unix_ms(one.picked_at))
                for one in before
            ],
        )

    async def list_proposals(self, caller: Caller, request: pb.ListProposalsRequest) -> pb.ListProposalsResponse:
        """Changes that wait, or were decided."""
        del caller
        found = self.book.proposals(only_open=not request.all, limit=request.limit or _PROPOSALS)
        return pb.ListProposalsResponse(proposals=map(_proposal, found))

    async def propose_change(self, caller: Caller, request: pb.ProposeChangeRequest) -> pb.ProposeChangeResponse:
        """Put a change down for another analyst to confirm."""
        try:
            change = parse_change(ProviderId(request.provider), request.kind, request.value)
            identity = self.book.propose(change, caller.name, request.reason, self.clock())
        except ChangeError as error:
            raise malformed(error) from None
        except RegistryError as error:
            raise not_now(error) from None
        return pb.ProposeChangeResponse(proposal_id=str(identity))

    async def decide_proposal(self, caller: Caller, request: pb.DecideProposalRequest) -> pb.DecideProposalResponse:
        """Confirm or drop a change."""
        identity, decide = read_uuid(request.proposal_id), self.book.confirm if request.confirm else self.book.reject
        try:
            decide(identity, caller.name, self.clock())
        except RegistryError as error:
            raise not_now(error) from None
        return pb.DecideProposalResponse()

    def methods(self) -> Handlers:
        """Handlers by name of the method."""
        unary = self.door.unary
        return {
            "ListProviders": unary("ListProviders", pb.ListProvidersRequest, self.list_providers),
            "GetProvider": unary("GetProvider", pb.GetProviderRequest, self.get_provider),
            "SuggestProviders": unary("SuggestProviders", pb.SuggestProvidersRequest, self.suggest_providers),
            "ListProposals": unary("ListProposals", pb.ListProposalsRequest, self.list_proposals),
            "ProposeChange": unary("ProposeChange", pb.ProposeChangeRequest, self.propose_change),
            "DecideProposal": unary("DecideProposal", pb.DecideProposalRequest, self.decide_proposal),
        }


def _provider(one: Provider) -> pb.ProviderView:
    return pb.ProviderView(
        provider=one.id,
        name=one.name,
        country=one.country or "",
        role=one.role or "",
        has_agent=one.endpoint is not None,
    )


def _entry(entry: Entry) -> pb.GetProviderResponse:
    return pb.GetProviderResponse(
        provider=_provider(entry.provider),
        endpoint=entry.provider.endpoint or "",
        roles=entry.roles,
        reach=entry.reach,
        deadlines_json=json.dumps(dict(entry.deadlines), sort_keys=True),
        aliases=[
            pb.AliasView(
                kind=alias.kind.value,
                value=alias.value,
                valid_from_unix_ms=_ms(alias.valid_from),
                valid_to_unix_ms=_ms(alias.valid_to),
                source=alias.source,
            )
            for alias in entry.aliases
        ],
        contacts=[pb.ContactView(email=one.email, level=one.level) for one in entry.contacts],
        certificate_sha256=entry.certificates,
    )


def _proposal(one: Proposal) -> pb.ProposalView:
    return pb.ProposalView(
        proposal_id=str(one.id),
        provider=one.change.provider,
        kind=one.change.kind.value,
        value=one.change.value,
        before=one.before,
        reason=one.reason,
        state=one.state,
        proposed_by=one.proposed_by,
        proposed_unix_ms=unix_ms(one.proposed_at),
        decided_by=one.decided_by or "",
        decided_unix_ms=_ms(one.decided_at),
    )


def _ms(time: datetime | None) -> int:
    return unix_ms(time) if time is not None else 0
