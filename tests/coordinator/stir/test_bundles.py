"""A header in a bundle: who signed it is proven to whoever trusts a root; that it came with the call never is."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from coordinator.authority.lab_ca import LabAuthority
from coordinator.evidence import container
from coordinator.evidence.bundle import bundle
from coordinator.evidence.members import IDENTITY, SIGNERS
from coordinator.evidence.statements import Standing, Statement
from coordinator.evidence.verify import Verdict, verify
from tests.coordinator.evidence.made import Industry, industry, whole
from tests.coordinator.fake_agent import FakeAgent, served
from tests.coordinator.stir.sti import Holder, identity, sti
from tests.coordinator.test_cli import ORIGIN, TRACE, run
from tests.protos.evidence_kit import ORDER

BIRCH = sti().signer()
CHAIN = BIRCH.pem + sti().between.pem
HEADER = identity(BIRCH, issued=ORDER.at, orig=str(ORDER.calling)[1:], dest=(ORDER.called[1:],))
SAYS_WHO = "the Identity header attests A, and was signed by the holder of its certificate"
FITS = "the Identity header names the numbers and the time of the order's call"


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Industry:
    return industry(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def good(parties: Industry) -> bytes:
    return made(parties)


def made(parties: Industry, header: str | bytes = HEADER, signers: bytes = CHAIN) -> bytes:
    text = header.encode() if isinstance(header, str) else header
    return bundle(whole(parties), parties.trust, parties.signers["lab"], (text, signers))


def seen(parties: Industry, data: bytes, *roots: Holder) -> Verdict:
    return verify(data, replace(parties.trust, sti_roots=b"".join(root.pem for root in roots)))


def about_header(verdict: Verdict) -> dict[str, Statement]:
    return {one.what: one for one in verdict.statements if "Identity header" in one.what}


class TestAHeader:
    def test_s_signer_is_proven_to_who_trusts_a_root(self, parties: Industry, good: bytes) -> None:
        verdict = seen(parties, good, sti().root)
        assert verdict.standing is Standing.PROVEN
        told = about_header(verdict)
        assert told[SAYS_WHO].standing is Standing.PROVEN
        assert told[SAYS_WHO].by == "SPC 709J, by a root of your --sti-roots"
        assert told[FITS].standing is Standing.PROVEN

    def test_is_never_proven_to_have_come_with_the_call(self, parties: Industry, good: bytes) -> None:
        came = about_header(seen(parties, good, sti().root))["the Identity header came with the reported call"]
        assert came.standing is Standing.NOT_PROVEN
        assert "the coordinator says so" in came.why

    def test_s_certificate_is_not_proven_to_have_counted_as_no_list_of_revoked_ones_is_there(
        self, parties: Industry, good: bytes
    ) -> None:
        what = "the certificate that the Identity header was signed with was not revoked before the call"
        counted = about_header(seen(parties, good, sti().root))[what]
        assert counted.standing is Standing.NOT_PROVEN
        assert "no list of revoked certificates" in counted.why
        assert what not in about_header(seen(parties, good))

    def test_s_signer_is_not_proven_without_a_root_or_by_another_one(self, parties: Industry, good: bytes) -> None:
        without = about_header(seen(parties, good))[SAYS_WHO]
        assert without.standing is Standing.NOT_PROVEN
        assert "SPC 709J" in without.why
        assert "give --sti-roots" in without.why
        assert about_header(seen(parties, good, sti("Other").root))[SAYS_WHO].standing is Standing.NOT_PROVEN
        assert about_header(seen(parties, good, BIRCH))[SAYS_WHO].standing is Standing.NOT_PROVEN

    def test_that_nobody_signed_is_not_proven_and_breaks_nothing(self, parties: Industry) -> None:
        for signers in (b"", sti().signer("alder", "111A").pem):
            verdict = seen(parties, made(parties, signers=signers), sti().root)
            assert about_header(verdict)[SAYS_WHO].standing is Standing.NOT_PROVEN
            assert verdict.standing is Standing.PROVEN

    def test_of_another_call_says_what_differs(self, parties: Industry) -> None:
        other = identity(BIRCH, issued=ORDER.at + timedelta(hours=1), dest=("12025550188",), orig="12025550177")
        fits = about_header(seen(parties, made(parties, other), sti().root))[FITS]
        assert fits.standing is Standing.NOT_PROVEN
        assert "calling number, called number, time" in fits.why

    @pytest.mark.parametrize(("header", "signers"), [("nothing", CHAIN), (b"\xff", CHAIN), (HEADER, b"no PEM")])
    def test_that_can_t_be_read_is_broken(self, parties: Industry, header: str | bytes, signers: bytes) -> None:
        verdict = seen(parties, made(parties, header, signers), sti().root)
        assert verdict.standing is Standing.BROKEN

    def test_is_no_part_of_a_bundle_without_one(self, parties: Industry) -> None:
        data = bundle(whole(parties), parties.trust, parties.signers["lab"])
        assert about_header(seen(parties, data, sti().root)) == {}
        assert {IDENTITY, SIGNERS}.isdisjoint(container.read(data).members)


class TestNothingAlteredPasses:
    def test_no_byte_of_header_or_certificates_and_each_is_named(self, parties: Industry, good: bytes) -> None:
        chance = random.Random(5)
        members = container.read(good).members
        for name in (IDENTITY, SIGNERS):
            start = good.index(members[name])
            for at in chance.sample(range(start, start + len(members[name])), 40):
                bent = bytearray(good)
                bent[at] ^= chance.randrange(1, 256)
                verdict = seen(parties, bytes(bent), sti().root)
                assert verdict.standing is Standing.BROKEN
                assert f"offset {at}" in [one.at for one in verdict.statements]

    def test_no_other_header_with_the_checksums_put_right(self, parties: Industry, good: bytes) -> None:
        members = dict(container.read(good).members)
        for change in ({IDENTITY: identity(BIRCH, attestation="C").encode()}, {SIGNERS: b""}):
            assert seen(parties, container.write(members | change), sti().root).standing is Standing.BROKEN
        without = {name: content for name, content in members.items() if name not in (IDENTITY, SIGNERS)}
        assert seen(parties, container.write(without), sti().root).standing is Standing.BROKEN


async def test_the_commands_put_it_in_and_verify_it(tmp_path: Path) -> None:
    """From `trace --identity` to `verify --sti-roots`, over agents that are running."""
    lab = tmp_path / "lab"
    assert run(tmp_path, "init", str(lab)).exit_code == 0
    (lab / "roots").mkdir()
    names = {"roots/sti.pem": sti().root.pem, "birch.pem": CHAIN, "header.txt": identity(BIRCH).encode()}
    for name, content in names.items():
        (lab / name).write_bytes(content)
    config = lab / "coordinator.toml"
    config.write_text(config.read_text().replace('# roots = "sti-roots"', 'roots = "roots"'))
    authority = LabAuthority.open(lab / "ca")
    agents = {name: FakeAgent(name, behaviour) for name, behaviour in ORIGIN.items()}

    async def command(*arguments: str, code: int = 0) -> str:
        result = await asyncio.to_thread(run, lab, *arguments)
        assert result.exit_code == code, result.output
        return " ".join(result.output.split())

    async with AsyncExitStack() as stack:
        for agent in agents.values():
            await stack.enter_async_context(served(agent, authority))
        rows = [f"{agent.name},{agent.name.title()},{agent.endpoint}" for agent in agents.values()]
        (lab / "registry.csv").write_text("\n".join(["id,name,endpoint", *rows]))
        await command("registry", "import", str(lab / "registry.csv"))
        await command("registry", "alias", "birch", "spc:709J")
        await command("stir", "certificates", "import", str(lab / "birch.pem"))
        await command(*TRACE, "--calling", "+12025550199", "--identity", str(lab / "header.txt"))
    [identity_of] = [line["id"] for line in json.loads(await command("list", "--json"))]
    assert "Attestation A is improper" in await command("show", identity_of)
    file = lab / "bundle.zip"
    await command("bundle", identity_of, "--without-logs", "--out", str(file))
    shown = await command("verify", str(file), "--sti-roots", str(lab / "roots" / "sti.pem"), "--json", code=3)
    assert "SPC 709J, by a root of your --sti-roots" in shown
    assert "give --sti-roots" in await command("verify", str(file), "--json", code=3)
