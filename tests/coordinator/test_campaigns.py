"""Campaigns: every row a call or a reason, one call once, chains laid over each other, no call taken for traced."""

from __future__ import annotations

import csv
import json
import random
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path as FilePath

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert

from coordinator.campaigns.book import CampaignBook
from coordinator.campaigns.common import Path, Share, findings
from coordinator.campaigns.files import Distinct, Report, distinct, read_reports, same_call
from coordinator.ordering.intake import CallsFileError, Intake, RejectedCall
from coordinator.ordering.orders import OrderSet, call_of
from coordinator.registry import RegistrySnapshot
from coordinator.store.models import HopRow
from coordinator.store.sql_store import SqlStore
from coordinator.tracing.chain import Call, Status
from coordinator.tracing.ports import Provider
from protos.e164 import E164, parse_e164
from protos.orders import encode_order
from tests.coordinator.databases import put_traceback
from tests.coordinator.house import House
from tests.coordinator.make import CALLED, CALLING, NOW, T0, provider
from tests.coordinator.parties import order

INTAKE = Intake(RegistrySnapshot([Provider(provider("ginkgo"), "G"), Provider(provider("oak"), "O")]), NOW)
OTHER = parse_e164("+12025550144")
SECOND = timedelta(seconds=1)


def call(
    after: float = 0, *, calling: E164 | None = None, called: E164 = CALLED, window: int = 60, at: str = "ginkgo"
) -> Call:
    return Call(called, T0 + after * SECOND, provider(at), calling, window * SECOND)


ROWS = [
    {"called": CALLED, "at": "2026-11-20T18:03:11Z", "terminating": "ginkgo", "calling": CALLING},
    {"called": OTHER, "at": "2026-11-20T13:03:11-05:00", "terminating": "oak", "window": "30s"},
    {"called": "12025550143", "at": "yesterday", "terminating": "ginkgo"},
]
GOOD = [call(calling=CALLING), call(called=OTHER, at="oak", window=30)]


def as_csv(file: FilePath) -> FilePath:
    with file.open("w", newline="") as out:
        rows = csv.DictWriter(out, ["called", "at", "terminating", "calling", "window"], restval="")
        rows.writeheader()
        rows.writerows(ROWS)
    return file


def as_jsonl(file: FilePath) -> FilePath:
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return file


def as_parquet(file: FilePath) -> FilePath:
    names = ("called", "at", "terminating", "calling", "window")
    pq.write_table(pa.table({name: [row.get(name) for row in ROWS] for name in names}), file)
    return file


FORMS = [(as_csv, "calls.csv", 4), (as_jsonl, "calls.jsonl", 3), (as_parquet, "calls.parquet", 3)]


