"""The keys of an index: what turns numbers into pseudonyms, and the translated number back.

From one root key of 32 bytes everything is derived by HKDF-SHA-256 (RFC 5869). Each UTC day has AES-256 keys of its
own, derived from the root key and a random secret of the day (`agent.index.days` keeps it): one number has unlinked
pseudonyms on different days, and without the secret the root key does not bring a day's numbers back. A number is one
16-byte block, and a whole column is one call of the cipher. A single block under a secret key is a pseudo-random
permutation, which is what a pseudonym needs; no block here is ever longer than one, so there is no mode to choose.

Protects the numbers on a stolen disk. Protects nothing on a host where the key is too: whoever holds both can
enumerate all numbers. The calling number and the call id get pseudonyms in the same way, the latter not by day,
because one call may have records on both sides of midnight.

Refuses root keys of another length.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent.index.root_key import RootKeyError

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

SECRET: Final = 32
"""Bytes of a day's secret."""

_SALT = b"hopback index v1"
_CALLED, _CALLING, _TRANSLATED = 1, 2, 3
_CALLED_TAG, _CALLING_TAG = (tag.to_bytes(8, "little") for tag in (_CALLED, _CALLING))
_NONCE = 12
_BLOCK = 16
_FIRST_OCTETS = np.array([[255] * count + [0] * (_BLOCK - count) for count in range(_BLOCK + 1)], np.uint8)
"""Masks of the first so many bytes of a block."""


class SealBrokenError(ValueError):
    """Sealed bytes were altered, or sealed under another key."""


class DayKeys:
    """The ciphers of one UTC day. Not for use by two threads at once; `DayCiphers.day` gives each thread its own.

    Attributes:
        check: tells the day's secret from others, in hex, and says nothing else about it; kept in each segment.
        encrypt: encrypts what `number_blocks` made into memory of 15 bytes more: pseudonyms are every other u64 of it.
    """

    __slots__ = (
        "_block",
        "_encrypt",
        "_into",
        "_number",
        "_pseudonym",
        "_seal",
        "_text",
        "_unseal",
        "check",
        "encrypt",
    )

    def __init__(self, number_key: bytes, translated_key: bytes, text_key: bytes, check: str) -> None:
        self.check = check
        self._text = AESGCM(text_key)
        self._encrypt = Cipher(algorithms.AES(number_key), modes.ECB()).encryptor()  # noqa: S305 (one block: no mode)
        translated = Cipher(algorithms.AES(translated_key), modes.ECB())  # noqa: S305 (one block: no mode)
        self._seal, self._unseal = translated.encryptor(), translated.decryptor()
        # for one number at a time: its block and its pseudonym, in memory that is written over each time
        block, into = memoryview(bytearray(_BLOCK)), memoryview(bytearray(2 * _BLOCK))
        block[8:] = _CALLED_TAG
        self._block, self._into = block, into[: 2 * _BLOCK - 1]
        self._number, self._pseudonym = block.cast("Q"), into.cast("Q")
        self.encrypt = self._encrypt.update_into

    def called(self, number: int) -> int:
        """The 64-bit pseudonym of a called number, given as the digits of its E.164 form."""
        self._number[0] = number
        self.encrypt(self._block, self._into)
        return self._pseudonym[0]

    def calling(self, number: int) -> int:
        """The 32-bit pseudonym of a calling number; never 0, which stands for none."""
        return int.from_bytes(self._encrypt.update(number.to_bytes(8, "little") + _CALLING_TAG)[:4], "little") or 1

    def called_column(self, numbers: U64) -> U64:
        """Pseudonyms of many called numbers, in one call of the cipher."""
        return self._column(numbers, _CALLED)

    def calling_column(self, numbers: U64) -> U64:
        """Pseudonyms of many calling numbers; number 0, which is none, stays 0."""
        pseudonyms = self._column(numbers, _CALLING) & np.uint64(0xFFFFFFFF)
        pseudonyms[pseudonyms == 0] = 1
        pseudonyms[numbers == 0] = 0
        return pseudonyms

    def _column(self, numbers: U64, tag: int) -> U64:
        return _encrypted(self._encrypt, _blocks(numbers, tag))[::2].copy()

    def seal_text(self, plain: bytes) -> bytes:
        """AES-GCM with a random nonce in front, for the dictionary of trunk names and addresses."""
        nonce = os.urandom(_NONCE)
        return nonce + self._text.encrypt(nonce, plain, None)

    def unseal_text(self, sealed: bytes) -> bytes:
        """The inverse of `seal_text`.

        Raises:
            SealBrokenError: altered, or sealed under another day's key.
        """
        try:
            return self._text.decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
        except (InvalidTag, ValueError):
            raise SealBrokenError("sealed text was altered or sealed under another key") from None

    def seal_numbers(self, numbers: U64) -> bytes:
        """Reversible encryption of numbers, 16 bytes each."""
        return self._seal.update(_blocks(numbers, _TRANSLATED))

    def unseal(self, block: bytes) -> int:
        """One sealed number as digits, from its 16 bytes.

        Raises:
            SealBrokenError: it was not sealed under this day's key.
        """
        plain = self._unseal.update(block)
        if int.from_bytes(plain[8:], "little") != _TRANSLATED:
            raise SealBrokenError("a sealed number was altered or belongs to another day")
        return int.from_bytes(plain[:8], "little")

    def unseal_numbers(self, sealed: bytes) -> U64:
        """The inverse of `seal_numbers`.

        Raises:
            SealBrokenError: some block was not sealed under this day's key.
        """
        blocks = np.frombuffer(self._unseal.update(sealed), dtype="<u8").reshape(-1, 2)
        if (blocks[:, 1] != _TRANSLATED).any():
            raise SealBrokenError("a sealed number was altered or belongs to another day")
        return blocks[:, 0].copy()


