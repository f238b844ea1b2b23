"""Following files on other hosts: fetched when they are new or have changed, not again, and in the end indexed."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from pyarrow import fs

from agent.config import load
from agent.following import Following, Seen
from agent.places import Elsewhere, Place, PlaceError
from agent.remembered import FETCHED, Remembered
from tests.adapters.test_remote import s3_environment
from tests.agent.commandline import HEAD, agent, call, provider, said, told
from tests.agent.test_watch import Lab, Nowhere, line


def far_lab(directory: Path, place: Place | None = None) -> tuple[Lab, list[dict[str, Hashable]]]:
    """A lab whose source is followed by URL, and what was remembered of it."""
    lab = Lab(directory)
    remembered: list[dict[str, Hashable]] = []

    def remember(files: Mapping[str, Hashable]) -> None:
        remembered.append(dict(files))

    (followed,) = lab.followed
    followed.place = place or Elsewhere(f"file://{directory}/acc/")
    followed.look_every_s = 60
    followed.remember = remember
    followed.files_at_once = 2
    return lab, remembered


class TestAFileElsewhere:
    def test_is_indexed_remembered_and_not_fetched_again(self, tmp_path: Path) -> None:
        lab, remembered = far_lab(tmp_path)
        for number in range(3):
            lab.append(f"{number}.csv", line(number))
            os.utime(lab.path(f"{number}.csv"), (1_000_000, 1_000_000))
        lab.after(0)
        assert [names for _, names, _ in lab.taken] == [["0.csv", "1.csv"], ["2.csv"]]
        assert [lab.found(number) for number in range(3)] == [1, 1, 1]
        assert len(remembered[-1]) == 3
        following = Following(in_lines=True, every_s=10, rest_s=10, read_before=remembered[-1])
        lab.followed[0].following = following
        lab.after(100)
        assert len(lab.taken) == 2
        lab.append("1.csv", line(7, 10))
        lab.after(100)
        lab.after(1)
        assert lab.taken[2:] == [("acc", ["1.csv"], None)]
        assert lab.found(7) == 1

    def test_is_looked_for_no_more_often_than_told(self, tmp_path: Path) -> None:
        lab, _ = far_lab(tmp_path)
        looks: list[float] = []

        class Counting(Elsewhere):
            def listing(self, now_s: float) -> Mapping[str, Seen]:
                looks.append(lab.now_s)
                return super().listing(now_s)

        lab.followed[0].place = Counting(f"file://{tmp_path}/acc/")
        for _ in range(13):
            lab.after(10)
        assert [look - looks[0] for look in looks] == [0, 60, 120]

    def test_is_looked_for_less_often_while_the_place_is_dead(self, tmp_path: Path) -> None:
        lab, _ = far_lab(tmp_path)
        far = Nowhere(lab.followed[0].place)
        far.is_down = True
        lab.followed[0].place = far
        waits = []
        for _ in range(7):
            lab.after(0)
            waits.append(lab.watch.idle_s())
            lab.now_s += lab.watch.idle_s()
        assert waits == [60, 120, 240, 480, 600, 600, 600]
        far.is_down = False
        lab.after(0)
        assert lab.watch.idle_s() == 60
        assert lab.watch.troubles == ()

    def test_has_the_age_that_it_has_there(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("1")
        os.utime(tmp_path / "a.csv", (5_000, 5_000))
        listing = Elsewhere(f"file://{tmp_path}/").listing(6_000.0)
        (seen,) = listing.values()
        assert seen.age_s == 1_000

    def test_that_went_away_is_an_error_that_names_it(self, tmp_path: Path) -> None:
        place = Elsewhere(f"s3://nowhere/{tmp_path.name}/*.csv[")
        with pytest.raises(PlaceError):
            place.listing(0.0)
        with pytest.raises(PlaceError), Elsewhere("http://no").file("http://no"):
            raise AssertionError


class TestWhatIsRemembered:
    def test_outlives_a_restart_until_the_mapping_changes(self, tmp_path: Path) -> None:
        Remembered(tmp_path).remember("acc", "digest", {"sftp://h/a": (3, 1.5)})
        Remembered(tmp_path).remember("other", "digest", {"sftp://h/b": (4, 2.5)})
        again = Remembered(tmp_path)
        assert again.read_before("acc", "digest") == {"sftp://h/a": (3, 1.5)}
        assert again.read_before("other", "digest") == {"sftp://h/b": (4, 2.5)}
        assert again.read_before("acc", "another") == {}
        assert again.read_before("unknown", "digest") == {}
        assert (tmp_path / FETCHED).stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize("text", ["", "[]", '{"acc": 1}', '{"acc": {"mapping": "digest", "files": {"a": 1}}}'])
    def test_may_be_lost(self, tmp_path: Path, text: str) -> None:
        (tmp_path / FETCHED).write_text(text)
        remembered = Remembered(tmp_path)
        assert remembered.read_before("acc", "digest") == {}
        remembered.remember("acc", "digest", {"a": (1, 1.0)})
        assert Remembered(tmp_path).read_before("acc", "digest") == {"a": (1, 1.0)}

    def test_is_not_written_again_when_nothing_changed(self, tmp_path: Path) -> None:
        remembered = Remembered(tmp_path)
        remembered.remember("acc", "digest", {"a": (1, 1.0)})
        before = (tmp_path / FETCHED).stat()
        remembered.remember("acc", "digest", {"a": (1, 1.0)})
        assert (tmp_path / FETCHED).stat().st_ino == before.st_ino


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class TestTheCommand:
    def test_indexes_what_lies_in_a_bucket_and_nothing_twice(
        self, tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        s3_environment(monkeypatch, endpoint)
        bucket = fs.S3FileSystem(
            endpoint_override=endpoint.removeprefix("http://"), scheme="http", allow_bucket_creation=True
        )
        bucket.create_dir("cdr")
        config = provider(tmp_path, "east")
        config.write_text(config.read_text().replace("east/*.csv", "s3://cdr/*.csv") + '[watch]\nrest = "0s"\n')
        assert load(config).sources[0].path == "s3://cdr/*.csv"

        def put(name: str, text: str) -> None:
            with bucket.open_output_stream(f"cdr/{name}") as file:
                file.write(text.encode())

        put("a.csv", HEAD + call(1, 1))
        put("b.csv", HEAD + call(2, 2))
        assert agent("watch", config, "--once").exit_code == 0
        assert told("stats", config)["total"]["calls"] == 2
        put("a.csv", HEAD + call(1, 1) + call(3, 3))
        result = agent("watch", config, "--once")
        assert result.exit_code == 0
        assert "a.csv" in said(result)
        assert "b.csv" not in said(result)
        assert told("stats", config)["total"]["calls"] == 3
        assert told("stats", config)["files"] == 2
        (report,) = told("index", config)
        assert [Path(file["path"]).name for file in report["files"]] == ["a.csv", "b.csv"]
        assert {file["status"] for file in report["files"]} == {"already indexed"}

    def test_says_that_a_place_is_dead(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        config = provider(tmp_path, "east")
        config.write_text(config.read_text().replace("east/*.csv", "sftp://127.0.0.1:1/cdr/*.csv"))
        result = agent("watch", config, "--once")
        assert result.exit_code == 65
        assert "source-unreachable" in said(result)
        result = agent("index", config)
        assert result.exit_code == 69
        assert "it can't be reached" in said(result)


def test_the_lag_of_a_place_elsewhere_counts_from_the_last_look(tmp_path: Path) -> None:
    lab, _ = far_lab(tmp_path)
    lab.followed[0].lag = timedelta(minutes=5)
    lab.after(0)
    first = lab.followed[0].stated
    for _ in range(3):
        lab.after(15)
    assert lab.followed[0].stated == first
    lab.after(15)
    assert lab.followed[0].stated == lab.now() - timedelta(minutes=5)