class TestAFile:
    @pytest.mark.parametrize(("write", "name", "line"), FORMS)
    def test_of_any_form_gives_the_same_calls_and_names_what_is_none(
        self, tmp_path: FilePath, write: Callable[[FilePath], FilePath], name: str, line: int
    ) -> None:
        rows = list(read_reports(write(tmp_path / name), INTAKE))
        assert [row.call for row in rows if isinstance(row, Report)] == GOOD
        [rejected] = [row for row in rows if isinstance(row, RejectedCall)]
        assert rejected.line == line
        assert [problem.partition(":")[0] for problem in rejected.problems] == ["called", "at"]

    def test_of_parquet_may_have_times_with_a_zone_and_none_without(self, tmp_path: FilePath) -> None:
        for zone, good in (("UTC", True), ("America/New_York", True), (None, False)):
            time = T0 if zone else T0.replace(tzinfo=None)
            columns = {"called": [CALLED], "at": pa.array([time], pa.timestamp("ms", zone)), "terminating": ["ginkgo"]}
            pq.write_table(pa.table(columns), tmp_path / "x.parquet")
            [row] = read_reports(tmp_path / "x.parquet", INTAKE)
            assert isinstance(row, Report) is good
            if isinstance(row, RejectedCall):
                assert "no zone" in row.problems[0]

    @pytest.mark.parametrize(
        ("name", "content", "why"),
        [
            ("x.csv", b"called,at\n", "lacks terminating"),
            ("x.csv", b"called,at,terminating,callling\n", "callling is not known"),
            ("x.csv", b"\xff\xfe", "UTF-8"),
            ("x.parquet", b"PAR1 no", "no Parquet"),
            ("x.txt", b"", "ending tells no form"),
        ],
    )
    def test_that_is_none_is_refused_as_a_whole(self, tmp_path: FilePath, name: str, content: bytes, why: str) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CallsFileError, match=why):
            list(read_reports(tmp_path / name, INTAKE))

    def test_of_parquet_that_repeats_a_huge_value_is_refused_before_it_fills_the_memory(
        self, tmp_path: FilePath
    ) -> None:
        file, once = tmp_path / "x.parquet", "x" * 200_000
        short = {"called": [CALLED] * 64, "at": ["2026-11-20T18:00:00Z"] * 64, "terminating": ["ginkgo"] * 64}
        pq.write_table(pa.table(short | {"identity": [once] * 64}), file, compression="zstd", store_schema=False)
        assert file.stat().st_size < 4096
        before = pa.total_allocated_bytes()
        with pytest.raises(CallsFileError, match="identity: a value is longer than 65,536 characters"):
            list(read_reports(file, INTAKE))
        assert pa.total_allocated_bytes() - before < 64 * len(once) / 4

    def test_of_csv_with_an_endless_header_is_refused(self, tmp_path: FilePath) -> None:
        (tmp_path / "x.csv").write_text("called," + "a" * 200_000)
        with pytest.raises(CallsFileError, match="line 1 is no CSV"):
            list(read_reports(tmp_path / "x.csv", INTAKE))

    def test_of_parquet_with_a_column_that_nobody_knows_is_refused(self, tmp_path: FilePath) -> None:
        pq.write_table(
            pa.table({"called": [CALLED], "at": ["x"], "terminating": ["x"], "caling": ["x"]}), tmp_path / "x.parquet"
        )
        with pytest.raises(CallsFileError, match="caling"):
            list(read_reports(tmp_path / "x.parquet", INTAKE))

    def test_of_parquet_with_numbers_for_text_rejects_the_rows(self, tmp_path: FilePath) -> None:
        pq.write_table(pa.table({"called": [12025550143], "at": ["x"], "terminating": ["x"]}), tmp_path / "x.parquet")
        [row] = read_reports(tmp_path / "x.parquet", INTAKE)
        assert row == RejectedCall(1, ("called: must be text",))

    @pytest.mark.parametrize(
        ("line", "why"),
        [
            ("{", "no JSON"),
            ("[1]", "no object"),
            ('{"caled": "x"}', "'caled': no such field"),
            ('{"called": 1}', "called: must be text"),
            ("[" * 100_000, "no JSON"),
        ],
    )
    def test_of_json_lines_rejects_a_line_that_is_none(self, tmp_path: FilePath, line: str, why: str) -> None:
        (tmp_path / "x.jsonl").write_text(f"{json.dumps(ROWS[0])}\n\n{line}\n")
        good, bad = read_reports(tmp_path / "x.jsonl", INTAKE)
        assert isinstance(good, Report)
        assert isinstance(bad, RejectedCall)
        assert (bad.line, bad.problems[0]) == (3, why)

    @settings(max_examples=60, deadline=None)
    @given(st.binary(max_size=300), st.sampled_from(["csv", "jsonl", "parquet"]))
    def test_of_any_bytes_is_read_or_refused(
        self, tmp_path_factory: pytest.TempPathFactory, content: bytes, form: str
    ) -> None:
        file = tmp_path_factory.getbasetemp() / "any"
        file.write_bytes(content)
        try:
            rows = list(read_reports(file, INTAKE, form))
        except CallsFileError:
            return
        assert all(isinstance(row, RejectedCall) and row.problems for row in rows)


def one(*calls: Call) -> list[Report]:
    return [Report(line, call) for line, call in enumerate(calls, start=2)]


