"""Secrets of days: made once, read when needed, gone for good; a day without its secret is an error and no absence."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from agent.index import DaySecretError, Index, Query
from agent.index.days import DaySecrets
from agent.index.layout import DAY_MS, DAYS, MANIFEST, day_key_name
from tests.index.built import BuiltIndex
from tests.index.calls import ALICE, KEYS, NOON, OTHER_KEYS, UNSYNCED, Call, at

DAY = NOON // DAY_MS
MANY = 50


@pytest.fixture
def secrets(tmp_path: Path) -> DaySecrets:
    (tmp_path / DAYS).mkdir()
    return DaySecrets(tmp_path, KEYS, UNSYNCED)


def file_of(secrets: DaySecrets, day: int = DAY) -> Path:
    return secrets.directory / day_key_name(day)


class TestCreating:
    def test_makes_a_file_for_its_owner_alone(self, secrets: DaySecrets) -> None:
        secrets.create(DAY)
        assert file_of(secrets).stat().st_mode & 0o777 == 0o600
        assert secrets.names() == [day_key_name(DAY)]

    def test_again_keeps_the_secret(self, secrets: DaySecrets) -> None:
        secrets.create(DAY)
        before = file_of(secrets).read_bytes()
        secrets.create(DAY)
        assert file_of(secrets).read_bytes() == before

    def test_gives_every_day_its_own(self, secrets: DaySecrets) -> None:
        secrets.create(DAY)
        secrets.create(DAY + 1)
        assert secrets.day(DAY).called(1) != secrets.day(DAY + 1).called(1)

    def test_beside_a_broken_one_is_refused(self, secrets: DaySecrets) -> None:
        file_of(secrets).write_bytes(b"")
        with pytest.raises(DaySecretError, match="torn"):
            secrets.create(DAY)


class TestReading:
    def test_gives_another_process_the_same_keys(self, secrets: DaySecrets) -> None:
        secrets.create(DAY)
        other = DaySecrets(secrets.directory.parent, KEYS)
        assert other.day(DAY).called(7) == secrets.day(DAY).called(7)

    def test_a_missing_one_says_that_the_day_was_destroyed(self, secrets: DaySecrets) -> None:
        with pytest.raises(DaySecretError, match=r"20261122\.key: missing"):
            secrets.day(DAY)

    @pytest.mark.parametrize("broken", ["flipped", "short", "long", "zeros", "another day's", "no file"])
    def test_a_broken_one_is_an_error(self, secrets: DaySecrets, broken: str) -> None:
        secrets.create(DAY)
        secrets.create(DAY + 1)
        path, content = file_of(secrets), file_of(secrets).read_bytes()
        wrong = {
            "flipped": content[:-1] + bytes([content[-1] ^ 1]),
            "short": content[:-1],
            "long": content + b"\0",
            "zeros": bytes(len(content)),
            "another day's": file_of(secrets, DAY + 1).read_bytes(),
        }
        path.unlink()
        if broken in wrong:
            path.write_bytes(wrong[broken])
        else:
            path.mkdir()
        with pytest.raises(DaySecretError, match=path.name):
            DaySecrets(secrets.directory.parent, KEYS).day(DAY)

    def test_needs_the_root_key(self, secrets: DaySecrets) -> None:
        secrets.create(DAY)
        with pytest.raises(DaySecretError, match="another root key"):
            DaySecrets(secrets.directory.parent, OTHER_KEYS).day(DAY)

    def test_threads_share_the_secret_and_not_the_cipher(self, secrets: DaySecrets) -> None:
        secrets.create(DAY)
        expected, here = secrets.day(DAY).called(5), secrets.day(DAY)
        got: list[int] = []
        ciphers: list[object] = []

        def ask() -> None:
            ciphers.append(secrets.day(DAY))
            got.extend(secrets.day(DAY).called(5) for _ in range(200))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert got == [expected] * 800
        assert here is secrets.day(DAY)
        assert here not in ciphers


class TestDestroying:
    def test_leaves_no_file_and_no_key(self, secrets: DaySecrets) -> None:
        secrets.create(DAY)
        secrets.destroy(DAY)
        assert secrets.names() == []
        with pytest.raises(DaySecretError, match="missing"):
            secrets.day(DAY)

    def test_writes_over_the_secret_before_it_goes(self, secrets: DaySecrets, tmp_path: Path) -> None:
        secrets.create(DAY)
        kept = tmp_path / "kept"
        kept.hardlink_to(file_of(secrets))
        size = kept.stat().st_size
        secrets.destroy(DAY)
        assert kept.read_bytes() == bytes(size)

    def test_what_is_gone_is_no_error(self, secrets: DaySecrets) -> None:
        secrets.destroy(DAY)

    def test_what_was_half_destroyed_is_destroyed(self, secrets: DaySecrets) -> None:
        file_of(secrets).write_bytes(bytes(101))
        secrets.destroy(DAY)
        assert secrets.names() == []

    def test_a_day_that_comes_again_has_a_new_secret_which_others_notice(self, secrets: DaySecrets) -> None:
        secrets.create(DAY)
        reader = DaySecrets(secrets.directory.parent, KEYS)
        before = reader.day(DAY)
        secrets.destroy(DAY)
        secrets.create(DAY)
        after = secrets.day(DAY)
        assert after.check != before.check
        assert reader.day(DAY, after.check).called(1) == after.called(1) != before.called(1)
        with pytest.raises(DaySecretError, match="another secret"):
            reader.day(DAY, before.check)


class TestSearching:
    """An index whose manifest names rows of a day whose secret is gone."""

    QUERY = Query(ALICE, None, at(NOON), at(NOON))

    def lost(self, directory: Path) -> BuiltIndex:
        built = BuiltIndex(directory / "index")
        built.put([Call(), Call(earliest=NOON + DAY_MS)])
        return built

    @pytest.mark.parametrize("many", [1, MANY])
    def test_says_so_and_finds_what_lies_on_other_days(self, tmp_path: Path, many: int) -> None:
        built = self.lost(tmp_path)
        built.secrets.destroy(DAY)
        index = Index.open(built.directory, KEYS)
        with pytest.raises(DaySecretError, match="was destroyed"):
            index.find_many(many * [self.QUERY])
        with pytest.raises(DaySecretError, match="was destroyed"):
            index.find(ALICE, None, at(NOON), at(NOON))
        tomorrow = Query(ALICE, None, at(NOON + DAY_MS), at(NOON + DAY_MS))
        assert [len(legs) for legs in index.find_many(many * [tomorrow])] == many * [1]

    @pytest.mark.parametrize("many", [1, MANY])
    def test_with_a_secret_made_anew_finds_no_false_absence(self, tmp_path: Path, many: int) -> None:
        built = self.lost(tmp_path)
        built.secrets.destroy(DAY)
        built.secrets.create(DAY)
        with pytest.raises(DaySecretError, match="another secret"):
            Index.open(built.directory, KEYS).find_many(many * [self.QUERY])

    @pytest.mark.parametrize("many", [1, MANY])
    def test_a_day_that_expires_under_a_search_is_searched_for_in_the_next_state(
        self, tmp_path: Path, many: int
    ) -> None:
        built = self.lost(tmp_path)
        index = Index.open(built.directory, KEYS)
        index.refresh()
        word = bytes(index._follower.word.cast("B"))
        names = [name for name, entry in built.manifest.segments.items() if entry.day == DAY]
        built.commit(remove=names)
        built.secrets.destroy(DAY)
        index._follower.word = memoryview(word).cast("Q")  # no word of it arrives
        assert index.find_many(many * [self.QUERY]) == many * [[]]

    def test_goes_on_with_the_keys_that_it_has_while_others_destroy(self, tmp_path: Path) -> None:
        built = self.lost(tmp_path)
        index = Index.open(built.directory, KEYS)
        assert index.find(ALICE, None, at(NOON), at(NOON))
        built.secrets.destroy(DAY)
        assert index.find(ALICE, None, at(NOON), at(NOON))

    def test_the_root_key_and_a_stray_copy_of_the_segments_bring_nothing_back(self, tmp_path: Path) -> None:
        built = self.lost(tmp_path)
        numbers = np.array([int(ALICE[1:])], np.uint64)
        before = built.secrets.day(DAY).called_column(numbers)
        built.secrets.destroy(DAY)
        built.secrets.create(DAY)
        assert built.secrets.day(DAY).called_column(numbers) != before
        assert (built.directory / MANIFEST).exists()
