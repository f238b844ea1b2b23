"""`hopback-agent watch`: the process that follows the sources and indexes what comes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

import click

from agent.commands.frame import CONFIG, EXIT_DATA, chosen_sources, failures

if TYPE_CHECKING:
    from agent.config import AgentConfig
    from agent.index.keys import Keys
    from agent.ingest import IngestReport, Read
    from agent.remembered import Remembered
    from agent.watch import Followed, Take
    from cdr_adapters.mapping import SourceMapping

_WAIT_FOR_WRITER_S: Final = 60.0
_SETTLE_S: Final = 3.0
_COPIES_AT_ONCE: Final = 16


@click.command()
@CONFIG
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option("--once", is_flag=True, help="Index what is there and at rest, then end; for a timer.")
@click.option(
    "--ready-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write how many files wait to be read there after every look; removed at the end.",
)
def watch(config: Path, sources: tuple[str, ...], once: bool, ready_file: Path | None) -> None:
    """Follow all sources in CONFIG, or each SOURCE named, and index what comes, until SIGTERM or SIGINT.

    Follows directories, files that grow or are rotated, SFTP servers and object stores. A running agent serves what is
    new at once. Files that can't be read are told and tried again later; a full disk is told, and indexing goes on by
    itself when there is room. One such process a directory; `index` and upkeep may run beside it.

    \b
    hopback-agent watch /etc/hopback/agent.toml
    hopback-agent watch /etc/hopback/agent.toml switch-1 --once
    """
    with failures():
        import sys

        import structlog

        from agent.config import load
        from agent.inspection import read_keys
        from agent.notify import READY, STOPPING, notify, status
        from agent.places import Here
        from agent.remembered import Remembered
        from agent.run import configure_log
        from agent.wakeups import Wakeups
        from agent.watch import Clocks, Watch
        from cdr_adapters.isolated import Worker

        loaded = load(config)
        keys = read_keys(loaded)
        configure_log(loaded.log.format, loaded.log.level)
        wakeups = Wakeups()
        ending = _Ending(wakeups.set)
        with ExitStack() as stack:
            stack.callback(wakeups.close)
            stack.enter_context(ending)
            worker = stack.enter_context(Worker())
            remembered = Remembered(loaded.index.directory)
            followed = [_followed(source, loaded, remembered) for source in chosen_sources(loaded, sources)]
            take = _take(loaded, keys, worker.read_packed, ending.asked)
            following = Watch(followed, take, structlog.get_logger(), Clocks(lambda: datetime.now(UTC), monotonic))

            def looked() -> None:
                wakeups.listen(
                    directory
                    for one in followed
                    if isinstance(one.place, Here) and (directory := one.place.directory()) is not None
                )
                said = "; ".join(following.troubles) or f"{following.unread} files wait to be read"
                notify(status(said))
                if ready_file is not None:
                    ready_file.write_text(f"{following.unread}\n")

            if once:
                rest_s = loaded.watch.rest.total_seconds()
                if not following.catch_up(wakeups.wait, ending.asked, rest_s + _SETTLE_S):
                    sys.exit(EXIT_DATA)
                return
            if ready_file is not None:
                stack.callback(ready_file.unlink, missing_ok=True)
            notify(READY)
            following.run(wakeups.wait, ending.asked, looked)
            notify(STOPPING)


def _followed(source: SourceMapping, config: AgentConfig, remembered: Remembered) -> Followed:
    from agent.config import is_elsewhere
    from agent.following import Following
    from agent.index.errors import IndexWriteError
    from agent.ingest import mapping_digest
    from agent.places import Elsewhere, Here
    from agent.slices import heading_lines
    from agent.watch import Followed

    settings = config.watch
    digest = mapping_digest(source, config.formats())
    is_far = is_elsewhere(source)
    following = Following(
        in_lines=heading_lines(source) is not None,
        every_s=settings.every.total_seconds(),
        rest_s=settings.rest.total_seconds(),
        read_before=remembered.read_before(source.name, digest) if is_far else None,
    )
    lag = settings.lag.get(source.name)
    if not is_far:
        return Followed(source, Here(source), following, settings.every.total_seconds(), lag)

    def remember(files: Mapping[str, Hashable]) -> None:
        try:
            remembered.remember(source.name, digest, files)
        except OSError as error:
            raise IndexWriteError(config.index.directory, error.strerror or str(error)) from None

    look_every_s = settings.remote_every.total_seconds()
    return Followed(source, Elsewhere(source.path), following, look_every_s, lag, _COPIES_AT_ONCE, remember)


def _take(
    config: AgentConfig,
    keys: Keys,
    read: Read,
    asked_to_end: Callable[[], bool],
) -> Take:
    from agent.ingest import ingest
    from agent.watch import StoppedError

    def stop_in_time(path: Path, calls: int) -> None:
        del path, calls
        if asked_to_end():
            raise StoppedError

    def take(source: SourceMapping, paths: Sequence[Path], complete_until: datetime | None) -> IngestReport:
        return ingest(
            paths,
            source,
            config.formats(),
            config.index.directory,
            keys,
            datetime.now(UTC),
            complete_until=complete_until,
            retention=config.index.retention,
            following=True,
            progress=stop_in_time,
            read=read,
            patience_s=_WAIT_FOR_WRITER_S,
        )

    return take


class _Ending:
    """Whether this process was asked to end, by SIGTERM or SIGINT; `tell` is called at once."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self._asked = False
        self._before: dict[int, object] = {}

    def asked(self) -> bool:
        return self._asked

    def _ask(self, number: int, frame: object) -> None:
        del number, frame
        self._asked = True
        self._tell()

    def __enter__(self) -> _Ending:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type] # what it gave
