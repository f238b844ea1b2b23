"""`serve`, whole: from nothing to an agent that is enrolled, dials out, renews itself and is cut off when revoked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509

import coordinator
from coordinator import serving
from coordinator.authority.ledger import Ledger
from coordinator.cli import main
from coordinator.config import ConfigError, LoadedConfig, load
from coordinator.lookups.relay import RelayTransport
from coordinator.online import agents_of, way_to_agents
from coordinator.party import party_of, places_of
from coordinator.revoked import revoked_by
from coordinator.serve import Addresses
from coordinator.tracing.ports import DIAL_OUT, Provider, UnreachableError
from protos import taking_up
from protos.certificates import PinnedRoots
from protos.enrolling import by_certificate, by_token, fetch_list
from protos.evidence_key import read_evidence_key
from protos.live import Live
from protos.renewal import Party, Places, Renewal, RenewalError, obtain_pairs
from protos.revocation import Revocations
from protos.signing import PublicKey
from protos.tls import TlsFiles, read_tls_files
from tests.coordinator.authorities import TestedAuthority, leaf, places_in
from tests.coordinator.make import provider
from tests.coordinator.transports import COORDINATOR, dialing

ASK = "/hopback.v1.HopService/Ask"
BIRCH_URI = "hopback://provider/birch"
BIRCH = Provider(provider("birch"), "Birch", DIAL_OUT)
PATIENT = timedelta(seconds=10)


@dataclass
class House:
    """A coordinator's directory, and its commands."""

    directory: Path

    def run(self, *arguments: str) -> Result:
        config = ["--config", str(self.directory / "coordinator.toml")] if self.takes_config(arguments) else []
        return CliRunner().invoke(main, [*arguments, *config])

    @staticmethod
    def takes_config(arguments: tuple[str, ...]) -> bool:
        return arguments[:2] not in (("key", "new"), ("key", "request"), ("authority", "init"), ("enrolment", "invite"))

    def ok(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.exit_code == 0, done.output
        return done.stdout.strip()

    def signing(self, operator: str) -> list[str]:
        return ["--as", operator, "--key", str(self.directory / f"{operator}.key")]

    def token(self, name: str = "birch") -> str:
        file = str(self.directory / f"{name}.json")
        token = self.ok("enrolment", "invite", name, *self.signing("carol"), "--out", file)
        self.ok("enrolment", "approve", file, *self.signing("dave"))
        return token


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = House(tmp_path_factory.mktemp("coordinator"))
    here = str(house.directory)
    carol, dave = (house.ok("key", "new", name, "--out", here) for name in ("carol", "dave"))
    authority = house.ok("authority", "init", str(house.directory / "authority"))
    (house.directory / "coordinator.toml").write_text(f"""
[coordinator]
name = "lab"
[tls]
certificate = "lab.crt"
key = "lab.key"
roots = "authority/root.crt"
[signing]
certificate = "lab-evidence.crt"
key = "lab-evidence.key"
[listen]
address = "127.0.0.1:0"
enrolment_address = "127.0.0.1:0"
{authority}
[operators]
{carol}
{dave}
""")
    house.ok("authority", "coordinator")
    house.ok("migrate")
    return house


@dataclass
class Served:
    """A coordinator that serves, in this process."""

    house: House
    addresses: Addresses

    @property
    def roots(self) -> bytes:
        return (self.house.directory / "authority" / "root.crt").read_bytes()

    async def enrolled(self, directory: Path) -> Party:
        places = places_in(directory)
        places.roots.write_bytes(self.roots)
        token = await asyncio.to_thread(self.house.token)
        first = self.addresses.enrolment_address or ""
        await obtain_pairs(BIRCH_URI, places, by_token(first, COORDINATOR, self.roots, token))
        return party(places, BIRCH_URI)


def party(places: Places, uri: str) -> Party:
    now = datetime.now(UTC)
    tls = read_tls_files(places.tls.certificate, places.tls.key, places.roots, now)
    roots = PinnedRoots.from_pem(places.roots.read_bytes())
    key = read_evidence_key(places.evidence.certificate, places.evidence.key, roots, uri, now)
    return Party(uri, places, Live(tls), Live(key), roots)


@asynccontextmanager
async def serving_now(house: House) -> AsyncIterator[Served]:
    stop = asyncio.Event()
    started: asyncio.Future[Addresses] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serving.serve(load(house.directory / "coordinator.toml"), started.set_result, stop))
    await asyncio.wait((task, started), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        yield Served(house, started.result())
    finally:
        stop.set()
        await task


@pytest.fixture
async def served(built: House, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setattr(serving, "LOOKED_AT_EVERY", timedelta(milliseconds=50))
    async with serving_now(built) as served:
        yield served


def own_files(house: House) -> TlsFiles:
    loaded = load(house.directory / "coordinator.toml")
    places = places_of(loaded)
    return read_tls_files(places.tls.certificate, places.tls.key, places.roots, datetime.now(UTC))


async def test_an_agent_enrols_dials_out_is_asked_renews_itself_and_is_cut_off_when_revoked(
    served: Served, tmp_path: Path
) -> None:
    birch = await served.enrolled(tmp_path / "birch")
    address = served.addresses.address

    async def answer(request: bytes, asker: tuple[str, ...]) -> bytes:
        return b" ".join((request, *(uri.encode() for uri in asker)))

    async with (
        RelayTransport(address, COORDINATOR, own_files(served.house)) as transport,
        dialing(birch.tls, address, {ASK: answer}) as agent,
    ):
        await agent.serving.wait()
        assert await transport.call(BIRCH, ASK, b"asked by", PATIENT) == f"asked by {COORDINATOR}".encode()

        old = birch.tls.current
        await Renewal(birch, by_certificate(address, COORDINATOR, birch.tls), lambda: datetime.now(UTC)).renew()
        assert birch.tls.current != old
        assert await transport.call(BIRCH, ASK, b"again", PATIENT) == f"again {COORDINATOR}".encode()

        await asyncio.to_thread(served.house.ok, "authority", "revoke", "--provider", "birch", "--reason", "synthetic")
        while agent.serving.is_set():
            await asyncio.sleep(0.01)
        with pytest.raises(UnreachableError):
            await transport.call(BIRCH, ASK, b"once more", PATIENT)
    listed = json.loads(served.house.ok("authority", "list", "--party", "birch", "--json"))
    shown = served.house.ok("authority", "list", "--party", "birch")
    assert all(each["serial"] in shown for each in listed)  # whole, for `revoke --serial`
    assert len(listed) >= 4
    assert all(row["revoked"] for row in listed)


async def test_agents_that_dial_out_are_reached_by_commands_as_by_services(served: Served, tmp_path: Path) -> None:
    birch = await served.enrolled(tmp_path / "birch")
    address = served.addresses.address
    loaded = load(served.house.directory / "coordinator.toml")
    assert loaded.config.listen is not None
    listen = loaded.config.listen.model_copy(update={"inside": address})
    elsewhere = LoadedConfig(loaded.config.model_copy(update={"listen": listen}), loaded.file)

    async def answer(request: bytes, asker: tuple[str, ...]) -> bytes:
        return request

    async with (
        way_to_agents(elsewhere, Live(own_files(served.house))) as way,
        dialing(birch.tls, address, {ASK: answer}) as agent,
    ):
        await agent.serving.wait()
        assert await way.call(BIRCH, ASK, b"a checkpoint", PATIENT) == b"a checkpoint"


def test_no_command_has_a_way_to_agents_of_its_own() -> None:
    for module in (Path(coordinator.__file__).parent / "commands").glob("*.py"):
        assert "GrpcTransport" not in module.read_text(encoding="utf-8"), f"{module.name}: take way_to_agents"


async def test_a_person_is_certified_for_a_key_of_her_own_calls_and_is_refused_when_revoked(
    built: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = built.directory / "coordinator.toml"
    before = file.read_text()
    file.write_text(before + '\n[access]\nanalysts = ["ada"]\n')
    monkeypatch.setattr(serving, "LOOKED_AT_EVERY", timedelta(milliseconds=50))
    mine = {name: str(tmp_path / f"ada-tls.{name}") for name in ("csr", "key", "crt")}
    try:
        built.ok("key", "request", "ada", "--out", str(tmp_path))
        built.ok("authority", "certify", "analyst", "ada", mine["csr"], "--out", mine["crt"])
        async with serving_now(built) as served:
            calling = ["api", "--server", served.addresses.address, "--certificate", mine["crt"], "--key", mine["key"]]
            calling += ["--roots", str(built.directory / "authority" / "root.crt")]

            def listed() -> Result:
                return CliRunner().invoke(main, [*calling, "list"])

            assert "No tracebacks" in (await asyncio.to_thread(listed)).stdout
            serial = x509.load_pem_x509_certificate(Path(mine["crt"]).read_bytes()).serial_number
            revoke = ("authority", "revoke", "--serial", f"{serial:x}", "--reason", "synthetic")
            await asyncio.to_thread(built.ok, *revoke)
            async with asyncio.timeout(20):
                while (refused := await asyncio.to_thread(listed)).exit_code == 0:
                    await asyncio.sleep(0.01)
            assert "its certificate is revoked" in refused.stderr
    finally:
        file.write_text(before)


async def test_one_operator_alone_lets_nobody_in(built: House, tmp_path: Path) -> None:
    file = str(tmp_path / "birch.json")
    built.ok("enrolment", "invite", "birch", *built.signing("carol"), "--out", file)
    alone = built.run("enrolment", "approve", file, *built.signing("carol"))
    assert alone.exit_code == 1
    assert "needed: 2" in alone.output
    in_anothers_name = built.run(
        "enrolment", "approve", file, "--as", "dave", "--key", str(built.directory / "carol.key")
    )
    assert "needed: 2" in in_anothers_name.output


async def test_the_coordinator_renews_its_own_certificate_from_the_authority_beside_it(
    served: Served, tmp_path: Path
) -> None:
    loaded = load(served.house.directory / "coordinator.toml")
    us = serving._party(loaded)
    await Renewal(us, by_certificate(served.addresses.address, COORDINATOR, us.tls), lambda: datetime.now(UTC)).renew()
    assert us.evidence.current.certified.uri == COORDINATOR


async def test_others_get_the_list_and_a_revoked_provider_no_new_certificate(served: Served, tmp_path: Path) -> None:
    birch = await served.enrolled(tmp_path / "birch")
    await asyncio.to_thread(served.house.ok, "authority", "revoke", "--provider", "birch", "--reason", "synthetic")
    roots = PinnedRoots.from_pem(served.roots).roots
    revocations = Revocations(roots)
    address = served.addresses.address
    revocations.take(await fetch_list(address, COORDINATOR, own_files(served.house)), datetime.now(UTC))
    assert revocations.problem(birch.evidence.current.certified.serial, datetime.now(UTC)) is not None
    with pytest.raises(RenewalError, match="revoked"):
        await Renewal(birch, by_certificate(address, COORDINATOR, birch.tls), lambda: datetime.now(UTC)).renew()


class TestKeys:
    def test_new_writes_a_private_key_and_prints_the_public_one(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        line = house.ok("key", "new", "ann", "--out", str(tmp_path))
        name, _, text = line.partition(" = ")
        assert name == "ann"
        assert PublicKey.parse(text.strip('"'))
        assert (tmp_path / "ann.key").stat().st_mode & 0o777 == 0o600
        shown = CliRunner().invoke(main, ["key", "show", str(tmp_path / "ann.key")])
        assert shown.stdout.strip() == text.strip('"')

    def test_new_overwrites_nothing(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        house.ok("key", "new", "ann", "--out", str(tmp_path))
        before = (tmp_path / "ann.key").read_bytes()
        assert house.run("key", "new", "ann", "--out", str(tmp_path)).exit_code == 78
        assert (tmp_path / "ann.key").read_bytes() == before

    @pytest.mark.parametrize("name", ["Ann Smith", "../ann", "a"])
    def test_new_takes_plain_names_alone(self, tmp_path: Path, name: str) -> None:
        assert House(tmp_path).run("key", "new", name, "--out", str(tmp_path)).exit_code == 2


class TestTheConfiguration:
    def test_of_an_authority_has_one_key(self, built: House, tmp_path: Path) -> None:
        text = (built.directory / "coordinator.toml").read_text()
        for changed in (
            text.replace(f'key = "{built.directory / "authority" / "root.key"}"', ""),
            text.replace("ledger =", 'key_command = ["sign"]\nledger ='),
        ):
            (tmp_path / "coordinator.toml").write_text(changed)
            with pytest.raises(ConfigError, match="either key, a file, or key_command"):
                load(tmp_path / "coordinator.toml")

    def test_gives_two_operators_two_keys(self, built: House, tmp_path: Path) -> None:
        text = (built.directory / "coordinator.toml").read_text()
        key = CliRunner().invoke(main, ["key", "show", str(built.directory / "carol.key")]).stdout.strip()
        (tmp_path / "coordinator.toml").write_text(f'{text}erin = "{key}"\n')
        with pytest.raises(ConfigError, match="two operators have one key"):
            load(tmp_path / "coordinator.toml")

    async def test_without_an_address_serves_nothing(self, built: House, tmp_path: Path) -> None:
        text = (built.directory / "coordinator.toml").read_text()
        (tmp_path / "coordinator.toml").write_text(text.replace("[listen]", "[tasks]").split("[tasks]")[0])
        with pytest.raises(ConfigError, match="listen: missing"):
            await serving.serve(load(tmp_path / "coordinator.toml"), lambda _: None, asyncio.Event())


class TestAProcessThatOnlyAsks:
    """`run` and `trace` issue nothing, but know whose signatures count no longer."""

    async def test_goes_by_the_ledger_where_the_authority_is_configured(self, built: House, tmp_path: Path) -> None:
        loaded = load(built.directory / "coordinator.toml")
        certified = serving._party(loaded).evidence.current.certified
        async with revoked_by(loaded, Live(own_files(built))) as is_revoked:
            assert not is_revoked(certified)
            tested = TestedAuthority(tmp_path / "other")
            places = tested.enrolled(tmp_path / "theirs", BIRCH_URI)
            serial = leaf(places.evidence.certificate.read_bytes()).serial_number
            with Ledger(built.directory / "authority" / "ledger.db") as ledger:
                ledger.revoke([serial], "synthetic", datetime.now(UTC))
            assert is_revoked(replace(certified, serial=serial))
            assert not is_revoked(certified)

    async def test_goes_by_the_list_elsewhere_and_by_nothing_where_none_is_named(
        self, built: House, tmp_path: Path
    ) -> None:
        text = (built.directory / "coordinator.toml").read_text().partition("[listen]")[0]
        for name in ("lab.crt", "lab.key", "lab-evidence.crt", "lab-evidence.key", "authority/root.crt"):
            text = text.replace(f'"{name}"', f'"{built.directory / name}"')
        file = tmp_path / "coordinator.toml"
        file.write_text(text)
        certified = serving._party(load(file)).evidence.current.certified
        async with revoked_by(load(file), Live(own_files(built))) as is_revoked:
            assert not is_revoked(certified)
        file.write_text(f'{text}\n[revocation]\nlist = "revoked.crl"\n')
        async with revoked_by(load(file), Live(own_files(built))) as is_revoked:
            assert is_revoked(certified)  # no list yet: nobody passes
        built.ok("authority", "crl", "--out", str(tmp_path / "revoked.crl"))
        async with revoked_by(load(file), Live(own_files(built))) as is_revoked:
            assert not is_revoked(certified)

    async def test_takes_up_what_others_renew_on_disk(self, built: House, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(taking_up, "EVERY", timedelta(milliseconds=10))
        party = party_of(load(built.directory / "coordinator.toml"), datetime.now(UTC))
        tls, evidence = party.tls.current, party.evidence.current
        taken = asyncio.Event()
        party.tls.on_change(lambda _: taken.set())
        async with agents_of(load(built.directory / "coordinator.toml"), party) as agents:
            await asyncio.to_thread(built.ok, "authority", "coordinator")
            await taken.wait()
            assert party.tls.current.certificate != tls.certificate
            assert agents._certificate == party.evidence.current.certificate != evidence.certificate
