"""Headers from the file that reports a call to what people see of them; chains are the same with and without."""

from __future__ import annotations

import csv
import io
import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, select, text, update

from coordinator.campaigns.book import CampaignBook
from coordinator.pseudonyms import Pseudonyms
from coordinator.registry.book import RegistryBook
from coordinator.registry.changes import parse_change
from coordinator.retention import retire
from coordinator.running.driver import Driver
from coordinator.stir.book import IdentityBook
from coordinator.stir.crosscheck import Kind
from coordinator.stir.examiner import Examiner
from coordinator.stir.passport import parse_identity
from coordinator.stir.revocation import Revoked, read_list
from coordinator.store.models import HopRow, TracebackRow
from coordinator.store.order_models import OrderRow
from coordinator.store.sql_store import SqlStore, opened
from coordinator.store.stir_models import order_identities
from coordinator.tracing.chain import Traceback
from protos.codec import digest
from protos.orders import Granted
from protos.types import Handover, Outcome
from tests.coordinator.fakes import JumpingClock, NamedProviders, Notes
from tests.coordinator.house import House
from tests.coordinator.make import CALLED, CALLING, ID, NOW, T0, call, provider, says, submitted, upstream
from tests.coordinator.parties import Drawer, InProcess, Parties, order, signed_agents, traceback_of
from tests.coordinator.stir.sti import ORIGID, X5U, entry, identity, revocation_list, sti, sti_pa
from tests.coordinator.test_campaigns import one
from tests.coordinator.test_orders import AT, Lab
from tests.coordinator.test_retention import everything

BIRCH, ALDER = sti().signer("birch", "709J"), sti().signer("alder", "111A")
ROOTS = [sti().root.certificate]
WARRANTY = "auto-warranty"
YEARS = timedelta(days=800)


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    return Parties(tmp_path_factory.mktemp("parties"))


@pytest.fixture(scope="module")
def granted(parties: Parties) -> Granted:
    return parties.granted(order())[0]


@pytest.fixture
def store(sqlite_engine: Engine) -> Iterator[SqlStore]:
    with opened(sqlite_engine) as store:
        yield store


async def traced(
    store: SqlStore, parties: Parties, granted: Granted, identity: uuid.UUID = ID, origin: str = "alder"
) -> Traceback:
    """A traceback as the driver leaves it, signed by all: ginkgo, birch, and the origin, or elm, which has no agent."""
    behaviours = {
        "ginkgo": lambda _: upstream("ginkgo", "birch"),
        "birch": lambda _: upstream("birch", origin, handover=Handover.CONFIRMED),
        "alder": lambda _: says("alder", Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED),
    }
    agents = signed_agents(parties, InProcess(parties, behaviours), Drawer(granted))
    [kept] = store.submit([traceback_of(granted, identity)], NOW)
    driver = Driver(
        store=store,
        registry=NamedProviders("ginkgo", "birch", "alder", without_agent=("elm",)),
        agents=agents,
        clock=JumpingClock(),
        watcher=Notes(),
    )
    return await driver.drive(kept)


def keep(engine: Engine, header: str, granted: Granted, campaign: str = WARRANTY) -> None:
    IdentityBook(engine).keep({granted.sha256: (campaign, parse_identity(header))}, NOW)


def known(engine: Engine) -> Examiner:
    """Certificates imported, codes in the registry."""
    IdentityBook(engine).add_certificates([BIRCH.der, ALDER.der, sti().between.der], "olga", NOW)
    registry = RegistryBook(engine)
    for name, code in (("birch", "spc:709J"), ("alder", "ocn:111A")):
        registry.apply(parse_change(provider(name), "add", name.title()), "olga", NOW)
        registry.apply(parse_change(provider(name), "alias", code), "olga", NOW)
    return Examiner(engine, ROOTS)


