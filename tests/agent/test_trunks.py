"""Who stands behind a trunk, and when must the map say that it doesn't know?"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.trunks import Direction, InvalidTrunkError, TrunkEntry, TrunkMap, Unknown, parse_party
from protos.identity import ProviderId

ALWAYS, FOREVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
JUNE = datetime(2026, 6, 1, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
BIRCH, ALDER = parse_party("provider:birch"), parse_party("provider:alder")


def entry(
    party: str,
    name: str | None = None,
    *networks: str,
    valid_from: datetime = ALWAYS,
    valid_to: datetime = FOREVER,
) -> TrunkEntry:
    return TrunkEntry(
        party=parse_party(party),
        direction=Direction.INGRESS,
        name=name,
        networks=tuple(ipaddress.ip_network(n) for n in networks),
        valid_from=valid_from,
        valid_to=valid_to,
    )


class TestNamingAParty:
    def test_by_trunk_group_name(self) -> None:
        assert TrunkMap.from_entries([entry("provider:birch", "TG1")]).ingress_party("TG1", None, JUNE) == BIRCH

    def test_by_peer_address_inside_a_network(self) -> None:
        trunks = TrunkMap.from_entries([entry("provider:birch", None, "2001:db8:b::/48")])
        assert trunks.ingress_party(None, "2001:db8:b::20", JUNE) == BIRCH

    def test_the_longest_network_wins(self) -> None:
        trunks = TrunkMap.from_entries(
            [entry("provider:birch", None, "198.51.100.0/24"), entry("provider:alder", None, "198.51.100.7/32")]
        )
        assert trunks.ingress_party(None, "198.51.100.7", JUNE) == ALDER

    def test_a_name_is_enough_when_the_address_is_new(self) -> None:
        trunks = TrunkMap.from_entries([entry("provider:birch", "TG1", "198.51.100.20")])
        assert trunks.ingress_party("TG1", "198.51.100.99", JUNE) == BIRCH

    def test_an_address_shared_by_several_trunks_is_told_apart_by_name(self) -> None:
        trunks = TrunkMap.from_entries(
            [entry("provider:birch", "TG1", "198.51.100.20"), entry("provider:alder", "TG2", "198.51.100.20")]
        )
        assert trunks.ingress_party("TG2", "198.51.100.20", JUNE) == ALDER


class TestSayingThatItDoesNotKnow:
    def test_an_unknown_trunk_is_unmapped(self) -> None:
        assert TrunkMap.from_entries([]).ingress_party("TG9", None, JUNE) is Unknown.UNMAPPED

    def test_a_record_without_trunk_and_address_is_not_recorded(self) -> None:
        assert (
            TrunkMap.from_entries([entry("provider:birch", "TG1")]).ingress_party(None, "", JUNE)
            is Unknown.NOT_RECORDED
        )

    def test_trunk_and_address_that_point_at_different_parties_are_unmapped(self) -> None:
        trunks = TrunkMap.from_entries(
            [entry("provider:birch", "TG1", "198.51.100.20"), entry("provider:alder", "TG2", "198.51.100.10")]
        )
        assert trunks.ingress_party("TG1", "198.51.100.10", JUNE) is Unknown.UNMAPPED

    def test_one_address_of_two_parties_without_a_trunk_name_is_unmapped(self) -> None:
        trunks = TrunkMap.from_entries(
            [entry("provider:birch", "TG1", "198.51.100.20"), entry("provider:alder", "TG2", "198.51.100.20")]
        )
        assert trunks.ingress_party(None, "198.51.100.20", JUNE) is Unknown.UNMAPPED

    def test_an_address_that_is_none_is_unmapped(self) -> None:
        assert TrunkMap.from_entries([]).ingress_party(None, "not-an-address", JUNE) is Unknown.UNMAPPED

    def test_an_ingress_trunk_says_nothing_about_egress(self) -> None:
        assert (
            TrunkMap.from_entries([entry("provider:birch", "TG1")]).egress_party("TG1", None, JUNE) is Unknown.UNMAPPED
        )


class TestReassignment:
    def test_the_calls_own_time_decides_whose_trunk_it_was(self) -> None:
        trunks = TrunkMap.from_entries(
            [entry("provider:birch", "TG1", valid_to=NOVEMBER), entry("provider:alder", "TG1", valid_from=NOVEMBER)]
        )
        assert trunks.ingress_party("TG1", None, JUNE) == BIRCH
        assert trunks.ingress_party("TG1", None, NOVEMBER) == ALDER

    @given(st.lists(st.integers(0, 9), max_size=20))
    def test_what_was_looked_up_before_changes_no_answer(self, hours: list[int]) -> None:
        hour = timedelta(hours=1)
        entries = [
            entry("provider:birch", "TG1", "198.51.100.20", valid_from=JUNE + 2 * hour, valid_to=JUNE + 4 * hour),
            entry("provider:alder", "TG1", valid_from=JUNE + 4 * hour, valid_to=JUNE + 7 * hour),
        ]
        asked_before = TrunkMap.from_entries(entries)
        for when in (JUNE + number * hour for number in hours):
            for trunk, address in (("TG1", None), (None, "198.51.100.20"), ("TG1", "198.51.100.20")):
                fresh = TrunkMap.from_entries(entries).ingress_party(trunk, address, when)
                assert asked_before.ingress_party(trunk, address, when) == fresh

    def test_a_time_that_no_entry_covers_is_unmapped(self) -> None:
        trunks = TrunkMap.from_entries([entry("provider:birch", "TG1", valid_from=NOVEMBER)])
        assert trunks.ingress_party("TG1", None, JUNE) is Unknown.UNMAPPED

    def test_one_trunk_with_two_parties_at_one_time_is_refused(self) -> None:
        with pytest.raises(InvalidTrunkError, match="at the same time"):
            TrunkMap.from_entries([entry("provider:birch", "TG1"), entry("provider:alder", "TG1")])


class TestConfigurationWords:
    @pytest.mark.parametrize(
        "text", ["birch", "vendor:birch", "provider:", "provider:Birch Tel", "subscribers:x", "customer:"]
    )
    def test_what_is_no_party_is_refused_with_an_example(self, text: str) -> None:
        with pytest.raises(InvalidTrunkError, match="party"):
            parse_party(text)

    def test_a_trunk_without_name_and_address_is_refused(self) -> None:
        with pytest.raises(InvalidTrunkError, match="neither name nor addresses"):
            entry("provider:birch")

    def test_dates_in_the_wrong_order_are_refused(self) -> None:
        with pytest.raises(InvalidTrunkError, match="valid_from"):
            entry("provider:birch", "TG1", valid_from=NOVEMBER, valid_to=JUNE)

    def test_neighbours_are_the_providers_alone(self) -> None:
        trunks = TrunkMap.from_entries([entry("provider:birch", "TG1"), entry("customer:7011", "C1")])
        assert trunks.neighbours() == {ProviderId("birch")}
