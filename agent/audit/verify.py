"""Everything about a log derived again from its files alone: every byte of them, every checkpoint ever signed.

Says of what first fails in which file, entry and byte it lies. Checked is that

- each record is whole and hashes to its leaf, and is an AuditEntry; where the key is known, that its sealed part opens
  and is of the question and the answer whose digests stand beside it;
- tree and places are what follows from the entries, to the byte;
- every checkpoint that this provider kept, and every one that somebody else kept and hands in, was signed by this
  provider with a certified key, and is of a beginning of these very entries;
- checkpoints only grow, in size and time.

What no checkpoint covers may have been cut off or replaced without a trace; `Report.unsigned` says how much that is.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError

from agent.audit import records
from agent.audit.errors import AuditBrokenError, AuditError
from agent.audit.layout import (
    CERTIFICATES,
    CHECKPOINTS,
    ENTRIES,
    FRAME,
    HEADER_SIZE,
    LARGEST_ENTRY,
    LARGEST_RECORD,
    LOCK,
    PLACE,
    PLACES,
    SLOT,
    TREE,
    WITNESSED,
    frames,
    key_of,
    nodes_before,
    unframe,
)
from agent.audit.reader import Growth
from agent.audit.sealing import AuditKey, SealBrokenError
from hopback.v1 import audit_pb2 as pb
from hopback.v1 import evidence_pb2 as evidence
from protos.certificates import CertificateError, Certified, PinnedRoots
from protos.codec import digest, from_unix_ms
from protos.identity import ProviderId, provider_uri
from protos.merkle import EMPTY_ROOT, HASH_SIZE
from protos.signing import Domain, Proof, Seal, SealChecker

Bytes = bytes | memoryview
FILES: Final = (ENTRIES, TREE, PLACES, CHECKPOINTS, CERTIFICATES, WITNESSED)


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose log it should be, and by which roots its keys are certified; `key` opens sealed parts, if it is there."""

    provider: ProviderId
    roots: PinnedRoots
    key: AuditKey | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked and found whole.

    Attributes:
        entries, root: the log's size, and its Merkle tree hash.
        checkpoints: how many were checked, with those handed in.
        unsigned: entries at the end that no checkpoint covers.
        cut: names of files with torn ends that were moved aside.
        writing: bytes at the end that the agent was just writing.
    """

    entries: int
    root: bytes
    checkpoints: int
    unsigned: int
    cut: tuple[str, ...] = ()
    writing: int = 0


@dataclass(frozen=True, slots=True)
class _Walked:
    """What the entries come to.

    Attributes:
        roots: at the sizes wanted.
        grown: the whole tree's peaks.
        end: where the last whole entry ends.
        doubtful: the first entry that contradicts its hash in `tree`, where it begins, and where in `tree` that is; one
            of the two was altered, and what was signed tells which.
    """

    roots: dict[int, bytes]
    grown: Growth
    end: int
    doubtful: tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class _Signed:
    """A checkpoint and where it was found."""

    exact: bytes
    said: evidence.Checkpoint
    path: Path
    number: int | None
    byte: int | None

    def broken(self, problem: str) -> AuditBrokenError:
        return AuditBrokenError(self.path, problem, self.number, self.byte)


def verify(directory: Path, trust: Trust, handed_in: Sequence[tuple[Path, bytes]] = ()) -> Report:
    """Check the log in `directory`.

    Args:
        directory: of the log; an agent may be writing to it.
        trust: whose it should be.
        handed_in: checkpoints (serialised SignedCheckpoints) that others kept, and where they come from.

    Raises:
        AuditBrokenError: the first thing that is not as it was.
        AuditError: there is no log.
    """
    with _mapped(directory) as (files, written_to):
        cut = tuple(sorted(path.name for path in directory.iterdir() if path.name.startswith(records.CUT)))
        return verify_files(directory, files, trust, handed_in, written_to=written_to, cut=cut)


def verify_files(
    directory: Path,
    files: Mapping[str, Bytes],
    trust: Trust,
    handed_in: Sequence[tuple[Path, bytes]] = (),
    *,
    written_to: bool = False,
    cut: tuple[str, ...] = (),
    seals: SealChecker | None = None,
) -> Report:
    """The same for contents by name of file; `written_to` allows for an unfinished end, `seals` may know some."""
    for name in (ENTRIES, CHECKPOINTS, CERTIFICATES, WITNESSED):
        records.check_header(directory / name, bytes(files[name][:HEADER_SIZE]))
    for name in (CERTIFICATES, WITNESSED):
        _whole(directory / name, files[name])
    _check_derived_sizes(directory, files, written_to=written_to)
    keys = _keys(directory / CERTIFICATES, files[CERTIFICATES], trust)
    kept = list(_kept(directory / CHECKPOINTS, files[CHECKPOINTS]))
    others = [_Signed(exact, _said(exact, path), path, None, None) for path, exact in handed_in]
    seals = seals or SealChecker()
    for signed in (*kept, *others):
        _check_signature(signed, trust.provider, keys, seals)
    _check_growth(kept)
    wanted = {signed.said.size for signed in (*kept, *others)}
    covered = max(wanted, default=0)
    # beside an agent that writes, what was mapped last goes on a little further than what was mapped first
    most = len(files[PLACES]) // PLACE.size if written_to else None
    walked = _walk(directory, files, trust.key, wanted, most)
    roots, grown, end = walked.roots, walked.grown, walked.end
    if covered > grown.size:
        raise AuditBrokenError(
            directory / ENTRIES, f"entries are missing, for a signed checkpoint covers {covered}", grown.size, end
        )
    before = 0
    for signed in sorted((*kept, *others), key=lambda one: one.said.size):
        if roots[signed.said.size] != signed.said.root:
            if walked.doubtful is not None and walked.doubtful[0] < signed.said.size:
                index, at, _ = walked.doubtful
                raise AuditBrokenError(directory / ENTRIES, "the entry is not the one that was signed", index, at)
            raise signed.broken(f"of entries {before} to {signed.said.size - 1} some are not those that were signed")
        before = signed.said.size
    if walked.doubtful is not None:
        index, _, node = walked.doubtful
        raise AuditBrokenError(directory / TREE, "it does not follow from the entries", index, node)
    there = {signed.exact for signed in kept}
    for signed in others:
        if signed.exact not in there:
            raise signed.broken(
                f"it is good, but {directory / CHECKPOINTS} does not hold it: that file was cut off, or lost its end "
                "with the power"
            )
    writing = len(files[ENTRIES]) - end
    if writing and not written_to:
        raise AuditBrokenError(directory / ENTRIES, "no whole record begins there", grown.size, end)
    if not written_to and len(files[PLACES]) != grown.size * PLACE.size:
        problem = f"it should end there, for there are {grown.size} entries"
        raise AuditBrokenError(directory / PLACES, problem, grown.size, grown.size * PLACE.size)
    return Report(grown.size, grown.root(), len(kept) + len(others), grown.size - covered, cut, writing)


def _walk(
    directory: Path, files: Mapping[str, Bytes], key: AuditKey | None, wanted: set[int], most: int | None
) -> _Walked:
    entries, tree, places = (files[name] for name in (ENTRIES, TREE, PLACES))
    grown, roots, end, node = Growth(0, []), {0: EMPTY_ROOT}, HEADER_SIZE, 0
    doubtful = None
    for at, entry, hashed in islice(frames(entries, HEADER_SIZE, LARGEST_ENTRY), most):
        index = grown.size
        message = _entry(directory / ENTRIES, entry, index, at)
        made = b"".join(grown.add(hashed))
        if doubtful is None and tree[node : node + len(made)] != made:
            doubtful = index, at, node + _first_difference(tree[node : node + len(made)], made)
            if doubtful[2] >= node + HASH_SIZE:  # the entry agrees with its leaf: it is the tree that is wrong
                raise AuditBrokenError(directory / TREE, "it does not follow from the entries", index, doubtful[2])
        node += len(made)
        place = PLACE.pack(at, key_of(message.question_sha256), message.at_unix_ms)
        start = index * PLACE.size
        if places[start : start + PLACE.size] != place:
            raise AuditBrokenError(directory / PLACES, "it does not fit the entry", index, start)
        if key is not None and message.sealed:
            _check_sealed(directory / ENTRIES, message, key, index, at)
        end = at + FRAME.size + len(entry)
        if grown.size in wanted:
            roots[grown.size] = grown.root()
    return _Walked(roots, grown, end, doubtful)


def _entry(path: Path, entry: bytes, index: int, at: int) -> pb.AuditEntry:
    try:
        return pb.AuditEntry.FromString(entry)
    except DecodeError:
        raise AuditBrokenError(path, "it is no AuditEntry", index, at) from None


def _first_difference(found: Bytes, expected: bytes) -> int:
    return next((i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), len(found))


def _check_sealed(path: Path, message: pb.AuditEntry, key: AuditKey, index: int, at: int) -> None:
    try:
        opened = key.open(message.sealed, message.kind, message.question_sha256)
    except SealBrokenError as error:
        raise AuditBrokenError(path, str(error), index, at) from None
    if opened.question and digest(opened.question) != message.question_sha256:
        raise AuditBrokenError(path, "the sealed question is not the one whose digest is logged", index, at)
    if opened.naming and digest(opened.naming) + digest(opened.finding) != message.answer_leaf:
        raise AuditBrokenError(path, "the sealed answer is not the one whose digest is logged", index, at)


def _whole(path: Path, data: Bytes) -> None:
    end, count = HEADER_SIZE, 0
    for at, payload, _ in frames(data, HEADER_SIZE, LARGEST_RECORD):
        end = at + FRAME.size + len(payload)
        count += 1
    if end != len(data):
        raise AuditBrokenError(path, "no whole record begins there", count, end)


def _check_derived_sizes(directory: Path, files: Mapping[str, Bytes], *, written_to: bool) -> None:
    """Tree and places must be of as many entries as each other; an agent that writes may be between the two."""
    entries, rest = divmod(len(files[PLACES]), PLACE.size)
    if rest and not written_to:
        raise AuditBrokenError(directory / PLACES, "it was cut off", entries, entries * PLACE.size)
    expected, found = nodes_before(entries) * HASH_SIZE, len(files[TREE])
    if found < expected or (found > expected and not written_to):
        problem = f"it should have {expected} bytes for {entries} entries"
        raise AuditBrokenError(directory / TREE, problem, byte=min(expected, found))


def _keys(path: Path, data: Bytes, trust: Trust) -> dict[bytes, Certified]:
    """The certified keys of this provider, by id."""
    keys = {}
    for number, (at, der, _) in enumerate(frames(data, HEADER_SIZE, LARGEST_RECORD)):
        try:
            certified = trust.roots.certified(der)
        except CertificateError as error:
            raise AuditBrokenError(path, f"a certificate proves nothing here: {error}", number, at) from None
        if certified.uri != provider_uri(trust.provider):
            raise AuditBrokenError(path, f"a certificate is of {certified.uri}", number, at)
        keys[certified.key.key_id] = certified
    return keys


def _kept(path: Path, data: Bytes) -> Iterator[_Signed]:
    for number, at in enumerate(range(HEADER_SIZE, len(data), SLOT)):
        found = unframe(data[: at + SLOT], at, SLOT)
        if found is None or len(data) < at + SLOT:
            raise AuditBrokenError(path, "the checkpoint was altered or cut off", number, at)
        rest = bytes(data[at + FRAME.size + len(found[0]) : at + SLOT])
        if rest.strip(b"\0"):
            begin = at + FRAME.size + len(found[0]) + len(rest) - len(rest.lstrip(b"\0"))
            raise AuditBrokenError(path, "something stands after the checkpoint", number, begin)
        yield _Signed(found[0], _said(found[0], path, number, at), path, number, at)


def _said(exact: bytes, path: Path, number: int | None = None, byte: int | None = None) -> evidence.Checkpoint:
    try:
        return evidence.Checkpoint.FromString(evidence.SignedCheckpoint.FromString(exact).checkpoint)
    except DecodeError:
        raise AuditBrokenError(path, "it is no checkpoint", number, byte) from None


def _check_signature(
    signed: _Signed, provider: ProviderId, keys: Mapping[bytes, Certified], seals: SealChecker
) -> None:
    if signed.said.provider != provider:
        raise signed.broken(f"the checkpoint is not one of {provider}")
    message = evidence.SignedCheckpoint.FromString(signed.exact)
    if not message.seals:
        raise signed.broken("the checkpoint is not signed")
    seal = Seal.of_message(message.seals[0])
    certified = keys.get(seal.key_id)
    if certified is None:
        raise signed.broken("the checkpoint was signed by a key of which no certificate is kept")
    good = Proof(seal, 0, b"").covers(message.checkpoint) and seals.is_good(seal, Domain.CHECKPOINT, certified.key)
    if not good:
        raise signed.broken("the checkpoint's signature is not good")
    if not certified.valid_at(from_unix_ms(min(signed.said.at_unix_ms, 253402300799999))):
        raise signed.broken("the key's certificate was not valid when the checkpoint was signed")


def _check_growth(kept: Sequence[_Signed]) -> None:
    for earlier, later in pairwise(kept):
        if later.said.size < earlier.said.size or later.said.at_unix_ms < earlier.said.at_unix_ms:
            raise later.broken("the checkpoint is of an earlier state than the one before it")


@contextmanager
def _mapped(directory: Path) -> Iterator[tuple[dict[str, Bytes], bool]]:
    """The files' contents, and whether an agent is writing; checkpoints first, so that what they cover is there."""
    with ExitStack() as stack:
        files: dict[str, Bytes] = {}
        for name in (CHECKPOINTS, CERTIFICATES, WITNESSED, PLACES, TREE, ENTRIES):
            path = directory / name
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                if not any((directory / name).exists() for name in (ENTRIES, CHECKPOINTS, CERTIFICATES)):
                    raise AuditError(f"{directory}: there is no audit log") from None
                raise AuditBrokenError(path, "it is gone") from None
            stack.callback(os.close, descriptor)
            size = os.fstat(descriptor).st_size
            if not size:
                files[name] = b""
                continue
            mapped = stack.enter_context(mmap.mmap(descriptor, size, prot=mmap.PROT_READ))
            view = memoryview(mapped)
            stack.callback(view.release)
            files[name] = view
        yield files, _is_locked(directory / LOCK)


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
