"""Enrolment over the network: a token once, the present certificate later, and nothing for anybody else."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import grpc.aio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.authority.issuing_key import AuthorityError
from coordinator.authority.lab_ca import LabAuthority
from coordinator.enrolment import SERVICE, Enrolment
from coordinator.serve import Addresses, CannotListenError, CoordinatorServer
from hopback.v1 import enrolment_pb2 as pb
from protos.certificates import PinnedRoots
from protos.enrolling import by_certificate, by_token, fetch_list
from protos.errors import read_fault
from protos.evidence_key import read_evidence_key
from protos.live import Live
from protos.renewal import Obtained, Party, Places, Renewal, RenewalError, obtain_pairs
from protos.revocation import Revocations
from protos.tls import (
    TlsFiles,
    channel_credentials,
    coordinator_channel_options,
    open_channel_credentials,
    read_tls_files,
)
from protos.types import ErrorReason
from tests.coordinator.authorities import Requests, TestedAuthority, leaf, places_in, uris_of

LAB, BIRCH = "hopback://coordinator/lab", "hopback://provider/birch"


@dataclass
class Office:
    """A coordinator that issues certificates, as it is reached."""

    tested: TestedAuthority
    addresses: Addresses
    live: Live[TlsFiles]
    enrolment: Enrolment

    @property
    def open_address(self) -> str:
        assert self.addresses.enrolment_address is not None
        return self.addresses.enrolment_address

    @property
    def roots(self) -> bytes:
        return self.tested.authority.roots


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    tested = TestedAuthority(tmp_path / "authority", now=datetime.now(UTC))
    async with served(tested, tmp_path) as office:
        yield office


@asynccontextmanager
async def served(tested: TestedAuthority, directory: Path) -> AsyncIterator[Office]:
    live = Live(tls_of(tested.enrolled(directory / "lab", LAB)))
    enrolment = Enrolment(tested.authority, tested.clock)
    server = CoordinatorServer(
        live, "127.0.0.1:0", {SERVICE: enrolment.methods()}, "127.0.0.1:0", {SERVICE: enrolment.open_methods()}
    )
    addresses = await server.start()
    try:
        yield Office(tested, addresses, live, enrolment)
    finally:
        await server.stop(0)
        enrolment.close()


def tls_of(places: Places) -> TlsFiles:
    return read_tls_files(places.tls.certificate, places.tls.key, places.roots, datetime.now(UTC))


def party_of(places: Places, uri: str) -> Party:
    roots = PinnedRoots.from_pem(places.evidence_roots.read_bytes())
    key = read_evidence_key(places.evidence.certificate, places.evidence.key, roots, uri, datetime.now(UTC))
    return Party(uri, places, Live(tls_of(places)), Live(key), roots)


def empty(directory: Path, office: Office) -> Places:
    places = places_in(directory)
    places.roots.write_bytes(office.roots)
    return places


async def enrolled(office: Office, directory: Path, provider: str = "birch") -> Places:
    places = empty(directory, office)
    obtain = by_token(office.open_address, LAB, office.roots, office.tested.token(provider))
    await obtain_pairs(f"hopback://provider/{provider}", places, obtain)
    return places


class TestEnrolment:
    async def test_exchanges_a_token_for_certificates_of_keys_that_were_made_here(
        self, office: Office, tmp_path: Path
    ) -> None:
        places = await enrolled(office, tmp_path / "birch")
        assert uris_of(leaf(places.tls.certificate.read_bytes())) == [BIRCH]
        assert party_of(places, BIRCH).evidence.current.certified.uri == BIRCH
        assert {stat.st_mode & 0o777 for stat in (places.tls.key.stat(), places.evidence.key.stat())} == {0o600}

    async def test_with_a_token_that_was_used_leaves_no_file(self, office: Office, tmp_path: Path) -> None:
        token = office.tested.token()
        obtain = by_token(office.open_address, LAB, office.roots, token)
        await obtain_pairs(BIRCH, empty(tmp_path / "first", office), obtain)
        places = empty(tmp_path / "second", office)
        with pytest.raises(RenewalError, match="used or withdrawn"):
            await obtain_pairs(BIRCH, places, obtain)
        assert [file.name for file in (tmp_path / "second").iterdir()] == [places.roots.name]

    async def test_with_a_token_that_expired_is_refused(self, office: Office, tmp_path: Path) -> None:
        token = office.tested.token()
        office.tested.now += timedelta(seconds=601)
        with pytest.raises(RenewalError, match="expired"):
            await obtain_pairs(
                BIRCH, empty(tmp_path / "b", office), by_token(office.open_address, LAB, office.roots, token)
            )

    async def test_with_another_providers_token_gives_nothing_to_this_one(self, office: Office, tmp_path: Path) -> None:
        places = empty(tmp_path / "birch", office)
        obtain = by_token(office.open_address, LAB, office.roots, office.tested.token("alder"))
        with pytest.raises(RenewalError, match="not for hopback://provider/birch"):
            await obtain_pairs(BIRCH, places, obtain)
        assert not places.tls.certificate.exists()

    async def test_goes_to_nobody_whose_root_is_not_pinned(self, office: Office, tmp_path: Path) -> None:
        stranger = TestedAuthority(tmp_path / "stranger")
        token = office.tested.token()
        with pytest.raises(RenewalError, match="no root that lies here"):
            await obtain_pairs(
                BIRCH,
                empty(tmp_path / "birch", office),
                by_token(office.open_address, LAB, stranger.authority.roots, token),
            )
        assert office.tested.ledger.tokens()[0].used_at is None

    async def test_goes_to_nobody_who_is_another_party(self, office: Office, tmp_path: Path) -> None:
        with pytest.raises(RenewalError, match="another party's certificate"):
            await obtain_pairs(
                BIRCH,
                empty(tmp_path / "birch", office),
                by_token(office.open_address, "hopback://coordinator/other", office.roots, office.tested.token()),
            )

    async def test_takes_nothing_when_the_coordinator_shows_other_roots(self, office: Office, tmp_path: Path) -> None:
        places = empty(tmp_path / "birch", office)
        obtain = by_token(office.open_address, LAB, office.roots, office.tested.token())
        office.tested.authority._issuer = TestedAuthority(tmp_path / "stranger").issuer
        with pytest.raises(RenewalError, match="other roots"):
            await obtain_pairs(BIRCH, places, obtain)
        assert not places.tls.certificate.exists()

    async def test_is_not_offered_where_clients_show_certificates_nor_renewal_where_they_do_not(
        self, office: Office, tmp_path: Path
    ) -> None:
        places = await enrolled(office, tmp_path / "birch")
        options, wants = coordinator_channel_options(LAB), Requests()
        enrol = pb.EnrolRequest(token=office.tested.token(), tls_csr=wants.tls, evidence_csr=wants.evidence)
        renew = pb.RenewRequest(tls_csr=wants.tls, evidence_csr=wants.evidence)
        ways = (
            (office.addresses.address, channel_credentials(tls_of(places)), "Enrol", enrol),
            (office.open_address, open_channel_credentials(office.roots), "Renew", renew),
        )
        for address, credentials, method, request in ways:
            async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await channel.unary_unary(f"/{SERVICE}/{method}", None, None)(request.SerializeToString())
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    async def test_says_nothing_of_an_authority_that_fails_but_that_it_does(
        self, office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*arguments: object) -> None:
            raise AuthorityError("synthetic: the ledger at /secret/path is gone")

        monkeypatch.setattr(office.tested.authority, "enrol", fail)
        with pytest.raises(RenewalError, match="can't issue now") as caught:
            await enrolled(office, tmp_path / "birch")
        assert "secret" not in str(caught.value)

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.one_of(
            st.binary(max_size=300),
            st.builds(
                lambda t, a, b: pb.EnrolRequest(token=t, tls_csr=a, evidence_csr=b).SerializeToString(),
                st.text(max_size=60),
                st.binary(max_size=60),
                st.binary(max_size=60),
            ),
        )
    )
    async def test_answers_hostile_bytes_with_a_coded_error(self, office: Office, request_bytes: bytes) -> None:
        options = coordinator_channel_options(LAB)
        async with grpc.aio.secure_channel(
            office.open_address, open_channel_credentials(office.roots), options=options
        ) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(f"/{SERVICE}/Enrol", None, None)(request_bytes)
        fault = read_fault(caught.value)
        assert fault is not None
        assert fault.reason in (ErrorReason.MALFORMED, ErrorReason.INVALID_FIELD, ErrorReason.SIGNATURE)


class TestRenewal:
    async def test_puts_new_certificates_in_place_and_leaves_the_old_ones_good(
        self, office: Office, tmp_path: Path
    ) -> None:
        places = await enrolled(office, tmp_path / "birch")
        party = party_of(places, BIRCH)
        old_tls, old_evidence = party.tls.current, party.evidence.current
        obtain = by_certificate(office.addresses.address, LAB, party.tls)
        await Renewal(party, obtain, office.tested.clock).renew()
        assert party.tls.current.certificate != old_tls.certificate
        assert party.evidence.current.signer.key_id != old_evidence.signer.key_id
        assert tls_of(places) == party.tls.current
        assert await fetch_list(office.addresses.address, LAB, old_tls)  # mutual TLS with the old one still stands
        pinned = PinnedRoots.from_pem(office.roots)
        assert pinned.certified(old_evidence.certificate).valid_at(office.tested.now)

    async def test_happens_at_half_the_life_and_not_before(self, office: Office, tmp_path: Path) -> None:
        places = await enrolled(office, tmp_path / "birch")
        party = party_of(places, BIRCH)
        start, slept = office.tested.now, timedelta()
        renewed: list[timedelta] = []
        party.tls.on_change(lambda _: renewed.append(slept))

        class EnoughError(Exception):
            pass

        async def sleep(length: timedelta) -> None:
            nonlocal slept
            slept += length
            if renewed:
                raise EnoughError

        obtain = by_certificate(office.addresses.address, LAB, party.tls)
        renewal = Renewal(party, obtain, lambda: start + slept, sleep, random.Random(7))
        with pytest.raises(EnoughError):
            await renewal.run()
        assert timedelta(days=13) < renewed[0] < timedelta(days=15, hours=2)

    async def test_that_fails_leaves_everything_as_it_was_and_is_tried_again(
        self, office: Office, tmp_path: Path
    ) -> None:
        places = await enrolled(office, tmp_path / "birch")
        party = party_of(places, BIRCH)
        before = {file.name: file.read_bytes() for file in (tmp_path / "birch").iterdir()}
        tries, slept = 0, list[timedelta]()
        obtain = by_certificate(office.addresses.address, LAB, party.tls)

        class EnoughError(Exception):
            pass

        async def fail_twice(tls: bytes, evidence: bytes) -> Obtained:
            nonlocal tries
            tries += 1
            if tries < 3:
                raise RenewalError("synthetic: away")
            return await obtain(tls, evidence)

        async def sleep(length: timedelta) -> None:
            slept.append(length)
            if tries == 3:
                raise EnoughError
            assert {file.name: file.read_bytes() for file in (tmp_path / "birch").iterdir()} == before

        late = office.tested.now + timedelta(days=16)
        renewal = Renewal(party, fail_twice, lambda: late if tries < 3 else office.tested.now, sleep, random.Random(7))
        with pytest.raises(EnoughError):
            await renewal.run()
        assert slept[:2] == [timedelta(hours=1)] * 2
        assert {file.name: file.read_bytes() for file in (tmp_path / "birch").iterdir()} != before

    async def test_is_refused_to_a_revoked_party_which_keeps_what_it_has(self, office: Office, tmp_path: Path) -> None:
        places = await enrolled(office, tmp_path / "birch")
        party = party_of(places, BIRCH)
        office.tested.authority.revoke_party(BIRCH, "synthetic", office.tested.now)
        obtain = by_certificate(office.addresses.address, LAB, party.tls)
        with pytest.raises(RenewalError, match="revoked"):
            await Renewal(party, obtain, office.tested.clock).renew()
        assert tls_of(places) == party.tls.current

    async def test_is_refused_to_a_certificate_of_another_root_before_anything_is_read(
        self, office: Office, tmp_path: Path
    ) -> None:
        stranger = LabAuthority.create(tmp_path / "lab-ca")
        issued = stranger.issue_provider("birch", tmp_path / "theirs")
        files = read_tls_files(issued.certificate, issued.key, issued.roots, datetime.now(UTC))
        shown = Live(replace(files, roots=office.roots))
        with pytest.raises(RenewalError):
            await obtain_pairs(
                BIRCH, empty(tmp_path / "birch", office), by_certificate(office.addresses.address, LAB, shown)
            )
        assert office.tested.ledger.certificates(BIRCH) == []

    async def test_of_the_coordinator_itself_goes_to_its_own_authority(self, office: Office, tmp_path: Path) -> None:
        serial = leaf(office.live.current.certificate).serial_number
        wants = Requests()
        pair = await office.enrolment.renew_own(LAB, serial, wants.tls, wants.evidence)
        assert uris_of(leaf(pair.tls)) == [LAB]


class TestTheRevocationList:
    async def test_is_given_to_everybody_and_counts_by_its_signature(self, office: Office, tmp_path: Path) -> None:
        places = await enrolled(office, tmp_path / "birch")
        serial = leaf(places.tls.certificate.read_bytes()).serial_number
        office.tested.authority.revoke_serial(serial, "synthetic", office.tested.now)
        other = await enrolled(office, tmp_path / "alder", "alder")
        revocations = Revocations([office.tested.issuer.certificate])
        der = await fetch_list(office.addresses.address, LAB, tls_of(other))
        assert revocations.take(der, office.tested.now)
        assert revocations.problem(serial, office.tested.now) == "its certificate is revoked"


class TestTheServer:
    async def test_says_when_an_address_is_taken(self, office: Office) -> None:
        second = CoordinatorServer(office.live, office.addresses.address, {})
        with pytest.raises(CannotListenError, match="port is taken"):
            await second.start()

    async def test_takes_no_large_message_from_somebody_without_a_certificate(self, office: Office) -> None:
        request = pb.EnrolRequest(token="x" * 100_000).SerializeToString()
        async with grpc.aio.secure_channel(
            office.open_address, open_channel_credentials(office.roots), options=coordinator_channel_options(LAB)
        ) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(f"/{SERVICE}/Enrol", None, None)(request)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