class TestOneCall:
    def test_that_several_rows_report_is_one_and_the_earliest_stands_for_it(self) -> None:
        made, _ = distinct(one(call(30), call(0), call(59)))
        assert made == [Distinct(call(0), (3, 2, 4))]

    @pytest.mark.parametrize(
        "other", [call(61), call(called=OTHER), call(at="oak"), call(30, calling=parse_e164("+12025550188"))]
    )
    def test_is_another_where_number_provider_time_or_caller_id_say_so(self, other: Call) -> None:
        assert len(distinct(one(call(calling=CALLING), other))[0]) == 2

    def test_takes_the_smaller_window(self) -> None:
        assert not same_call(call(0, window=300), call(100, window=60))
        assert same_call(call(0, window=300), call(60, window=60))

    def test_does_not_grow_from_report_to_report(self) -> None:
        assert [d.call.at - T0 for d in distinct(one(call(0), call(50), call(100)))[0]] == [0 * SECOND, 100 * SECOND]

    def test_keeps_a_caller_id_that_only_a_later_report_has_and_is_then_told_by_it(self) -> None:
        made, _ = distinct(one(call(0), call(10, calling=CALLING), call(20, calling=parse_e164("+12025550188"))))
        assert [d.call.calling for d in made] == [CALLING, "+12025550188"]

    def test_that_is_known_already_is_not_made_again(self) -> None:
        made, again = distinct(one(call(30), call(200)), [call(0)])
        assert [d.call for d in made] == [call(200)]
        assert again == [Distinct(call(0), (2,))]

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(
            st.builds(
                call,
                st.integers(0, 300),
                calling=st.sampled_from([None, CALLING, OTHER]),
                called=st.sampled_from([CALLED, OTHER]),
                window=st.sampled_from([30, 60]),
            ),
            max_size=20,
        ),
        st.randoms(use_true_random=False),
    )
    def test_is_the_same_in_whatever_order_the_rows_come_and_every_row_is_accounted_for(
        self, calls: list[Call], chance: random.Random
    ) -> None:
        shuffled = list(calls)
        chance.shuffle(shuffled)
        made, _ = distinct(one(*calls))
        assert sorted(line for d in made for line in d.lines) == list(range(2, 2 + len(calls)))
        key = lambda d: (d.call.called, d.call.at, len(d.lines))  # noqa: E731
        assert sorted(map(key, made)) == sorted(map(key, distinct(one(*shuffled))[0]))

    def test_of_a_number_that_is_flooded_is_found_in_little_time(self) -> None:
        made, _ = distinct(one(*(call(n, window=1) for n in range(0, 60_000, 3))))
        assert len(made) == 20_000


def path(*names: str, status: Status = Status.ORIGIN_FOUND, foreign: str | None = None) -> Path:
    providers = tuple(provider(name) for name in names)
    return Path(uuid.uuid4(), providers, status, provider(foreign) if foreign else None)


PATHS = [
    path("ginkgo", "birch", "fir", "alder"),
    path("oak", "elm", "fir", "alder"),
    path("ginkgo", "elm", "fir", "alder"),
    path("ginkgo", "birch", status=Status.NO_AGENT),
]


class TestFindings:
    def test_name_the_nearest_common_upstream_and_the_shared_end(self) -> None:
        found = findings(PATHS)
        assert found.nearest_common_upstream == "fir"
        assert (found.common, found.tail) == (("fir", "alder"), ("fir", "alder"))

    def test_count_who_recurs(self) -> None:
        found = findings([*PATHS, path("oak", "yew", status=Status.GATEWAY_FOUND, foreign="carrier-abroad")])
        assert found.origins == (Share("alder", 3, 4),)
        assert found.gateways == (Share("yew", 1, 4),)
        assert found.foreign == (Share("carrier-abroad", 1, 4),)
        assert found.through[0] == Share("alder", 3, 5)
        assert found.nearest_common_upstream is None

    def test_name_the_trunks_of_supply(self) -> None:
        supply = findings([*PATHS, path("oak", "yew", status=Status.GATEWAY_FOUND, foreign="carrier-abroad")]).supply
        assert supply[0] == ("alder", "fir", 3)
        assert ("carrier-abroad", "yew", 1) in supply

    def test_say_where_paths_stopped(self) -> None:
        assert findings(PATHS).stopped == ((Status.NO_AGENT, provider("birch"), 1),)

    def test_of_the_provider_that_delivered_the_calls_say_nothing(self) -> None:
        assert findings([path("ginkgo", "alder"), path("ginkgo", "birch")]).common == ()

    def test_of_no_calls_are_empty(self) -> None:
        found = findings([])
        assert (found.calls, found.common, found.tail, found.nearest_common_upstream) == (0, (), (), None)

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.lists(st.sampled_from(["ash", "elm", "fir", "oak", "yew"]), min_size=1, max_size=6), max_size=8))
    def test_hold_for_every_path_and_in_whatever_order(self, ways: list[list[str]]) -> None:
        paths = [path(*way) for way in ways]
        found = findings(paths)
        assert found == findings(reversed(paths))
        for way in paths:
            assert set(found.common) <= set(way.providers[1:])
            assert way.providers[len(way.providers) - len(found.tail) :] == found.tail


