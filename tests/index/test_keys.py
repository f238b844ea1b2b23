"""Pseudonyms, sealed numbers and the root key that they all come from."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent.index.keys import (
    ROOT_KEY_VARIABLE,
    Keys,
    RootKeyError,
    SealBrokenError,
    create_root_key_file,
    root_key_from,
)

ROOT = bytes(range(32))
OTHER = bytes(range(1, 33))
NUMBER = 12025550143
DAY = 20_779


@pytest.fixture
def keys() -> Keys:
    return Keys.from_root(ROOT)


class TestPseudonyms:
    def test_a_number_has_one_pseudonym_a_day_alone_or_in_a_column(self, keys: Keys) -> None:
        numbers = np.array([NUMBER, NUMBER + 1, NUMBER], dtype=np.uint64)
        column = keys.day(DAY).called_column(numbers)
        assert column.tolist() == [keys.day(DAY).called(n) for n in numbers.tolist()]
        assert column[0] == column[2] != column[1]

    def test_days_roots_and_roles_are_unlinked(self, keys: Keys) -> None:
        day = keys.day(DAY)
        seen = {
            day.called(NUMBER),
            day.calling(NUMBER),
            keys.day(DAY + 1).called(NUMBER),
            Keys.from_root(OTHER).day(DAY).called(NUMBER),
        }
        assert len(seen) == 4

    def test_no_calling_number_stays_none(self, keys: Keys) -> None:
        numbers = np.array([0, NUMBER], dtype=np.uint64)
        column = keys.day(DAY).calling_column(numbers)
        assert column.tolist() == [0, keys.day(DAY).calling(NUMBER)]

    def test_call_ids_join_across_days_and_only_under_one_root(self, keys: Keys) -> None:
        refs = keys.call_refs(["a@192.0.2.1", "b@192.0.2.1", "a@192.0.2.1"])
        assert refs[0] == refs[2] != refs[1]
        assert Keys.from_root(OTHER).call_refs(["a@192.0.2.1"])[0] != refs[0]

    def test_call_ids_of_any_length_differ_from_each_other_and_from_their_beginnings(self, keys: Keys) -> None:
        texts = [length * "a" for length in (0, 1, 15, 16, 17, 31, 32, 33, 200)] + ["a\0", "\0", 15 * "a" + "b", "é"]
        refs = keys.call_refs(texts).tolist()
        assert len(set(refs)) == len(texts)
        assert refs == [int(keys.call_refs([text])[0]) for text in texts]
        assert keys.call_refs([]).tolist() == []

    def test_a_call_id_is_authenticated_as_the_record_of_the_format_says(self, keys: Keys) -> None:
        key = HKDF(SHA256(), 32, b"hopback index v1", b"call id").derive(ROOT)
        text = b"3c26-70b8@198.51.100.7"
        padded = len(text).to_bytes(16, "little") + text.ljust(32, b"\0")
        mac = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor().update(padded)[-16:]
        assert keys.call_refs([text.decode()]).tolist() == [int.from_bytes(mac[:8], "little")]

    def test_threads_share_the_keys(self, keys: Keys) -> None:
        expected = keys.day(DAY).called(NUMBER)
        got: list[int] = []

        def ask() -> None:
            got.extend(keys.day(DAY).called(NUMBER) for _ in range(200))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert got == [expected] * 800


class TestSealedNumbers:
    def test_come_back_on_their_own_day(self, keys: Keys) -> None:
        numbers = np.array([NUMBER, NUMBER + 7], dtype=np.uint64)
        sealed = keys.day(DAY).seal_numbers(numbers)
        assert len(sealed) == 32
        assert keys.day(DAY).unseal_numbers(sealed).tolist() == numbers.tolist()

    @pytest.mark.parametrize("day", [DAY + 1, DAY])
    def test_are_refused_on_another_day_or_when_altered(self, keys: Keys, day: int) -> None:
        sealed = bytearray(keys.day(DAY).seal_numbers(np.array([NUMBER], dtype=np.uint64)))
        if day == DAY:
            sealed[3] ^= 1
        with pytest.raises(SealBrokenError):
            keys.day(day).unseal_numbers(bytes(sealed))


class TestSealedText:
    def test_comes_back(self, keys: Keys) -> None:
        assert keys.unseal_text(keys.seal_text(b"TGIN4400")) == b"TGIN4400"

    def test_is_refused_when_altered_short_or_of_another_root(self, keys: Keys) -> None:
        sealed = keys.seal_text(b"TGIN4400")
        for broken in (sealed[:-1] + bytes([sealed[-1] ^ 1]), sealed[:5], b""):
            with pytest.raises(SealBrokenError):
                keys.unseal_text(broken)
        with pytest.raises(SealBrokenError):
            Keys.from_root(OTHER).unseal_text(sealed)


class TestRootKey:
    def test_has_exactly_32_bytes(self) -> None:
        for wrong in (b"", ROOT[:31], ROOT + b"\0"):
            with pytest.raises(RootKeyError, match="32 bytes"):
                Keys.from_root(wrong)

    def test_never_shows_in_a_repr(self, keys: Keys) -> None:
        assert ROOT.hex() not in repr(keys)

    def test_check_value_tells_roots_apart(self, keys: Keys) -> None:
        assert keys.check == Keys.from_root(ROOT).check != Keys.from_root(OTHER).check

    def test_comes_from_a_file_of_mode_0600(self, tmp_path: Path) -> None:
        file = tmp_path / "root.key"
        create_root_key_file(file)
        assert file.stat().st_mode & 0o777 == 0o600
        assert root_key_from(file, {}).hex() == file.read_text().strip()

    def test_file_is_never_overwritten(self, tmp_path: Path) -> None:
        create_root_key_file(tmp_path / "root.key")
        with pytest.raises(FileExistsError):
            create_root_key_file(tmp_path / "root.key")

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
    def test_file_that_others_can_reach_is_refused_with_the_command_to_run(self, tmp_path: Path, mode: int) -> None:
        file = tmp_path / "root.key"
        create_root_key_file(file)
        file.chmod(mode)
        with pytest.raises(RootKeyError, match="chmod 600"):
            root_key_from(file, {})

    def test_comes_from_the_environment_without_a_file(self) -> None:
        assert root_key_from(None, {ROOT_KEY_VARIABLE: ROOT.hex()}) == ROOT

    def test_same_key_in_both_places_is_fine_but_two_are_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "root.key"
        file.write_text(ROOT.hex() + "\n")
        file.chmod(0o600)
        assert root_key_from(file, {ROOT_KEY_VARIABLE: ROOT.hex()}) == ROOT
        with pytest.raises(RootKeyError, match="different"):
            root_key_from(file, {ROOT_KEY_VARIABLE: OTHER.hex()})

    def test_missing_key_says_where_to_put_one(self, tmp_path: Path) -> None:
        with pytest.raises(RootKeyError, match="root_key_file"):
            root_key_from(None, {})
        with pytest.raises(RootKeyError, match=r"root\.key"):
            root_key_from(tmp_path / "root.key", {})
        with pytest.raises(RootKeyError, match="regular file"):
            root_key_from(tmp_path, {})

    @pytest.mark.parametrize("text", ["", "00", "zz" * 32, "00" * 33, "00" * 31])
    def test_malformed_key_is_refused_and_not_repeated(self, tmp_path: Path, text: str) -> None:
        file = tmp_path / "root.key"
        file.write_text(text)
        file.chmod(0o600)
        with pytest.raises(RootKeyError, match="64 hex digits") as refused:
            root_key_from(file, {})
        assert not text or text not in str(refused.value)
