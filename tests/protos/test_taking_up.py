"""Files that somebody else renews: used when they are whole and settled, told when they are not, never touched."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from coordinator.authority.lab_ca import LEAF_LIFETIME, ROOT_CERTIFICATE, LabAuthority
from protos.certificates import PinnedRoots
from protos.evidence_key import read_evidence_key
from protos.key_pairs import KeyPair
from protos.live import Live
from protos.renewal import Party, Places
from protos.taking_up import TakingUp
from protos.tls import read_tls_files

URI = "hopback://coordinator/lab"


@dataclass
class Desk:
    """A coordinator's files in a directory, and whoever looks at them."""

    home: Path
    authority: LabAuthority
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        tls = self.authority.issue_coordinator("lab", self.home)
        evidence = self.authority.issue_coordinator_evidence("lab", self.home)
        pairs = KeyPair(tls.certificate, tls.key), KeyPair(evidence.certificate, evidence.key)
        self.places = Places(pairs[0], tls.roots, pairs[1], tls.roots)
        roots = PinnedRoots.from_pem(tls.roots.read_bytes())
        key = read_evidence_key(evidence.certificate, evidence.key, roots, URI, self.now)
        files = read_tls_files(tls.certificate, tls.key, tls.roots, self.now)
        self.party = Party(URI, self.places, Live(files), Live(key), roots)
        self.looking = TakingUp(self.party, lambda: self.now)

    async def look(self, times: int = 2) -> list[Any]:
        """What the log says of so many looks."""
        with capture_logs() as logs:
            for _ in range(times):
                await self.looking.look()
        return logs

    def on_disk(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.home.iterdir()}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "home", LabAuthority.create(tmp_path / "ca"))


def events(logs: list[Any]) -> list[str]:
    return [entry["event"] for entry in logs]


class TestWhatIsWhole:
    async def test_is_used_as_soon_as_it_was_found_twice(self, desk: Desk) -> None:
        desk.authority.issue_coordinator("lab", desk.home)
        desk.authority.issue_coordinator_evidence("lab", desk.home)
        before = desk.party.files
        assert await desk.look(1) == []
        assert desk.party.files == before
        assert events(await desk.look(1)) == ["certificates_taken_up"]
        assert desk.party.tls.current.certificate == desk.places.tls.certificate.read_bytes()
        assert desk.party.evidence.current != before.evidence
        assert await desk.look(3) == []

    async def test_may_be_roots_alone(self, desk: Desk, tmp_path: Path) -> None:
        new = LabAuthority.create(tmp_path / "new")
        both = desk.places.roots.read_bytes() + (new.directory / ROOT_CERTIFICATE).read_bytes()
        desk.places.roots.write_bytes(both)
        assert events(await desk.look()) == ["certificates_taken_up"]
        assert desk.party.tls.current.roots == both
        assert len(desk.party.roots.roots) == 2

    async def test_is_what_it_was_as_long_as_nobody_renews_it(self, desk: Desk) -> None:
        before = desk.party.tls.current
        assert await desk.look(3) == []
        assert desk.party.tls.current is before

    async def test_is_not_taken_up_twice_when_this_process_renewed_it_itself(self, desk: Desk) -> None:
        desk.authority.issue_coordinator("lab", desk.home)
        desk.party.reload(desk.now)
        assert await desk.look() == []


class TestWhatIsBroken:
    async def test_is_not_used_told_once_and_left_as_it_lies(self, desk: Desk) -> None:
        before = desk.party.files
        key = desk.places.tls.key.read_bytes()
        other = desk.authority.issue_provider("birch", desk.home)
        desk.places.tls.key.write_bytes(other.key.read_bytes())
        lies = desk.on_disk()
        (told,) = await desk.look(4)
        assert told["event"] == "certificates_not_taken_up"
        assert "is not the key of certificate" in told["reason"]
        assert desk.party.files == before
        assert desk.on_disk() == lies
        desk.places.tls.key.write_bytes(key)
        assert await desk.look() == []

    async def test_for_a_moment_only_is_not_even_told(self, desk: Desk) -> None:
        whole = desk.authority.issue_coordinator("lab", desk.home).certificate.read_bytes()
        desk.places.tls.certificate.write_bytes(whole[: len(whole) // 2])
        assert await desk.look(1) == []
        desk.places.tls.certificate.write_bytes(whole)
        assert events(await desk.look()) == ["certificates_taken_up"]

    @pytest.mark.parametrize("name", ["coordinator-lab.crt", "coordinator-lab.key", "ca.crt"])
    @pytest.mark.parametrize("damage", ["cut", "gone", "empty"])
    async def test_may_be_any_of_the_files(self, desk: Desk, name: str, damage: str) -> None:
        before, path = desk.party.files, desk.home / name
        content = path.read_bytes()
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
        assert events(await desk.look()) == ["certificates_not_taken_up"]
        assert desk.party.files == before

    async def test_may_be_the_second_of_two_roots(self, desk: Desk) -> None:
        before, root = desk.party.files, desk.places.roots.read_bytes()
        desk.places.roots.write_bytes(root + root[:-40])
        (told,) = await desk.look()
        assert "breaks off in the middle of a certificate" in told["reason"]
        assert desk.party.files == before

    async def test_may_be_another_partys_certificate_with_its_key(self, desk: Desk) -> None:
        before = desk.party.files
        other = desk.authority.issue_coordinator("other", desk.home)
        for mine, theirs in ((desk.places.tls.key, other.key), (desk.places.tls.certificate, other.certificate)):
            mine.write_bytes(theirs.read_bytes())
        (told,) = await desk.look()
        assert f"is of hopback://coordinator/other, not of {URI}" in told["reason"]
        assert desk.party.files == before


class TestACertificateThatNobodyRenews:
    async def test_is_told_every_day_from_three_quarters_of_its_life_on(self, desk: Desk) -> None:
        desk.now += LEAF_LIFETIME * 0.7
        assert await desk.look() == []
        desk.now += LEAF_LIFETIME * 0.1
        (told,) = await desk.look(3)
        assert (told["event"], told["log_level"]) == ("certificates_not_renewed", "error")
        assert told["days_left"] in (17, 18)
        desk.now += timedelta(days=1)
        assert events(await desk.look()) == ["certificates_not_renewed"]

    async def test_is_told_no_more_when_somebody_did(self, desk: Desk) -> None:
        desk.now += LEAF_LIFETIME * 0.8
        assert events(await desk.look()) == ["certificates_not_renewed"]
        later = LabAuthority.open(desk.authority.directory, clock=lambda: desk.now)
        later.issue_coordinator("lab", desk.home)
        later.issue_coordinator_evidence("lab", desk.home)
        assert events(await desk.look()) == ["certificates_taken_up"]
        desk.now += timedelta(days=2)
        assert await desk.look() == []
