"""The file of a bundle: any tool opens it, every byte of it is determined, and a broken one is named."""

from __future__ import annotations

import io
import random
import zipfile

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.evidence import container

MEMBERS = {
    "READ-ME.txt": b"Evidence of a traceback.\n" * 8,
    "empty.pb": b"",
    "evidence.pb": random.Random(5).randbytes(700),
    "summary.html": b"<p>the chain</p>" * 20,
}
WHOLE = container.write(MEMBERS)


def places(data: bytes) -> list[tuple[int, int]]:
    return [(damage.offset, damage.end) for damage in container.read(data, MEMBERS).damage]


class TestTheArchive:
    def test_is_opened_by_any_tool(self) -> None:
        with zipfile.ZipFile(io.BytesIO(WHOLE)) as archive:
            assert archive.testzip() is None
            assert {name: archive.read(name) for name in archive.namelist()} == MEMBERS

    def test_comes_back_whole(self) -> None:
        held = container.read(WHOLE)
        assert held.members == MEMBERS
        assert held.damage == ()

    @given(st.dictionaries(st.from_regex(r"[a-z.]{1,12}", fullmatch=True), st.binary(max_size=60), min_size=1))
    @settings(max_examples=60, deadline=None)
    def test_is_the_same_bytes_every_time(self, members: dict[str, bytes]) -> None:
        made = container.write(members)
        assert container.write(dict(container.read(made).members)) == made


class TestEveryBrokenByte:
    def test_is_named_and_no_other(self) -> None:
        chance = random.Random(7)
        for at in range(len(WHOLE)):
            bent = bytearray(WHOLE)
            bent[at] ^= chance.randrange(1, 256)
            assert places(bytes(bent)) == [(at, at + 1)], container.read(bytes(bent), MEMBERS).damage

    def test_that_is_missing_or_added_is_named(self) -> None:
        for size in range(len(WHOLE)):
            assert places(WHOLE[:size])
        assert places(WHOLE + b"more")
        assert places(b"before" + WHOLE)

    def test_of_several_is_said_to_be_of_several(self) -> None:
        start = WHOLE.index(MEMBERS["evidence.pb"])
        bent = bytearray(WHOLE)
        bent[start + 3] ^= 1
        bent[start + 600] ^= 1
        (damage,) = container.read(bytes(bent), MEMBERS).damage
        assert damage.offset <= start + 3
        assert damage.end > start + 600
        assert damage.what == "several bytes of evidence.pb"

    @given(st.binary(max_size=400))
    @settings(max_examples=100, deadline=None)
    def test_nothing_of_a_strange_file_passes(self, data: bytes) -> None:
        assert container.read(data).damage
