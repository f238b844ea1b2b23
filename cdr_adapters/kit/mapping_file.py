"""A mapping in a file of its own, for work with single files: the keys of one [[sources]] table at top level.

`name` and `path` may be left out; [trunk_formats.ingress] and [trunk_formats.egress] may give the called format of each
trunk. Everything that is wrong is told at once, with the lines; a mistyped key with the one that was probably meant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cdr_adapters.column_specs import CalledFormat
from cdr_adapters.kit.toml_lines import TomlFile
from cdr_adapters.mapping import MappingError, SourceMapping, TrunkFormats


@dataclass(frozen=True, slots=True)
class MappingFile:
    """A source, and the formats of its trunks."""

    source: SourceMapping
    formats: TrunkFormats


class _TrunkFormatTables(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    ingress: dict[str, CalledFormat] = Field(default_factory=dict)
    egress: dict[str, CalledFormat] = Field(default_factory=dict)


def source_name(path: Path) -> str:
    """A name for a source, made from a file's."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", path.stem).lstrip("._-")[:64] or "source"


def findings(error: ValidationError, file: TomlFile | None, prefix: tuple[str | int, ...] = ()) -> list[str]:
    """What is wrong, one text a finding, with line and key; unknown keys with the one that was probably meant."""
    found = []
    for item in error.errors(include_url=False, include_input=False):
        keys = (*prefix, *item["loc"])
        line = file.line_of(keys) if file is not None else None
        where = ".".join(str(part) for part in keys if not _is_validator(part))
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "unknown key" + _meant(item["loc"])
        elif item["type"] == "missing":
            message = "missing"
        found.append((f"line {line}: " if line else "") + (f"{where}: {message}" if where else message))
    return found


def _is_validator(part: str | int) -> bool:
    """pydantic names the branch of a union, such as `list[str]`; no key looks like that."""
    return isinstance(part, str) and ("[" in part or part in ("str", "int", "bool"))


def _meant(location: Sequence[str | int]) -> str:
    from difflib import get_close_matches

    model: Any = SourceMapping
    for part in location[:-1]:
        fields = model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else {}
        model = next((m for m in _models_in(fields[part].annotation)), None) if part in fields else None
    known = sorted(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
    close = get_close_matches(str(location[-1]), known, n=1) if location else []
    return f"; did you mean {close[0]!r}?" if close else ""


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    from typing import get_args

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def mapping_of(
    table: Mapping[str, Any], file: TomlFile | None, name: str, prefix: tuple[str | int, ...] = ()
) -> MappingFile:
    """A mapping's table, checked. `file` is where it stands (at `prefix`), for messages; `name` is for one without.

    Raises:
        MappingError: everything that is wrong with it.
    """
    rest = dict(table)
    trunk_formats = rest.pop("trunk_formats", {})
    rest.setdefault("name", name)
    rest.setdefault("path", "*")
    wrong: list[str] = []
    source = tables = None
    try:
        source = SourceMapping.model_validate(rest)
    except ValidationError as error:
        wrong += findings(error, file, prefix)
    try:
        tables = _TrunkFormatTables.model_validate(trunk_formats)
    except ValidationError as error:
        wrong += findings(error, file, (*prefix, "trunk_formats"))
    if source is None or tables is None:
        raise MappingError((f"{file.path}: " if file else "") + "; ".join(wrong))
    return MappingFile(source, TrunkFormats(tables.ingress, tables.egress))
