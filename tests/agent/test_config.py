"""The agent's configuration is taken whole, or refused with every mistake, its key, and what to write instead."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.config import AgentConfig, load, source_files
from agent.evidence_config import Mode
from agent.gate.limits import Limits
from agent.inspection import signed_mistakes
from agent.mistakes import ConfigError
from agent.trunks import Party, PartyKind
from protos.e164 import parse_e164

WHOLE = """
[provider]
id = "birch"

[listen]
address = "127.0.0.1:7443"
certificate = "birch.crt"
key = "/etc/hopback/birch.key"
roots = "ca.crt"
coordinators = ["hopback://coordinator/lab"]

[index]
directory = "index"
root_key_file = "root.key"

[[sources]]
name = "acc"
path = "acc*.csv"
format = "delimited"
zone = "America/New_York"
options = { delimiter = ",", header = true }
[sources.columns]
called_in = { column = "dnis", format = "trunk" }
seizure = { column = "start", format = "%Y-%m-%d %H:%M:%S" }

[[trunks]]
name = "TG-IN"
addresses = ["198.51.100.10", "2001:db8::/64"]
direction = "ingress"
party = "provider:alder"
called_format = "10d"
valid_from = 2020-01-01T00:00:00Z
valid_to = 2030-01-01T00:00:00Z

