"""Plain Python behind the driver's ports: a clock that jumps, a store that forgets nothing, agents from a script."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from coordinator.tracing.chain import Traceback
from coordinator.tracing.ports import Change, Provider, Reply
from protos.codec import decode_question, digest, encode_answer
from protos.identity import ProviderId
from protos.types import Answer, Question
from tests.coordinator.make import NOW, provider

Script = Answer | Exception | Callable[[Question], Answer]


class JumpingClock:
    """Sleeping moves it; nothing else does, so that a test takes no time."""

    def __init__(self, now: datetime = NOW) -> None:
        self._now = now
        self.slept: list[timedelta] = []

    def now(self) -> datetime:
        return self._now

    def advance(self, by: timedelta) -> None:
        self._now += by

    async def sleep_until(self, time: datetime) -> None:
        self.slept.append(time - self._now)
        self._now = max(self._now, time)
        await asyncio.sleep(0)


class MemoryStore:
    """Keeps the last state and every change, and fences by version as a store must."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.versions: dict[uuid.UUID, int] = defaultdict(int)
        self.fail_after: int | None = None

    async def wake(self, provider: ProviderId, now: datetime) -> int:
        del provider, now
        return 0

    async def save(self, changes: Sequence[Change]) -> set[int]:
        await asyncio.sleep(0)
        stale = set()
        for index, change in enumerate(changes):
            if self.fail_after is not None and len(self.changes) >= self.fail_after:
                raise OSError("no space left on device")
            if self.versions[change.before.id] != change.version:
                stale.add(index)
                continue
            self.versions[change.before.id] += 1
            self.changes.append(change)
        return stale

    def last(self, traceback_id: uuid.UUID) -> Traceback:
        return [change.after for change in self.changes if change.after.id == traceback_id][-1]


class ScriptedAgents:
    """Each provider answers from its list, the last entry for ever; every question is noted."""

    def __init__(self, **scripts: list[Script]) -> None:
        self._scripts = scripts
        self.asked: list[Question] = []
        self.running = 0
        self.most_running = 0
        self.before_asking: Callable[[Question], None] | None = None

    async def ask(self, provider: Provider, question: Question, exact: bytes, timeout: timedelta) -> Reply:
        if self.before_asking is not None:
            self.before_asking(question)
        assert decode_question(exact) == question
        assert timeout > timedelta(0)
        self.asked.append(question)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        script = self._scripts[provider.id]
        answer = script[0] if len(script) == 1 else script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, Answer):
            answer = answer(question)
        return Reply(answer, encode_answer(answer, digest(exact)))


class NamedProviders:
    """A registry of the given providers; those after `without_agent` are known but have none."""

    def __init__(self, *names: str, without_agent: tuple[str, ...] = ()) -> None:
        self._entries = {name: Provider(provider(name), name.title(), f"{name}.invalid:7443") for name in names}
        self._entries |= {name: Provider(provider(name), name.title(), None) for name in without_agent}

    def provider(self, provider: str) -> Provider | None:
        return self._entries.get(provider)


class Notes:
    """A watcher that writes down what it hears."""

    def __init__(self) -> None:
        self.changes: list[Traceback] = []
        self.losses: list[Traceback] = []

    def changed(self, traceback: Traceback) -> None:
        self.changes.append(traceback)

    def lost(self, traceback: Traceback) -> None:
        self.losses.append(traceback)
