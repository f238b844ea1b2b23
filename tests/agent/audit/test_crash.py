"""A crash or a refusing disk at any step: no answer was acknowledged without its entry, and no entry is lost.

The world is stopped before every single operation on files, in every way; each time it is seen that it stopped.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.audit.book import AuditBook
from agent.audit.errors import AuditUnavailableError
from agent.audit.reader import AuditReader, size_and_root
from agent.audit.verify import verify
from hopback.v1 import audit_pb2 as pb
from protos.merkle import is_consistent
from tests.agent.audit.books import LAB, answered, authority, book_of, case, party, reply, trust
from tests.index.calls import UNSYNCED
from tests.index.faults import DEADLY, REFUSING, FaultyFiles, Killed


@dataclass
class Outside:
    """What others have seen of this agent.

    Attributes:
        answers: digests of questions that were answered.
        searched: digests of questions for which records were read.
        checkpoints: those that left.
    """

    answers: set[bytes] = field(default_factory=set)
    searched: set[bytes] = field(default_factory=set)
    checkpoints: list[bytes] = field(default_factory=list)


def serve(book: AuditBook, outside: Outside, numbers: range) -> None:
    """What an agent does with a request: intent, search, answer, one wait for the disk, the answer leaves."""
    book.intent([case(number) for number in numbers], LAB)
    outside.searched |= {case(number).sha256 for number in numbers}
    book.answers([reply(number) for number in numbers], LAB)
    book.sync()
    checkpoint = book.checkpoint().SerializeToString()
    outside.answers |= {case(number).sha256 for number in numbers}
    outside.checkpoints.append(checkpoint)


def work(directory: Path, files: FaultyFiles, outside: Outside) -> None:
    """An agent's life: it starts, answers three requests, and ends."""
    book = book_of(directory, files=files)
    try:
        book.started(bytes(32))
        for numbers in (range(0, 1), range(1, 4), range(4, 5)):
            serve(book, outside, numbers)
    except Killed:
        _drop(book)  # the kernel closes the files of the dead, and lets go of their locks
        raise
    except BaseException:
        book.log.close()
        raise
    book.log.close()


def _drop(book: AuditBook) -> None:
    book.log._release()


def crash(directory: Path, fatal: int, fault: str) -> tuple[FaultyFiles, Outside]:
    files, outside = FaultyFiles(fatal, fault), Outside()
    with suppress(Killed):
        work(directory, files, outside)
    if fault == "power" and files.fired:
        files.power_cut()
    return files, outside


def require(directory: Path, outside: Outside) -> None:
    """What was acknowledged is there, and the log goes on from it."""
    book = book_of(directory)
    log = book.log
    entries = [pb.AuditEntry.FromString(exact) for _, exact in log.entries()]
    kinds: dict[int, set[bytes]] = {}
    for entry in entries:
        kinds.setdefault(entry.kind, set()).add(entry.question_sha256)
    assert outside.answers <= kinds.get(pb.AUDIT_KIND_ANSWER, set()) & kinds.get(pb.AUDIT_KIND_INTENT, set())
    for signed in outside.checkpoints:
        said = size_and_root(signed)
        assert said is not None
        size, root = said
        assert log.root(size) == root
        assert is_consistent(size, root, log.size, log.root(), log.consistency(size, log.size))
    answered(book, 90)
    log.close()
    report = verify(directory, trust())
    assert report.unsigned == 0


