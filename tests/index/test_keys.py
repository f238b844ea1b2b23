"""Pseudonyms, sealed numbers and texts, and the keys that they come from."""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent.index.keys import DayKeys, Keys, SealBrokenError, number_blocks
from agent.index.root_key import RootKeyError

ROOT = bytes(range(32))
OTHER = bytes(range(1, 33))
NUMBER = 12025550143
DAY = 20_779
SECRET = bytes(range(100, 132))


@pytest.fixture
def keys() -> Keys:
    return Keys.from_root(ROOT)


@pytest.fixture
def day(keys: Keys) -> DayKeys:
    return keys.day_keys(DAY, SECRET)


class TestPseudonyms:
    def test_a_number_has_one_pseudonym_a_day_alone_in_a_column_or_in_a_batch(self, day: DayKeys) -> None:
        numbers = np.array([NUMBER, NUMBER + 1, NUMBER], dtype=np.uint64)
        column = day.called_column(numbers)
        assert column.tolist() == [day.called(n) for n in numbers.tolist()]
        assert column[0] == column[2] != column[1]
        into = bytearray(3 * 16 + 15)
        day.encrypt(number_blocks(numbers), into)
        assert np.frombuffer(into[:48], "<u8")[::2].tolist() == column.tolist()

    def test_days_secrets_roots_and_roles_are_unlinked(self, keys: Keys, day: DayKeys) -> None:
        seen = {
            day.called(NUMBER),
            day.calling(NUMBER),
            keys.day_keys(DAY + 1, SECRET).called(NUMBER),
            keys.day_keys(DAY, bytes(32)).called(NUMBER),
            Keys.from_root(OTHER).day_keys(DAY, SECRET).called(NUMBER),
        }
        assert len(seen) == 5

    def test_a_pseudonym_is_what_the_record_of_the_format_says(self, day: DayKeys) -> None:
        key = HKDF(SHA256(), 32, SECRET, b"numbers day %d" % DAY).derive(ROOT)
        block = NUMBER.to_bytes(8, "little") + (1).to_bytes(8, "little")
        sealed = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)  # noqa: S305 (one block)
        assert day.called(NUMBER) == int.from_bytes(sealed[:8], "little")

    def test_the_greatest_number_has_one_too(self, day: DayKeys) -> None:
        (greatest,) = day.called_column(np.array([10**15 - 1], np.uint64)).tolist()
        assert greatest == day.called(10**15 - 1)

    def test_no_calling_number_stays_none(self, day: DayKeys) -> None:
        column = day.calling_column(np.array([0, NUMBER], dtype=np.uint64))
        assert column.tolist() == [0, day.calling(NUMBER)]

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


class TestSealedNumbers:
    def test_come_back_on_their_own_day(self, day: DayKeys) -> None:
        numbers = np.array([NUMBER, NUMBER + 7], dtype=np.uint64)
        sealed = day.seal_numbers(numbers)
        assert len(sealed) == 32
        assert day.unseal_numbers(sealed).tolist() == numbers.tolist()
        assert day.unseal(sealed[16:]) == NUMBER + 7

    def test_are_refused_on_another_day_or_when_altered(self, keys: Keys, day: DayKeys) -> None:
        sealed = bytearray(day.seal_numbers(np.array([NUMBER], dtype=np.uint64)))
        with pytest.raises(SealBrokenError):
            keys.day_keys(DAY + 1, SECRET).unseal_numbers(bytes(sealed))
        sealed[3] ^= 1
        with pytest.raises(SealBrokenError):
            day.unseal_numbers(bytes(sealed))
        with pytest.raises(SealBrokenError):
            day.unseal(bytes(sealed))


class TestSealedText:
    def test_comes_back_under_its_key_alone(self, keys: Keys, day: DayKeys) -> None:
        for cipher in (keys, day):
            assert cipher.unseal_text(cipher.seal_text(b"TGIN4400")) == b"TGIN4400"
        with pytest.raises(SealBrokenError):
            keys.unseal_text(day.seal_text(b"TGIN4400"))

    def test_is_refused_when_altered_short_or_of_another_key(self, keys: Keys, day: DayKeys) -> None:
        for cipher, other in (
            (keys.unseal_text, Keys.from_root(OTHER).unseal_text),
            (day.unseal_text, keys.day_keys(DAY + 1, SECRET).unseal_text),
        ):
            sealed = (keys if cipher == keys.unseal_text else day).seal_text(b"TGIN4400")
            assert cipher(sealed) == b"TGIN4400"
            for broken in (sealed[:-1] + bytes([sealed[-1] ^ 1]), sealed[:5], b""):
                with pytest.raises(SealBrokenError):
                    cipher(broken)
            with pytest.raises(SealBrokenError):
                other(sealed)


class TestDaySecret:
    def test_comes_back_for_its_day_and_root_alone(self, keys: Keys) -> None:
        wrapped = keys.wrap(DAY, SECRET)
        assert SECRET not in wrapped
        assert keys.unwrap(DAY, wrapped) == SECRET
        for other, number in ((keys, DAY + 1), (Keys.from_root(OTHER), DAY)):
            with pytest.raises(SealBrokenError):
                other.unwrap(number, wrapped)

    def test_is_told_from_others_by_a_check_that_says_nothing_else(self, keys: Keys, day: DayKeys) -> None:
        assert day.check == keys.day_keys(DAY, SECRET).check != keys.day_keys(DAY, bytes(32)).check
        assert day.check not in SECRET.hex()


class TestRootKey:
    def test_has_exactly_32_bytes(self) -> None:
        for wrong in (b"", ROOT[:31], ROOT + b"\0"):
            with pytest.raises(RootKeyError, match="32 bytes"):
                Keys.from_root(wrong)

    def test_never_shows_in_a_repr(self, keys: Keys) -> None:
        assert ROOT.hex() not in repr(keys)

    def test_check_value_tells_roots_apart(self, keys: Keys) -> None:
        assert keys.check == Keys.from_root(ROOT).check != Keys.from_root(OTHER).check
