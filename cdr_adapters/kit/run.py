"""How every command of the kit begins and ends: a subject to work on, messages, exit codes.

0; 1: the file differs from what was expected of it, or nobody can be named; 2: the command line is wrong; 65: the file
can't be read as asked; 78: a mapping is wrong. Light: imported before anything heavy is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

if TYPE_CHECKING:
    from cdr_adapters.kit.ports import AgentFiles
    from cdr_adapters.kit.subject import Subject
    from cdr_adapters.kit.wanted import Wanted

EXIT_DIFFERS: Final = 1
EXIT_DATA: Final = 65
EXIT_CONFIG: Final = 78


def print_json(value: Any) -> None:
    """Data on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def fail(message: str, code: int) -> NoReturn:
    """End with a message."""
    click.echo(f"hopback-cdr: {message}", err=True)
    sys.exit(code)


@contextmanager
def told() -> Iterator[None]:
    """Turn what a person can do something about into a message and an exit code."""
    from cdr_adapters.mapping import MappingError
    from cdr_adapters.raw import AdapterError

    try:
        yield
    except MappingError as error:
        fail(str(error), EXIT_CONFIG)
    except AdapterError as error:
        fail(str(error), EXIT_DATA)


@contextmanager
def subject(file: str, wanted: Wanted, agent: AgentFiles | None) -> Iterator[Subject]:
    """FILE and how it is read, for as long as it is needed; ends the program where either is wrong."""
    from cdr_adapters.kit.params import local_file
    from cdr_adapters.kit.subject import subject_of
    from cdr_adapters.mapping import MappingError
    from cdr_adapters.raw import AdapterError
    from cdr_adapters.read import check_source

    with told(), local_file(file) as path:
        found = subject_of(path, file, wanted, agent)
        try:
            check_source(found.mapping.source, found.mapping.formats)
        except AdapterError as error:
            raise MappingError(str(error)) from None
        yield found


def write_whole(path: Path, content: str) -> None:
    """A small file, at once or not at all; one that is there already is refused.

    Raises:
        click.UsageError: it is there, or can't be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(content)
    except FileExistsError:
        raise click.UsageError(f"{path} is there already: move it away, or choose another name.") from None
    except OSError as error:
        raise click.UsageError(f"{path} can't be written: {error.strerror}.") from None
