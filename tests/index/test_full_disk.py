"""A disk that is full: nothing of a file counts, whoever asks hears why, what counted before is still found, and the
next run goes on by itself.

The disk is really full: for a process of its own, files can't grow beyond a size that each case chooses.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.index import Index
from agent.index.layout import HIDDEN, REJECTS, SEGMENTS
from agent.ingest import FileStatus, ingest
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from protos.e164 import parse_e164
from tests.index.calls import KEYS, NOW, at

MAPPING = SourceMapping.model_validate(
    {
        "name": "switch",
        "path": "*.csv",
        "format": "delimited",
        "columns": {
            "called_in": "called",
            "seizure": {"column": "start", "format": "epoch_s"},
            "call_id": "id",
        },
    }
)
START = 1_795_305_600
BEFORE = "+12025550100"

CHILD = """
import json, resource, sys
from pathlib import Path
from agent.index.errors import IndexWriteError
from agent.ingest import ingest
from cdr_adapters.mapping import TrunkFormats
from tests.index.calls import KEYS, NOW
from tests.index.test_full_disk import MAPPING

path, index, limit, more = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    report = ingest([path], MAPPING, TrunkFormats(), index, KEYS, NOW, **more)
except IndexWriteError as error:
    print(json.dumps({"refused": str(error)}))
else:
    print(json.dumps({"failed": [file.problem for file in report.failed], "calls": report.calls}))
"""


@dataclass(frozen=True)
class Case:
    """A file of so many calls and so many bad lines, how it is indexed, and how large a file may become meanwhile."""

    calls: int
    bad: int
    padding: int
    more: dict[str, object]
    limit: int


CASES = {
    "data: no run can be written": Case(20_000, 0, 0, {}, 100_000),
    "data: runs can be written, but not what they make together": Case(
        20_000, 0, 500, {"rows_per_run": 5_000}, 250_000
    ),
    "rejects": Case(20, 5_000, 0, {}, 100_000),
}


def written(path: Path, case: Case) -> Path:
    lines = [f"{START + n},+1202{5_550_101 + n % 90},{n}" + "x" * case.padding for n in range(case.calls)]
    lines += [f"{START},none,{n}" for n in range(case.bad)]
    path.write_text("start,called,id\n" + "\n".join(lines) + "\n")
    return path


def found(index: Path, called: str) -> int:
    return len(Index.open(index, KEYS).find(parse_e164(called), None, at(0), at(4_000_000_000_000)))


def files(index: Path, part: str) -> set[str]:
    return {path.name for path in (index / part).iterdir()}


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """An index with one call."""
    first = tmp_path / "first.csv"
    first.write_text(f"start,called,id\n{START},{BEFORE},before\n")
    assert ingest([first], MAPPING, TrunkFormats(), tmp_path / "index", KEYS, NOW).calls == 1
    return tmp_path / "index"


def refused(path: Path, index: Path, limit: int, **more: object) -> str:
    """What is told of a file that is indexed where no file may become larger than that."""
    command = [sys.executable, "-c", CHILD, str(path), str(index), str(limit), json.dumps(more)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert not done.returncode, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    problem = str(told.get("refused") or told["failed"][0])
    assert "File too large" in problem
    return problem


@pytest.mark.parametrize("name", CASES)
def test_a_full_disk_fails_the_file_and_says_so_and_the_next_run_goes_on(
    name: str, index: Path, tmp_path: Path
) -> None:
    case = CASES[name]
    path = written(tmp_path / "second.csv", case)
    segments = files(index, SEGMENTS)

    problem = refused(path, index, case.limit, **case.more)
    assert index.name in problem

    assert found(index, BEFORE) == 1
    assert found(index, "+12025550101") == 0, "nothing of a file that was not read to its end"
    assert files(index, SEGMENTS) == segments
    assert not [each for part in (SEGMENTS, REJECTS) for each in files(index, part) if each.startswith(HIDDEN)]

    report = ingest([path], MAPPING, TrunkFormats(), index, KEYS, NOW)
    assert [file.status for file in report.files] == [FileStatus.INDEXED]
    assert (report.calls, sum(report.rejected.values())) == (case.calls, case.bad)
    assert found(index, "+12025550101") == len(range(0, case.calls, 90))
    assert found(index, BEFORE) == 1


def test_what_came_since_waits_for_room_for_its_copy(index: Path, tmp_path: Path) -> None:
    path = tmp_path / "first.csv"
    with path.open("a") as file:
        file.writelines(f"{START + n},+1202{5_550_101 + n % 90},{n}{'x' * 20_000}\n" for n in range(20))
    assert path.name in refused(path, index, 100_000), "the copy is not in the index's directory"
    assert (found(index, BEFORE), found(index, "+12025550101")) == (1, 0)
    report = ingest([path], MAPPING, TrunkFormats(), index, KEYS, NOW)
    assert [file.status for file in report.files] == [FileStatus.REPLACED]
    assert (found(index, BEFORE), found(index, "+12025550101")) == (1, 1)
