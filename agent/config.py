"""The agent's configuration: one TOML file, single values overridden from the environment, all mistakes at once.

A configuration is either taken whole or refused whole: `load` gives an `AgentConfig`, or a `ConfigError` that lists
every mistake with the key it lies at and what to write instead. Unknown keys are refused; a misspelt option that
silently keeps its default is worse than an agent that does not start. Relative paths count from the file's directory.

A single value is overridden by an environment variable of the key's path: HOPBACK_AGENT__LISTEN__ADDRESS for
`address` in `[listen]`; lists and tables are written as JSON there. What is checked here needs no other file than the
configuration; `agent.inspection` checks what it points at.
"""

from __future__ import annotations

import json
import os
import tomllib
import typing
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from agent.config_tables import (
    ExplainTable,
    IndexTable,
    ListenTable,
    LogTable,
    MatchTable,
    ProviderTable,
    TrunkTable,
    WatchTable,
)
from agent.evidence_config import (
    AuditTable,
    DisclosureTable,
    LimitsTable,
    Mode,
    OrdersTable,
    SigningTable,
    TrialTable,
)
from agent.gate.limits import Limits, read_denied
from agent.identity_config import DialOutTable, EnrolmentTable, RevocationTable, identity_mistakes
from agent.match_settings import MatchSettings
from agent.mistakes import ConfigError, Mistake, meant, where_is
from agent.stores.settings import StoreTable
from agent.trunks import Direction, InvalidTrunkError, TrunkEntry, TrunkMap
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from protos.identity import ProviderId

ENV_PREFIX: Final = "HOPBACK_AGENT__"
_NESTED: Final = "__"


class AgentConfig(BaseSettings):
    """The whole configuration, checked. Paths are absolute after `load`."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter=_NESTED, extra="forbid", frozen=True, env_ignore_empty=False
    )

    provider: ProviderTable
    listen: ListenTable
    index: IndexTable
    match: MatchTable = MatchTable()
    explain: ExplainTable = ExplainTable()
    log: LogTable = LogTable()
    watch: WatchTable = WatchTable()
    signing: SigningTable | None = None
    orders: OrdersTable | None = None
    limits: LimitsTable = LimitsTable()
    disclosure: DisclosureTable = DisclosureTable()
    audit: AuditTable = AuditTable()
    trial: TrialTable = TrialTable()
    dial_out: DialOutTable | None = None
    enrolment: EnrolmentTable | None = None
    revocation: RevocationTable | None = None
    sources: tuple[SourceMapping, ...] = ()
    stores: tuple[StoreTable, ...] = ()
    trunks: tuple[TrunkTable, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment goes before the file; there are no other sources."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    @property
    def me(self) -> ProviderId:
        """The provider that this agent answers for."""
        return ProviderId(self.provider.id)

    def trunk_map(self) -> TrunkMap:
        """The dated trunk map."""
        return TrunkMap.from_entries(trunk.entry() for trunk in self.trunks)

    def formats(self) -> TrunkFormats:
        """Called-number formats by trunk and address, for the adapters."""
        trunks = self.trunk_map()
        return TrunkFormats(
            ingress=trunks.called_formats(Direction.INGRESS), egress=trunks.called_formats(Direction.EGRESS)
        )

    def all_sources(self) -> tuple[SourceMapping, ...]:
        """What the records of every source mean: those that are indexed, and those that stay in their stores."""
        return (*self.sources, *(store.mapping() for store in self.stores))

    def retention(self) -> timedelta:
        """How long calls can be answered for: as long as the records that are kept longest."""
        kept = [store.retention or self.index.retention for store in self.stores]
        return max([self.index.retention, *kept] if self.sources or not kept else kept)

    @property
    def keeps_explanations(self) -> bool:
        """Whether an explanation of every answer is kept: a dry run would otherwise tell nobody anything."""
        return self.explain.keep or self.disclosure.mode is Mode.DRY_RUN

    def question_limits(self) -> Limits:
        """The most that is answered to signed questions.

        Raises:
            OSError, ValueError: the deny list can't be read.
        """
        limits = self.limits
        return Limits(
            window=min(self.match.window_cap, limits.window or self.match.window_cap),
            hop_limit=limits.hop_limit,
            questions_per_day=limits.questions_per_day,
            seconds_per_number_per_day=limits.seconds_per_number_per_day,
            questions_per_campaign_per_day=limits.questions_per_campaign_per_day,
            denied=frozenset() if limits.deny_list is None else read_denied(limits.deny_list),
        )

    def match_settings(self) -> MatchSettings:
        """What the matcher needs."""
        sources = self.all_sources()
        mapped = {source.name: _mapped(source) for source in sources}
        shows_egress = (name for name, specs in mapped.items() if specs & {"egress_trunk", "egress_address"})
        # A row that knows only when a call ended lies as far from the call's other rows as a call is long.
        reach = (s.max_call if mapped[s.name] & _TIMES == {"release"} else s.max_setup for s in sources)
        return MatchSettings(
            rival_margin=self.match.rival_margin,
            trusted_distance=self.match.trusted_distance,
            longest_setup=max(reach, default=timedelta(0)),
            sources_with_egress=frozenset(shows_egress),
        )


_TIMES: Final = frozenset(("seizure", "answer", "release", "duration"))


def _mapped(source: SourceMapping) -> frozenset[str]:
    """What is recorded in a source's rows, by its mapping or else by its format's own."""
    columns = source.columns
    if columns is None:
        from cdr_adapters.raw import AdapterError
        from cdr_adapters.registry import completed

        try:
            columns = completed(source).columns
        except AdapterError:  # check-config tells of it; records of which nobody knows anything say nothing
            return frozenset()
    return frozenset(columns.specs if columns else ())


def load(path: Path) -> AgentConfig:
    """Read and check the configuration in `path`.

    Raises:
        ConfigError: it can't be read, is no TOML, or has mistakes: all that can be found are listed.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), [Mistake("file", f"can't be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), [Mistake(f"byte {error.start}", "is not UTF-8: save the file as UTF-8")]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), [Mistake("TOML", f"{error}; texts need quotes")]) from None
    mistakes = _unknown_variables(os.environ)
    config: AgentConfig | None = None
    try:
        config = AgentConfig(**document)
    except ValidationError as error:
        mistakes += [_mistake(dict(detail), document) for detail in error.errors(include_url=False)]
    except SettingsError as error:
        mistakes.append(Mistake("environment", f"{error}: lists and tables are written as JSON"))
    mistakes += _twice(document.get("sources"), document.get("stores"))
    mistakes += _trunk_mistakes(document.get("trunks"))
    mistakes += [] if config is None else [*_lag_mistakes(config), *_identity_mistakes(config)]
    if mistakes or config is None:
        raise ConfigError(str(path), mistakes)
    return _resolved(config, path.resolve().parent)


