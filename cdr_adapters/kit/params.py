"""What may be written on `hopback-cdr`'s command line: files here and elsewhere, formats, a reader's options, zones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from cdr_adapters.kit.wanted import Wanted, parse_option

Command = TypeVar("Command", bound=Callable[..., Any])

LOCAL = click.Path(exists=True, dir_okay=False, path_type=Path)
OUT = click.Path(dir_okay=False, path_type=Path)


def is_remote(text: str) -> bool:
    """Whether a file is named by a URL: s3://, sftp://, gs://, file://, ..."""
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme.isalnum()


class Records(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4, here from 8.1
    """A file of call records: a path, a directory of rotated captures, or a URL."""

    name = "FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not is_remote(value) and not Path(value).exists():
            self.fail(f"there is no {value!r}.", param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        del ctx, param
        return [CompletionItem(incomplete, type="file")]


class FormatName(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4, here from 8.1
    """The name of a format."""

    name = "FORMAT"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        del ctx, param
        from cdr_adapters import registry

        return [CompletionItem(name) for name in registry.names() if name.startswith(incomplete)]


class ZoneName(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4, here from 8.1
    """An IANA time zone."""

    name = "ZONE"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        del ctx, param
        from zoneinfo import available_timezones

        return [CompletionItem(zone) for zone in sorted(available_timezones()) if zone.startswith(incomplete)]


class Option(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4, here from 8.1
    """`key=value`."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        try:
            return parse_option(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


FILE = click.argument("file", type=Records())
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
SHOW_NUMBERS = click.option("--show-numbers", is_flag=True, help="Show telephone numbers in full.")

_HOW = (
    click.option("--mapping", type=LOCAL, help="TOML with the keys of one [[sources]] table."),
    click.option("--config", type=LOCAL, help="An agent.toml: its source for this file, and its trunks."),
    click.option("--source", metavar="NAME", help="Which source of --config; by default the one whose path fits."),
    click.option("--format", "format_", type=FormatName(), help="The format, instead of the mapping's or the file's."),
    click.option("--zone", type=ZoneName(), help="The zone of times that don't say theirs, such as America/New_York."),
    click.option(
        "--option", "options", type=Option(), multiple=True, help="An option of the format; may be given often."
    ),
)


def how_it_is_read(command: Command) -> Command:
    """The options that say how FILE is read; the command gets them as one `wanted`."""
    from functools import wraps

    @wraps(command)
    def gathered(
        *arguments: Any,
        mapping: Path | None,
        config: Path | None,
        source: str | None,
        format_: str | None,
        zone: str | None,
        options: tuple[tuple[str, Any], ...],
        **rest: Any,
    ) -> Any:
        wanted = Wanted(mapping, config, source, format_, zone, dict(options))
        return command(*arguments, wanted=wanted, **rest)

    decorated: Any = gathered
    for option in reversed(_HOW):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]  # click's decorators give back what they got


@contextmanager
def local_file(file: str) -> Iterator[Path]:
    """FILE as a path on this machine; what is elsewhere is fetched for as long as it is needed.

    Raises:
        AdapterError: it can't be fetched.
    """
    if not is_remote(file):
        yield Path(file)
        return
    from importlib import import_module

    with import_module("cdr_adapters.remote").localised(file) as path:
        yield path