[[trunks]]
name = "TG-OUT"
direction = "egress"
party = "subscribers"
called_format = "e164"
"""


def write(directory: Path, text: str) -> Path:
    path = directory / "agent.toml"
    path.write_text(text)
    return path


def mistakes(directory: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(write(directory, text))
    return [str(mistake) for mistake in caught.value.mistakes]


def only(directory: Path, text: str) -> str:
    (said,) = mistakes(directory, text)
    return said


@pytest.fixture
def whole(tmp_path: Path) -> AgentConfig:
    return load(write(tmp_path, WHOLE))


class TestASoundConfiguration:
    def test_resolves_relative_paths_against_its_own_directory(self, whole: AgentConfig, tmp_path: Path) -> None:
        assert whole.listen.certificate == tmp_path / "birch.crt"
        assert whole.index.directory == tmp_path / "index"
        assert whole.index.root_key_file == tmp_path / "root.key"
        assert whole.explain.directory == tmp_path / "explanations"
        assert whole.sources[0].path == str(tmp_path / "acc*.csv")

    def test_leaves_absolute_paths_alone(self, whole: AgentConfig) -> None:
        assert whole.listen.key == Path("/etc/hopback/birch.key")

    def test_needs_only_what_has_no_safe_default(self, whole: AgentConfig) -> None:
        assert not whole.listen.reflection
        assert not whole.explain.keep
        assert whole.index.retention == timedelta(days=548)
        assert whole.match.rival_margin == timedelta(seconds=5)
        assert whole.match.window_cap == timedelta(seconds=300)

    def test_may_ask_a_key_store_for_the_root_key(self, tmp_path: Path) -> None:
        text = WHOLE.replace('root_key_file = "root.key"', 'root_key_command = ["kms", "-n", "hopback"]')
        index = load(write(tmp_path, text)).index
        assert index.root_key_file is None
        assert index.root_key_command == ("kms", "-n", "hopback")
        assert index.root_key_timeout == timedelta(seconds=30)

    def test_becomes_the_trunk_map(self, whole: AgentConfig) -> None:
        trunks = whole.trunk_map()
        alder = Party(PartyKind.PROVIDER, "alder")
        assert trunks.ingress_party("TG-IN", None, datetime(2026, 1, 1, tzinfo=UTC)) == alder
        assert trunks.ingress_party("TG-IN", None, datetime(2031, 1, 1, tzinfo=UTC)) != alder
        assert trunks.neighbours() == {"alder"}

    def test_tells_the_adapters_the_formats_of_each_trunk(self, whole: AgentConfig) -> None:
        formats = whole.formats()
        assert formats.ingress["TG-IN"] == formats.ingress["198.51.100.10"] == "10d"
        assert formats.egress == {"TG-OUT": "e164"}

    def test_finds_the_files_of_a_source_by_pattern_in_order(self, whole: AgentConfig, tmp_path: Path) -> None:
        for name in ("acc2.csv", "acc1.csv", "other.csv"):
            (tmp_path / name).touch()
        (tmp_path / "acc.csv").mkdir()
        assert source_files(whole.sources[0]) == [tmp_path / "acc1.csv", tmp_path / "acc2.csv"]

    def test_finds_all_files_of_a_directory_but_hidden_ones(self, whole: AgentConfig, tmp_path: Path) -> None:
        directory = tmp_path / "captures"
        directory.mkdir()
        for name in ("2.pcap", "1.pcap", ".being-written"):
            (directory / name).touch()
        source = whole.sources[0].model_copy(update={"path": str(directory)})
        assert source_files(source) == [directory / "1.pcap", directory / "2.pcap"]


class TestTheEnvironment:
    def test_overrides_a_single_value(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOPBACK_AGENT__LISTEN__ADDRESS", "[::1]:0")
        monkeypatch.setenv("HOPBACK_AGENT__MATCH__WINDOW_CAP", "60s")
        monkeypatch.setenv("HOPBACK_AGENT__LISTEN__REFLECTION", "true")
        config = load(write(tmp_path, WHOLE))
        assert config.listen.address == "[::1]:0"
        assert config.match.window_cap == timedelta(seconds=60)
        assert config.listen.reflection
        assert config.listen.roots == tmp_path / "ca.crt"

    def test_takes_lists_as_json(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOPBACK_AGENT__LISTEN__COORDINATORS", '["hopback://coordinator/other"]')
        assert load(write(tmp_path, WHOLE)).listen.coordinators == ("hopback://coordinator/other",)

    def test_is_refused_by_the_name_of_the_variable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOPBACK_AGENT__LISTEN__ADDRESS", "nowhere")
        assert "HOPBACK_AGENT__LISTEN__ADDRESS: write host:port" in only(tmp_path, WHOLE)

    @pytest.mark.parametrize("name", ["HOPBACK_AGENT__LISTN__ADDRESS", "HOPBACK_AGENT__LISTEN__ADRESS"])
    def test_with_an_unknown_key_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setenv(name, "127.0.0.1:1")
        said = only(tmp_path, WHOLE)
        assert name in said
        assert "did you mean" in said

    def test_that_is_no_json_where_a_list_is_due_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOPBACK_AGENT__LISTEN__COORDINATORS", "[")
        assert any("JSON" in said or "list" in said for said in mistakes(tmp_path, WHOLE))


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ('id = "birch"', 'id = "Birch!"', "provider.id", "lower case letters"),
        ('id = "birch"', "", "provider.id", 'missing: write for example id = "birch"'),
        ('id = "birch"', 'id = "birch"\nname = "x"', "provider.name", "unknown key"),
        ("[listen]", "[listen]\nadress = 1", "listen.adress", "unknown key: did you mean 'address'?"),
        ('address = "127.0.0.1:7443"', 'address = "7443"', "listen.address", "write host:port"),
        ('address = "127.0.0.1:7443"', 'address = "h:70000"', "listen.address", "write host:port"),
        ('address = "127.0.0.1:7443"', "address = 7443", "listen.address", "write for example address"),
        ("://coordinator/lab", "://provider/lab", "listen.coordinators[1]", "hopback://coordinator/lab"),
        ('["hopback://coordinator/lab"]', "[]", "listen.coordinators", "name at least one"),
        ('directory = "index"', 'directory = "index"\nretention = 548', "index.retention", "'548d'"),
        ('directory = "index"', 'directory = "index"\nretention = "-1d"', "index.retention", "negative"),
        ("[[sources]]", '[match]\nwindow_cap = "301s"\n[[sources]]', "match.window_cap", "300s"),
        ("[[sources]]", '[match]\nwindow_cap = "0s"\n[[sources]]', "match.window_cap", "more than 0s"),
        ("[[sources]]", "[matsch]\n[[sources]]", "matsch", "did you mean 'match'?"),
        ("[[sources]]", '[explain]\nkeep = "perhaps"\n[[sources]]', "explain.keep", "boolean"),
        ("[[sources]]", '[log]\nlevel = "verbose"\n[[sources]]', "log.level", "debug"),
        ('format = "delimited"', "", "sources[1](acc).format", "missing"),
        ('zone = "America/New_York"', 'zone = "EST5EDT7"', "sources[1](acc).zone", "IANA name"),
        ('zone = "America/New_York"', 'zne = "UTC"', "sources[1](acc).zne", "did you mean 'zone'?"),
        ('column = "dnis", format', 'column = "dnis", fromat', "called_in.fromat", "did you mean 'format'?"),
        ('called_in = { column = "dnis", format = "trunk" }', "", "sources[1](acc).columns", "map called_in"),
        ('direction = "ingress"', 'direction = "in"', "trunks[1](TG-IN).direction", "'ingress'"),
        ('"provider:alder"', '"alder"', "trunks[1](TG-IN).party", "provider:birch"),
        ('"provider:alder"', '"provider:Al Der"', "trunks[1](TG-IN).party", "lower case letters"),
        ('"subscribers"', '"subscribers:1"', "trunks[2](TG-OUT).party", "'subscribers' alone"),
        ('"10d"', '"9d"', "trunks[1](TG-IN).called_format", "10d, 11d"),
        ("198.51.100.10", "198.51.100.300", "trunks[1](TG-IN).addresses[1]", "write an address or a network"),
        ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00", "trunks[1](TG-IN).valid_from", "has no zone"),
        ("2020-01-01T00:00:00Z", '"2020-01-01T00:00:00Z"', "trunks[1](TG-IN).valid_from", "without quotes"),
        ("2030-01-01T00:00:00Z", "2019-01-01T00:00:00Z", "trunks[1](TG-IN)", "valid_from must lie before"),
        ('name = "TG-OUT"', "", "trunks[2]", "neither name nor addresses"),
    ],
)
def test_a_mistake_is_named_by_its_key_with_what_to_write_instead(
    tmp_path: Path, old: str, new: str, where: str, what: str
) -> None:
    assert old in WHOLE
    said = only(tmp_path, WHOLE.replace(old, new, 1))
    assert where in said.partition(": ")[0]
    assert what in said


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    text = WHOLE.replace('id = "birch"', "").replace("7443", "no-port").replace('"10d"', '"9d"') + "[nonsense]\n"
    wheres = {said.partition(": ")[0] for said in mistakes(tmp_path, text)}
    assert wheres == {"provider.id", "listen.address", "trunks[1](TG-IN).called_format", "nonsense"}


class TestTrunksThatContradictEachOther:
    def test_the_same_name_twice_at_the_same_time_is_refused(self, tmp_path: Path) -> None:
        text = WHOLE + '[[trunks]]\nname = "TG-IN"\ndirection = "both"\nparty = "provider:alder"\n'
        assert "'TG-IN' is there twice" in only(tmp_path, text)

    def test_the_same_name_one_after_the_other_is_a_reassigned_trunk(self, tmp_path: Path) -> None:
        later = '[[trunks]]\nname = "TG-IN"\ndirection = "ingress"\nparty = "provider:cedar"\n'
        config = load(write(tmp_path, WHOLE + later + "valid_from = 2030-01-01T00:00:00Z\n"))
        assert config.trunk_map().neighbours() == {"alder", "cedar"}

    def test_the_same_name_for_the_other_direction_is_another_trunk(self, tmp_path: Path) -> None:
        load(write(tmp_path, WHOLE + '[[trunks]]\nname = "TG-IN"\ndirection = "egress"\nparty = "provider:elm"\n'))

    def test_an_address_of_two_parties_is_refused(self, tmp_path: Path) -> None:
        table = '[[trunks]]\naddresses = ["192.0.2.1"]\ndirection = "ingress"\nparty = "provider:{}"\n'
        assert "192.0.2.1/32 belongs to" in only(tmp_path, WHOLE + table.format("elm") + table.format("oak"))

    def test_they_are_found_also_beside_other_mistakes(self, tmp_path: Path) -> None:
        text = (
            WHOLE.replace('id = "birch"', "")
            + '[[trunks]]\nname = "TG-IN"\ndirection = "both"\nparty = "subscribers"\n'
        )
        assert len(mistakes(tmp_path, text)) == 2


class TestWhatTheMatcherLearnsOfTheSources:
    def test_whether_their_records_say_where_a_call_went(self, tmp_path: Path) -> None:
        columns = '[sources.columns]\ncalled_in = "x"\nseizure = { column = "t", format = "epoch_s" }\n'
        extra = (
            f'[[sources]]\nname = "silent"\npath = "*"\nformat = "delimited"\n{columns}'
            f'[[sources]]\nname = "telling"\npath = "*"\nformat = "delimited"\n{columns}egress_trunk = "y"\n'
            '[[sources]]\nname = "capture"\npath = "*"\nformat = "sip_pcap"\n'
            '[[sources]]\nname = "unknown"\npath = "*"\nformat = "nonesuch"\n'
        )
        found = load(write(tmp_path, WHOLE + extra)).match_settings().sources_with_egress
        assert found & {"silent", "telling", "capture", "unknown"} == {"telling", "capture"}

    def test_how_far_apart_the_rows_of_a_call_may_lie(self, tmp_path: Path) -> None:
        only_release = (
            '[[sources]]\nname = "ends"\npath = "*"\nformat = "delimited"\nmax_call = "2h"\n'
            '[sources.columns]\ncalled_in = "x"\nrelease = { column = "t", format = "epoch_s" }\n'
        )
        with_duration = only_release + 'duration = { column = "d", unit = "s", counts = "from_seizure" }\n'
        usual = load(write(tmp_path, WHOLE)).match_settings().longest_setup
        assert load(write(tmp_path, WHOLE + only_release)).match_settings().longest_setup == timedelta(hours=2)
        assert load(write(tmp_path, WHOLE + with_duration)).match_settings().longest_setup == usual


def test_two_sources_of_one_name_are_refused(tmp_path: Path) -> None:
    sources = WHOLE[WHOLE.index("[[sources]]") : WHOLE.index("[[trunks]]")]
    assert "sources[2](acc): there is another source 'acc'" in only(tmp_path, WHOLE + sources)


class TestAFileThatIsNoConfiguration:
    def test_because_it_is_absent(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="No such file"):
            load(tmp_path / "agent.toml")

    def test_because_it_is_no_toml_says_the_line(self, tmp_path: Path) -> None:
        assert "line 2" in only(tmp_path, "[provider]\nid = birch\n")

    def test_because_it_is_not_utf_8(self, tmp_path: Path) -> None:
        path = tmp_path / "agent.toml"
        path.write_bytes(b'[provider]\nid = "\xff"\n')
        with pytest.raises(ConfigError, match="UTF-8"):
            load(path)

    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.recursive(
            st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["sources", "trunks", "listen", "match", "columns", "name", "x", "party"]),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        )
    )
    def test_because_its_tables_are_anything_else(self, tmp_path: Path, value: object) -> None:
        with pytest.raises(ConfigError):
            load(write(tmp_path, "\n".join(f"{table} = {toml(value)}" for table in ("listen", "sources", "trunks"))))


def toml(value: object) -> str:
    """`value` as an inline TOML value."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


