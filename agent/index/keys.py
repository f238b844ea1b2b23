"""The keys of an index: what turns numbers into pseudonyms, and the translated number back.

From one root key of 32 bytes everything is derived by HKDF-SHA-256 (RFC 5869). Each UTC day has its own AES-256 key,
so that one number has unlinked pseudonyms on different days; a number is one 16-byte block, and a whole column is one
call of the cipher. A single block under a secret key is a pseudo-random permutation, which is what a pseudonym needs;
no block here is ever longer than one, so there is no mode to choose.

Protects the numbers on a stolen disk. Protects nothing on a host where the key is too: whoever holds both can
enumerate all numbers. The calling number and the call id get pseudonyms in the same way, the latter not by day,
because one call may have records on both sides of midnight.

Refuses root keys of another length, and key files that others than their owner can read.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

ROOT_KEY_VARIABLE: Final = "HOPBACK_ROOT_KEY"
"""The environment variable that may hold the root key as 64 hex digits."""

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

_SALT = b"hopback index v1"
_CALLED, _CALLING, _TRANSLATED = 1, 2, 3
_CALLED_TAG, _CALLING_TAG = (tag.to_bytes(8, "little") for tag in (_CALLED, _CALLING))
_NONCE = 12
_DAYS_HELD = 2048


class RootKeyError(ValueError):
    """The root key is missing, malformed or badly kept. The message never repeats it."""


class SealBrokenError(ValueError):
    """Sealed bytes were altered, or sealed under another key."""


def _parse_root(text: str, where: str) -> bytes:
    if re.fullmatch(r"[0-9a-fA-F]{64}", text.strip()) is None:
        raise RootKeyError(
            f"{where} holds no root key: 64 hex digits are wanted, such as `openssl rand -hex 32` prints"
        )
    return bytes.fromhex(text.strip())


def root_key_from(file: Path | None, environment: Mapping[str, str]) -> bytes:
    """The root key from a key file or from the environment, 32 bytes.

    Args:
        file: the configured key file, None when there is none; it must belong to this user or root, and nobody else
            may read or write it.
        environment: usually `os.environ`; `HOPBACK_ROOT_KEY` counts when set and not empty.

    Raises:
        RootKeyError: no key, two different ones, a malformed one, or a file that others can read.
    """
    variable = environment.get(ROOT_KEY_VARIABLE, "")
    from_environment = _parse_root(variable, f"the environment variable {ROOT_KEY_VARIABLE}") if variable else None
    if file is None:
        if from_environment is None:
            raise RootKeyError(f"no root key: configure root_key_file in [index], or set {ROOT_KEY_VARIABLE}")
        return from_environment
    root = _root_key_in(file)
    if from_environment is not None and from_environment != root:
        raise RootKeyError(f"{file} and {ROOT_KEY_VARIABLE} hold different root keys: remove one of them")
    return root


def _root_key_in(file: Path) -> bytes:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise RootKeyError(f"{file}: the root key can't be read ({error.strerror})") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise RootKeyError(f"{file}: the root key must be in a regular file")
        if status.st_mode & 0o077:
            raise RootKeyError(
                f"{file}: others than its owner can reach the root key (mode {stat.S_IMODE(status.st_mode):04o}); "
                f"run: chmod 600 {file}"
            )
        if status.st_uid not in (os.geteuid(), 0):
            raise RootKeyError(f"{file}: the root key belongs to another user (uid {status.st_uid}); run: chown it")
        return _parse_root(os.read(descriptor, 1024).decode("ascii", "replace"), str(file))
    finally:
        os.close(descriptor)


def create_root_key_file(file: Path) -> None:
    """Write a new random root key with mode 0600.

    Raises:
        FileExistsError: never overwrites; an index without its key is lost.
    """
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(os.urandom(32).hex() + "\n")
        stream.flush()
        os.fsync(stream.fileno())


class DayKeys:
    """The ciphers of one UTC day. Not for use by two threads at once; `Keys.day` gives each thread its own."""

    __slots__ = ("_encrypt", "_seal", "_text", "_unseal")

    def __init__(self, number_key: bytes, translated_key: bytes, text_key: bytes) -> None:
        self._text = AESGCM(text_key)
        self._encrypt = Cipher(algorithms.AES(number_key), modes.ECB()).encryptor()  # noqa: S305 (one block: no mode)
        translated = Cipher(algorithms.AES(translated_key), modes.ECB())  # noqa: S305 (one block: no mode)
        self._seal, self._unseal = translated.encryptor(), translated.decryptor()

    def called(self, number: int) -> int:
        """The 64-bit pseudonym of a called number, given as the digits of its E.164 form."""
        return int.from_bytes(self._encrypt.update(number.to_bytes(8, "little") + _CALLED_TAG)[:8], "little")

    def calling(self, number: int) -> int:
        """The 32-bit pseudonym of a calling number; never 0, which stands for none."""
        return int.from_bytes(self._encrypt.update(number.to_bytes(8, "little") + _CALLING_TAG)[:4], "little") or 1

    def called_blocks(self, blocks: memoryview, out: memoryview) -> None:
        """Encrypt what `number_blocks` made into `out`, which has 15 bytes more: pseudonyms are every other u64."""
        self._encrypt.update_into(blocks, out)

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
        return np.frombuffer(self._encrypt.update(_blocks(numbers, tag)), dtype="<u8")[::2].copy()

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


def number_blocks(called: U64) -> bytes:
    """What is encrypted of called numbers, 16 bytes each."""
    return _blocks(called, _CALLED)


def _blocks(numbers: U64, tag: int) -> bytes:
    blocks = np.empty((len(numbers), 2), dtype="<u8")
    blocks[:, 0] = numbers
    blocks[:, 1] = tag
    return blocks.tobytes()


class Keys:
    """All keys of one index. Make one with `from_root`; safe to share between threads."""

    __slots__ = ("_call_id", "_content", "_local", "_root", "_text", "check")

    def __init__(self, root: bytes) -> None:
        self._root = root
        self._call_id = Cipher(algorithms.AES(self._derive("call id")), modes.ECB())  # noqa: S305 (CBC-MAC, by hand)
        self._content = self._derive("content")
        self._text = AESGCM(self._derive("text"))
        self._local = threading.local()
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

    def day(self, day: int) -> DayKeys:
        """The ciphers of the UTC day that is `day` days after 1970-01-01, this thread's own."""
        held: dict[int, DayKeys] | None = getattr(self._local, "days", None)
        if held is None:
            held = self._local.days = {}
        keys = held.get(day)
        if keys is None:
            if len(held) >= _DAYS_HELD:
                held.clear()
            keys = held[day] = DayKeys(
                *(self._derive(f"{purpose} day {day}") for purpose in ("numbers", "translated", "text"))
            )
        return keys

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
        order = np.argsort(-lengths, kind="stable")
        starts, lengths = offsets[:-1][order], lengths[order]
        encrypt = self._call_id.encryptor().update
        state = np.frombuffer(encrypt(_blocks(lengths.astype(np.uint64), 0)), np.uint8).reshape(-1, 16).copy()
        for begin in range(0, int(lengths[0]) if len(lengths) else 0, 16):
            active = int(np.count_nonzero(lengths > begin))
            at = begin + np.arange(16)
            inside = at < lengths[:active, None]
            state[:active] ^= np.where(inside, data[np.where(inside, starts[:active, None] + at, 0)], np.uint8(0))
            state[:active] = np.frombuffer(encrypt(state[:active].tobytes()), np.uint8).reshape(-1, 16)
        refs = np.empty(len(order), np.uint64)
        refs[order] = state.view("<u8")[:, 0]
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
