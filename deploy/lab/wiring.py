"""The trunks of the lab's industry: between whom, under which names, in which number format, with which flaw.

Pure and seeded. Each side names its trunks in a style of its own, as operators do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from deploy.lab.industry import Calendar, End, Flaw, PartyKind, Provider, Role, Trunk
from deploy.lab.ingredients import Ingredient

FORMATS = ("10d", "11d", "e164", "00e164", "011e164", "tech:77501:11d", "tech:0155#:e164", "tech:9931:10d")

_CUSTOMERS = {Role.ORIGINATING: 4, Role.GATEWAY: 1, Role.TRANSIT: 1, Role.TERMINATING: 2}


class Wiring:
    """Draws all trunks; a class only because the counters for names and addresses run through all of them."""

    def __init__(
        self,
        seed: int,
        times: Calendar,
        on: frozenset[Ingredient],
        providers: dict[str, Provider],
        foreign: Sequence[str],
    ) -> None:
        self.rng = Random(f"{seed}:trunks")
        self.times, self.on, self.providers, self.foreign = times, on, providers, foreign
        self._numbers: dict[str, int] = {}
        self._extra_address = 150

    def draw(self) -> list[Trunk]:
        """Every trunk of the industry, ordinary ones first."""
        drawn: list[Trunk] = []
        by_role = {role: [p for p in self.providers.values() if p.role is role] for role in Role}
        transits, terminating = by_role[Role.TRANSIT], by_role[Role.TERMINATING]
        entry = [*by_role[Role.ORIGINATING], *by_role[Role.GATEWAY]]
        pairs = [(a, b) for a in entry for b in [*transits, *terminating]]
        pairs += [(a, b) for a in transits for b in [*transits, *terminating] if a is not b]
        pairs += [(a, b) for a in terminating for b in transits]
        drawn += [self._between(a, b) for a, b in pairs]
        for provider in self.providers.values():
            drawn += self._inside(provider)
            drawn += self._customers(provider)
            if provider.role is Role.GATEWAY:
                drawn += [self._from_abroad(carrier, number, provider) for number, carrier in enumerate(self.foreign)]
            drawn.append(self._to_subscribers(provider))
        return drawn + self._special()

    def _format(self) -> str:
        drawn = self.rng.choice(FORMATS)
        return drawn if Ingredient.NUMBER_FORMATS in self.on else "e164"

    def _end(self, provider: Provider) -> End:
        return End(PartyKind.PROVIDER, provider.id, self.rng.choice(provider.switches).name)

    def _name(self, owner: str, peer: str, *, incoming: bool) -> str:
        """A trunk group name in the owner's own style."""
        number = self._numbers[owner] = self._numbers.get(owner, 0) + 1
        match sum(owner.encode()) % 5:
            case 0:
                return f"{'TGIN' if incoming else 'TGOUT'}{4400 + number}"
            case 1:
                return f"TG-{peer.upper()}-{'I' if incoming else 'O'}{number}"
            case 2:
                return f"{peer}.{'ingress' if incoming else 'egress'}.{number}"
            case 3:
                return f"{owner[:2].upper()}{number}{'I' if incoming else 'O'}"
        return f"{'in' if incoming else 'out'}_{peer}_{number}"

    def _new_address(self) -> str:
        self._extra_address += 1
        return f"198.51.100.{self._extra_address}"

    def _between(self, sender: Provider, receiver: Provider) -> Trunk:
        return Trunk(
            sender=self._end(sender),
            receiver=self._end(receiver),
            egress_name=self._name(sender.id, receiver.id, incoming=False),
            ingress_name=self._name(receiver.id, sender.id, incoming=True),
            called_format=self._format(),
            sender_address=sender.address if receiver.id != "ibis" else _six(sender.address),
            receiver_address=receiver.address if receiver.id != "ibis" else _six(receiver.address),
        )

    def _inside(self, provider: Provider) -> list[Trunk]:
        return [
            Trunk(
                sender=End(PartyKind.PROVIDER, provider.id, a.name),
                receiver=End(PartyKind.PROVIDER, provider.id, b.name),
                egress_name=f"IST-{a.name}-{b.name}-O",
                ingress_name=f"IST-{a.name}-{b.name}-I",
                called_format="11d" if Ingredient.NUMBER_FORMATS in self.on else "e164",
                sender_address=self._new_address(),
                receiver_address=self._new_address(),
            )
            for a in provider.switches
            for b in provider.switches
            if a is not b
        ]

    def _customers(self, provider: Provider) -> list[Trunk]:
        made: list[Trunk] = []
        for _ in range(_CUSTOMERS[provider.role]):
            account = f"cust-{7000 + len(self._numbers) * 10 + self.rng.randrange(10)}-{len(made) + 1}"
            made.append(
                Trunk(
                    sender=End(PartyKind.CUSTOMER, account),
                    receiver=self._end(provider),
                    egress_name="",
                    ingress_name=self._name(provider.id, "cust", incoming=True),
                    called_format=self._format(),
                    sender_address=f"203.0.113.{1 + self._customer_number()}",
                    receiver_address=provider.address,
                )
            )
        return made

    def _customer_number(self) -> int:
        self._numbers["customers"] = self._numbers.get("customers", 0) + 1
        return self._numbers["customers"]

    def _from_abroad(self, carrier: str, number: int, gateway: Provider) -> Trunk:
        return Trunk(
            sender=End(PartyKind.FOREIGN, carrier),
            receiver=self._end(gateway),
            egress_name="",
            ingress_name=self._name(gateway.id, carrier, incoming=True),
            called_format=self.rng.choice(("00e164", "e164")) if Ingredient.NUMBER_FORMATS in self.on else "e164",
            sender_address=f"192.0.2.{10 + number}",
            receiver_address=gateway.address,
        )

    def _to_subscribers(self, provider: Provider) -> Trunk:
        return Trunk(
            sender=self._end(provider),
            receiver=End(PartyKind.SUBSCRIBERS, ""),
            egress_name=f"{provider.id.upper()}-LINES",
            ingress_name="",
            called_format="e164",
            sender_address=provider.address,
            receiver_address=f"192.0.2.{100 + int(provider.address.rsplit('.', 1)[1])}",
        )

    def _special(self) -> list[Trunk]:
        made: list[Trunk] = []
        if Ingredient.TRUNK_REASSIGNED in self.on and {"curlew", "avocet", "harrier"} <= self.providers.keys():
            before = self._extra("curlew", "harrier", Ingredient.TRUNK_REASSIGNED)
            after = self._extra("avocet", "harrier", Ingredient.TRUNK_REASSIGNED)
            made.append(replace(before, valid_to=self.times.reassigned))
            made.append(
                replace(
                    after,
                    ingress_name=before.ingress_name,
                    called_format=before.called_format,
                    receiver=before.receiver,
                    valid_from=self.times.reassigned,
                )
            )
        if Ingredient.UNMAPPED_TRUNK in self.on and {"egret", "osprey"} <= self.providers.keys():
            made.append(replace(self._extra("egret", "osprey", Ingredient.UNMAPPED_TRUNK), flaw=Flaw.UNMAPPED))
        if Ingredient.NAMED_BY_MISTAKE in self.on and {"jackdaw", "godwit"} <= self.providers.keys():
            wrong = "lapwing" if "lapwing" in self.providers else "harrier"
            extra = self._extra("jackdaw", "godwit", Ingredient.NAMED_BY_MISTAKE)
            made.append(replace(extra, flaw=Flaw.MISNAMED, believed=wrong))
        return made

    def _extra(self, sender: str, receiver: str, purpose: Ingredient) -> Trunk:
        """One more trunk between two providers, over an address of its own."""
        trunk = self._between(self.providers[sender], self.providers[receiver])
        return replace(trunk, sender_address=self._new_address(), purpose=purpose)


def _six(address: str) -> str:
    """The IPv6 documentation address that stands for the same host."""
    return f"2001:db8:{int(address.rsplit('.', 1)[1]):x}::10"
