"""Records in Parquet files, in a directory or in object storage (S3 and what speaks as it does), through pyarrow.

Files are listed again every half minute; of each the footer is read once and kept: the lowest and highest values of
its row groups say which of them a lookup must read. Files that hold a day (or an hour) each, with rows in the order of
the called number, are read least. Access keys come from `user` and the password, or from where the AWS tools find them.

A lookup sees a file whole or not at all; one that vanishes while it is read makes the lookup start again, once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar

from agent.stores.engine import Advice, Kind, Sought, Span, StoreColumn, Table, Value, shown_time
from agent.stores.errors import StoreError, StoreSetupError, TooManyRowsError, harmless
from agent.stores.spans import grouped

if TYPE_CHECKING:
    from agent.stores.secrets import Password
    from agent.stores.settings import StoreTable

T = TypeVar("T")

_LIST_EVERY_S: Final = 30.0
_MANY: Final = 8
_GROUPS_OF_TIME: Final = 8


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it was listed. `ranges` are the lowest and highest value of each column that has them."""

    size: int
    changed_ns: int
    fragment: Any
    rows: int
    groups: int
    ranges: Mapping[str, tuple[Any, Any]]


class Parquet:
    """An `Engine` on Parquet files."""

    batch = 1000

    def __init__(self, settings: StoreTable, password: Password | None) -> None:
        self._settings = settings
        self._name = settings.name
        self._password = password
        self._lock = threading.Lock()
        self._files: dict[str, _File] = {}
        self._listed = -_LIST_EVERY_S
        self._schema: Any = None
        self._place: tuple[Any, str] | None = None

    def _where(self) -> tuple[Any, str]:
        """The file system, and the path in it."""
        if self._place is None:
            from pyarrow import fs

            path = str(self._settings.path)
            if path.startswith("s3://"):
                self._place = self._s3(fs), path.removeprefix("s3://").rstrip("/")
            else:
                self._place = fs.LocalFileSystem(), path.rstrip("/") or "/"
        return self._place

    def _s3(self, fs: Any) -> Any:
        said = self._settings
        keys: dict[str, Any] = {}
        if said.user is not None and self._password is not None:
            keys = {"access_key": said.user, "secret_key": self._password.reveal()}
        if said.endpoint is not None:
            scheme, colon, rest = said.endpoint.partition("://")
            keys |= {"endpoint_override": rest if colon else said.endpoint, "scheme": scheme if colon else "https"}
        return fs.S3FileSystem(
            region=said.region,
            connect_timeout=said.connect_timeout.total_seconds(),
            request_timeout=said.statement_timeout.total_seconds(),
            **keys,
        )

    def _take_up(self, *, at_once: bool = False) -> list[_File]:
        """The files that there are now, or were less than half a minute ago."""
        with self._lock:
            if at_once or monotonic() - self._listed >= _LIST_EVERY_S:
                files = self._list()
                self._files, self._listed = files, monotonic()
            return list(self._files.values())

    def _list(self) -> dict[str, _File]:
        from pyarrow import dataset, fs

        system, path = self._where()
        form = dataset.ParquetFileFormat()
        (there,) = system.get_file_info([path])
        if there.type == fs.FileType.NotFound:
            raise StoreSetupError(self._name, f"there is nothing at {self._settings.path}")
        infos = [there]
        if there.type == fs.FileType.Directory:
            infos = system.get_file_info(fs.FileSelector(path, recursive=True))
        found = {}
        for info in infos:
            if info.type != fs.FileType.File or not _is_data(info.path):
                continue
            known = self._files.get(info.path)
            changed = info.mtime_ns or 0
            if known is None or (known.size, known.changed_ns) != (info.size, changed):
                fragment = form.make_fragment(info.path, system)
                fragment.ensure_complete_metadata()
                known = _described(info.size, changed, fragment)
            found[info.path] = known
        if not found:
            raise StoreSetupError(self._name, f"there is no Parquet file at {self._settings.path}")
        schema = next(iter(found.values())).fragment.physical_schema
        for name, file in found.items():
            if self._files.get(name) is not file and not _alike(schema, file.fragment.physical_schema):
                raise StoreSetupError(self._name, f"{name} has other columns or types than the files beside it")
        self._schema = schema
        return found

    def _guarded(self, work: Callable[[], T]) -> T:
        import pyarrow as pa

        try:
            return work()
        except FileNotFoundError:
            self._take_up_guarded()
        except (OSError, pa.ArrowException) as error:
            raise StoreError(self._name, f"its files can't be read: {harmless(error)}") from None
        try:
            return work()
        except (OSError, pa.ArrowException) as error:
            raise StoreError(self._name, f"its files change faster than they can be read: {harmless(error)}") from None

    def _take_up_guarded(self) -> None:
        try:
            self._take_up(at_once=True)
        except OSError as error:
            raise StoreError(self._name, f"its files can't be listed: {harmless(error)}") from None

    def columns(self) -> Mapping[str, StoreColumn]:
        """See `Engine.columns`."""
        self._guarded(self._take_up)
        return {field.name: StoreColumn(field.name, _kind(field.type), str(field.type)) for field in self._schema}

    def rows(self, select: Sequence[StoreColumn], sought: Sequence[Sought], limit: int) -> Table:
        """See `Engine.rows`."""
        grouped_sought = [(one, tuple(grouped(one.spans, _GROUPS_OF_TIME))) for one in sought]

        def work() -> Any:
            files = self._take_up()
            chosen = [file for file in files if any(_touches(file, one, spans) for one, spans in grouped_sought)]
            condition = None
            for one, spans in grouped_sought:
                part = self._condition(one, spans)
                condition = part if condition is None else condition | part
            return self._read(chosen, select, condition, limit)

        if not sought:
            return {column.name: [] for column in select}
        return _texts(select, self._guarded(work))

    def _read(self, files: Sequence[_File], select: Sequence[StoreColumn], condition: Any, limit: int) -> Any:
        import pyarrow as pa
        from pyarrow import dataset

        names = [column.name for column in select]
        if not files:
            return pa.schema([self._schema.field(name) for name in names]).empty_table()
        fragments = [file.fragment for file in files]
        those = dataset.FileSystemDataset(fragments, self._schema, dataset.ParquetFileFormat(), self._where()[0])
        batches, count = [], 0
        for batch in those.scanner(columns=names, filter=condition).to_batches():
            batches.append(batch)
            count += batch.num_rows
            if count > limit:
                raise TooManyRowsError
        return pa.Table.from_batches(batches, pa.schema([self._schema.field(name) for name in names]))

    def _condition(self, one: Sought, spans: Sequence[Span]) -> Any:
        import pyarrow.dataset as ds

        whole = None
        for span in spans:
            part = ds.field(one.called.name).isin(self._values(span.called, one.called))
            if one.time is not None and span.low is not None and span.high is not None:
                low, high = (self._values([bound], one.time)[0] for bound in (span.low, span.high))
                part = part & (ds.field(one.time.name) >= low) & (ds.field(one.time.name) <= high)
            whole = part if whole is None else whole | part
        for absent in one.absent:
            field = ds.field(absent.column.name)
            nothing = field.is_null()
            if absent.never:
                nothing = nothing | field.isin(self._values(absent.never, absent.column))
            whole = whole & nothing
        return whole

    def _values(self, values: Sequence[Value], column: StoreColumn) -> Any:
        """Values as an array of the column's own type."""
        import pyarrow as pa

        kind = self._schema.field(column.name).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if column.kind in (Kind.INSTANT, Kind.LOCAL):
            return pa.array(values, pa.timestamp("us", tz=kind.tz)).cast(kind, safe=False)
        if column.kind is Kind.NUMBER and pa.types.is_floating(kind):
            return pa.array([float(value) for value in values], kind)  # type: ignore[arg-type]
        return pa.array(values, kind)

    def newest(self, select: Sequence[StoreColumn], by: StoreColumn, count: int, bounds: Sequence[Value]) -> Table:
        """See `Engine.newest`."""
        del bounds  # the files' footers say where the newest rows are
        return self._extreme(select, by, count, highest=True, never=())

    def oldest(self, select: Sequence[StoreColumn], by: StoreColumn, count: int, never: Sequence[Value]) -> Table:
        """See `Engine.oldest`."""
        return self._extreme(select, by, count, highest=False, never=never)

    def _extreme(
        self, select: Sequence[StoreColumn], by: StoreColumn, count: int, *, highest: bool, never: Sequence[Value]
    ) -> Table:
        import pyarrow.dataset as ds

        def work() -> Any:
            found = None
            order = [(by.name, "descending" if highest else "ascending")]
            files = [file for file in self._take_up() if file.rows]
            sides = 1 if highest else 0
            known = [file for file in files if by.name in file.ranges]
            known.sort(key=lambda file: file.ranges[by.name][sides], reverse=highest)
            chosen = known[:_MANY] + [file for file in files if by.name not in file.ranges]
            condition = ds.field(by.name).is_valid()
            if never:
                condition = condition & ~ds.field(by.name).isin(self._values(never, by))
            while chosen:
                found = self._read_sorted(chosen, select, by, condition, order, count)
                if len(found) or len(chosen) >= len(files):
                    break
                chosen = files  # the first few held nothing but rows without that time
            return found if found is not None else self._schema.empty_table().select([one.name for one in select])

        return _texts(select, self._guarded(work))

    def _read_sorted(
        self,
        files: Sequence[_File],
        select: Sequence[StoreColumn],
        by: StoreColumn,
        condition: Any,
        order: Any,
        count: int,
    ) -> Any:
        from pyarrow import dataset

        names = list(dict.fromkeys([*(column.name for column in select), by.name]))
        fragments = [file.fragment for file in files]
        those = dataset.FileSystemDataset(fragments, self._schema, dataset.ParquetFileFormat(), self._where()[0])
        return (
            those.filter(condition).sort_by(order).scanner(columns=names).head(count).select([c.name for c in select])
        )

    def estimate(self) -> int:
        """See `Engine.estimate`."""
        return sum(file.rows for file in self._guarded(self._take_up))

    def advise(self, sought: Sequence[Sought], select: Sequence[StoreColumn]) -> Advice:
        """See `Engine.advise`."""
        del select
        files = self._guarded(self._take_up)
        warnings = []
        for one in sought:
            read = sum(file.groups for file in files if _touches(file, one, one.spans))
            total = sum(file.groups for file in files)
            if len(files) > 1 and read * 2 > total:
                time = one.time.name if one.time is not None else "time"
                warnings.append(
                    f"a lookup by {one.called.name} must look into {read} of {total} row groups: write one file a day "
                    f"or an hour, sorted by {one.called.name} and {time}, with statistics"
                )
        size = sum(file.size for file in files)
        return Advice(tuple(warnings), (f"{len(files)} Parquet files, {size:,} bytes",))

    def close(self) -> None:
        """See `Engine.close`."""
        with self._lock:
            self._files, self._listed = {}, -_LIST_EVERY_S


