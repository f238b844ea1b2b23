"""Captures from public test suites, each with its known answer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.raw import Head
from cdr_adapters.registry import adapter
from cdr_adapters.sip.capture_files import read_head
from tests.shared import needs_samples

SAMPLES = Path(__file__).parents[2] / "../shared/samples/sip_pcap"

pytestmark = [
    needs_samples,
    pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed"),
]

CONSTRUCTED = "CONSTRUCTED__b2bua_tcp_segments_udp_fragments_identity_diversion.pcap"
V6 = "fd17:625c:f037:2:a00:27ff:feb9"


def row(name: str, *own: str) -> dict[str, Any]:
    (batch,) = adapter("sip_pcap").read(SAMPLES / name, {"own_addresses": list(own)}, None)
    assert batch.rejected == ()
    (only,) = batch.columns.to_pylist()
    return dict(only)


def test_a_b2bua_over_tcp_in_segments_and_udp_in_fragments_with_a_new_call_id() -> None:
    seen = row(CONSTRUCTED, "198.51.100.1")
    assert {name: value for name, value in seen.items() if value is not None} == {
        "called_in": "+33987654321",
        "called_out": "33987654321",
        "calling": "+33612345678",
        "time": "1687444150.006000",
        "release_time": "1687444150.061000",
        "ingress_address": "192.0.2.10",
        "egress_address": "203.0.113.5",
        "sent_from": "192.0.2.10",
        "sent_to": "198.51.100.1",
        "call_id": "ingress-call-0001@192.0.2.10",
        "call_id_out": "egress-call-9999@198.51.100.1",
        "leg": "ingress+egress",
        "disposition": "failed",
        "sip_code": "503",
        "attestation": "A",
        "origid": "toto",
        "first_called": "+33123450000",
        "diverted_by": "+33123450000",
    }


def test_it_proves_by_itself_where_it_was_taken() -> None:
    assert row(CONSTRUCTED) == row(CONSTRUCTED, "198.51.100.1")
    fragments = "irontec__sngrep__ipv6frag.pcap"
    assert row(fragments) == row(fragments, f"{V6}:3519")


@pytest.mark.parametrize(
    ("name", "sender", "receiver"),
    [
        ("OISF__suricata-verify__sip-body-large.pcap", "127.0.0.1", "127.0.0.1"),
        ("OISF__suricata-verify__sip_compact_form.pcap", "1.1.1.1", "2.2.2.2"),
        ("wireshark__wireshark__sip.pcapng", "127.0.0.1", "127.0.0.1"),
        ("zeek__zeek__wireshark.pcap", "192.168.1.2", "200.68.120.81"),
    ],
)
def test_those_that_show_one_side_name_no_upstream_by_themselves(name: str, sender: str, receiver: str) -> None:
    (batch,) = adapter("sip_pcap").read(SAMPLES / name, {}, None)
    (note,) = batch.rejected
    assert "set own_addresses" in note.detail
    calls = batch.columns.to_pylist()
    assert {(call["ingress_address"], call["egress_address"], call["leg"]) for call in calls} == {
        (None, None, "unknown")
    }
    assert (calls[0]["sent_from"], calls[0]["sent_to"]) == (sender, receiver)


def test_ipv6_fragments_a_proxy_that_keeps_the_call_id_and_an_asserted_caller() -> None:
    seen = row("irontec__sngrep__ipv6frag.pcap", f"{V6}:3519")
    assert (seen["called_in"], seen["called_out"], seen["calling"]) == ("08019200028", "08019200028", "08019200026")
    assert (seen["ingress_address"], seen["egress_address"]) == (f"{V6}:1521", f"{V6}:4222")
    assert (seen["time"], seen["sip_code"]) == ("1647926426.047912", "200")


def test_a_body_of_64_kilobytes_over_tcp() -> None:
    seen = row("OISF__suricata-verify__sip-body-large.pcap", "127.0.0.1:5060")
    assert (seen["called_in"], seen["ingress_address"], seen["time"][:10]) == ("bob", "127.0.0.1", "1782243452")


def test_compact_headers() -> None:
    seen = row("OISF__suricata-verify__sip_compact_form.pcap", "2.2.2.2")
    assert (seen["called_in"], seen["calling"], seen["ingress_address"]) == ("97239287044", "816666", "1.1.1.1")
    assert (seen["time"], seen["call_id"]) == ("1713446096.386450", "105090259-446faf7a@192.168.1.2")


def test_a_uri_with_an_sbcs_own_parameters() -> None:
    seen = row("wireshark__wireshark__sip.pcapng", "127.0.0.1:5060")
    assert (seen["called_in"], seen["calling"]) == ("17324201111", "7323685154")
    assert (seen["ingress_address"], seen["time"]) == ("127.0.0.1", "1394113146.100000")


def test_retransmissions_challenges_and_registrations_of_a_telephone() -> None:
    name = "zeek__zeek__wireshark.pcap"
    (batch,) = adapter("sip_pcap").read(SAMPLES / name, {"own_addresses": ["192.168.1.2"]}, None)
    out = [(r["called_out"], r["egress_address"], r["sip_code"]) for r in batch.columns.to_pylist()]
    assert out[0] == ("97239287044", "200.68.120.81", "408")
    assert len(out) == len({r["call_id"] for r in batch.columns.to_pylist()})


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.pcap*")), ids=lambda path: path.name)
def test_every_one_is_recognised(path: Path) -> None:
    assert adapter("sip_pcap").identify(Head(path, read_head(path), complete=True))
