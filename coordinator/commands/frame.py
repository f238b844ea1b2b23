"""What the commands share: configuration and store, options, errors with their exit codes, output.

Heavy imports happen inside functions, so that --help is quick.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import RenderableType
    from sqlalchemy import Engine

    from coordinator.config import ConfigError, LoadedConfig
    from coordinator.registry import RegistrySnapshot
    from coordinator.running.foreground import Office
    from coordinator.store.sql_store import SqlStore
    from coordinator.tracing.ports import Kept

BAD_DATA = 65


class Failed(click.ClickException):
    """An error that ends the command; several problems are listed one a line."""

    def __init__(self, *problems: str) -> None:
        super().__init__(problems[0] if len(problems) == 1 else "\n  " + "\n  ".join(problems))


class BadData(Failed):
    """What was handed in can't be used (EX_DATAERR)."""

    exit_code = BAD_DATA


class DatabaseFailed(Failed):
    """The database could not be read or written (EX_IOERR)."""

    exit_code = 74


class Misconfigured(Failed):
    """The configuration can't be used (EX_CONFIG)."""

    exit_code = 78


def now() -> datetime:
    """The present time, aware UTC."""
    return datetime.now(UTC)


config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("coordinator.toml"),
    show_default=True,
    envvar="HOPBACK_COORDINATOR_CONFIG",
    help="The configuration file.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON; numbers stand in it in full.")
numbers_option = click.option("--show-numbers", is_flag=True, help="Show telephone numbers in full.")


def loaded_config(path: Path) -> LoadedConfig:
    """The configuration; what is wrong with it ends the command."""
    from coordinator.config import ConfigError, load

    try:
        return load(path)
    except ConfigError as error:
        raise misconfigured(error) from None


def misconfigured(error: ConfigError) -> Misconfigured:
    """The same as the command's error, every problem with its file."""
    return Misconfigured(*(f"{error.path}: {problem}" for problem in error.problems))


@contextmanager
def opened_store(config_path: Path) -> Iterator[tuple[LoadedConfig, SqlStore]]:
    """Configuration and store; what is wrong with either ends the command with its exit code."""
    from coordinator.config import load
    from coordinator.runtime import open_store

    with _failures_ended():
        loaded = load(config_path)
        with open_store(loaded) as store:
            yield loaded, store


@contextmanager
def opened_engine(config_path: Path) -> Iterator[tuple[LoadedConfig, Engine]]:
    """Configuration and database, its tables checked; what is wrong with either ends the command with its exit code."""
    from coordinator.config import ConfigError, load
    from coordinator.store.engine import StoreError, engine_for, require_current

    with _failures_ended():
        loaded = load(config_path)
        try:
            with engine_for(loaded.store_url) as engine:
                require_current(engine)
                yield loaded, engine
        except StoreError as error:
            raise ConfigError(loaded.file, [f"store.url: {error}"]) from None


@contextmanager
def _failures_ended() -> Iterator[None]:
    from sqlalchemy.exc import SQLAlchemyError

    from coordinator.config import ConfigError
    from protos.codec import ContractError

    try:
        yield
    except ConfigError as error:
        raise misconfigured(error) from None
    except SQLAlchemyError as error:
        raise DatabaseFailed(f"the database failed: {getattr(error, 'orig', None) or type(error).__name__}") from None
    except ContractError as error:
        raise DatabaseFailed(
            f"the database holds a question or an answer that can't be read ({error}): another version wrote it, or it "
            "is damaged"
        ) from None


def office_of(loaded: LoadedConfig, store: SqlStore) -> Office:
    """Everything that a traceback is driven with; keys and certificates are checked here, before it is submitted."""
    from coordinator.party import party_of
    from coordinator.running.foreground import Office

    return Office(loaded, store, snapshot(store), party_of(loaded, now()))


def snapshot(store: SqlStore) -> RegistrySnapshot:
    """The registry as it is now."""
    from coordinator.registry import RegistrySnapshot

    return RegistrySnapshot(store.providers())


def find_traceback(store: SqlStore, name: str) -> Kept:
    """The traceback whose id begins with `name`."""
    found = store.find(name, limit=5)
    if not found:
        raise click.UsageError(f"no traceback has an id that begins with {name!r}: see `hopback-coordinator list`")
    if len(found) > 1:
        raise click.UsageError(f"several tracebacks begin with {name!r}: " + ", ".join(str(i)[:13] for i in found))
    kept = store.load(found[0])
    assert kept is not None  # noqa: S101  nothing deletes tracebacks
    return kept


def text_of(file: Path) -> str:
    """The text of a file that was handed in; a file that is no text ends the command."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"{file} can't be read as UTF-8 text: {error}") from None


def show_rich(renderable: RenderableType) -> None:
    """Print for people."""
    from coordinator.present.live import console

    console().print(renderable)


def write_json(value: Any) -> None:
    """Print for programs."""
    import json

    click.echo(json.dumps(value, ensure_ascii=False, indent=2))