def _is_data(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.endswith((".parquet", ".pq")) and not name.startswith((".", "_"))


def _described(size: int, changed: int, fragment: Any) -> _File:
    ranges: dict[str, tuple[Any, Any]] = {}
    incomplete: set[str] = set()
    for group in fragment.row_groups:
        told = group.statistics or {}
        incomplete |= ranges.keys() - told.keys()
        for name, found in told.items():
            low, high = found.get("min"), found.get("max")
            if low is None or high is None or (ranges and name not in ranges and group is not fragment.row_groups[0]):
                incomplete.add(name)
            elif name in ranges:
                ranges[name] = min(ranges[name][0], low), max(ranges[name][1], high)
            else:
                ranges[name] = low, high
    kept = {name: both for name, both in ranges.items() if name not in incomplete}
    metadata = fragment.metadata
    return _File(size, changed, fragment, metadata.num_rows, metadata.num_row_groups, kept)


def _alike(one: Any, other: Any) -> bool:
    return {field.name: field.type for field in one} == {field.name: field.type for field in other}


def _touches(file: _File, one: Sought, spans: Sequence[Span]) -> bool:
    """Whether a file may hold a row that fits."""
    if one.time is None or one.time.name not in file.ranges:
        return file.rows > 0
    low, high = file.ranges[one.time.name]
    return any(_not_after(span.low, high) and _not_after(low, span.high) for span in spans)


def _not_after(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return True
    if isinstance(one, datetime) and isinstance(other, datetime) and (one.tzinfo is None) != (other.tzinfo is None):
        one, other = (time.replace(tzinfo=UTC) if time.tzinfo is None else time for time in (one, other))
    return bool(one <= other)


def _kind(kind: Any) -> Kind:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return Kind.TEXT
    if pa.types.is_integer(kind):
        return Kind.INTEGER
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return Kind.NUMBER
    if pa.types.is_timestamp(kind):
        return Kind.INSTANT if kind.tz else Kind.LOCAL
    return Kind.OTHER


def _texts(select: Sequence[StoreColumn], found: Any) -> Table:
    return {column.name: list(_text_of(found.column(column.name), column)) for column in select}


def _text_of(values: Any, column: StoreColumn) -> Iterator[str | None]:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if pa.types.is_dictionary(kind):
        values = values.cast(kind.value_type)
    if column.kind is Kind.TEXT:
        yield from values.to_pylist()
    elif column.kind in (Kind.INSTANT, Kind.LOCAL):
        plain = values.cast(pa.timestamp(kind.unit))  # an instant is kept in UTC
        for text in pc.cast(plain, pa.string()).to_pylist():
            yield None if text is None else shown_time(text, instant=column.kind is Kind.INSTANT)
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        for value in values.to_pylist():
            yield None if value is None else value.decode("utf-8", "replace")
    else:
        yield from pc.cast(values, pa.string()).to_pylist()