class TestANewCall:
    def test_that_looks_like_the_others_is_still_to_be_traced(self, either_engine: Engine) -> None:
        book = CampaignBook(either_engine)
        book.take("warranty", "", one(call(0)), "olga", NOW)
        traced(either_engine, call(0), "ginkgo", "fir", "alder")
        assert findings(book.paths("warranty")).nearest_common_upstream == "fir"
        book.take("warranty", "", one(call(500)), "olga", NOW)
        assert book.untraced("warranty") == [(call(500), "")]


def traced(
    engine: Engine, of: Call, *names: str, status: Status = Status.ORIGIN_FOUND, now: datetime = NOW
) -> uuid.UUID:
    """A traceback of `of` through these providers, as rows."""
    identity = uuid.uuid4()
    put_traceback(
        engine, identity, called=of.called, at=of.at, terminating=of.terminating, status=status.value, submitted_at=now,
        hop_count=len(names), changed_at=now + timedelta(seconds=2),
    )  # fmt: skip
    last = {Status.ORIGIN_FOUND: "ORIGINATED_HERE", Status.NO_AGENT: None, Status.DISPUTED: "NOT_FOUND"}.get(
        status, "FOREIGN_UPSTREAM"
    )
    rows = [
        {
            "traceback_id": identity,
            "position": position,
            "round": 1,
            "question_id": uuid.uuid4(),
            "provider": name,
            "question": b"",
            "outcome": "UPSTREAM" if position < len(names) - 1 else last,
            "problem": "no_agent" if status is Status.NO_AGENT and position == len(names) - 1 else None,
            "detail": "",
            "failures": 0,
            "asked_at": now,
            "ended_at": now + timedelta(milliseconds=10),
        }
        for position, name in enumerate(names)
    ]
    with engine.begin() as connection:
        connection.execute(insert(HopRow), rows)
    return identity


class TestTheBook:
    def test_takes_a_file_again_without_a_change_but_the_number_of_reports(self, either_engine: Engine) -> None:
        book = CampaignBook(either_engine)
        first = book.take("warranty", "a script", one(call(0), call(10), call(500)), "olga", NOW)
        assert (len(first.new), first.repeated) == (2, 1)
        again = book.take("warranty", "", one(call(0), call(10), call(500)), "olga", NOW)
        assert (len(again.new), again.repeated) == (0, 3)
        [summary] = book.summaries()
        assert (summary.calls, summary.reports, summary.traced, summary.description) == (2, 6, 0, "a script")

    def test_has_the_calls_of_orders_that_name_it_and_counts_none_again_that_is_known(
        self, either_engine: Engine
    ) -> None:
        book = CampaignBook(either_engine)
        wanted = order(campaign="warranty")
        made = OrderSet.of([encode_order(wanted), encode_order(order(campaign="other"))])
        book.take("warranty", "", one(call_of(wanted, b"")), "olga", NOW)
        book.take_orders(made, "ann", NOW)
        assert [(s.name, s.calls, s.reports) for s in book.summaries()] == [("other", 1, 1), ("warranty", 1, 1)]

    def test_gives_its_tracebacks_to_whoever_lists_them_by_campaign(self, either_engine: Engine) -> None:
        CampaignBook(either_engine).take("warranty", "", one(call(0)), "olga", NOW)
        mine = traced(either_engine, call(0), "ginkgo", "alder")
        traced(either_engine, call(500), "ginkgo", "alder")
        store = SqlStore(either_engine)
        assert [summary.id for summary in store.recent(10, campaign="warranty")] == [mine]
        assert store.counts("warranty") == {Status.ORIGIN_FOUND: 1}
        assert store.recent(10, Status.DISPUTED, "warranty") == []

    def test_finds_the_tracebacks_of_its_calls_whoever_had_them_traced(self, either_engine: Engine) -> None:
        book = CampaignBook(either_engine)
        book.take("warranty", "", one(call(0), call(500)), "olga", NOW)
        book.take("other", "", one(call(900)), "olga", NOW)
        traced(either_engine, call(0), "ginkgo", "fir", "alder")
        traced(either_engine, call(900), "ginkgo")
        [found] = book.paths("warranty")
        assert found.providers == ("ginkgo", "fir", "alder")
        assert [(s.name, s.traced, s.finished) for s in book.summaries()] == [("other", 1, 1), ("warranty", 1, 1)]

    def test_of_a_call_that_was_traced_twice_takes_the_later_path(self, sqlite_engine: Engine) -> None:
        book = CampaignBook(sqlite_engine)
        book.take("warranty", "", one(call(0)), "olga", NOW)
        traced(sqlite_engine, call(0), "ginkgo", "elm", now=NOW)
        traced(sqlite_engine, call(0), "ginkgo", "fir", now=NOW + timedelta(hours=1))
        assert [p.providers for p in book.paths("warranty")] == [("ginkgo", "fir")]
        assert book.summaries()[0].calls == 1

    def test_leaves_a_provider_out_that_denies_the_call(self, sqlite_engine: Engine) -> None:
        book = CampaignBook(sqlite_engine)
        book.take("warranty", "", one(call(0)), "olga", NOW)
        traced(sqlite_engine, call(0), "ginkgo", "elm", status=Status.DISPUTED)
        assert [p.providers for p in book.paths("warranty")] == [("ginkgo",)]


