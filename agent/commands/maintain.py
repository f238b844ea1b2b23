"""`hopback-agent maintain`: what an index needs from time to time, at the lowest priority."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.commands.frame import AS_JSON, CONFIG, console, failures

if TYPE_CHECKING:
    from rich.console import RenderableType

    from agent.maintenance import Maintained


class _Share(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4, here from 8.1
    """A part of the whole, such as 3/24, or all."""

    name = "PART/PARTS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        if value == "all":
            return 1, 1
        part, slash, parts = str(value).partition("/")
        if not slash or not part.isdecimal() or not parts.isdecimal() or not 1 <= int(part) <= int(parts):
            self.fail("write a part such as 3/24, or all", param, ctx)
        return int(part), int(parts)


@click.command()
@CONFIG
@click.option("--suspect", "suspects", multiple=True, metavar="SEGMENT", help="Read this segment for broken pages.")
@click.option("--scrub", type=_Share(), help="Read a share of all segments for broken pages, such as 3/24, or all.")
@AS_JSON
def maintain(config: Path, suspects: tuple[str, ...], scrub: tuple[int, int] | None, as_json: bool) -> None:
    """Destroy what is older than the retention, merge small segments, put broken ones aside.

    A running agent does this by itself every few minutes; here it is done once, for instance from cron where no agent
    runs. Indexing and answering may go on meanwhile.

    \b
    hopback-agent maintain /etc/hopback/agent.toml
    hopback-agent maintain /etc/hopback/agent.toml --scrub all
    """
    with failures():
        from agent.config import load
        from agent.inspection import read_keys
        from agent.maintenance import be_humble, maintain

        be_humble()
        loaded = load(config)
        done = maintain(
            loaded.index.directory,
            read_keys(loaded),
            datetime.now(UTC),
            loaded.index.retention,
            suspects=suspects,
            scrub=scrub,
        )
        if as_json:
            click.echo(json.dumps(maintained_json(done), indent=2))
        else:
            console().print(maintained_text(done))


def maintained_json(done: Maintained) -> dict[str, Any]:
    """What was done, for machines."""
    from agent.index.layout import time_of

    return {
        "expired_days": done.expired_days,
        "expired_files": done.expired_files,
        "merged": done.merged,
        "into": done.into,
        "lost": [
            {
                "segment": loss.segment,
                "source": loss.source,
                "earliest": time_of(loss.from_ms).isoformat(),
                "latest": time_of(loss.to_ms).isoformat(),
                "reason": loss.reason,
            }
            for loss in done.lost
        ],
        "busy": done.busy,
    }


def maintained_text(done: Maintained) -> RenderableType:
    """What was done, a line for each kind."""
    from rich.console import Group
    from rich.text import Text

    from agent.index.layout import time_of

    lines = [
        Text(f"destroyed: {done.expired_days:,} days of rows, {done.expired_files:,} source files forgotten"),
        Text(f"merged: {done.merged:,} segments into {done.into:,}"),
    ]
    for loss in done.lost:
        span = f"{time_of(loss.from_ms):%Y-%m-%d %H:%M:%SZ} to {time_of(loss.to_ms):%Y-%m-%d %H:%M:%SZ}"
        lines.append(
            Text(
                f"put aside: {loss.segment} of source {loss.source}, {span}: {loss.reason}; "
                f"index its {len(loss.files)} source files again",
                style="red",
            )
        )
    if done.busy:
        lines.append(Text("another process was writing: the rest is left for another time", style="yellow"))
    return Group(*lines)
