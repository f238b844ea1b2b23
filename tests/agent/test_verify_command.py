"""`hopback-agent verify` as an operator or a monitor runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agent.commandline import HEAD, agent, call, provider, said, told


@pytest.fixture
def config(tmp_path: Path) -> Path:
    config = provider(tmp_path, "east")
    (tmp_path / "east" / "a.csv").write_text(HEAD + "".join(call(number, number) for number in range(30)))
    assert agent("index", config).exit_code == 0
    return config


def segment(config: Path) -> Path:
    return sorted((config.parent / "index" / "segments").iterdir())[0]


def spoil(config: Path) -> None:
    path = segment(config)
    content = bytearray(path.read_bytes())
    content[4096] ^= 1
    path.write_bytes(content)


def test_a_sound_index_ends_with_0_and_says_what_was_read(config: Path) -> None:
    result = agent("verify", config)
    assert result.exit_code == 0
    assert "Sound: 30 rows in" in said(result)
    found = told("verify", config)
    assert (found["sound"], found["problems"], found["read"]["rows"]) == (True, [], 30)


def test_a_broken_one_ends_with_1_and_says_which_files_to_index_again(config: Path) -> None:
    spoil(config)
    result = agent("verify", config)
    assert result.exit_code == 1
    for part in ("Not sound", segment(config).name, "index these source files again", "a.csv"):
        assert part in said(result)
    found = told("verify", config, code=1)
    assert found["sound"] is False
    assert found["read_again"] == {"east": ["a.csv"]}
    assert found["problems"][0]["read_again"] == [{"source": "east", "file": "a.csv"}]


def test_doing_what_it_says_mends_the_index(config: Path) -> None:
    spoil(config)
    assert agent("index", config).exit_code == 0
    assert told("verify", config)["sound"] is True


def test_an_index_that_is_not_there_is_not_sound(config: Path) -> None:
    config.write_text(config.read_text().replace('directory = "index"', 'directory = "elsewhere"'))
    assert "there is no index in this directory" in said(agent("verify", config))
    assert agent("verify", config).exit_code == 1


def test_another_root_key_is_a_matter_of_the_configuration(config: Path) -> None:
    (config.parent / "root.key").write_text("cd" * 32)
    result = agent("verify", config)
    assert result.exit_code == 78
    assert "not the one that this index was made with" in said(result)


def test_a_configuration_that_is_none_is_refused(config: Path) -> None:
    config.write_text("nonsense")
    assert agent("verify", config).exit_code == 78


def test_many_files_are_named_by_json_alone(config: Path) -> None:
    for number in range(8):
        rows = "".join(call(1000 + 10 * number + row, row) for row in range(3))
        (config.parent / "east" / f"more{number}.csv").write_text(HEAD + rows)
    agent("index", config)
    for path in (config.parent / "index" / "segments").iterdir():
        path.unlink()
    assert "and 3 more (--json names all)" in said(agent("verify", config))
    assert len(told("verify", config, code=1)["read_again"]["east"]) == 9


def test_what_is_shown_holds_no_number(config: Path) -> None:
    spoil(config)
    for extra in ((), ("--json",)):
        assert "5550" not in agent("verify", config, *extra).output


def test_help_comes_with_an_example() -> None:
    result = agent("verify", "--help")
    assert result.exit_code == 0
    assert "hopback-agent verify /etc/hopback/agent.toml" in result.output
