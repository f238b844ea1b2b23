"""Registry files: what is taken, what is rejected with line and reason, what is no registry file at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.registry import RegistryFileError, RegistrySnapshot, read_registry
from coordinator.tracing.ports import Provider
from tests.coordinator.make import provider

HEADER = "id,name,endpoint,country,role\n"


def test_csv_and_json_say_the_same() -> None:
    rows = [
        {"id": "birch", "name": "Birch Telecom", "endpoint": "192.0.2.7:7443", "country": "US", "role": "intermediate"},
        {"id": "elm", "name": "Elm, Inc.", "endpoint": "", "country": "", "role": ""},
    ]
    as_csv = HEADER + 'birch,Birch Telecom,192.0.2.7:7443,US,intermediate\nelm,"Elm, Inc.",,,\n'
    expected = (
        Provider(provider("birch"), "Birch Telecom", "192.0.2.7:7443", "US", "intermediate"),
        Provider(provider("elm"), "Elm, Inc."),
    )
    assert read_registry(as_csv).providers == expected
    assert read_registry(json.dumps(rows)).providers == expected


def test_columns_may_be_fewer_in_another_order_and_after_a_byte_order_mark() -> None:
    reading = read_registry("\ufeffName,ID\nBirch,birch\n")
    assert reading.providers == (Provider(provider("birch"), "Birch"),)


@pytest.mark.parametrize("endpoint", ["agent.example.net:7443", "[2001:db8::7]:7443", "192.0.2.7:1", "localhost:65535"])
def test_an_endpoint_is_host_and_port(endpoint: str) -> None:
    assert read_registry(f"id,name,endpoint\nbirch,B,{endpoint}\n").providers[0].endpoint == endpoint


def test_several_agents_over_the_same_records_stand_with_blanks_between() -> None:
    (provider,) = read_registry("id,name,endpoint\nbirch,B,a.example:7443  b.example:7443\n").providers
    assert provider.endpoint == "a.example:7443 b.example:7443"
    assert provider.endpoints == ("a.example:7443", "b.example:7443")


@pytest.mark.parametrize("endpoint", ["dial-out", "dial-out a.example:7443"])
def test_an_agent_may_open_no_port_and_call_this_coordinator(endpoint: str) -> None:
    (provider,) = read_registry(f"id,name,endpoint\nbirch,B,{endpoint}\n").providers
    assert provider.endpoints == tuple(endpoint.split())


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [("a:1 a:1", "twice"), ("a:1 b", "blanks between"), (" ".join(f"a:{n}" for n in range(1, 10)), "at most 8")],
)
def test_several_agents_that_are_none_are_refused(endpoint: str, why: str) -> None:
    (rejected,) = read_registry(f"id,name,endpoint\nbirch,B,{endpoint}\n").rejected
    assert why in rejected.reason


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("Birch,B,,,", "no provider id"),
        ("b,B,,,", "no provider id"),
        (",B,,,", "no provider id"),
        ("birch,,,,", "name must be"),
        ("birch,\x1b[2J,,,", "name must be"),
        (f"birch,{'x' * 201},,,", "name must be"),
        ("birch,B,nowhere,,", "no host:port"),
        ("birch,B,192.0.2.7:0,,", "no host:port"),
        ("birch,B,192.0.2.7:65536,,", "no host:port"),
        ("birch,B,https://x:1,,", "no host:port"),
        ("birch,B,2001:db8::7:7443,,", "no host:port"),
        ("birch,B,,USA,", "no two-letter code"),
        ("birch,B,,US,Big Role", "no word in lower case"),
        ("birch,B", "2 fields where the header names 5"),
        ("elm,Elm again,,,", "stands in line 2 already"),
        ("oak,Oak,,,", "in the registry already: use --replace"),
    ],
)
def test_a_bad_row_is_rejected_with_its_line_and_the_reason_and_the_others_are_taken(row: str, why: str) -> None:
    reading = read_registry(f"{HEADER}elm,Elm,,,\n\n{row}\nfir,Fir,,,\n", known=[provider("oak")])
    assert [entry.id for entry in reading.providers] == ["elm", "fir"]
    [rejected] = reading.rejected
    assert rejected.line == 4
    assert why in rejected.reason


def test_a_known_provider_is_replaced_when_that_is_asked_for_but_never_twice_by_one_file() -> None:
    reading = read_registry("id,name\noak,Oak\noak,Oak Two\n", known=[provider("oak")], replace=True)
    assert [entry.name for entry in reading.providers] == ["Oak"]
    assert [entry.line for entry in reading.rejected] == [3]


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"id": "birch", "name": "B", "endpont": "x:1"}, "unknown field 'endpont'"),
        ({"id": 7, "name": "B"}, "id must be text"),
        ("birch", "no object"),
        ({"name": "B"}, "no provider id"),
    ],
)
def test_a_bad_json_entry_is_rejected_with_its_number(entry: object, why: str) -> None:
    reading = read_registry(json.dumps([{"id": "elm", "name": "Elm"}, entry]))
    [rejected] = reading.rejected
    assert rejected.line == 2
    assert why in rejected.reason


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it lacks id, name"),
        ("id,name,endpont\n", "endpont is not known"),
        ("id,name,id\n", "a column twice"),
        ("{}", "must be an array"),
        ("[1,", "no JSON"),
    ],
)
def test_what_is_no_registry_file_is_refused_as_a_whole(text: str, why: str) -> None:
    with pytest.raises(RegistryFileError, match=why):
        read_registry(text)


def test_a_snapshot_knows_whom_it_was_given_and_nobody_else() -> None:
    birch = Provider(provider("birch"), "Birch")
    snapshot = RegistrySnapshot([birch])
    assert snapshot.provider(provider("birch")) == birch
    assert snapshot.provider(provider("elm")) is None


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.text(max_size=200), st.text(max_size=200).map(lambda text: HEADER + text)))
def test_any_text_is_read_or_refused_and_every_row_is_accounted_for(text: str) -> None:
    try:
        reading = read_registry(text)
    except RegistryFileError:
        return
    lines = [rejected.line for rejected in reading.rejected]
    assert lines == sorted(set(lines))
