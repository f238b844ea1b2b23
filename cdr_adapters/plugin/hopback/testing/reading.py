"""Reads a file through an adapter as the agent does, and checks what must hold of whatever comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from cdr_adapters import registry
from cdr_adapters.columns import ColumnMapper
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import RawBatch
from cdr_adapters.registry import Adapter
from cdr_adapters.schema import CALLS, DISPOSITIONS, RejectReason
from protos.e164 import parse_e164

EARLIEST, LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2101, 1, 1, tzinfo=UTC)


def adapter_of(named: str | ModuleType) -> Adapter:
    """The adapter of that name, or that is that module, under the name by which it is registered."""
    if isinstance(named, str):
        return registry.adapter(named)
    for name in registry.names():
        if registry.adapter(name).module is named:
            return registry.adapter(name)
    return Adapter(named.__name__.rpartition(".")[2], named)


def is_registered(adapter: Adapter) -> bool:
    """Whether hopback finds this very module under its name."""
    return adapter.name in registry.names() and registry.adapter(adapter.name).module is adapter.module


@dataclass(frozen=True, slots=True)
class Result:
    """All that came of a file.

    Attributes:
        calls: the canonical rows without their row numbers, each as sorted pairs.
        rejected: by reason and detail.
        skipped: how many records are no calls.
        raw: how many records the reader gave, rejected or skipped. `read_twice`: local times with two readings.
        details: every reject's detail.
    """

    calls: Counter[tuple[tuple[str, Any], ...]] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    raw: int = 0
    read_twice: int = 0
    details: tuple[str, ...] = ()

    @property
    def numbers(self) -> set[str]:
        """Every telephone number in the calls."""
        names = ("called_in", "called_out", "calling")
        return {value for call in self.calls for name, value in call if name in names and value is not None}


@contextmanager
def file_of(content: bytes | Path, name: str = "records") -> Iterator[Path]:
    """A file with that content, for as long as it is needed."""
    if isinstance(content, Path):
        yield content
        return
    with TemporaryDirectory(prefix="hopback-") as directory:
        path = Path(directory) / name
        path.write_bytes(content)
        yield path


def content_of(sample: bytes | Path) -> bytes:
    """A sample's bytes."""
    return sample.read_bytes() if isinstance(sample, Path) else sample


@dataclass(frozen=True)
class Reading:
    """An adapter with its mapping."""

    adapter: Adapter
    mapping: Mapping[str, Any]

    def mapper(self) -> ColumnMapper:
        """The mapping with what the format brings."""
        table = {"name": "contract", "path": "*", "format": self.adapter.name, **self._tables}
        defaults = self.adapter.defaults
        for key in ("columns", "where", "zone"):
            if key not in table and (brought := getattr(defaults, key)) is not None:
                table[key] = brought
        formats = self.mapping.get("trunk_formats", {})
        return ColumnMapper(
            SourceMapping.model_validate(table),
            TrunkFormats(formats.get("ingress", {}), formats.get("egress", {})),
        )

    @property
    def _tables(self) -> dict[str, Any]:
        return {key: value for key, value in self.mapping.items() if key != "trunk_formats"}

    def raw(self, path: Path, columns: frozenset[str] | None = None) -> Iterator[RawBatch]:
        """What the reader yields."""
        return self.adapter.read(path, self.mapping.get("options", {}), columns)

    def read(self, path: Path) -> Result:
        """Read a whole file, and check every batch.

        Raises:
            AdapterError: the file can't be read; that is an answer too.
        """
        mapper = self.mapper()
        calls: Counter[tuple[tuple[str, Any], ...]] = Counter()
        rejected: Counter[str] = Counter()
        details: list[str] = []
        skipped = raw_records = rows = 0
        for raw in self.raw(path, mapper.used):
            check_raw(raw)
            raw_records += raw.columns.num_rows + len(raw.rejected) + raw.skipped
            batch = mapper.apply(raw)
            batch.calls.validate(full=True)
            assert batch.calls.schema == CALLS
            for call in batch.calls.to_pylist():
                check_call(call)
                del call["row"]
                calls[tuple(sorted(call.items(), key=lambda item: item[0]))] += 1
                rows += 1
            for reject in batch.rejected:
                assert isinstance(reject.reason, RejectReason)
                assert "\n" not in reject.detail
                rejected[reject.reason.value] += 1
                details.append(reject.detail)
            skipped += batch.skipped
        twice = rows + len(details) + skipped - raw_records
        return Result(calls, rejected, skipped, raw_records, twice, tuple(details))


def check_raw(raw: RawBatch) -> None:
    """What must hold of whatever a reader yields."""
    raw.columns.validate(full=True)
    assert len(raw.rows) == raw.columns.num_rows, "as many row numbers as records"
    assert raw.rows.null_count == 0
    assert raw.skipped >= 0
    assert all(str(column.type) == "string" for column in raw.columns.columns), "columns are text"
    names = raw.columns.schema.names
    assert len(set(names)) == len(names), "every column has a name of its own"
    if raw.header is not None:
        assert set(names) <= set(raw.header), "a column that the header doesn't have"


def check_call(call: Mapping[str, Any]) -> None:
    """What must hold of every call leg: numbers are E.164, times are aware and make sense."""
    for name in ("called_in", "called_out", "calling"):
        assert call[name] is None or parse_e164(call[name])
    assert call["called_in"] or call["called_out"]
    times = [call[name] for name in ("seizure_earliest", "seizure_latest", "answer", "release") if call[name]]
    assert all(time.utcoffset() is not None and EARLIEST <= time < LATEST for time in times)
    assert call["seizure_earliest"] <= call["seizure_latest"]
    assert call["disposition"] in (None, *DISPOSITIONS)
    assert call["attestation"] in (None, "A", "B", "C")


def together(results: Iterable[Result]) -> Result:
    """Several files' results as one."""
    all_of = Result()
    for result in results:
        all_of = Result(
            all_of.calls + result.calls,
            all_of.rejected + result.rejected,
            all_of.skipped + result.skipped,
            all_of.raw + result.raw,
            all_of.read_twice + result.read_twice,
            (*all_of.details, *result.details),
        )
    return all_of
