"""Files of HEP packets: the inner addresses and times are the call's. Synthetic, after the HEP3 specification."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError, Grade, Head
from cdr_adapters.read import read_source
from cdr_adapters.registry import adapter
from cdr_adapters.schema import Batch
from tests.adapters.sip_bytes import DOWNSTREAM, OWN, T0, UPSTREAM, hep2, hep3, invite, pcap, request, response

THEIRS = "203.0.113.21;branch=z9hG4bK-1"
OURS = f"{OWN};branch=z9hG4bK-9"


def call(hep: Any = hep3, call_id: str = "call-1@203.0.113.21", start_us: int = T0) -> list[bytes]:
    """One answered call through a proxy, every message copied to a collector."""
    messages = [
        (UPSTREAM, OWN, invite(vias=(THEIRS,), call_id=call_id)),
        (OWN, DOWNSTREAM, invite(vias=(OURS, THEIRS), call_id=call_id)),
        (DOWNSTREAM, OWN, response(200, vias=(OURS, THEIRS), call_id=call_id)),
        (OWN, UPSTREAM, response(200, vias=(THEIRS,), call_id=call_id)),
        (UPSTREAM, OWN, request("BYE", call_id=call_id)),
    ]
    return [hep(*ends, message, time_us=start_us + n * 10**6) for n, (*ends, message) in enumerate(messages)]


SAMPLES: list[bytes] = [b"".join(call()), b"".join(call(hep2))]
MAPPING: dict[str, Any] = {"options": {"own_addresses": [OWN]}}


def batches(path: Path, **table: Any) -> list[Batch]:
    mapping = SourceMapping.model_validate({"name": "x", "path": "x", "format": "hep", **MAPPING, **table})
    return list(read_source(path, mapping, TrunkFormats()))


def calls(path: Path, **table: Any) -> list[dict[str, Any]]:
    return [row for batch in batches(path, **table) for row in batch.calls.to_pylist()]


def rejects(path: Path) -> list[tuple[int, str]]:
    return [(reject.row, reject.detail) for batch in batches(path) for reject in batch.rejected]


def written(directory: Path, *packets: bytes, name: str = "hep.bin") -> Path:
    (directory / name).write_bytes(b"".join(packets))
    return directory / name


class TestCalls:
    @pytest.mark.parametrize("hep", [hep3, hep2])
    def test_a_call_is_told_by_the_copies_of_its_messages(self, tmp_path: Path, hep: Any) -> None:
        (row,) = calls(written(tmp_path, *call(hep)))
        assert (row["called_in"], row["calling"], row["row"]) == ("+12025550143", "+12125550178", 1)
        assert (row["ingress_address"], row["egress_address"], row["disposition"]) == (UPSTREAM, DOWNSTREAM, "answered")
        times = [row[name].timestamp() for name in ("seizure_earliest", "answer", "release")]
        assert times == [1795321361.847, 1795321364.847, 1795321365.847]

    def test_compressed_files_too(self, tmp_path: Path) -> None:
        assert len(calls(written(tmp_path, gzip.compress(b"".join(call())), name="hep.gz"))) == 1

    def test_padding_between_packets_is_passed_over(self, tmp_path: Path) -> None:
        assert len(calls(written(tmp_path, b"\n\n".join(call())))) == 1

    def test_a_call_across_two_files_of_a_directory_is_one_call(self, tmp_path: Path) -> None:
        packets = call()
        written(tmp_path, *packets[:1], name="b.hep")
        written(tmp_path, *packets[1:], name="a.hep")
        (row,) = calls(tmp_path)
        assert (row["ingress_address"], row["egress_address"], row["disposition"]) == (UPSTREAM, DOWNSTREAM, "answered")

    def test_without_own_addresses_a_file_may_prove_where_it_was_taken(self, tmp_path: Path) -> None:
        (row,) = calls(written(tmp_path, *call()), options={})
        assert (row["ingress_address"], row["egress_address"]) == (UPSTREAM, DOWNSTREAM)

    def test_and_names_no_upstream_where_it_does_not(self, tmp_path: Path) -> None:
        path = written(tmp_path, *call()[:1])
        (row,) = calls(path, options={})
        assert (row["called_in"], row["ingress_address"]) == ("+12025550143", None)

    def test_what_is_no_call_is_none(self, tmp_path: Path) -> None:
        options, reports = request("OPTIONS", to_tag=""), hep3(UPSTREAM, OWN, b'{"rtcp": 1}', kind=5)
        path = written(tmp_path, hep3(UPSTREAM, OWN, options), reports, hep3(OWN, UPSTREAM, response(200, method="X")))
        assert (calls(path), rejects(path)) == ([], [])


ROTATED: dict[str, Any] = {"options": {"own_addresses": [OWN], "rotated": True}}


class TestOneFileOfARotation:
    def read(self, path: Path) -> list[tuple[Any, ...]]:
        found = calls(path, **ROTATED)
        return [(row["row"], row["ingress_address"], row["egress_address"], row["disposition"]) for row in found]

    @pytest.mark.parametrize("cut", [1, 2, 3])
    def test_a_call_that_goes_on_in_it_is_known_whole(self, tmp_path: Path, cut: int) -> None:
        packets = call()
        written(tmp_path, *packets[:cut], name="2.hep")
        following = written(tmp_path, *packets[cut:], name="1.hep")
        assert self.read(following) == [(1, UPSTREAM, DOWNSTREAM, "answered")]

    def test_without_saying_so_files_are_read_each_by_itself(self, tmp_path: Path) -> None:
        packets = call()
        written(tmp_path, *packets[:1], name="1.hep")
        (row,) = calls(written(tmp_path, *packets[1:], name="2.hep"))
        assert (row["ingress_address"], row["egress_address"]) == (None, DOWNSTREAM)

    def test_calls_that_ended_before_it_are_not_told_again(self, tmp_path: Path) -> None:
        written(tmp_path, *call(), name="1.hep")
        following = written(tmp_path, *call(call_id="c2", start_us=T0 + 10**7), name="2.hep")
        assert [row["call_id"] for row in calls(following, **ROTATED)] == ["c2"]

    def test_nor_are_their_rejects(self, tmp_path: Path) -> None:
        written(tmp_path, *call()[:1], hep3(UPSTREAM, OWN, invite()[:80]), name="1.hep")
        following = written(tmp_path, *call()[1:], name="2.hep")
        assert [batch.rejected for batch in batches(following, **ROTATED)] == [()]

    def test_what_comes_after_it_is_not_looked_at(self, tmp_path: Path) -> None:
        packets = call()
        first = written(tmp_path, *packets[:1], name="1.hep")
        written(tmp_path, *packets[1:], name="2.hep")
        assert self.read(first) == [(1, UPSTREAM, None, None)]

    def test_it_looks_back_as_far_as_a_set_up_may_reach(self, tmp_path: Path) -> None:
        minute = 60 * 10**6
        packets = call()
        written(tmp_path, packets[0], name="0.hep")
        for n in range(1, 5):
            written(tmp_path, *call(call_id=f"c{n}", start_us=T0 + n * minute), name=f"{n}.hep")
        late = hep3(OWN, DOWNSTREAM, invite(vias=(OURS, THEIRS)), time_us=T0 + 5 * minute - 1)
        assert self.read(written(tmp_path, late, name="5.hep")) == [(1, UPSTREAM, DOWNSTREAM, None)]

    def test_other_files_beside_it_do_not_matter(self, tmp_path: Path) -> None:
        (tmp_path / "README").write_text("HEP of today")
        (tmp_path / "empty").touch()
        assert self.read(written(tmp_path, *call())) == [(1, UPSTREAM, DOWNSTREAM, "answered")]


class TestDamage:
    def test_an_invite_that_cannot_be_read_is_set_aside(self, tmp_path: Path) -> None:
        broken = invite().replace(b"Call-ID:", b"X-Gone:")
        path = written(tmp_path, *call(), hep3(UPSTREAM, OWN, broken), hep3(UPSTREAM, OWN, invite()[:80]))
        assert rejects(path) == [(6, "INVITE without call-id"), (7, "INVITE whose header is cut off")]

    def test_so_is_a_packet_of_version_1_with_the_cure(self, tmp_path: Path) -> None:
        path = written(tmp_path, hep2(UPSTREAM, OWN, invite(), version=1), *call())
        assert rejects(path) == [(1, "HEP version 1 doesn't say when its message passed: have version 2 or 3 sent")]
        assert len(calls(path)) == 1

    def test_bytes_between_packets_that_are_none_are_one_reject(self, tmp_path: Path) -> None:
        path = written(tmp_path, *call(), b"garbage HEP3 garbage" * 50, *call(call_id="c2", start_us=T0 + 10**8))
        assert [row["call_id"] for row in calls(path)] == ["call-1@203.0.113.21", "c2"]
        ((row, _),) = rejects(path)
        assert row == 6

    def test_a_file_cut_short_gives_what_was_read_and_one_reject(self, tmp_path: Path) -> None:
        path = written(tmp_path, b"".join(call())[:-30])
        assert [row["disposition"] for row in calls(path)] == ["answered"]
        assert rejects(path) == [
            (5, "hep.bin breaks off after frame 4: a HEP packet is cut off, or its length is wrong")
        ]

    def test_a_file_that_is_none_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="no HEP packet at its beginning"):
            batches(written(tmp_path, b"some text"))

    def test_many_more_bytes_than_a_block_are_read(self, tmp_path: Path) -> None:
        one = b"".join(
            hep3(UPSTREAM, OWN, invite(call_id=f"c{n}", body=b"x" * 60000), time_us=T0 + n) for n in range(50)
        )
        assert len(calls(written(tmp_path, one))) == 50


class TestIdentify:
    HEP = adapter("hep")

    def claimed(self, data: bytes) -> bool:
        return self.HEP.identify(Head(Path("x"), data, complete=True))

    def test_hep_files_are_claimed_and_nothing_else(self) -> None:
        assert all(map(self.claimed, SAMPLES))
        assert not any(map(self.claimed, [b"", b"HEP3\n", invite(), pcap([]), b"\x01\x10\x02\x11"]))

    def test_the_grade_is_honest(self) -> None:
        assert self.HEP.grade is Grade.DOCUMENTATION