def is_elsewhere(source: SourceMapping) -> bool:
    """Whether the files of a source are named by a URL."""
    return "://" in source.path


def source_files(source: SourceMapping) -> list[Path]:
    """The files that a source's path or pattern matches now, or that lie in the directory at its path, sorted by name.

    Hidden files in a directory are left out: those being written by many a transfer program are hidden.
    """
    pattern = Path(source.path)
    if pattern.is_dir():
        return sorted(file for file in pattern.iterdir() if file.is_file() and not file.name.startswith("."))
    if not any(character in source.path for character in "*?["):
        return [pattern] if pattern.is_file() else []
    anchor = Path(pattern.anchor)
    return sorted(file for file in anchor.glob(str(pattern.relative_to(anchor))) if file.is_file())


def _resolved(config: AgentConfig, base: Path) -> AgentConfig:
    listen, index, explain = config.listen, config.index, config.explain
    root_file = index.root_key_file
    return config.model_copy(
        update={
            "listen": listen.model_copy(
                update={name: base / getattr(listen, name) for name in ("certificate", "key", "roots")}
            ),
            "index": index.model_copy(
                update={
                    "directory": base / index.directory,
                    "root_key_file": None if root_file is None else base / root_file,
                }
            ),
            "explain": explain.model_copy(update={"directory": base / explain.directory}),
            "signing": None if config.signing is None else _paths_resolved(config.signing, base),
            "limits": _paths_resolved(config.limits, base),
            "audit": _paths_resolved(config.audit, base),
            "revocation": None if config.revocation is None else _paths_resolved(config.revocation, base),
            "sources": tuple(
                s if is_elsewhere(s) else s.model_copy(update={"path": str(base / s.path)}) for s in config.sources
            ),
            "stores": tuple(_store_resolved(store, base) for store in config.stores),
        }
    )


_T = TypeVar("_T", bound=BaseModel)


def _paths_resolved(table: _T, base: Path) -> _T:
    """The same table; relative paths in it count from `base`."""
    return table.model_copy(update={name: base / value for name, value in table if isinstance(value, Path)})


def _store_resolved(store: StoreTable, base: Path) -> StoreTable:
    files = {name: getattr(store, name) for name in ("password_file", "tls_roots")}
    changed: dict[str, Any] = {name: base / path for name, path in files.items() if path is not None}
    if store.path is not None and "://" not in store.path:
        changed["path"] = str(base / store.path)
    return store.model_copy(update=changed)


