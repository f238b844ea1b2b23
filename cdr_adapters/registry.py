"""Which formats there are, by name: those of hopback and those that other distributions bring by entry point.

A third party's distribution declares, in the entry point group `hopback.adapters`, a name and a module with the
attributes of `raw.ReaderModule`. Modules are imported when their format is used, not before. Two modules under one
name are refused: neither wins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from cdr_adapters import formats
from cdr_adapters.column_specs import Columns
from cdr_adapters.mapping import SourceMapping, describe
from cdr_adapters.raw import AdapterError, Grade, Head, RawBatch

ENTRY_POINTS = "hopback.adapters"

BUILT_IN: Mapping[str, str] = {
    module.name: f"{formats.__name__}.{module.name}"
    for module in iter_modules(formats.__path__)
    if not module.name.startswith("_")
}
"""hopback's own: the modules of `cdr_adapters.formats`; those that begin with an underscore are shared by several."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """One format: its name and its reader."""

    name: str
    module: ModuleType

    @property
    def summary(self) -> str:
        """One line about the format."""
        return str(self.module.SUMMARY)

    @property
    def grade(self) -> Grade:
        """How far the reader has been tried."""
        grade: Grade = self.module.GRADE
        return grade

    @property
    def default_columns(self) -> Columns | None:
        """What the columns mean when the mapping doesn't say; None for formats that leave it to the mapping."""
        return self.defaults.columns

    @property
    def defaults(self) -> SourceMapping:
        """The mapping that the format itself brings: its columns, which rows are calls, the zone of naive times.

        Raises:
            AdapterError: the format's module brings one that is wrong.
        """
        brought = {"columns": "COLUMNS", "where": "WHERE", "zone": "ZONE"}
        table = {key: getattr(self.module, name) for key, name in brought.items() if hasattr(self.module, name)}
        try:
            return SourceMapping.model_validate({"name": "default", "path": "*", "format": self.name, **table})
        except ValidationError as error:
            raise AdapterError(f"format {self.name!r} brings a mapping that is wrong: {describe(error)}") from None

    def check_options(self, options: Mapping[str, Any]) -> Any:
        """The reader's options, checked.

        Raises:
            AdapterError: an unknown option, or one with a wrong value.
        """
        try:
            return self.module.Options.model_validate(dict(options))
        except ValidationError as error:
            raise AdapterError(f"options of format {self.name!r}: {describe(error)}") from None

    def identify(self, head: Head) -> bool:
        """Whether the file that `head` begins is surely of this format."""
        return bool(self.module.identify(head))

    def read(self, path: Path, options: Mapping[str, Any], columns: frozenset[str] | None) -> Iterator[RawBatch]:
        """The records of `path` as text; see `raw.ReaderModule.read`."""
        batches: Iterator[RawBatch] = self.module.read(path, self.check_options(options), columns)
        return batches


@cache
def _modules() -> Mapping[str, str]:
    found = dict(BUILT_IN)
    for point in entry_points(group=ENTRY_POINTS):
        if found.get(point.name, point.value) != point.value:
            raise AdapterError(
                f"two adapters are called {point.name!r}: {found[point.name]} and {point.value}; "
                "uninstall the distribution that brings one of them"
            )
        found[point.name] = point.value
    return found


def names() -> list[str]:
    """The names of all formats, sorted."""
    return sorted(_modules())


@cache
def adapter(name: str) -> Adapter:
    """The format called `name`.

    Raises:
        AdapterError: there is none, or its module can't be imported.
    """
    target = _modules().get(name)
    if target is None:
        raise AdapterError(f"there is no format {name!r}; known are: {', '.join(names())}")
    try:
        module = import_module(target)
    except ImportError as error:
        raise AdapterError(f"format {name!r} can't be loaded: {error}; install what it needs") from None
    missing = [part for part in ("SUMMARY", "GRADE", "Options", "identify", "read") if not hasattr(module, part)]
    if missing:
        raise AdapterError(f"format {name!r}: module {target} lacks {', '.join(missing)}")
    return Adapter(name, module)


def completed(mapping: SourceMapping) -> SourceMapping:
    """The mapping with what it leaves out as its format brings it: columns, where, zone, each as a whole.

    A reader that must know our own addresses gets those of the source.

    Raises:
        AdapterError: there is no such format, what it brings is wrong, or neither says what the columns mean.
    """
    brought = adapter(mapping.format).defaults
    said = mapping.model_fields_set
    columns = mapping.columns or brought.columns
    if columns is None:
        raise AdapterError(
            f"source {mapping.name!r}: format {mapping.format!r} doesn't say what its columns mean; "
            "add [sources.columns] with at least a called number and a time"
        )
    return mapping.model_copy(
        update={
            "columns": columns,
            "where": mapping.where if "where" in said else brought.where,
            "zone": mapping.zone if "zone" in said else brought.zone,
            "options": _options(mapping),
        }
    )


def _options(mapping: SourceMapping) -> Mapping[str, Any]:
    """The reader's options, with the source's own addresses where the reader asks for them and isn't told apart."""
    asks = "own_addresses" in adapter(mapping.format).module.Options.model_fields
    if asks and mapping.own_addresses and "own_addresses" not in mapping.options:
        return {**mapping.options, "own_addresses": mapping.own_addresses}
    return mapping.options
