"""What a command of the kit is about: a file, and everything that says how to read it.

How to read comes from a mapping file, from a source of an agent's configuration, or from the file's own format; single
values of it can be replaced on the command line, so that a file that comes once needs no mapping. Nothing is taken
from two of them silently: a mapping file and a configuration together are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdr_adapters import registry
from cdr_adapters.identify import identify
from cdr_adapters.kit.mapping_file import MappingFile, mapping_of, source_name
from cdr_adapters.kit.ports import AgentFiles
from cdr_adapters.kit.toml_lines import read_toml
from cdr_adapters.kit.wanted import Wanted
from cdr_adapters.mapping import MappingError
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


def changed(table: dict[str, Any], wanted: Wanted) -> dict[str, Any]:
    """A mapping's table with the command line's values in place of its own."""
    result = dict(table)
    if wanted.format and wanted.format != table.get("format"):
        # the options of another format mean nothing here
        result |= {"format": wanted.format, "options": {}}
    if wanted.zone:
        result["zone"] = wanted.zone
    options = dict(wanted.options)
    if wanted.own:
        # a capture's reader must know our side before it can tell who called whom; of records the mapping leaves it out
        if _takes_own_addresses(str(result.get("format", ""))):
            options.setdefault("own_addresses", list(wanted.own))
        else:
            result["own_addresses"] = [*result.get("own_addresses", ()), *wanted.own]
    if options:
        before = result.get("options", {})
        result["options"] = {**(before if isinstance(before, dict) else {}), **options}
    return result


def _takes_own_addresses(format_name: str) -> bool:
    return (
        format_name in registry.names() and "own_addresses" in registry.adapter(format_name).module.Options.model_fields
    )


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
