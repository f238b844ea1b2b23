"""What a [[stores]] table of an agent's configuration may say: where the table is, and what its columns mean.

The keys that say what columns mean are those of [[sources]]. Refused: unknown keys, keys of another engine, a password
(it comes from a file, the environment or a systemd credential: `agent.stores.secrets`).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from cdr_adapters.column_specs import Columns
from cdr_adapters.durations import PositiveDuration
from cdr_adapters.mapping import SourceMapping

EngineName = Literal["postgresql", "mysql", "clickhouse", "parquet"]
CalledName = Literal["called_in", "called_out"]
_SERVED: Final[tuple[str, ...]] = ("table", "host", "port", "database", "connections", "tls", "tls_roots")
_IN_OBJECTS: Final[tuple[str, ...]] = ("path", "region", "endpoint")
_OF_MAPPINGS: Final[tuple[str, ...]] = (
    "where",
    "zone",
    "clock_offset",
    "max_setup",
    "max_call",
    "own_addresses",
    "columns",
)


def _template(text: str) -> str:
    if text.count("{}") != 1:
        raise ValueError(f"{text!r}: write {{}} once, where the number stands, such as 'sip:{{}}@203.0.113.5'")
    return text


def _aware(value: datetime) -> datetime:
    if value.utcoffset() is None:
        raise ValueError("has no zone: nobody can tell which moment this is; write it as 2026-01-01T00:00:00Z")
    return value


def _longer_than_zero(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be more than 0s")
    return value


_Timeout = Annotated[PositiveDuration, AfterValidator(_longer_than_zero)]
_Template = Annotated[str, AfterValidator(_template)]


class StoreTable(BaseModel):
    """One of `[[stores]]`: a table in a database, or Parquet files under a path.

    Attributes:
        table: its name, with the schema's or database's before it where needed: `cdr.calls`.
        host: a name, an address, or the path of a socket (a directory for PostgreSQL).
        tls: `off`, `require` (encrypted, whoever answers) or `verify`; by default `verify` for all hosts but this one.
        user, password_file: see `secrets`; for object storage the access key's id, and the file with its secret.
        path: files, a directory, or `s3://bucket/prefix`.
        statement_timeout: a statement that takes longer is ended; max_rows: one that brings more is no answer.
        lag: rows are in the table at the latest this long after their call's time; without it, the table's newest row
            says until when it is complete.
        complete_from: the table has all calls from then on; without it, from its oldest row.
        retention: rows older than this may be gone from the table; by default the agent's.
        written: how numbers stand in the columns called_in and called_out, where they are more than the bare number.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    engine: EngineName
    table: Annotated[str, Field(min_length=1)] | None = None
    host: Annotated[str, Field(min_length=1)] = "localhost"
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    database: Annotated[str, Field(min_length=1)] | None = None
    user: Annotated[str, Field(min_length=1)] | None = None
    password_file: Path | None = None
    tls: Literal["off", "require", "verify"] | None = None
    tls_roots: Path | None = None
    path: Annotated[str, Field(min_length=1)] | None = None
    region: str | None = None
    endpoint: str | None = None
    connections: Annotated[int, Field(ge=1, le=64)] = 4
    connect_timeout: _Timeout = timedelta(seconds=3)
    statement_timeout: _Timeout = timedelta(seconds=2)
    max_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    lag: PositiveDuration | None = None
    complete_from: Annotated[datetime, AfterValidator(_aware)] | None = None
    retention: _Timeout | None = None
    written: dict[CalledName, tuple[_Template, ...]] = Field(default_factory=dict)
    where: dict[str, str | list[str]] = Field(default_factory=dict)
    zone: str | None = None
    clock_offset: Any = timedelta(0)
    max_setup: Any = timedelta(seconds=180)
    max_call: Any = timedelta(hours=24)
    own_addresses: tuple[str, ...] = ()
    columns: Columns

    @model_validator(mode="after")
    def _whole(self) -> Self:
        said = self.model_fields_set
        if self.engine == "parquet":
            if self.path is None:
                raise ValueError("missing path: write for example path = 's3://bucket/cdr'")
            strangers = [key for key in _SERVED if key in said]
        else:
            if self.table is None:
                raise ValueError("missing table: write for example table = 'cdr.calls'")
            strangers = [key for key in _IN_OBJECTS if key in said]
        if strangers:
            raise ValueError(f"{', '.join(strangers)} is nothing that engine {self.engine!r} knows: leave it out")
        for name in self.written:
            if getattr(self.columns, name) is None:
                raise ValueError(f"written.{name}: columns.{name} is not mapped")
        self.mapping()  # its keys are checked as those of a source are
        return self

    def mapping(self) -> SourceMapping:
        """What the columns mean, as the mapping layer takes it."""
        said = self.model_fields_set.intersection(_OF_MAPPINGS)
        return SourceMapping.model_validate(
            {key: getattr(self, key) for key in said}
            | {"name": self.name, "path": self.table or self.path, "format": self.engine}
        )

    @property
    def is_local(self) -> bool:
        """Whether the host is this machine."""
        return self.host in ("localhost", "127.0.0.1", "::1") or self.host.startswith("/")

    @property
    def tls_mode(self) -> Literal["off", "require", "verify"]:
        """How the connection is protected."""
        return self.tls or ("off" if self.is_local else "verify")