class TestAChain:
    @pytest.mark.parametrize("origin", ["alder", "elm"])
    async def test_is_the_same_to_the_byte_with_a_header_and_without(
        self, sqlite_engine: Engine, store: SqlStore, origin: str, parties: Parties, granted: Granted
    ) -> None:
        seen = []
        for header in (None, identity(BIRCH), identity(ALDER, orig="12025550188")):
            if header is not None:
                keep(sqlite_engine, header, granted)
            else:
                known(sqlite_engine)
            done = await traced(store, parties, granted, origin=origin)
            stolen = revocation_list(entry(BIRCH, T0), entry(ALDER, T0), issued=NOW)
            revoked = Revoked(read_list(stolen, [sti_pa().certificate]), NOW)
            check = Examiner(sqlite_engine, ROOTS, revoked).check(done)
            assert (check is not None) == (header is not None)
            assert check is None or check.of(Kind.SIGNER_REVOKED)
            assert store.load(ID) is not None
            seen.append(_rows_of(sqlite_engine))
            with sqlite_engine.begin() as connection:
                for table in ("hops", "batches", "tracebacks", "order_identities"):
                    connection.execute(text(f"DELETE FROM {table}"))
        assert seen[0] == seen[1] == seen[2]

    async def test_that_ended_without_an_origin_leaves_the_signer_as_a_lead(
        self, sqlite_engine: Engine, store: SqlStore, parties: Parties, granted: Granted
    ) -> None:
        keep(sqlite_engine, identity(ALDER), granted)
        done = await traced(store, parties, granted, origin="elm")
        check = known(sqlite_engine).check(done)
        assert check is not None
        assert [one.kind for one in check.findings] == [Kind.LEAD]
        assert [hop.provider for hop in done.hops] == ["ginkgo", "birch", "elm"]