def _unknown_variables(environ: Mapping[str, str]) -> list[Mistake]:
    """Variables with our prefix whose table does not exist; keys within tables are checked with the tables."""
    tables = sorted(AgentConfig.model_fields)
    return [
        Mistake(f"environment variable {name}", f"unknown table {table!r}{meant(table, tables)}")
        for name in sorted(environ)
        if name.startswith(ENV_PREFIX)
        for table in [name[len(ENV_PREFIX) :].split(_NESTED)[0].lower()]
        if table not in tables
    ]


def _mistake(detail: Mapping[str, Any], document: Mapping[str, Any]) -> Mistake:
    location: tuple[str | int, ...] = detail["loc"]
    kind, key = detail["type"], location[-1]
    field = None
    if kind == "extra_forbidden":
        what = f"unknown key{meant(str(key), _keys_at(location[:-1]))}"
    else:
        parent = _model_at(location[:-1])
        field = parent.model_fields.get(str(key)) if parent else None
        message = str(detail["msg"]).removeprefix("Value error, ")
        what = "missing" if kind == "missing" else message[:1].lower() + message[1:]
    if field is not None and field.examples and kind != "value_error":
        what += f": write for example {key} = {json.dumps(field.examples[0])}"
    variable = ENV_PREFIX + _NESTED.join(str(part) for part in location).upper()
    if variable in os.environ:
        return Mistake(f"environment variable {variable}", what)
    return Mistake(where_is(location, document), what)


def _model_at(location: Sequence[str | int]) -> type[BaseModel] | None:
    model: type[BaseModel] | None = AgentConfig
    for part in location:
        if isinstance(part, str) and model is not None:
            field = model.model_fields.get(part)
            model = _model_in(field.annotation) if field else None
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_model_in(argument) for argument in typing.get_args(annotation))
    return next((model for model in inner if model is not None), None)


def _keys_at(location: Sequence[str | int]) -> list[str]:
    model = _model_at(location)
    return sorted(model.model_fields) if model else []


def _twice(*lists: object) -> list[Mistake]:
    """Sources and stores of one name: what is covered and where a record lies is told by name."""
    mistakes = []
    seen: set[str] = set()
    for key, found in zip(("sources", "stores"), lists, strict=True):
        tables = [table for table in found if isinstance(table, dict)] if isinstance(found, list) else []
        for number, name in enumerate(table.get("name") for table in tables):
            if not isinstance(name, str):
                continue
            if name in seen:
                where = where_is((key, number), {key: tables})
                mistakes.append(Mistake(where, f"there is another source {name!r}: rename one"))
            seen.add(name)
    return mistakes


def _lag_mistakes(config: AgentConfig) -> list[Mistake]:
    """Lags of sources that there are not: one that was renamed would silently have none."""
    names = [source.name for source in config.sources]
    return [
        Mistake(f"watch.lag.{name}", f"there is no source {name!r}{meant(name, names)}")
        for name in config.watch.lag
        if name not in names
    ]


def _identity_mistakes(config: AgentConfig) -> list[Mistake]:
    found = identity_mistakes(
        address=config.listen.address,
        coordinators=config.listen.coordinators,
        signs=config.signing is not None,
        dial_out=config.dial_out,
        enrolment=config.enrolment,
        revocation=config.revocation,
    )
    return [Mistake(told.where, told.what) for told in found]


def _trunk_mistakes(tables: object) -> list[Mistake]:
    """What is wrong between and within the trunk tables that can be read one by one."""
    readable: list[tuple[str, TrunkEntry]] = []
    mistakes: list[Mistake] = []
    for number, table in enumerate(tables if isinstance(tables, list) else []):
        where = where_is(("trunks", number), {"trunks": tables})
        try:
            readable.append((where, TrunkTable.model_validate(table).entry()))
        except ValidationError:
            continue  # said elsewhere
        except InvalidTrunkError as error:
            mistakes.append(Mistake(where, str(error)))
    for (_, one), (where, other) in combinations(readable, 2):
        if (what := _clash(one, other)) is not None:
            mistakes.append(Mistake(where, what))
    return mistakes


def _clash(one: TrunkEntry, other: TrunkEntry) -> str | None:
    together = one.valid_from < other.valid_to and other.valid_from < one.valid_to
    if not together or not one.direction.carries(other.direction):
        return None
    if one.name is not None and one.name == other.name:
        return (
            f"trunk {one.name!r} is there twice for the same direction and time ({one.party} and {other.party}): "
            "date the entries with valid_from and valid_to, or make them one"
        )
    shared = set(one.networks) & set(other.networks)
    if one.name is None and other.name is None and one.party != other.party and shared:
        return (
            f"{', '.join(sorted(map(str, shared)))} belongs to {one.party} and to {other.party} at the same time: "
            "date the entries, or tell them apart by trunk name"
        )
    return None
