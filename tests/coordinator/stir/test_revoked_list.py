"""The STI-PA's list as a file: named in the configuration, put in place by cron, and shown in what commands say."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_crl
from sqlalchemy import Engine

from coordinator.campaigns.book import CampaignBook
from coordinator.config import ConfigError, load
from coordinator.stir.examiner import Examiner, revoked_of
from coordinator.stir.revocation import LARGEST_LIST, State
from coordinator.store.sql_store import SqlStore, opened
from protos.orders import Granted
from tests.coordinator.house import House
from tests.coordinator.make import ID, NOW, T0, call
from tests.coordinator.parties import Parties, order
from tests.coordinator.stir.sti import entry, identity, issue, revocation_list, sti, sti_pa
from tests.coordinator.stir.test_headers import BIRCH, ROOTS, WARRANTY, keep, known, traced
from tests.coordinator.test_campaigns import one

HOUR = timedelta(hours=1)
TABLE = '[stir]\nroots = "sti-roots"\nrevoked = "sti-pa.crl"\nrevoked_by = "sti-pa.pem"\n'
STOLEN = revocation_list(entry(BIRCH, T0 + HOUR, invalid=T0 - HOUR), issued=NOW - HOUR)
CLEAN = revocation_list(issued=NOW - HOUR)
OLD = revocation_list(issued=NOW - timedelta(days=3))


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    return Parties(tmp_path_factory.mktemp("parties"))


@pytest.fixture(scope="module")
def granted(parties: Parties) -> Granted:
    return parties.granted(order())[0]


@pytest.fixture
def house(tmp_path: Path, sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> House:
    """Commands at NOW, over the database of `sqlite_engine`, with a pinned root and a list that names nobody."""
    monkeypatch.setattr("coordinator.commands.stir.now", lambda: NOW)
    (tmp_path / "sti-roots").mkdir()
    (tmp_path / "sti-roots" / "root.pem").write_bytes(sti().root.pem)
    (tmp_path / "sti-pa.pem").write_bytes(sti_pa().pem)
    (tmp_path / "sti-pa.crl").write_bytes(CLEAN)
    return House(tmp_path, TABLE)


class TestShow:
    async def test_says_whether_the_certificate_was_revoked_by_the_file_as_it_is_now(
        self, house: House, sqlite_engine: Engine, parties: Parties, granted: Granted
    ) -> None:
        keep(sqlite_engine, identity(BIRCH), granted)
        known(sqlite_engine)
        with opened(sqlite_engine) as store:
            await traced(store, parties, granted)
        file = house.directory / "sti-pa.crl"
        for content, said in (
            (CLEAN, "The signer's certificate is not revoked, by the list of 2026-11-22 11:00 UTC."),
            (STOLEN, "with effect from 2026-11-20 17:03 UTC, before the call: nobody vouches for this signature."),
            (OLD, "Whether the signer's certificate was revoked is not known: the list at hand is old"),
            (b"", "is not known: sti-pa.crl: it is no revocation list in DER or PEM form."),
            (None, "is not known: sti-pa.crl: it can't be read: No such file or directory."),
        ):
            file.unlink(missing_ok=True)
            if content is not None:
                file.write_bytes(content)
            shown = " ".join(house.run("show", str(ID)[:8]).stdout.split())
            assert said in shown
            assert ("Attestation A is improper" in shown) == (content is not STOLEN)
            assert ("Verified to a pinned root." in shown) == (content is not STOLEN)
        told = house.json("show", str(ID)[:8])["stir"]["revocation"]
        assert (told["state"], told["stolen"]) == ("unknown", False)

    async def test_of_a_campaign_counts_it_where_signers_recur(
        self, house: House, sqlite_engine: Engine, parties: Parties
    ) -> None:
        known(sqlite_engine)
        CampaignBook(sqlite_engine).take(WARRANTY, "", one(call()), "olga", NOW)
        [own] = parties.granted(order())
        keep(sqlite_engine, identity(BIRCH), own)
        with opened(sqlite_engine) as store:
            await traced(store, parties, own)
        (house.directory / "sti-pa.crl").write_bytes(STOLEN)
        shown = " ".join(house.run("campaign", "show", WARRANTY).stdout.split())
        assert "birch 1 1 0 0 0 0 of 1 before 1" in shown
        assert "Contradictions: signer revoked 1." in shown
        [signer] = house.json("campaign", "show", WARRANTY)["stir"]["signers"]
        assert (signer["verified"], signer["revocation"]) == (0, {"revoked_before": 1})

    async def test_of_a_scorecard_counts_no_attestation_that_a_thief_may_have_signed(
        self, house: House, sqlite_engine: Engine, parties: Parties, granted: Granted, store: SqlStore
    ) -> None:
        keep(sqlite_engine, identity(BIRCH), granted)
        known(sqlite_engine)
        await traced(store, parties, granted)
        period = (NOW - timedelta(days=9), NOW + timedelta(days=9))
        for content, count in ((CLEAN, 1), (OLD, 1), (STOLEN, 0)):
            (house.directory / "sti-pa.crl").write_bytes(content)
            examiner = Examiner(sqlite_engine, ROOTS, revoked_of(load(house.file), NOW))
            assert len(examiner.improper(*period)) == count

    @pytest.fixture
    def store(self, sqlite_engine: Engine) -> SqlStore:
        return SqlStore(sqlite_engine)


class TestCheck:
    def files(self, directory: Path) -> list[str]:
        contents = {
            "h.txt": identity(BIRCH).encode(),
            "s.pem": BIRCH.pem + sti().between.pem,
            "r.pem": sti().root.pem,
            "l.crl": STOLEN,
            "l.pem": sti_pa().pem,
        }
        for name, content in contents.items():
            (directory / name).write_bytes(content)
        names = [str(directory / name) for name in contents]
        return [
            names[0],
            "--certificates",
            names[1],
            "--roots",
            names[2],
            "--revoked",
            names[3],
            "--revoked-by",
            names[4],
        ]

    def test_with_files_alone_judges_as_of_the_time_in_the_header(self, house: House) -> None:
        arguments = self.files(house.directory)
        [told] = house.json("stir", "check", *arguments)
        assert (told["grade"], told["revocation"]["state"]) == ("chain_unknown", "revoked_before")
        assert "before the time in the header" in told["revocation"]["words"]
        [told] = house.json("stir", "check", *arguments[:5])
        assert told["grade"] == "verified"
        assert "no list of revoked certificates was given" in told["revocation"]["words"]

    def test_takes_the_list_of_the_configuration_where_none_is_given(self, house: House, sqlite_engine: Engine) -> None:
        known(sqlite_engine)
        (house.directory / "h.txt").write_text(identity(BIRCH))
        [told] = house.json("stir", "check", str(house.directory / "h.txt"))
        assert (told["grade"], told["revocation"]["state"]) == ("verified", State.NOT_REVOKED.value)
        shown = " ".join(house.run("stir", "check", str(house.directory / "h.txt")).stdout.split())
        assert "Verified to a pinned root. The signer's certificate is not revoked" in shown

    def test_refuses_a_list_without_who_signed_it_and_one_that_doesn_t_count(self, house: House) -> None:
        arguments = self.files(house.directory)
        assert "go together" in house.run("stir", "check", *arguments[:-2], code=2).output
        (house.directory / "l.pem").write_bytes(sti().root.pem)
        output = house.run("stir", "check", *arguments, code=65).output
        assert "no certificate that is pinned for lists has signed it" in " ".join(output.split())


class TestTheList:
    def test_is_looked_at_before_cron_puts_it_in_place(self, house: House) -> None:
        fresh = house.directory / "new.crl"
        fresh.write_bytes(load_der_x509_crl(STOLEN).public_bytes(Encoding.PEM))
        shown = house.run("stir", "revoked", str(fresh)).stdout
        assert shown.startswith("1 revoked certificates, of 2026-11-22 11:00 UTC, due 2026-11-24 11:00 UTC: in force.")
        told = house.json("stir", "revoked")
        assert (told["issuer"], told["number"], told["certificates"]) == ("CN=STI-PA CRL", 7, 0)
        assert told["in_force"] is True

    def test_that_is_old_ends_the_command_with_3_and_one_that_doesn_t_count_with_65(self, house: House) -> None:
        file = house.directory / "new.crl"
        for content, code, says in (
            (OLD, 3, "the list at hand is old"),
            (b"<html>", 65, "no revocation list"),
            (revocation_list(by=issue("Somebody", authority=True)), 65, "no certificate that is pinned"),
            (b"\x30" * (LARGEST_LIST + 1), 65, "too large"),
        ):
            file.write_bytes(content)
            assert says in house.run("stir", "revoked", str(file), code=code).output.replace("\n", " ")
        file.write_bytes(OLD)
        output = house.run("stir", "revoked", str(file), "--json", code=3).stdout
        assert json.loads(output)["in_force"] is False

    def test_must_be_named(self, tmp_path: Path, sqlite_engine: Engine) -> None:
        assert "[stir] revoked names none" in House(tmp_path).run("stir", "revoked", code=2).output


class TestTheConfiguration:
    @pytest.mark.parametrize(
        ("pem", "says"),
        [(None, "can't be read"), (b"", "no certificates"), (BIRCH.pem, "may not sign lists")],
        ids=["missing", "empty", "a signer's"],
    )
    def test_with_a_pin_that_is_none_is_refused(self, house: House, pem: bytes | None, says: str) -> None:
        file = house.directory / "sti-pa.pem"
        file.unlink()
        if pem is not None:
            file.write_bytes(pem)
        for command in (("report", "scorecard"), ("stir", "revoked")):
            output = " ".join(house.run(*command, code=78).output.split())
            assert "stir.revoked_by: " in output
            assert says in output

    def test_with_a_list_and_no_pin_is_refused(self, tmp_path: Path) -> None:
        house = House(tmp_path, '[stir]\nrevoked = "sti-pa.crl"\n')
        with pytest.raises(ConfigError, match="revoked needs revoked_by"):
            load(house.file)
