"""`AdapterContract`: what must hold of every adapter, as tests that a class inherits.

The tests read as the contract: identify claims only its own; every record becomes a call, a reject or is skipped; on
any bytes nothing but the documented error; times are aware, numbers E.164; the order of records, the zone of the
machine, compression and where a file is cut make no difference.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Protocol

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cdr_adapters import raw, registry
from cdr_adapters.identify import claimants
from cdr_adapters.raw import HEAD_SIZE, AdapterError, Grade, Head
from cdr_adapters.registry import Adapter
from hopback.testing.reading import Reading, adapter_of, content_of, file_of, is_registered, together


class Split(Protocol):
    """Cuts a sample into what stands before its records, and the records."""

    def __call__(self, sample: bytes, /) -> tuple[bytes, list[bytes]] | None:
        """The two; None for a sample that can't be cut."""
        ...


_PACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}
_DIGITS_OF_A_SUBSCRIBER = 7

NOT_FOR_THIS = "not for this adapter"
"""How the reason of a skip begins when the adapter says of itself that the test can't apply to it."""


class AdapterContract:
    """Inherit it in a test class, and say what the adapter is and how its files look.

    Attributes:
        adapter: the adapter's module, or the name under which it is registered.
        samples: whole files of the format, as bytes or paths; small, with fictitious numbers, and with calls.
        mapping: the [[sources]] keys that reading them needs (columns, zone, options, trunk_formats), as in TOML.
        split: cuts a sample into what stands before the records, and the records: `Lines`, `Blocks`, or a function
            (as `staticmethod`); None where a file can't be cut, and `indivisible` says why.
        claims: whether identify claims the samples; False for formats that nothing gives away.
        packed: whether the reader takes compressed files, as it does that reads through `cdr_adapters.stream`.
        examples: how many damaged files are tried.
    """

    is_adapter_contract: ClassVar[bool] = True
    adapter: ClassVar[str | ModuleType]
    samples: ClassVar[Sequence[bytes | Path]] = ()
    mapping: ClassVar[Mapping[str, Any]] = {}
    split: ClassVar[Split | None] = None
    indivisible: ClassVar[str] = ""
    claims: ClassVar[bool] = True
    packed: ClassVar[bool] = True
    examples: ClassVar[int] = 50

    @property
    def _adapter(self) -> Adapter:
        return adapter_of(type(self).adapter)

    @property
    def _reading(self) -> Reading:
        return Reading(self._adapter, self.mapping)

    def _head(self, data: bytes, path: Path = Path("records")) -> Head:
        return Head(path, data[:HEAD_SIZE], complete=len(data) <= HEAD_SIZE)

    # ---- what it says of itself

    def test_it_says_what_it_is(self) -> None:
        """SUMMARY is one line, GRADE a grade, the module's docstring tells users the rest."""
        adapter = self._adapter
        assert adapter.summary.strip()
        assert "\n" not in adapter.summary
        assert isinstance(adapter.grade, Grade)
        assert (adapter.module.__doc__ or "").strip(), "the docstring is what `hopback-cdr formats NAME` shows"

    def test_it_refuses_options_that_it_does_not_know(self) -> None:
        """A mistyped option must not be ignored."""
        assert issubclass(self._adapter.module.Options, raw.Options)
        with pytest.raises(AdapterError):
            self._adapter.check_options({"no-such-option": 1})

    def test_it_has_samples_and_says_how_they_are_cut(self) -> None:
        """Without samples nothing below tests anything."""
        assert self.samples, "set samples"
        assert self.split is not None or self.indivisible, "set split, or say in indivisible why a file can't be cut"

    # ---- identify claims only its own

    def test_it_claims_its_own_files(self, sample: bytes | Path) -> None:
        """Each sample, by its beginning alone."""
        if not self.claims:
            pytest.skip(f"{NOT_FOR_THIS}: claims no files: the mapping must name the format")
        assert self._adapter.identify(self._head(content_of(sample)))

    def test_no_other_format_claims_its_files(self, sample: bytes | Path) -> None:
        """Else users have to name the format, and both adapters are suspect. Generic formats yield to special ones."""
        with file_of(sample) as path:
            others = set(claimants(path)) - {self._adapter.name}
        generic = {name for name in others if registry.adapter(name).grade is Grade.GENERIC}
        assert others - generic == set()
        if self.claims and is_registered(self._adapter):
            assert not others or self._adapter.grade is Grade.GENERIC

    def test_it_leaves_other_files_alone(self, foreign: bytes) -> None:
        """Files that are of no switch, or of any. A generic format may take what no special one claims."""
        if self._adapter.grade is Grade.GENERIC:
            pytest.skip(f"{NOT_FOR_THIS}: a generic format may claim what no special one does")
        assert not self._adapter.identify(self._head(foreign)) or self._reads(foreign)

    def _reads(self, content: bytes) -> bool:
        """Whether the file is the adapter's after all: then a claim is right."""
        with suppress(AdapterError), file_of(content) as path:
            return any(batch.columns.num_rows for batch in self._reading.raw(path))
        return False

    def test_identify_never_fails(self) -> None:
        """Whatever the beginning of a file is, the answer is yes or no."""
        samples = [content_of(sample)[:HEAD_SIZE] for sample in self.samples]

        @settings(self._settings, max_examples=self.examples * 2)
        @given(st.data())
        def check(data: st.DataObject) -> None:
            head = data.draw(_contents(samples))
            complete = data.draw(st.booleans())
            assert self._adapter.identify(Head(Path("records"), head, complete)) in (True, False)

        check()

    # ---- every record becomes a call, a reject, or is skipped

    def test_its_samples_give_calls(self) -> None:
        """Numbers are E.164, times aware and between 1990 and 2100: `check_call` looks at every call."""
        calls = 0
        for sample in self.samples:
            with file_of(sample) as path:
                result = self._reading.read(path)
                assert result.raw, "a sample without a record tests nothing"
                calls += sum(result.calls.values())
        assert calls

    def test_every_record_is_accounted_for(self, sample: bytes | Path) -> None:
        """Calls, rejects and skipped records add up to the file."""
        with file_of(sample) as path:
            result = self._reading.read(path)
        assert result.read_twice >= 0, "a record is lost between the reader and the mapping"
        cut = self._cut(content_of(sample))
        if cut is not None:
            before, records = cut
            assert result.raw == len(records) + self._skipped(before), "a record of the file is lost, or made up"

    def _skipped(self, before: bytes) -> int:
        """How many records the reader takes a file's beginning for: none, or such as are no calls."""
        with suppress(AdapterError), file_of(before) as path:
            result = self._reading.read(path)
            assert not result.calls
            assert not result.rejected
            return result.skipped
        return 0

    def test_a_file_without_records_gives_nothing(self) -> None:
        """No call out of nothing: an empty file is read as empty, or refused."""
        with suppress(AdapterError), file_of(b"") as path:
            assert not self._reading.read(path).calls

    def test_it_gives_the_columns_that_are_asked_for(self, sample: bytes | Path) -> None:
        """With some columns or all, what they hold is the same."""
        used = self._reading.mapper().used
        with file_of(sample) as path:
            some = list(self._reading.raw(path, used))
            everything = list(self._reading.raw(path, None))
        # columns that are put together from others may be there only when asked for
        for name in used & {name for batch in everything for name in batch.columns.schema.names}:
            assert _column(some, name) == _column(everything, name), f"column {name} depends on which are asked for"

    # ---- any bytes are read or refused

    def test_any_bytes_are_read_or_refused(self) -> None:
        """Damaged samples and noise: calls, rejects or `AdapterError`, nothing else, and soon."""
        samples = [content_of(sample) for sample in self.samples]

        @settings(self._settings, max_examples=self.examples)
        @given(st.data())
        def check(data: st.DataObject) -> None:
            with suppress(AdapterError), file_of(data.draw(_contents(samples))) as path:
                self._reading.read(path)

        check()

    def test_a_file_cut_off_anywhere_is_read_or_refused(self, sample: bytes | Path) -> None:
        """As when a disk is full, or a file is fetched while it is written. Only the last record can read otherwise."""
        content = content_of(sample)
        with file_of(sample) as path:
            whole = self._reading.read(path)
        for cut in sorted({len(content) * part // 8 for part in range(1, 8)} | {len(content) - 1}):
            with suppress(AdapterError), file_of(content[:cut]) as path:
                left = self._reading.read(path)
                if self._cut(content) is not None:
                    assert sum((left.calls - whole.calls).values()) <= 1 + left.read_twice

    def test_messages_hold_no_numbers(self, sample: bytes | Path) -> None:
        """Reasons go to logs; a subscriber's number must not."""
        content = content_of(sample)
        with file_of(sample) as path:
            tails = {number[-_DIGITS_OF_A_SUBSCRIBER:] for number in self._reading.read(path).numbers}

        @settings(self._settings, max_examples=max(self.examples // 2, 1))
        @given(st.data())
        def check(data: st.DataObject) -> None:
            with file_of(_damaged(data.draw, content)) as path:
                try:
                    said = self._reading.read(path).details
                except AdapterError as error:
                    said = (str(error).replace(str(path), ""),)
            assert not any(tail in text for text in said for tail in tails)

        check()

    # ---- what makes no difference

    def test_the_machines_own_zone_makes_no_difference(self, sample: bytes | Path) -> None:
        """A file means the same on a server in Denver."""
        if not hasattr(time, "tzset"):
            pytest.skip("this system has no tzset")
        before = os.environ.get("TZ")
        results = []
        try:
            for zone in ("UTC", "America/Denver", "Asia/Kolkata"):
                os.environ["TZ"] = zone
                time.tzset()
                with file_of(sample) as path:
                    results.append(self._reading.read(path).calls)
        finally:
            os.environ.pop("TZ", None)
            if before is not None:
                os.environ["TZ"] = before
            time.tzset()
        assert results[0] == results[1] == results[2]

    def test_reading_leaves_no_trace(self) -> None:
        """A file read again, or between two batches of another, gives the same: readers keep nothing."""
        with file_of(self.samples[0]) as one, file_of(self.samples[-1]) as other:
            first, second = self._reading.read(one), self._reading.read(other)
            begun = self._reading.raw(one)
            next(begun, None)
            assert self._reading.read(other) == second
            del begun
            assert self._reading.read(one) == first

    def test_a_reader_that_is_given_up_closes_its_file(self) -> None:
        """An agent that stops in the middle must not run out of file descriptors."""
        if not sys.platform.startswith("linux"):
            pytest.skip("looks at /proc")
        with file_of(self.samples[0]) as path:
            begun = self._reading.raw(path)
            next(begun, None)
            getattr(begun, "close", lambda: None)()
            del begun
            open_files = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
            assert os.path.realpath(path) not in open_files

    def test_compression_makes_no_difference(self, sample: bytes | Path) -> None:
        """gzip, bzip2 and xz, known by their first bytes."""
        if not self.packed:
            pytest.skip(f"{NOT_FOR_THIS}: does not read compressed files")
        content = content_of(sample)
        with file_of(sample) as path:
            plain = self._reading.read(path)
        for packer in _PACKERS.values():
            with file_of(packer(content)) as path:
                assert self._reading.read(path) == plain

    def test_the_order_of_records_makes_no_difference(self, sample: bytes | Path) -> None:
        """Files are written by several processes at once, and joined by hand."""
        before, records = self._cut_or_skip(sample)
        with file_of(before + b"".join(records)) as path, file_of(before + b"".join(reversed(records))) as turned:
            one, other = self._reading.read(path), self._reading.read(turned)
        assert one.calls == other.calls
        assert one.rejected == other.rejected

    def test_a_file_in_pieces_gives_the_same(self, sample: bytes | Path) -> None:
        """Switches rotate files when they please."""
        before, records = self._cut_or_skip(sample)
        with file_of(before + b"".join(records)) as path:
            whole = self._reading.read(path)
        results = []
        for record in records:
            with file_of(before + record) as path:
                results.append(self._reading.read(path))
        pieces = together(results)
        assert (pieces.calls, pieces.rejected) == (whole.calls, whole.rejected)

    def _cut(self, content: bytes) -> tuple[bytes, list[bytes]] | None:
        return None if self.split is None else self.split(content)

    def _cut_or_skip(self, sample: bytes | Path) -> tuple[bytes, list[bytes]]:
        cut = self._cut(content_of(sample))
        if cut is None:
            pytest.skip(f"{NOT_FOR_THIS}: {self.indivisible or 'its sample is not cut'}")
        return cut

    @property
    def _settings(self) -> settings:
        return settings(
            deadline=None,
            database=None,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.generate, Phase.shrink),
        )


def _column(batches: Sequence[raw.RawBatch], name: str) -> list[str | None]:
    """A column over all batches; null where a batch doesn't have it, as the mapping reads it."""
    values: list[str | None] = []
    for batch in batches:
        at = batch.columns.schema.get_field_index(name)
        values += [None] * batch.columns.num_rows if at < 0 else batch.columns.column(at).to_pylist()
    return [value or None for value in values]


_PIECES = st.one_of(
    st.binary(max_size=3),
    st.sampled_from([b'"', b"'", b"\\", b"\n", b"\r\n", b"\x00", b"(", b";", b",", b"|", b"\xff\xfe", b"9" * 40]),
)


def _damaged(draw: Callable[[Any], Any], sample: bytes) -> bytes:
    """A good file with a few bytes changed, put in or taken out, perhaps with its end cut off."""
    data = bytearray(sample)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        data[at : at + draw(st.integers(0, 3))] = draw(_PIECES)
    return bytes(data[: draw(st.integers(0, len(data)))]) if draw(st.booleans()) else bytes(data)


@st.composite
def _contents(draw: st.DrawFn, samples: Sequence[bytes]) -> bytes:
    """Any bytes, or a damaged sample."""
    if not samples or draw(st.integers(0, 4)) == 0:
        return draw(st.binary(max_size=400))
    return _damaged(draw, draw(st.sampled_from(samples)))
