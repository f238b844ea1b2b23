"""The configuration file: the template says what the code does, unknown keys are refused, paths follow the file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from coordinator.config import TEMPLATE, ConfigError, LimitsTable, TraceTable, load
from coordinator.running.limits import Limits
from coordinator.tracing.chain import DEFAULT_HOP_LIMIT, DEFAULT_WINDOW
from protos.orders import Persons


def written(directory: Path, text: str) -> Path:
    file = directory / "coordinator.toml"
    file.write_text(text)
    return file


def test_the_template_states_every_key_with_its_default(tmp_path: Path) -> None:
    config = load(written(tmp_path, TEMPLATE.format(name="lab"))).config
    assert config.limits == LimitsTable()
    assert config.trace == TraceTable()
    assert config.limits.driver == Limits()
    assert (config.trace.window, config.trace.hop_limit) == (DEFAULT_WINDOW, DEFAULT_HOP_LIMIT)
    assert config.orders.persons == Persons({}, {}, 1)
    for table in (config.trace, config.limits, config.store, config.tls, config.coordinator):
        assert table.model_fields_set == set(type(table).model_fields)


def test_a_provider_may_be_asked_otherwise_than_the_others(tmp_path: Path) -> None:
    text = TEMPLATE.format(name="lab").replace("# birch =", "birch =").replace("rate = 0 ", "rate = 50 ")
    limits = load(written(tmp_path, text)).config.limits.driver
    assert (limits.lane.rate, limits.lane.budget, limits.lane.in_flight) == (50.0, None, 2)
    [(name, birch)] = limits.lanes
    assert (name, birch.in_flight, birch.largest, birch.rate, birch.budget) == ("birch", 1, 100, 5.0, 2000)


def test_what_is_told_of_a_provider_is_checked(tmp_path: Path) -> None:
    text = TEMPLATE.format(name="lab").replace("# birch = { in_flight = 1", "birch = { in_fright = 1")
    with pytest.raises(ConfigError, match=r"limits\.providers\.birch\.in_fright: no such key"):
        load(written(tmp_path, text))


def test_only_name_and_certificates_must_be_stated(tmp_path: Path) -> None:
    text = '[coordinator]\nname = "lab"\n[tls]\ncertificate = "a"\nkey = "b"\nroots = "c"\n'
    assert load(written(tmp_path, text)).config.limits == LimitsTable()


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, TEMPLATE.format(name="lab"))
    monkeypatch.chdir("/")
    loaded = load(file)
    assert loaded.path("ca.crt") == tmp_path / "ca.crt"
    assert loaded.store_url == f"sqlite:///{tmp_path / 'coordinator.db'}"


@pytest.mark.parametrize("url", ["sqlite:////var/lib/hopback/c.db", "sqlite://", "postgresql://db.example/hopback"])
def test_other_database_urls_are_left_as_they_are(tmp_path: Path, url: str) -> None:
    text = TEMPLATE.format(name="lab").replace("sqlite:///coordinator.db", url)
    assert load(written(tmp_path, text)).store_url == url


def test_everything_that_is_wrong_is_said_at_once_with_its_key(tmp_path: Path) -> None:
    text = (
        TEMPLATE.format(name="Bad Name")
        .replace("attempts = 3 ", "attempts = 0 ")
        .replace('backoff = "500ms"', 'backoff = "-1s"')
        .replace("[store]", '[store]\nulr = "x"')
    )
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text))
    assert sorted(problem.split(":")[0] for problem in caught.value.problems) == [
        *("coordinator.name", "limits.attempts", "limits.backoff", "store.ulr")
    ]


def test_the_drivers_limits_are_what_the_file_says(tmp_path: Path) -> None:
    text = TEMPLATE.format(name="lab").replace('attempt_timeout = "10s"', 'attempt_timeout = "250ms"')
    assert load(written(tmp_path, text)).config.limits.driver.attempt_timeout == timedelta(milliseconds=250)