SIGNED = WHOLE.replace(
    "[index]",
    """[signing]
key = "birch-evidence.key"
certificate = "birch-evidence.crt"

[orders]
approvals = 2
[orders.submitters]
ann = "ed25519:5zTqbCtiV95yNV5HKqBaTEh+a0Y8Ap7TBt8vAbVja1g="
[orders.approvers]
bob = "ed25519:HbpPxxaRK2Y8x0cy/QE8H2bDhFsLuqqZ8PHIHcPhiq8="

[limits]
window = "120s"
seconds_per_number_per_day = 900
deny_list = "deny.txt"

[disclosure]
mode = "cautious"

[index]""",
    1,
)


class TestSignedQuestions:
    def test_need_keys_persons_and_limits(self, tmp_path: Path) -> None:
        (tmp_path / "deny.txt").write_text("# nobody's business\n+12025550144\n\n")
        config = load(write(tmp_path, SIGNED))
        assert signed_mistakes(config) == []
        assert config.signing is not None
        assert config.signing.key == tmp_path / "birch-evidence.key"
        assert config.audit.directory == tmp_path / "audit"
        assert config.disclosure.mode is Mode.CAUTIOUS
        assert config.orders is not None
        assert (set(config.orders.persons().approvers), config.orders.persons().approvals) == ({"bob"}, 2)
        limits = config.question_limits()
        assert (limits.window, limits.seconds_per_number_per_day) == (timedelta(seconds=120), 900)
        assert limits.denied == {"+12025550144"}

    def test_are_limited_by_the_narrower_of_two_windows(self, tmp_path: Path) -> None:
        (tmp_path / "deny.txt").touch()
        text = SIGNED + '[match]\nwindow_cap = "60s"\n'
        assert load(write(tmp_path, text)).question_limits().window == timedelta(seconds=60)

    @pytest.mark.parametrize(
        ("old", "new", "where"),
        [
            ('window = "120s"', 'window = "301s"', "limits.window"),
            (
                "seconds_per_number_per_day = 900",
                "seconds_per_number_per_day = 3601",
                "limits.seconds_per_number_per_day",
            ),
            ("seconds_per_number_per_day = 900", "hop_limit = 33", "limits.hop_limit"),
            ("seconds_per_number_per_day = 900", "questions_per_day = 1000001", "limits.questions_per_day"),
            ("approvals = 2", "approvals = 0", "orders.approvals"),
            ('mode = "cautious"', 'mode = "open"', "disclosure.mode"),
            ('"ed25519:HbpP', '"ed25519:HbpPx', "orders.approvers.bob"),
            ('"ed25519:HbpP', '"rsa:HbpP', "orders.approvers.bob"),
            ('mode = "cautious"', 'sealing_keys = { lab = "x25519:AAAA" }', "disclosure.sealing_keys.lab"),
            ("[disclosure]", "[disclosures]", "disclosures"),
        ],
    )
    def test_are_never_loosened_and_never_half_configured(self, tmp_path: Path, old: str, new: str, where: str) -> None:
        assert only(tmp_path, SIGNED.replace(old, new)).startswith(where)

    def test_without_keys_or_persons_are_for_no_agent_but_a_trials(self, tmp_path: Path) -> None:
        (nothing,) = signed_mistakes(load(write(tmp_path, WHOLE)))
        assert nothing.where == "signing"
        assert "unsigned_lookups = true" in nothing.what
        assert signed_mistakes(load(write(tmp_path, WHOLE + "[trial]\nunsigned_lookups = true\n"))) == []
        signing = SIGNED.index("[signing]"), SIGNED.index("[orders]")
        (half,) = signed_mistakes(load(write(tmp_path, SIGNED[: signing[0]] + SIGNED[signing[1] :])))
        assert half.where == "signing"
        assert "signed questions need both" in half.what

    def test_have_a_deny_list_of_numbers_alone_which_is_not_shown(self, tmp_path: Path) -> None:
        (tmp_path / "deny.txt").write_text("+12025550144\n2025550155\n")
        config = load(write(tmp_path, SIGNED))
        with pytest.raises(ValueError, match="line 2 is no number") as caught:
            config.question_limits()
        assert "2025550155" not in str(caught.value)
        assert "5550144" not in repr(Limits(denied=frozenset([parse_e164("+12025550144")])))
