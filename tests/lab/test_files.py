"""The lab's files, read back by the real adapters with the configuration that the lab itself wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.config import AgentConfig, load, source_files
from cdr_adapters.read import read_source
from deploy.lab import build
from deploy.lab.build import Lab
from deploy.lab.ingredients import ALL, Ingredient
from deploy.lab.planner import generate
from deploy.lab.roster import build as build_industry
from deploy.lab.stores import WRITERS
from deploy.lab.stores.source import Expected, Source

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CLOCK_SLACK = timedelta(milliseconds=450)  # what nobody knows of a clock, and half a unit of its last digit
HOUR = timedelta(hours=1)


def made(directory: Path, ingredients: frozenset[Ingredient] = ALL) -> Lab:
    industry = build_industry(5, NOW, ingredients)
    return build.write(directory, industry, generate(industry, 700))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return made(tmp_path_factory.mktemp("lab") / "all")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return made(tmp_path_factory.mktemp("lab") / "none", frozenset())


def sources(lab: Lab) -> Iterator[tuple[str, AgentConfig, Source]]:
    for name, path in lab.configs.items():
        config = load(path)
        assert [source.name for source in config.sources] == [source.name for source in lab.sources[name]]
        yield from ((name, config, source) for source in lab.sources[name])


def legs(config: AgentConfig, name: str) -> tuple[list[dict[str, object]], int, int]:
    """Every leg of one source, how many rows were skipped, how many rejected."""
    (mapping,) = (source for source in config.sources if source.name == name)
    found: list[dict[str, object]] = []
    skipped = rejected = 0
    for number, path in enumerate(source_files(mapping)):
        for batch in read_source(path, mapping, config.formats()):
            found += [{**leg, "file": number} for leg in batch.calls.to_pylist()]
            skipped += batch.skipped
            rejected += len(batch.rejected)
    return found, skipped, rejected


def identity(leg: dict[str, object]) -> tuple[object, ...]:
    fields = ("call_id", "called_in", "called_out", "calling", "ingress_trunk", "egress_trunk", "ingress_address")
    return tuple(leg[field] for field in (*fields, "disposition"))


def told(expected: Expected) -> tuple[object, ...]:
    return (
        expected.call_id,
        expected.called_in,
        expected.called_out,
        expected.calling,
        expected.ingress_trunk,
        expected.egress_trunk,
        expected.ingress_address,
        expected.disposition,
    )


def test_every_kind_of_store_is_in_use(lab: Lab) -> None:
    assert {p.store for p in lab.industry.providers.values() if p.has_agent} == set(WRITERS)
    formats = {source.format for own in lab.sources.values() for source in own}
    assert formats == {"delimited", "sqlite", "sqldump", "kamailio_syslog", "kamailio_dbtext", "radius_detail"}


def test_every_row_becomes_a_call_or_is_skipped_on_purpose_and_none_is_rejected(lab: Lab) -> None:
    for name, config, source in sources(lab):
        found, skipped, rejected = legs(config, source.name)
        rows = {(leg["file"], leg["row"]) for leg in found}  # a local time that came twice makes two legs of one row
        assert (len(rows), skipped, rejected) == (len(source.expected), source.skipped, 0), (name, source.name)


def test_every_call_comes_back_with_its_numbers_trunks_and_ids(lab: Lab) -> None:
    for name, config, source in sources(lab):
        found, _, _ = legs(config, source.name)
        once = {(leg["file"], leg["row"]): identity(leg) for leg in found}
        assert Counter(once.values()) == Counter(map(told, source.expected)), (name, source.name)


def test_the_true_setup_time_lies_in_what_the_record_says_of_it(lab: Lab) -> None:
    for name, config, source in sources(lab):
        found, _, _ = legs(config, source.name)
        said: dict[object, list[tuple[datetime, datetime]]] = {}
        for leg in found:
            interval = (leg["seizure_earliest"], leg["seizure_latest"])
            said.setdefault(leg["call_id"], []).append(interval)  # type: ignore[arg-type]
        for expected in source.expected:
            assert any(
                earliest - CLOCK_SLACK <= expected.seized <= latest + CLOCK_SLACK
                for earliest, latest in said[expected.call_id]
            ), (name, source.name, expected)


def test_the_repeated_hour_makes_two_legs_an_hour_apart_in_local_time_alone(lab: Lab) -> None:
    doubled = set()
    for name, config, source in sources(lab):
        times: dict[tuple[object, object], list[datetime]] = {}
        for leg in legs(config, source.name)[0]:
            times.setdefault((leg["file"], leg["row"]), []).append(leg["seizure_earliest"])  # type: ignore[arg-type]
        for both in times.values():
            if len(both) > 1:
                doubled.add(name)
                assert max(both) - min(both) == HOUR
    assert doubled == {"godwit", "kestrel", "siskin"} or doubled == {"godwit", "kestrel", "siskin", "egret"}


def test_late_records_are_not_in_the_files_yet_and_expired_ones_no_longer(lab: Lab) -> None:
    times = lab.industry.calendar
    newest = {name: max(e.seized for s in own for e in s.expected) for name, own in lab.sources.items()}
    oldest = {name: min(e.seized for s in own for e in s.expected) for name, own in lab.sources.items()}
    assert all((newest[name] < times.rotated) == lab.industry.providers[name].late for name in newest)
    assert oldest["lapwing"] > NOW - timedelta(days=30) > oldest["harrier"]


def test_one_trunk_name_belongs_to_two_parties_one_after_the_other(lab: Lab) -> None:
    dated = [trunk for trunk in load(lab.configs["harrier"]).trunks if trunk.valid_from or trunk.valid_to]
    assert len({trunk.name for trunk in dated}) == 1
    assert {trunk.party for trunk in dated} == {"provider:curlew", "provider:avocet"}


def test_the_map_lacks_one_trunk_and_misnames_another(lab: Lab) -> None:
    wrong = {t.flaw.value: t for t in lab.industry.trunks if t.flaw.value != "none"}
    osprey, godwit = load(lab.configs["osprey"]), load(lab.configs["godwit"])
    assert wrong["unmapped"].ingress_name not in {trunk.name for trunk in osprey.trunks}
    (misnamed,) = (trunk for trunk in godwit.trunks if trunk.name == wrong["misnamed"].ingress_name)
    assert (misnamed.party, wrong["misnamed"].sender.name) == ("provider:lapwing", "jackdaw")


def test_two_switches_are_joined_by_internal_trunks(lab: Lab) -> None:
    parties = {trunk.party for trunk in load(lab.configs["kestrel"]).trunks}
    assert {"internal:sw1", "internal:sw2"} <= parties


def test_no_configuration_holds_what_only_the_lab_knows(lab: Lab) -> None:
    for name, config in lab.configs.items():
        text = config.read_text()
        others = {p.id for p in lab.industry.providers.values()} - {name}
        assert "truth" not in text
        assert not any(f"agents/{other}" in text for other in others)


class TestWithoutIngredients:
    def test_every_switch_has_a_true_clock_in_utc_and_one_row_a_call(self, plain: Lab) -> None:
        for _, config, source in sources(plain):
            (mapping,) = (m for m in config.sources if m.name == source.name)
            assert (mapping.zone or "UTC", mapping.clock_offset, source.skipped) in {
                ("UTC", timedelta(0), 0),
                ("UTC", timedelta(0), source.skipped if source.format == "kamailio_syslog" else 0),
            }

    def test_every_trunk_carries_plus_and_digits(self, plain: Lab) -> None:
        assert {t.called_format for name in plain.configs for t in load(plain.configs[name]).trunks} == {"e164"}
