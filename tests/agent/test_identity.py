"""An agent's certificates: enrolled by a command, told of by another, and what the configuration must say of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agent.cli import main
from agent.config import load
from agent.identity import open_identity, places_of
from agent.mistakes import ConfigError
from coordinator.enrolment import SERVICE, Enrolment
from coordinator.serve import CoordinatorServer
from protos.identity import provider_uri
from protos.key_pairs import write_whole
from protos.live import Live
from protos.renewal import Obtained, obtain_pairs
from protos.tls import read_tls_files
from tests.coordinator.authorities import Requests, TestedAuthority, leaf, uris_of

LAB = "hopback://coordinator/lab"
BASE = """
[provider]
id = "birch"
[listen]
{address}
certificate = "birch.crt"
key = "birch.key"
roots = "ca.crt"
coordinators = [{coordinators}]
[index]
directory = "index"
root_key_file = "root.key"
{signing}
{more}
"""
SIGNING = """
[signing]
key = "birch-evidence.key"
certificate = "birch-evidence.crt"
[orders.submitters]
ann = "ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
[orders.approvers]
bob = "ed25519:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
"""
ADDRESS = 'address = "127.0.0.1:7443"'
ENROLMENT = '[enrolment]\ncoordinator = "c.example:7443"\n'


def written(
    directory: Path,
    more: str = "",
    *,
    address: str = ADDRESS,
    signing: str = SIGNING,
    coordinators: str = f'"{LAB}"',
) -> Path:
    file = directory / "agent.toml"
    file.write_text(BASE.format(address=address, signing=signing, more=more, coordinators=coordinators))
    return file


def mistakes(*arguments: object, **named: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(written(*arguments, **named))  # type: ignore[arg-type]
    return "\n".join(map(str, caught.value.mistakes))


class TestTheConfiguration:
    def test_may_name_no_address_where_the_agent_dials_out(self, tmp_path: Path) -> None:
        config = load(written(tmp_path, '[dial_out]\ncoordinator = "c.example:7443"\n', address=""))
        assert config.listen.address is None
        assert config.dial_out is not None

    def test_of_an_agent_that_nobody_could_reach_is_refused(self, tmp_path: Path) -> None:
        assert "write where to listen" in mistakes(tmp_path, address="")

    @pytest.mark.parametrize("table", ["[dial_out]", "[enrolment]"])
    def test_says_which_of_several_coordinators_it_means(self, tmp_path: Path, table: str) -> None:
        both = f'"{LAB}", "hopback://coordinator/other"'
        more = f'{table}\ncoordinator = "c.example:7443"\n'
        assert "which of" in mistakes(tmp_path, more, coordinators=both)
        load(written(tmp_path, more + f'name = "{LAB}"\n', coordinators=both))
        assert "not among listen.coordinators" in mistakes(tmp_path, more + 'name = "hopback://coordinator/third"\n')

    def test_that_enrols_has_a_place_for_both_certificates(self, tmp_path: Path) -> None:
        assert "signing" in mistakes(tmp_path, ENROLMENT, signing="[trial]\nunsigned_lookups = true")

    def test_that_fetches_the_revocation_list_says_from_where(self, tmp_path: Path) -> None:
        assert "needs [enrolment]" in mistakes(tmp_path, '[revocation]\nlist = "r.crl"\n')
        load(written(tmp_path, '[revocation]\nlist = "r.crl"\nfetch = false\n'))
        assert load(written(tmp_path, ENROLMENT + '[revocation]\nlist = "r.crl"\n')).revocation is not None

    @pytest.mark.parametrize("address", ["c.example", "c.example:0", "c.example:70000", ":7443"])
    def test_names_addresses_that_can_be_called(self, tmp_path: Path, address: str) -> None:
        assert "host:port" in mistakes(tmp_path, f'[dial_out]\ncoordinator = "{address}"\n')

    def test_with_an_unknown_key_is_refused(self, tmp_path: Path) -> None:
        assert "unknown key" in mistakes(tmp_path, ENROLMENT + "renews = true\n")


class Office:
    """A coordinator that issues, served beside the test; commands run in a thread."""

    def __init__(self, directory: Path) -> None:
        self.tested = TestedAuthority(directory / "authority", now=datetime.now(UTC))
        places = self.tested.enrolled(directory / "lab", LAB)
        self.live = Live(read_tls_files(places.tls.certificate, places.tls.key, places.roots, self.tested.now))
        self.enrolment = Enrolment(self.tested.authority, self.tested.clock)
        self.address = self.first = ""

    async def start(self) -> CoordinatorServer:
        methods, open_methods = self.enrolment.methods(), self.enrolment.open_methods()
        server = CoordinatorServer(self.live, "127.0.0.1:0", {SERVICE: methods}, "127.0.0.1:0", {SERVICE: open_methods})
        addresses = await server.start()
        self.address, self.first = addresses.address, addresses.enrolment_address or ""
        return server

    def config(self, directory: Path, more: str = "") -> Path:
        directory.mkdir(exist_ok=True)
        write_whole(directory / "ca.crt", self.tested.authority.roots, secret=False)
        table = f'[enrolment]\ncoordinator = "{self.address}"\nfirst = "{self.first}"\n'
        return written(directory, table + more)


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    made = Office(tmp_path)
    server = await made.start()
    yield made
    await server.stop(0)
    made.enrolment.close()


async def agent(*arguments: object) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, main, list(map(str, arguments)))


class TestEnrol:
    async def test_gets_certificates_for_a_token(self, office: Office, tmp_path: Path) -> None:
        config = office.config(tmp_path / "birch")
        done = await agent("enrol", config, "--token", office.tested.token())
        assert done.exit_code == 0, done.output
        places = places_of(load(config))
        assert uris_of(leaf(places.tls.certificate.read_bytes())) == [provider_uri(load(config).me)]
        assert "PRIVATE KEY" not in done.output

    async def test_with_a_token_that_does_not_count_says_why_and_writes_nothing(
        self, office: Office, tmp_path: Path
    ) -> None:
        config = office.config(tmp_path / "birch")
        token, _ = office.tested.invited()
        done = await agent("enrol", config, "--token", token)
        assert done.exit_code == 69
        assert "nobody granted this token" in done.output
        assert token not in done.output
        assert sorted(file.name for file in config.parent.iterdir()) == ["agent.toml", "ca.crt"]

    async def test_replaces_nothing_unless_it_is_told_to(self, office: Office, tmp_path: Path) -> None:
        config = office.config(tmp_path / "birch")
        await agent("enrol", config, "--token", office.tested.token())
        before = (config.parent / "birch.crt").read_bytes()
        token = office.tested.token()
        refused = await agent("enrol", config, "--token", token)
        assert refused.exit_code == 69
        assert "--again" in refused.output
        assert (config.parent / "birch.crt").read_bytes() == before
        assert (await agent("enrol", config, "--again", "--token", token)).exit_code == 0
        assert (config.parent / "birch.crt").read_bytes() != before

    async def test_begins_only_with_roots_from_a_source_that_is_trusted(self, office: Office, tmp_path: Path) -> None:
        config = office.config(tmp_path / "birch")
        (config.parent / "ca.crt").unlink()
        done = await agent("enrol", config, "--token", office.tested.token())
        assert done.exit_code == 78
        assert "listen.roots" in done.output

    async def test_without_a_coordinator_to_call_says_what_to_write(self, tmp_path: Path) -> None:
        done = await agent("enrol", written(tmp_path), "--token", "x" * 40)
        assert done.exit_code == 78
        assert "enrolment.first" in done.output


class TestIdentityShow:
    async def test_tells_certificates_roots_and_the_list(self, office: Office, tmp_path: Path) -> None:
        config = office.config(tmp_path / "birch", '[revocation]\nlist = "revoked.crl"\n')
        await agent("enrol", config, "--token", office.tested.token())
        write_whole(
            config.parent / "revoked.crl", office.tested.authority.revocation_list(office.tested.now), secret=False
        )
        told = json.loads((await agent("identity", "show", config, "--json")).stdout)
        assert [each["for"] for each in told["certificates"]] == ["TLS", "evidence"]
        assert {each["party"] for each in told["certificates"]} == {"hopback://provider/birch"}
        assert {each["days_left"] for each in told["certificates"]} == {29}
        assert told["revocation_list"]["age"] == "fresh"
        assert told["warnings"] == []
        shown = await agent("identity", "show", config)
        assert "days left" in shown.output
        assert all(f"{each['for']} serial {each['serial']}\n" in shown.output for each in told["certificates"])
        assert "synthetic authority" in shown.output

    async def test_warns_of_what_is_late_and_of_a_list_that_is_missing(self, office: Office, tmp_path: Path) -> None:
        office.tested.now -= timedelta(hours=5)
        office.tested.authority._lifetime = timedelta(hours=6)
        config = office.config(tmp_path / "birch", '[revocation]\nlist = "revoked.crl"\n')
        places, wants = places_of(load(config)), Requests()
        pair = office.tested.authority.issue(
            "hopback://provider/birch", wants.tls, wants.evidence, "t", office.tested.now
        )
        places.tls.stage(wants.tls_key, pair.tls)
        places.evidence.stage(wants.evidence_key, pair.evidence)
        places.recover()
        told = json.loads((await agent("identity", "show", config, "--json")).stdout)
        warnings = "\n".join(told["warnings"])
        assert "should have been renewed long ago" in warnings
        assert "nobody's questions are answered" in warnings

    async def test_of_an_agent_without_certificates_says_so(self, office: Office, tmp_path: Path) -> None:
        told = await agent("identity", "show", office.config(tmp_path / "birch"))
        assert told.exit_code == 0
        assert "can't be read" in told.output


class TestAtTheStart:
    async def test_an_interrupted_renewal_is_finished(self, office: Office, tmp_path: Path) -> None:
        config = load(office.config(tmp_path / "birch"))
        places, uri = places_of(config), "hopback://provider/birch"

        async def obtain(tls: bytes, evidence: bytes) -> Obtained:
            pair = office.tested.authority.issue(uri, tls, evidence, "test", office.tested.now)
            return Obtained(pair.tls, pair.evidence)

        await obtain_pairs(uri, places, obtain)
        old, wants = places.tls.certificate.read_bytes(), Requests()
        pair = office.tested.authority.issue(uri, wants.tls, wants.evidence, "test", office.tested.now)
        places.tls.stage(wants.tls_key, pair.tls)  # and here the power went
        assert places.tls.certificate.read_bytes() == old
        identity = open_identity(config, lambda: datetime.now(UTC))
        assert identity.tls.current.certificate == pair.tls

    async def test_nobody_passes_before_a_list_is_there_and_afterwards_only_the_revoked_do_not(
        self, office: Office, tmp_path: Path
    ) -> None:
        path = office.config(tmp_path / "birch", '[revocation]\nlist = "revoked.crl"\n')
        await agent("enrol", path, "--token", office.tested.token())
        coordinator = leaf(office.live.current.certificate).serial_number
        identity = open_identity(load(path), lambda: datetime.now(UTC))
        assert identity.problem(coordinator) is not None
        assert identity.keeper is not None
        await identity.keeper.update()
        assert identity.problem(coordinator) is None
        office.tested.authority.revoke_serial(coordinator, "synthetic", office.tested.now)
        office.tested.now += timedelta(seconds=1)
        await identity.keeper.update()
        assert identity.problem(coordinator) == "its certificate is revoked"
        again = open_identity(load(path), lambda: datetime.now(UTC))
        assert again.problem(coordinator) == "its certificate is revoked"

    async def test_without_a_list_in_the_configuration_nobody_is_revoked(self, office: Office, tmp_path: Path) -> None:
        path = office.config(tmp_path / "birch")
        await agent("enrol", path, "--token", office.tested.token())
        assert open_identity(load(path), lambda: datetime.now(UTC)).problem(None) is None