def _rows_of(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        hops = connection.execute(select(HopRow.__table__).order_by("position", "round")).all()
        tracebacks = connection.execute(select(TracebackRow.__table__)).all()
    return [tuple(row) for row in (*hops, *tracebacks)]


class TestAHeader:
    async def test_is_found_by_the_digest_of_its_order_alone(
        self, sqlite_engine: Engine, store: SqlStore, parties: Parties, granted: Granted
    ) -> None:
        keep(sqlite_engine, identity(ALDER), granted)
        examiner = known(sqlite_engine)
        done = await traced(store, parties, granted)
        other = await traced(store, parties, parties.granted(order())[0], uuid.UUID(int=9))
        check = examiner.check(done)
        assert check is not None
        assert [one.kind for one in check.findings] == [Kind.SIGNER_IS_ORIGIN]
        assert examiner.check(other) is None
        assert examiner.check(submitted()) is None

    def test_that_is_there_stays(self, sqlite_engine: Engine, granted: Granted) -> None:
        book = IdentityBook(sqlite_engine)
        first = identity(ALDER)
        for header in (first, identity(BIRCH)):
            keep(sqlite_engine, header, granted)
        found = book.headers([granted.sha256, bytes(32)])
        assert {order: header.text for order, header in found.items()} == {granted.sha256: first}

    async def test_meets_sisters_of_its_campaign_with_the_same_signer_and_origid(
        self, sqlite_engine: Engine, store: SqlStore, parties: Parties, granted: Granted
    ) -> None:
        sisters = {1: (ALDER, WARRANTY), 2: (ALDER, "another campaign"), 3: (BIRCH, WARRANTY), 4: (ALDER, WARRANTY)}
        for number, (by, campaign) in sisters.items():
            [own] = parties.granted(order())
            keep(sqlite_engine, identity(by, origid="other" if number == 4 else ORIGID), own, campaign)
            await traced(store, parties, own, uuid.UUID(int=number))
        keep(sqlite_engine, identity(ALDER), granted)
        done = await traced(store, parties, granted)
        check = known(sqlite_engine).check(done)
        assert check is not None
        [agrees] = check.of(Kind.ORIGID_AGREES)
        assert agrees.facts == {"calls": "1", "ends": "alder"}


class TestFiles:
    def header(self, directory: Path, content: str) -> str:
        file = directory / "header.txt"
        file.write_text(content)
        return str(file)

    def test_of_one_header_come_with_one_call(self, tmp_path: Path) -> None:
        lab = Lab(tmp_path / "lab")
        made = lab.draft("--identity", self.header(tmp_path, f"Identity: {identity(ALDER)}\n"))
        with _database(lab) as engine, engine.connect() as connection:
            [row] = connection.execute(select(order_identities)).mappings()
            exact = connection.execute(select(OrderRow.exact)).scalar_one()
        assert row["order_sha256"] == digest(exact)
        assert (row["header"], row["campaign"], row["origid"]) == (identity_text(row), "auto-warranty", ORIGID)
        assert ORIGID.encode() not in exact
        assert made["state"] == "draft"

    def test_that_are_no_headers_are_refused_with_the_reason(self, tmp_path: Path) -> None:
        lab = Lab(tmp_path / "lab")
        at = ("--called", CALLED, "--at", AT, "--terminating", "ginkgo")
        told = ("--campaign", "x", "--evidence", "a" * 64, "--certify", "Heard it.")
        result = lab.run("order", "new", *at, *told, "--identity", self.header(tmp_path, "..abc"))
        assert result.exit_code == 2
        assert "compact form" in result.output
        both = lab.run("order", "new", "--file", self.header(tmp_path, "x"), "--identity", self.header(tmp_path, "x"))
        assert both.exit_code == 2
        assert "column identity" in both.output
        of_order = lab.run("trace", "--order", "5f1c", "--identity", self.header(tmp_path, "x"))
        assert "drafted with" in of_order.output

    def test_of_calls_have_a_column_and_rows_with_a_bad_header_are_rejected(self, tmp_path: Path) -> None:
        lab = Lab(tmp_path / "lab")
        file = tmp_path / "calls.csv"
        with file.open("w", newline="") as out:
            rows = csv.writer(out)
            rows.writerow(["called", "at", "terminating", "identity"])
            rows.writerow([CALLED, AT, "ginkgo", identity(ALDER)])
            rows.writerow([CALLED, AT, "ginkgo", ""])
            rows.writerow([CALLED, AT, "ginkgo", identity(ALDER, payload={"attest": "D"})])
        told = ("--campaign", WARRANTY, "--evidence", "a" * 64, "--certify", "Heard it.")
        result = lab.run("order", "new", "--file", str(file), *told)
        assert result.exit_code == 65
        assert f"{file}:4: identity: attest must be A, B or C; leave it out" in result.output
        with _database(lab) as engine, engine.connect() as connection:
            assert len(connection.execute(select(order_identities)).all()) == 1
            assert len(connection.execute(select(OrderRow.sha256)).all()) == 2

    @pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
    def test_of_campaigns_bring_them_through_to_the_orders(self, tmp_path: Path, form: str) -> None:
        lab = Lab(tmp_path / "lab")
        rows = [
            {"called": CALLED, "at": AT, "terminating": "ginkgo", "calling": "", "identity": ""},
            {"called": CALLED, "at": AT, "terminating": "ginkgo", "calling": CALLING, "identity": identity(ALDER)},
        ]
        file = tmp_path / f"calls.{form}"
        if form == "parquet":
            pq.write_table(pa.table({name: [row[name] for row in rows] for name in rows[0]}), file)
        elif form == "jsonl":
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            buffer = io.StringIO()
            out = csv.DictWriter(buffer, list(rows[0]))
            out.writeheader()
            out.writerows(rows)
            file.write_text(buffer.getvalue())
        fresh = tmp_path / "fresh.csv"
        assert lab.run("campaign", "import", WARRANTY, str(file), "--untraced", str(fresh)).exit_code == 0
        assert lab.run("campaign", "import", WARRANTY, str(file)).exit_code == 0
        [kept] = csv.DictReader(io.StringIO(fresh.read_text(), newline=""))
        assert parse_identity(kept["identity"]).shaken.origid == ORIGID
        told = ("--campaign", WARRANTY, "--evidence", "a" * 64, "--certify", "Heard it.")
        assert lab.run("order", "new", "--file", str(fresh), *told).exit_code == 0
        with _database(lab) as engine, engine.connect() as connection:
            assert connection.execute(select(order_identities.c.origid)).scalars().all() == [ORIGID]


def identity_text(row: Any) -> str:
    """The header of a row, after it was read again."""
    return parse_identity(row["header"]).text


def _database(lab: Lab) -> Any:
    from coordinator.store.engine import engine_for

    return engine_for(f"sqlite:///{lab.directory / 'coordinator.db'}")


@pytest.fixture
def house(tmp_path: Path, sqlite_engine: Engine) -> House:
    """Commands over the database of `sqlite_engine`, with pinned roots."""
    (tmp_path / "sti-roots").mkdir()
    (tmp_path / "sti-roots" / "root.pem").write_bytes(sti().root.pem)
    return House(tmp_path, '[stir]\nroots = "sti-roots"\n')


class TestTheCommands:
    async def test_show_says_under_the_chain_what_the_header_says_of_it(
        self, house: House, sqlite_engine: Engine, store: SqlStore, parties: Parties, granted: Granted
    ) -> None:
        keep(sqlite_engine, identity(BIRCH), granted)
        known(sqlite_engine)
        await traced(store, parties, granted)
        shown = " ".join(house.run("show", str(ID)[:8]).stdout.split())
        assert "STIR/SHAKEN: attestation A, signed by birch (SPC 709J) Verified to a pinned root." in shown
        assert "birch signed, and is in the path at position 2: the call came to it from alder." in shown
        assert "Attestation A is improper" in shown
        assert shown.endswith("A header is a hint: no hop follows from it.")
        for number in (CALLED, CALLING):
            assert number[1:] not in shown
        told = house.json("show", str(ID)[:8])["stir"]
        assert (told["signer"], told["grade"], told["agrees"]) == ("birch", "verified", False)
        assert [one["kind"] for one in told["findings"]] == ["signer_in_path", "improper_attestation"]

    async def test_a_campaign_shows_who_signs_and_how_often_that_agrees(
        self, house: House, sqlite_engine: Engine, store: SqlStore, parties: Parties, granted: Granted
    ) -> None:
        examiner = known(sqlite_engine)
        assert examiner.survey([]).headers == 0
        calls = [replace(call(), at=T0 + timedelta(minutes=10 * n)) for n in range(3)]
        CampaignBook(sqlite_engine).take(WARRANTY, "", one(*calls), "olga", NOW)
        for number, (by, of) in enumerate(zip((ALDER, ALDER, BIRCH), calls, strict=True)):
            [own] = parties.granted(order(at=of.at))
            keep(sqlite_engine, identity(by, issued=of.at), own)
            await traced(store, parties, own, uuid.UUID(int=number + 1))
        shown = " ".join(house.run("campaign", "show", WARRANTY).stdout.split())
        assert "Agreement: 2 of 3 finished chains end at the signer (67 %)." in shown
        assert "Contradictions: improper attestation 1." in shown
        assert "alder 2 2 0 0 2 2 of 2" in shown
        assert f"alder {ORIGID} 2 alder 2" in shown
        told = house.json("campaign", "show", WARRANTY)["stir"]
        assert (told["headers"], told["agrees"], told["of"]) == (3, 2, 3)
        [card] = house.json_of("report", "scorecard", "birch", "--format", "json")
        questions = card["figures"]["improper_attestation"]["questions"]
        assert card["figures"]["improper_attestation"]["count"] == len(questions) == 1
        assert questions[0] in card["figures"]["asked"]["questions"]
        [clean] = house.json_of("report", "scorecard", "alder", "--format", "json")
        assert clean["figures"]["improper_attestation"]["count"] == 0

    async def test_a_signer_without_a_pinned_root_is_accused_of_nothing(
        self, tmp_path: Path, sqlite_engine: Engine, store: SqlStore, parties: Parties, granted: Granted
    ) -> None:
        keep(sqlite_engine, identity(BIRCH), granted)
        known(sqlite_engine)
        await traced(store, parties, granted)
        house = House(tmp_path)
        [card] = house.json_of("report", "scorecard", "birch", "--format", "json")
        assert card["figures"]["improper_attestation"]["count"] == 0
        told = house.json("show", str(ID)[:8])["stir"]
        assert (told["grade"], told["why"]) == ("chain_unknown", "no root of a certification authority is pinned here")

    def test_certificates_are_imported_once_and_listed_with_their_providers(
        self, house: House, sqlite_engine: Engine
    ) -> None:
        registry = RegistryBook(sqlite_engine)
        registry.apply(parse_change(provider("birch"), "add", "Birch"), "olga", NOW)
        registry.apply(parse_change(provider("birch"), "alias", "spc:709J"), "olga", NOW)
        file = house.directory / "birch.pem"
        file.write_bytes(BIRCH.pem + sti().between.pem)
        assert house.run("stir", "certificates", "list").stdout.startswith("No certificates yet")
        assert house.json("stir", "certificates", "import", str(file)) == {"new": 2, "known": 0}
        assert "0 new, 2 known already." in house.run("stir", "certificates", "import", str(file)).stdout
        listed = {one["subject"]: one for one in house.json("stir", "certificates", "list")}
        assert listed["CN=SHAKEN birch"]["codes"] == ["709J"]
        assert listed["CN=SHAKEN birch"]["provider"] == "birch"
        assert (listed["CN=STI CA"]["codes"], listed["CN=STI CA"]["provider"]) == ([], None)
        assert "CN=SHAKEN birch" in house.run("stir", "certificates", "list").stdout
        file.write_bytes(b"no certificate")
        assert "no certificates in PEM form" in house.run("stir", "certificates", "import", str(file), code=65).output

    def test_a_header_is_checked_by_itself_with_files_alone(self, tmp_path: Path) -> None:
        names = {"h.txt": identity(BIRCH).encode(), "s.pem": BIRCH.pem + sti().between.pem, "r.pem": sti().root.pem}
        for name, content in names.items():
            (tmp_path / name).write_bytes(content)
        house = House(tmp_path)
        files = [str(tmp_path / name) for name in ("h.txt", "s.pem", "r.pem")]
        options = ("--certificates", files[1], "--roots", files[2])
        [told] = house.json("stir", "check", files[0], *options)
        assert (told["grade"], told["codes"], told["orig"], told["x5u"]) == ("verified", ["709J"], CALLING[1:], X5U)
        shown = house.run("stir", "check", files[0], *options).stdout
        assert "Verified to a pinned root." in shown
        assert CALLING[1:] not in shown
        assert CALLING in house.run("stir", "check", files[0], *options, "--show-numbers").stdout
        (tmp_path / "h.txt").write_text("nothing")
        assert "no PASSporT" in house.run("stir", "check", files[0], *options, code=65).output
        (tmp_path / "h.txt").write_text(identity(BIRCH))
        assert (
            "no certification authority's"
            in house.run("stir", "check", files[0], "--certificates", files[1], "--roots", files[1], code=65).output
        )

    def test_a_header_is_checked_with_what_was_imported(self, house: House, sqlite_engine: Engine) -> None:
        known(sqlite_engine)
        (house.directory / "h.txt").write_text(identity(BIRCH))
        [told] = house.json("stir", "check", str(house.directory / "h.txt"))
        assert told["grade"] == "verified"

    @pytest.mark.parametrize(("spoil", "says"), [("missing", "can't be read"), ("empty", "holds no"), ("bad", "x.pem")])
    def test_roots_that_are_none_are_bad_configuration(
        self, tmp_path: Path, sqlite_engine: Engine, spoil: str, says: str
    ) -> None:
        house = House(tmp_path, '[stir]\nroots = "sti-roots"\n')
        if spoil != "missing":
            (tmp_path / "sti-roots").mkdir()
        if spoil == "bad":
            (tmp_path / "sti-roots" / "x.pem").write_bytes(BIRCH.pem)
        output = house.run("report", "scorecard", code=78).output
        assert "stir.roots" in output
        assert says in output.replace("\n", "")

    def test_an_unknown_key_of_the_table_is_refused(self, tmp_path: Path, sqlite_engine: Engine) -> None:
        assert "stir.root: no such key" in House(tmp_path, '[stir]\nroot = "x"\n').run("list", code=78).output


class TestRetention:
    async def test_takes_the_header_with_its_numbers_and_leaves_what_was_found(
        self, either_engine: Engine, parties: Parties, granted: Granted
    ) -> None:
        with opened(either_engine) as store:
            keep(either_engine, identity(BIRCH, origid="customer-12025550199"), granted)
            known(either_engine)
            done = await traced(store, parties, granted)
            CampaignBook(either_engine).take(WARRANTY, "", _report_with(identity(BIRCH)), "olga", NOW)
            examiner = Examiner(either_engine, ROOTS)
            before = examiner.check(done)
            key = Pseudonyms(bytes(range(32)))
            for _ in range(2):
                retire(either_engine, key, NOW + YEARS / 2, NOW + YEARS, examine=examiner.to_keep)
            left = everything(either_engine)
            assert not any(number[2:] in left for number in (CALLED, CALLING))
            assert "eyJ" not in left
            kept = store.load(ID)
            assert kept is not None
            assert before is not None
            assert examiner.check(kept.traceback) == replace(before, origid="")
            period = (NOW - YEARS, NOW + YEARS)
            assert [one.provider for one in examiner.improper(*period)] == ["birch"]

    async def test_leaves_the_header_of_what_is_younger(
        self, sqlite_engine: Engine, store: SqlStore, parties: Parties, granted: Granted
    ) -> None:
        keep(sqlite_engine, identity(BIRCH), granted)
        await traced(store, parties, granted)
        retire(sqlite_engine, Pseudonyms(bytes(32)), NOW - timedelta(days=1), NOW)
        assert IdentityBook(sqlite_engine).headers([granted.sha256])[granted.sha256].text is not None

    def test_takes_the_header_of_an_order_that_is_gone_and_was_never_traced(
        self, sqlite_engine: Engine, granted: Granted
    ) -> None:
        keep(sqlite_engine, identity(BIRCH), granted)
        retire(sqlite_engine, Pseudonyms(bytes(32)), NOW - timedelta(days=1), NOW)
        assert IdentityBook(sqlite_engine).headers([granted.sha256])
        retire(sqlite_engine, Pseudonyms(bytes(32)), NOW + YEARS, NOW + YEARS)
        assert not IdentityBook(sqlite_engine).headers([granted.sha256])

    async def test_by_command_keeps_what_was_found(
        self, house: House, sqlite_engine: Engine, store: SqlStore, parties: Parties, granted: Granted
    ) -> None:
        keep(sqlite_engine, identity(ALDER), granted)
        known(sqlite_engine)
        old = timedelta(days=2000)
        await traced(store, parties, granted)
        with sqlite_engine.begin() as connection:
            connection.execute(update(TracebackRow).values(changed_at=NOW - old))
        house.run("retention", "new-key")
        house.run("retention", "run")
        told = house.json("show", str(ID)[:8])["stir"]
        assert [one["kind"] for one in told["findings"]] == ["signer_is_origin"]
        with sqlite_engine.connect() as connection:
            assert connection.execute(select(order_identities.c.header)).scalar_one() is None


def _report_with(header: str) -> Any:
    from coordinator.campaigns.files import Report

    return [Report(2, call(), parse_identity(header))]
