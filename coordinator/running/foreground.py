"""Driving tracebacks in the foreground of a command: one with its chain growing before one's eyes, or many with a bar.

Everything is stored before it is shown, so that an interruption (Ctrl-C) loses nothing: `resume` goes on.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta

import click

from coordinator.config import LoadedConfig
from coordinator.present.chains import counted, heading, status_lines, summary_table, traceback_json, whole
from coordinator.present.explain import BY_TASK
from coordinator.present.live import ChainLines, GrowingChain, Silent, console, progress_bar
from coordinator.running.contesting import Contester
from coordinator.running.eliminating import Eliminator
from coordinator.running.leases import owner_name
from coordinator.runtime import SystemClock, carry_on
from coordinator.store.sql_store import SqlStore
from coordinator.tracing.chain import Status, Traceback
from coordinator.tracing.ports import Kept, Lease, Registry, Watcher
from protos.renewal import Party

INTERRUPTED = 130
_LOOKS_AGAIN = timedelta(seconds=2)
"""So often a command looks whether an agent is back."""


@dataclass(frozen=True, slots=True)
class Office:
    """Everything that tracebacks are driven with."""

    loaded: LoadedConfig
    store: SqlStore
    registry: Registry
    party: Party
    owner: str = field(default_factory=owner_name)

    def lease(self) -> Lease:
        """A lease for this command, from now on."""
        now = SystemClock().now()
        return Lease(self.owner, now, now + self.loaded.config.limits.lease)

    def reopen(self, traceback_id: uuid.UUID) -> Kept | None:
        """Claim a closed traceback, so that its last provider is asked again; None if another process has it."""
        claimed = asyncio.run(self.store.claim_these(self.lease(), [traceback_id], closed_too=True))
        return claimed[0] if claimed else None

    def trace_one(
        self, kept: Kept, *, as_json: bool, show_numbers: bool, claimed: bool = True, reopen: bool = False
    ) -> None:
        """Drive one traceback, show its chain growing, and end with its table and status, or with its JSON.

        `claimed` says that this command has it already; else it is claimed, or watched while another process has it.
        """
        screen = console()
        growing: AbstractContextManager[Watcher]
        if as_json:
            growing = nullcontext(Silent())
        elif screen.is_terminal:
            growing = GrowingChain(screen, show_numbers=show_numbers)
        else:
            click.echo(heading(kept.traceback, show_numbers=show_numbers).plain)
            growing = nullcontext(ChainLines())
        with growing as watcher:
            mine, others = ([kept], []) if claimed else ([], [kept.traceback.id])
            [done] = self._run(mine, others, watcher, reopen=reopen)
        if as_json:
            click.echo(json.dumps(traceback_json(done), ensure_ascii=False, indent=2))
        elif screen.is_terminal:
            screen.print(whole(done, show_numbers=show_numbers))
        else:
            click.echo("\n  ".join(status_lines(done)))

    def trace_many(
        self,
        ids: Sequence[uuid.UUID],
        *,
        as_json: bool,
        lines: Mapping[uuid.UUID, int] | None = None,
        rejected: int = 0,
    ) -> None:
        """Drive many tracebacks; end with a summary, or write each as one line of JSON as it comes to rest.

        `lines` says which line of a file each came from; `rejected` is how many lines never became one.
        """
        with progress_bar(console(stderr=True)) as bar:
            task = bar.add_task("Tracing", total=len(ids))

            def came_to_rest(traceback: Traceback) -> None:
                bar.advance(task)
                if as_json:
                    line = {"line": lines[traceback.id]} if lines else {}
                    click.echo(json.dumps(line | traceback_json(traceback), ensure_ascii=False))

            done = self._run((), ids, Silent(), each=came_to_rest)
        if not as_json:
            _summarise(done, rejected)

    async def _looked_for(self, many: Iterable[Traceback]) -> list[uuid.UUID]:
        """Those whose provider has been silent for a short time only, to be gone on with; says what is waited for."""
        clock, longest = SystemClock(), self.loaded.config.limits.foreground
        first = clock.now() + _LOOKS_AGAIN - longest
        waiting = [one for one in many if one.status is Status.RETRYING]
        silent = [one for one in waiting if (one.hops[-1].silent_since or first) > first]
        if not silent:
            return []
        providers = sorted({one.hops[-1].provider for one in silent})
        click.echo(f"Waiting for {', '.join(providers)}: no answer yet to {counted(len(silent), 'call')}.", err=True)
        await clock.sleep_until(clock.now() + _LOOKS_AGAIN)
        for provider in providers:
            await self.store.wake(provider, clock.now())
        return [one.id for one in silent]

    def _eliminator(self) -> Eliminator:
        patience = self.loaded.config.limits.driver.patience
        return Eliminator(self.store.engine, self.store, SystemClock().now, self.owner, patience=patience)

    def _contester(self) -> Contester:
        patience = self.loaded.config.limits.driver.patience
        return Contester(self.store.engine, self.store, SystemClock().now, self.owner, patience=patience)

    def _run(
        self,
        claimed: Sequence[Kept],
        ids: Sequence[uuid.UUID],
        watcher: Watcher,
        *,
        reopen: bool = False,
        each: Callable[[Traceback], None] | None = None,
    ) -> list[Traceback]:
        def driven(claimed: Sequence[Kept], ids: Sequence[uuid.UUID], *, reopen: bool) -> AsyncIterator[Traceback]:
            return carry_on(
                claimed,
                ids,
                owner=self.owner,
                loaded=self.loaded,
                party=self.party,
                store=self.store,
                registry=self.registry,
                watcher=watcher,
                reopen=reopen,
            )

        async def run() -> list[Traceback]:
            done: dict[uuid.UUID, Traceback] = {}
            wanted = [*(kept.traceback.id for kept in claimed), *ids]
            unsure = self._contester().with_others(wanted)
            resting = driven(claimed, ids, reopen=reopen)
            while True:
                async for traceback in resting:
                    done[traceback.id] = traceback
                    if each is not None and traceback.status not in _MAY_GO_ON and traceback.id not in unsure:
                        each(traceback)
                # what they all found may contest what was found, and settle what was ambiguous; and who did not
                # answer may be back
                again = await self._contester().take(unsure & set(done))
                again += await self._eliminator().take([one.id for one in done.values() if _is_ambiguous(one)])
                again += await self._looked_for(done.values())
                if not again:
                    break
                resting = driven((), again, reopen=False)
            found = [done[one] for one in wanted if one in done]
            for traceback in found:
                if each is not None and (traceback.status in _MAY_GO_ON or traceback.id in unsure):
                    each(traceback)
            return found

        try:
            return asyncio.run(run())
        except KeyboardInterrupt:
            click.echo("Stopped. Nothing is lost: go on with `hopback-coordinator resume`.", err=True)
            raise SystemExit(INTERRUPTED) from None


_MAY_GO_ON = frozenset({Status.AMBIGUOUS, Status.RETRYING})


def _is_ambiguous(traceback: Traceback) -> bool:
    return traceback.status is Status.AMBIGUOUS


def _summarise(done: Sequence[Traceback], rejected: int) -> None:
    counts = Counter(traceback.status for traceback in done)
    if counts:
        console().print(summary_table(counts))
    click.echo(
        counted(len(done), "call") + " traced" + (f", {counted(rejected, 'row')} rejected." if rejected else ".")
    )
    waiting = sum(count for status, count in counts.items() if not status.phase.rests)
    if waiting:
        click.echo(f"Still open: {waiting:,}; go on with `hopback-coordinator resume` later.")
    if people := counts[Status.AWAITING_PERSON]:
        click.echo(f"Waiting for people's answers: {people:,}; see `hopback-coordinator tasks list`.")
    if without := counts[Status.NO_AGENT]:
        click.echo(f"Without an agent, so that a person is asked: {without:,}; {BY_TASK}.")
    if held := counts[Status.NEEDS_HUMAN]:
        click.echo(f"Held for approval: {held:,}; `hopback-coordinator run` writes to those who hold for long.")
