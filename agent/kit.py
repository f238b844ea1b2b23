"""`hopback-cdr` as installed: the adapter engineer's kit, and `lookup`, which needs an agent's matcher.

`cdr_adapters` knows no agent; here the two are put together. What an agent's configuration says of sources and trunks
is read for the kit by `ConfiguredAgent`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.params import Duration, Moment, Number, Provider
from cdr_adapters.cli import program
from cdr_adapters.kit.params import AS_JSON, FILE, LOCAL, how_it_is_read, is_remote
from cdr_adapters.kit.run import EXIT_CONFIG, EXIT_DIFFERS, fail, print_json, subject

if TYPE_CHECKING:
    from agent.trunks import TrunkMap
    from cdr_adapters.kit.mapping_file import MappingFile
    from cdr_adapters.kit.ports import AgentFiles, Side
    from cdr_adapters.kit.wanted import Wanted
    from protos.e164 import E164
    from protos.identity import ProviderId


@dataclass(frozen=True, slots=True)
class KnownTrunks:
    """A trunk map, as the kit asks it."""

    trunks: TrunkMap

    def knows(self, side: Side, trunk: str | None, address: str | None, at: datetime) -> bool:
        """Whether the map says who stood behind this trunk or address at that time."""
        from agent.trunks import Party

        party = self.trunks.ingress_party if side == "ingress" else self.trunks.egress_party
        return isinstance(party(trunk, address, at), Party)


class ConfiguredAgent:
    """Reads agents' configurations for the kit."""

    def source(self, config: Path, name: str | None, file: Path) -> MappingFile:
        """See `cdr_adapters.kit.ports.AgentFiles.source`."""
        from agent.config import load, source_files
        from agent.mistakes import ConfigError
        from cdr_adapters.kit.mapping_file import MappingFile
        from cdr_adapters.mapping import MappingError

        try:
            loaded = load(config)
        except ConfigError as error:
            raise MappingError(str(error)) from None
        by_name = {source.name: source for source in loaded.sources}
        here = [source for source in loaded.sources if not is_remote(source.path)]
        fitting = [source.name for source in here if file.resolve() in map(Path.resolve, source_files(source))]
        chosen = [name] if name is not None else fitting or list(by_name)
        if len(chosen) != 1 or chosen[0] not in by_name:
            raise MappingError(
                f"{config}: which source is {file}? Give --source with one of: {', '.join(by_name) or 'there are none'}"
            )
        return MappingFile(by_name[chosen[0]], loaded.formats())

    def trunks(self, file: Path) -> KnownTrunks:
        """See `cdr_adapters.kit.ports.AgentFiles.trunks`."""
        return KnownTrunks(trunk_map(file))


def trunk_map(file: Path) -> TrunkMap:
    """The trunk map in the [[trunks]] tables of a TOML file, whatever else it holds.

    Raises:
        MappingError: it can't be read, holds no trunks, or contradicts itself.
    """
    from pydantic import ValidationError

    from agent.config_tables import TrunkTable
    from agent.trunks import InvalidTrunkError, TrunkMap
    from cdr_adapters.kit.toml_lines import read_toml
    from cdr_adapters.mapping import MappingError, describe

    read = read_toml(file)
    tables = read.table.get("trunks")
    if not isinstance(tables, list) or not tables:
        raise MappingError(f"{file} has no [[trunks]]: add one table for each trunk group or peer address")
    wrong, entries = [], []
    for number, table in enumerate(tables):
        line = read.line_of(("trunks", number))
        where = f"line {line}: " if line else f"trunks[{number + 1}]: "
        try:
            entries.append(TrunkTable.model_validate(table).entry())
        except ValidationError as error:
            wrong.append(where + describe(error))
        except InvalidTrunkError as error:
            wrong.append(f"{where}{error}")
    if wrong:
        raise MappingError(f"{file}: {'; '.join(wrong)}")
    try:
        return TrunkMap.from_entries(entries)
    except InvalidTrunkError as error:
        raise MappingError(f"{file}: {error}") from None


@click.command()
@FILE
@click.option("--called", metavar="NUMBER", required=True, help="The called number: E.164, or as the file writes it.")
@click.option("--at", type=Moment(past=False), required=True, help="When the call was set up, with zone.")
@click.option("--calling", type=Number(), help="The caller ID, as a hint.")
@click.option("--window", type=Duration(), default="60s", show_default=True, help="How far a record may lie off.")
@click.option(
    "--named-by", type=Provider(), help="The downstream provider, by the trunk map; else the call ended here."
)
@click.option("--trunks", type=LOCAL, help="TOML with [[trunks]].")
@how_it_is_read
@AS_JSON
@click.pass_obj
def lookup(
    agent: AgentFiles | None,
    file: str,
    called: str,
    at: datetime,
    calling: E164 | None,
    window: timedelta,
    named_by: ProviderId | None,
    trunks: Path | None,
    wanted: Wanted,
    as_json: bool,
) -> None:
    """Say who handed a call over, from FILE alone, and why: what an agent would answer, without one.

    Without a trunk map the upstream is the trunk or address that the call came in by. Ends with 1 when nobody can be
    named: not found, ambiguous, upstream not recorded, unmapped.

    \b
    hopback-cdr lookup cdr.csv --mapping switch-1.toml --called +12025550143 --at 2026-11-20T15:00:00Z
    hopback-cdr lookup cdr.csv --config agent.toml --named-by cedar --called +12025550143 --at 2026-11-20T15:00:00Z
    """
    from protos.types import WINDOW_CAP

    if window > WINDOW_CAP:
        raise click.BadParameter("the protocol's cap is 300s.", param_hint="--window")
    map_file = trunks or wanted.config
    if named_by is not None and map_file is None:
        raise click.UsageError("--named-by needs a trunk map: give --trunks or --config.")
    with subject(file, wanted, agent) as about:
        from agent.kit_lookup import Asked, as_data, look_up, show
        from agent.scan import Called
        from cdr_adapters.kit.progress import progress

        asked = Asked(Called.parse(called), at, window, calling, named_by)
        known = trunk_map(map_file) if map_file is not None else None
        if known is not None and named_by is not None and named_by not in known.neighbours():
            fail(f"no trunk in {map_file} leads to {named_by}: it can't have named this provider", EXIT_CONFIG)
        with progress(about.path, quiet=as_json) as advance:
            found = look_up(about, asked, known, advance)
    if as_json:
        print_json(as_data(found))
    else:
        show(found)
    if not found.named:
        sys.exit(EXIT_DIFFERS)


_AGENT: Any = ConfiguredAgent()
main = program(lookup, agent=_AGENT)
"""The program `hopback-cdr`."""

if __name__ == "__main__":
    main()