class TestTheCommands:
    @pytest.fixture
    def house(self, sqlite_engine: Engine, tmp_path: FilePath) -> House:
        house = House(tmp_path)
        (tmp_path / "p.csv").write_text("id,name\nginkgo,G\noak,O\n")
        house.run("registry", "import", str(tmp_path / "p.csv"))
        return house

    def test_import_show_and_list_a_campaign(self, house: House, sqlite_engine: Engine, tmp_path: FilePath) -> None:
        file, fresh = as_csv(tmp_path / "calls.csv"), tmp_path / "fresh.csv"
        result = house.run("campaign", "import", "warranty", str(file), "--untraced", str(fresh), code=65)
        assert "calls.csv:4: called: not an E.164 number" in result.stderr
        assert "2 new calls" in result.stdout
        assert (fresh.stat().st_mode & 0o777, len(fresh.read_text().splitlines())) == (0o600, 3)
        traced(sqlite_engine, GOOD[0], "ginkgo", "fir", "alder")
        traced(sqlite_engine, GOOD[1], "oak", "elm", "fir", "alder")
        shown = house.run("campaign", "show", "warranty").stdout
        assert "every path leads through fir, then alder" in shown
        assert CALLED not in shown
        found = house.json("campaign", "show", "warranty")
        assert (found["nearest_common_upstream"], found["origins"]) == (
            "fir",
            [{"provider": "alder", "calls": 2, "share": 1.0}],
        )
        assert house.json("campaign", "list")[0]["finished"] == 2
        assert "warranty" in house.run("campaign", "list").stdout

    def test_write_calls_that_can_be_read_again(self, house: House, tmp_path: FilePath) -> None:
        house.run(
            "campaign",
            "import",
            "warranty",
            str(as_jsonl(tmp_path / "c.jsonl")),
            "--untraced",
            str(tmp_path / "f.csv"),
            code=65,
        )
        assert house.json("campaign", "import", "copy", str(tmp_path / "f.csv"))["new"] == 2

    def test_refuse_a_file_that_is_none_and_a_name_that_is_none(self, house: House, tmp_path: FilePath) -> None:
        (tmp_path / "x.csv").write_text("a\n")
        assert "x.csv: the first line" in house.run("campaign", "import", "w", str(tmp_path / "x.csv"), code=65).output
        assert "printable" in house.run("campaign", "import", " ", str(tmp_path / "x.csv"), code=2).output
        assert "no campaign is called" in house.run("campaign", "show", "w", code=2).output
        assert "No campaigns yet" in house.run("campaign", "list").output