class DayCiphers(Protocol):
    """Where the ciphers of days come from; `agent.index.days.DaySecrets` is one."""

    def day(self, day: int, check: str | None = None) -> DayKeys:
        """The ciphers of the UTC day that is `day` days after 1970-01-01, for this thread alone.

        Raises:
            IndexUnusableError: the day's secret is gone, or not the one of which `check` was kept.
        """
        ...


def number_blocks(called: U64) -> memoryview:
    """What is encrypted of called numbers, 16 bytes each."""
    return _blocks(called, _CALLED)


def _day_name(day: int) -> bytes:
    return b"day %d" % day


def _encrypted(cipher: CipherContext, blocks: memoryview) -> U64:
    """Blocks encrypted, as words. Bytes that the cipher makes room for cost more than the cipher."""
    room: U64 = np.empty(len(blocks) // 8 + 2, dtype="<u8")
    count = cipher.update_into(blocks, room.data.cast("B"))
    return room[: count // 8]


def _rows(blocks: npt.NDArray[Any], at: I64) -> U64:
    """The blocks at these positions, as rows of two words; taken as wholes, which is quicker than word by word."""
    return blocks.reshape(-1).view(f"V{_BLOCK}")[at].view("<u8").reshape(-1, 2)


def _blocks(numbers: U64, tag: int) -> memoryview:
    blocks = np.empty((len(numbers), 2), dtype="<u8")
    blocks[:, 0] = numbers
    blocks[:, 1] = tag
    return blocks.reshape(-1).view(np.uint8).data


class Keys:
    """All keys of one index. Make one with `from_root`; safe to share between threads."""

    __slots__ = ("_call_id", "_content", "_root", "_secrets", "_text", "check")

    def __init__(self, root: bytes) -> None:
        self._root = root
        self._call_id = Cipher(algorithms.AES(self._derive("call id")), modes.ECB())  # noqa: S305 (CBC-MAC, by hand)
        self._content = self._derive("content")
        self._text = AESGCM(self._derive("text"))
        self._secrets = AESGCM(self._derive("day secrets"))
        self.check = self._derive("key check")[:16]
        """Tells this root key from others and says nothing else about it; kept in the manifest."""

    @classmethod
    def from_root(cls, root: bytes) -> Keys:
        """The keys that follow from a root key of 32 bytes.

        Raises:
            RootKeyError: it has another length.
        """
        if len(root) != 32:
            raise RootKeyError(f"a root key has 32 bytes, not {len(root)}")
        return cls(root)

    def __repr__(self) -> str:
        return "Keys(…)"

    def _derive(self, purpose: str) -> bytes:
        return HKDF(algorithm=SHA256(), length=32, salt=_SALT, info=purpose.encode()).derive(self._root)

    def audit_secret(self) -> bytes:
        """The 32 bytes under which the audit log's sealed parts are encrypted."""
        return self._derive("audit log")

    def wrap(self, day: int, secret: bytes) -> bytes:
        """A day's secret, sealed for the disk; it opens as that day's alone."""
        nonce = os.urandom(_NONCE)
        return nonce + self._secrets.encrypt(nonce, secret, _day_name(day))

    def unwrap(self, day: int, wrapped: bytes) -> bytes:
        """The inverse of `wrap`.

        Raises:
            SealBrokenError: altered, of another day, or sealed under another root key.
        """
        try:
            return self._secrets.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], _day_name(day))
        except (InvalidTag, ValueError):
            raise SealBrokenError(
                "the secret was altered, is another day's or was sealed under another root key"
            ) from None

    def day_keys(self, day: int, secret: bytes) -> DayKeys:
        """New ciphers of a day from its secret of 32 random bytes."""

        def derive(purpose: str, length: int = 32) -> bytes:
            info = f"{purpose} day {day}".encode()
            return HKDF(algorithm=SHA256(), length=length, salt=secret, info=info).derive(self._root)

        return DayKeys(derive("numbers"), derive("translated"), derive("text"), derive("check", 8).hex())

    def call_refs(self, call_ids: Iterable[str]) -> U64:
        """64-bit pseudonyms of call ids, never 0, which stands for none."""
        texts = [text.encode() for text in call_ids]
        offsets = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
        return self.call_ref_column(np.frombuffer(b"".join(texts), np.uint8), offsets)

    def call_ref_column(self, data: U8, offsets: I64) -> U64:
        """The same for texts that lie end to end: text i is data[offsets[i]:offsets[i + 1]], UTF-8.

        CBC-MAC over AES-256 with the length in the first block, which makes it a pseudo-random function for texts of
        any length; block by block over all texts at once.
        """
        lengths = np.diff(offsets)
        blocks = -(-lengths // _BLOCK)
        most = int(blocks.max(initial=0))
        fewer_first = (most - blocks).astype(np.uint16) if most < 1 << 16 else most - blocks  # small ones sort faster
        order = np.argsort(fewer_first, kind="stable")
        starts, lengths, fewer = offsets[:-1][order], lengths[order], (most - blocks)[order]
        cipher = self._call_id.encryptor()
        if most * _BLOCK < len(lengths):  # lengths that many have in common
            each = np.arange(most * _BLOCK + 1, dtype=np.uint64)
            state = _rows(_encrypted(cipher, _blocks(each, 0)), lengths)
        else:
            state = _encrypted(cipher, _blocks(lengths.astype(np.uint64), 0)).reshape(-1, 2)
        padded = np.concatenate((data, np.zeros(_BLOCK, np.uint8)))
        every = np.ndarray((len(data) + 1,), f"V{_BLOCK}", padded, strides=(1,))
        for begin in range(0, most * _BLOCK, _BLOCK):
            active = int(np.searchsorted(fewer, most - begin // _BLOCK))
            block = every[starts[:active] + begin].view("<u8").reshape(-1, 2)
            block &= _rows(_FIRST_OCTETS, np.minimum(lengths[:active] - begin, _BLOCK))
            block ^= state[:active]
            state[:active] = _encrypted(cipher, block.data.cast("B")).reshape(-1, 2)
        refs = np.empty(len(order), np.uint64)
        refs[order] = state[:, 0]
        refs[refs == 0] = 1
        return refs

    def content_id(self, sha256: bytes) -> str:
        """The name of a file's content; keyed, because a short file could be guessed from its plain digest."""
        return hashlib.blake2b(sha256, digest_size=32, key=self._content).hexdigest()

    def seal_text(self, plain: bytes) -> bytes:
        """AES-GCM with a random nonce in front, for the dictionary of trunk names and addresses."""
        nonce = os.urandom(_NONCE)
        return nonce + self._text.encrypt(nonce, plain, None)

    def unseal_text(self, sealed: bytes) -> bytes:
        """The inverse of `seal_text`.

        Raises:
            SealBrokenError: altered, or sealed under another root key.
        """
        try:
            return self._text.decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
        except (InvalidTag, ValueError):
            raise SealBrokenError("sealed text was altered or sealed under another root key") from None