class TestACrash:
    @pytest.mark.parametrize("fault", DEADLY)
    def test_at_any_step_leaves_every_answer_with_its_entries(self, tmp_path: Path, fault: str) -> None:
        steps = 0
        for fatal in range(1000):
            directory = tmp_path / str(fatal) / "audit"
            files, outside = crash(directory, fatal, fault)
            if not files.fired:
                break
            steps += 1
            if fault != "power":  # what was written outlives a process
                assert outside.searched <= intents(directory)
            require(directory, outside)
            shutil.rmtree(directory)
        assert steps > 40, "hardly any step was seen"
        assert len(outside.answers) == 5

    @pytest.mark.parametrize("fault", DEADLY)
    def test_of_an_agent_that_opens_what_another_crash_left_changes_nothing(self, tmp_path: Path, fault: str) -> None:
        reached = 0
        for first in range(24, 60, 5):
            for second in range(0, 24):
                directory = tmp_path / f"{first}-{second}" / "audit"
                _, outside = crash(directory, first, fault)
                files, _ = crash(directory, second, fault)
                reached += files.fired
                require(directory, outside)
                shutil.rmtree(directory)
        assert reached > 100


def intents(directory: Path) -> set[bytes]:
    """Which questions a search was announced for."""
    if not (directory / "entries").exists():
        return set()
    with AuditReader.open(directory) as reader:
        entries = [pb.AuditEntry.FromString(exact) for _, exact in reader.entries()]
    return {entry.question_sha256 for entry in entries if entry.kind == pb.AUDIT_KIND_INTENT}


class TestADiskThatRefuses:
    @pytest.mark.parametrize("fault", REFUSING)
    def test_at_any_step_lets_nothing_leave_that_is_not_logged(self, tmp_path: Path, fault: str) -> None:
        refused = 0
        for fatal in range(1000):
            directory = tmp_path / str(fatal) / "audit"
            files, outside = FaultyFiles(fatal, fault), Outside()
            try:
                work(directory, files, outside)
            except AuditUnavailableError as error:
                assert "nothing is answered" in str(error)  # noqa: PT017 (only some of the runs fail)
                refused += 1
            if not files.fired:
                break
            require(directory, outside)
            shutil.rmtree(directory)
        assert refused > 35

    @pytest.mark.parametrize("how", ["append", "sync", "checkpoint"])
    def test_once_is_asked_no_more_until_the_log_is_opened_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
    ) -> None:
        book = book_of(tmp_path / "audit")
        answered(book, 0)
        book.intent([case(1)], LAB)
        refuse(book, monkeypatch, "fsync" if how == "sync" else "write")
        operations: dict[str, Callable[[], object]] = {
            "append": lambda: book.intent([case(2)], LAB),
            "sync": book.sync,
            "checkpoint": lambda: _signed(book),
        }
        with pytest.raises(AuditUnavailableError, match="No space left"):
            operations[how]()
        monkeypatch.undo()
        assert book.log.problem is not None
        for refusing in operations.values():
            with pytest.raises(AuditUnavailableError, match="No space left"):
                refusing()
        book.log.close()
        book = book_of(tmp_path / "audit")
        answered(book, 4)
        book.log.close()
        verify(tmp_path / "audit", trust())


def _signed(book: AuditBook) -> object:
    """A checkpoint of a state that was not signed before."""
    book.log.durable = book.log.size, book.log.root()
    return book.checkpoint()


def refuse(book: AuditBook, monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    import errno
    import os

    def refusing(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(type(UNSYNCED), operation, refusing)


class TestAProcessThatIsKilled:
    def test_leaves_every_answer_that_it_told_of(self, tmp_path: Path) -> None:
        """SIGKILL from outside, at moments of the machine's choosing: after some answers, in the middle of others."""
        party("birch")
        for told in (1, 2, 5):
            directory = tmp_path / str(told)
            child = subprocess.Popen(
                [sys.executable, "-m", "tests.agent.audit.busy_agent", str(directory), str(authority().directory)],
                stdout=subprocess.PIPE,
            )
            assert child.stdout is not None
            numbers = [int(child.stdout.readline()) for _ in range(told)]
            child.send_signal(signal.SIGKILL)
            rest, _ = child.communicate()
            numbers += [int(line) for line in rest.splitlines(keepends=True) if line.endswith(b"\n")]
            assert child.returncode == -signal.SIGKILL
            require(directory, Outside(answers={case(number).sha256 for number in numbers}))
