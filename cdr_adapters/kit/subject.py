"""What a command of the kit is about: a file, and everything that says how to read it.

How to read comes from a mapping file, from a source of an agent's configuration, or from the file's own format; single
values of it can be replaced on the command line, so that a file that comes once needs no mapping. Nothing is taken
from two of them silently: a mapping file and a configuration together are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cdr_adapters import registry
from cdr_adapters.column_specs import CalledFormat
from cdr_adapters.identify import identify
from cdr_adapters.kit.ports import AgentFiles
from cdr_adapters.kit.toml_lines import TomlFile, read_toml
from cdr_adapters.kit.wanted import Wanted
from cdr_adapters.mapping import MappingError, MappingFile, SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError


@dataclass(frozen=True, slots=True)
class Subject:
    """A file and how it is read.

    Attributes:
        path: where it lies on this machine.
        shown: its name or address as the person wrote it.
        mapping: how it is read.
        origin: where the mapping comes from, in words.
        zone_origin: who gave the zone, in words; None when nobody did.
    """

    path: Path
    shown: str
    mapping: MappingFile
    origin: str
    zone_origin: str | None


class _TrunkFormatTables(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    ingress: dict[str, CalledFormat] = Field(default_factory=dict)
    egress: dict[str, CalledFormat] = Field(default_factory=dict)


def source_name(path: Path) -> str:
    """A name for a source, made from a file's."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", path.stem).lstrip("._-")[:64] or "source"


def changed(table: dict[str, Any], wanted: Wanted) -> dict[str, Any]:
    """A mapping's table with the command line's values in place of its own."""
    result = dict(table)
    if wanted.format and wanted.format != table.get("format"):
        # the options of another format mean nothing here
        result |= {"format": wanted.format, "options": {}}
    if wanted.zone:
        result["zone"] = wanted.zone
    if wanted.options:
        options = result.get("options", {})
        result["options"] = {**(options if isinstance(options, dict) else {}), **wanted.options}
    return result


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


def format_of(path: Path) -> str:
    """The format of a file; of a directory, the one that all its files are of, where the format reads directories.

    Raises:
        AdapterError: no format or several claim it, or the files of a directory are of several.
    """
    if not path.is_dir():
        return identify(path)
    files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    found = {identify(file) for file in files}
    if found != {"sip_pcap"}:
        raise AdapterError(
            f"{path} is a directory of {', '.join(sorted(found)) or 'no files'}: name one file; "
            "only rotated captures are read together"
        )
    return found.pop()


def subject_of(path: Path, shown: str, wanted: Wanted, agent: AgentFiles | None) -> Subject:
    """Settle how `path` is read.

    Raises:
        MappingError: a mapping is wrong, or nothing says what the columns mean.
        AdapterError: the file can't be read, or is of no format or of several.
    """
    if wanted.mapping is not None and wanted.config is not None:
        raise MappingError("give --mapping or --config, not both: either says how the file is read")
    if wanted.config is not None:
        if agent is None:
            raise MappingError("--config needs the agent: pip install 'hopback[agent]'")
        mapping = agent.source(wanted.config, wanted.source, path)
        table = {k: v for k, v in mapping.source.model_dump(exclude_unset=True).items() if v is not None}
        source = mapping_of(changed(table, wanted), None, mapping.source.name).source if wanted.overrides else None
        told = MappingFile(source or mapping.source, mapping.formats)
        return _subject(path, shown, told, f"source {mapping.source.name!r} of {wanted.config}", wanted)
    if wanted.mapping is not None:
        file = read_toml(wanted.mapping)
        if isinstance(file.table.get("sources"), list):
            raise MappingError(
                f"{wanted.mapping} is an agent's configuration (it has [[sources]]): give it by --config, "
                "and with several sources also --source NAME"
            )
        told = mapping_of(changed(file.table, wanted), file, source_name(wanted.mapping))
        return _subject(path, shown, told, str(wanted.mapping), wanted)
    name = wanted.format or format_of(path)
    if registry.adapter(name).default_columns is None:
        raise MappingError(
            f"{shown} is of format {name}, which doesn't say what its columns mean: "
            f"hopback-cdr init {shown} proposes a mapping; give it by --mapping"
        )
    told = mapping_of(changed({"format": name}, wanted), None, source_name(path))
    return _subject(path, shown, told, f"format {name}'s own columns", wanted)


def _subject(path: Path, shown: str, mapping: MappingFile, origin: str, wanted: Wanted) -> Subject:
    zone_origin = "the command line" if wanted.zone else origin if mapping.source.zone else None
    return Subject(path, shown, mapping, origin, zone_origin)
