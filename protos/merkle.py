"""Merkle trees as in RFC 6962, section 2.1: roots, inclusion paths and consistency proofs, and their verification.

Pure: hashes in, hashes out. A path or proof is its nodes one behind the other, in memory as on the wire. A tree is
either small and whole in memory (`Tree`) or stands behind a function that gives the hash of any complete subtree
(`Node`), as a log on disk does. Verification follows RFC 9162, sections 2.1.3.2 and 2.1.4.2, and answers for any input:
a path of the wrong length, or that ends within a node, proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Final

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()
"""The root of a tree without leaves."""

Node = Callable[[int, int], bytes]
"""`node(level, index)`: the hash over the 2^level leaves that begin at index * 2^level, all of which exist."""


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of a leaf's exact bytes."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


class Tree:
    """A whole tree in memory, over hashes of leaves (at least one)."""

    __slots__ = ("_levels",)

    def __init__(self, leaf_hashes: Sequence[bytes]) -> None:
        level = list(leaf_hashes)
        if not level:
            raise ValueError("a tree has at least one leaf")
        self._levels = [level]
        while len(level) > 1:
            hash_ = sha256
            pairs = zip(level[::2], level[1::2], strict=False)
            above = [hash_(b"\x01" + left + right).digest() for left, right in pairs]
            if len(level) % 2:
                above.append(level[-1])
            self._levels.append(above)
            level = above

    @property
    def root(self) -> bytes:
        """The Merkle tree hash."""
        return self._levels[-1][0]

    @property
    def levels(self) -> Sequence[Sequence[bytes]]:
        """All hashes: of the leaves first, of the root last."""
        return self._levels

    def __len__(self) -> int:
        """How many leaves."""
        return len(self._levels[0])

    def path(self, index: int) -> bytes:
        """The inclusion path of the leaf at `index`, from its sibling upwards."""
        path = []
        for level in self._levels[:-1]:
            sibling = index ^ 1
            if sibling < len(level):
                path.append(level[sibling])
            index >>= 1
        return b"".join(path)

    def paths(self) -> list[bytes]:
        """The inclusion paths of all leaves, in their order."""
        paths = [b""]
        for level in self._levels[-2::-1]:
            last = len(level) - 1
            odd = None if last & 1 else paths[last >> 1]  # the last of an odd number has no sibling on this level
            paths = [level[index ^ 1] + paths[index >> 1] for index in range(last if odd is not None else last + 1)]
            if odd is not None:
                paths.append(odd)
        return paths


def tree_of(leaves: Iterable[bytes]) -> Tree:
    """The tree over these leaves' exact bytes."""
    hash_ = sha256
    return Tree([hash_(b"\x00" + leaf).digest() for leaf in leaves])


def root_by_path(hashed: bytes, index: int, size: int, path: bytes) -> bytes | None:
    """The root that this inclusion path leads to, None when it is no path in a tree of `size` leaves."""
    if not 0 <= index < size or len(path) % HASH_SIZE:
        return None
    last = size - 1
    for sibling in nodes(path):
        if last == 0:
            return None
        if index & 1 or index == last:
            hashed = node_hash(sibling, hashed)
            while not index & 1 and index:
                index >>= 1
                last >>= 1
        else:
            hashed = node_hash(hashed, sibling)
        index >>= 1
        last >>= 1
    return hashed if last == 0 else None


class Inclusions:
    """Checks many inclusion paths in one tree, with the same verdicts as `root_by_path` but no hash computed twice.

    What one path proved of the nodes above a leaf, the next path that reaches one of them must say again.
    """

    __slots__ = ("_proven", "_root", "_size")

    def __init__(self, size: int, root: bytes) -> None:
        self._size, self._root = size, root
        self._proven: dict[int, tuple[bytes, bytes, int]] = {}
        """Of a node that is under the root: its hash, and a path that leads on from there after so many bytes.

        A node is known by its index and, in the lowest six bits, its level.
        """

    def proves(self, leaf: bytes, index: int, path: bytes) -> bool:
        """Whether `path` leads from these exact bytes at `index` to the root."""
        length = len(path)
        if not 0 <= index < self._size or length % HASH_SIZE:
            return False
        passed: list[tuple[int, tuple[bytes, bytes, int]]] = []
        # hashes are spelt out here: this runs for every leaf of a batch, and a call costs as much as a hash
        hash_, proven = sha256, self._proven
        hashed, at, last, level = hash_(b"\x00" + leaf).digest(), 0, self._size - 1, 0
        while (known := proven.get(here := index << 6 | level)) is None:
            passed.append((here, (hashed, path, at)))
            if at == length:
                if last or hashed != self._root:
                    return False
                break
            if last == 0:
                return False
            sibling = path[at : at + HASH_SIZE]
            at += HASH_SIZE
            if index & 1 or index == last:
                hashed = hash_(b"\x01" + sibling + hashed).digest()
                while not index & 1 and index:
                    index, last, level = index >> 1, last >> 1, level + 1
            else:
                hashed = hash_(b"\x01" + hashed + sibling).digest()
            index >>= 1
            last >>= 1
            level += 1
        else:
            proven_hash, proven_path, proven_at = known
            if proven_hash != hashed or proven_path[proven_at:] != path[at:]:
                return False
        proven.update(passed)
        return True


class Whole:
    """Checks inclusion paths in one tree of which all leaves are there: the same verdicts, for less.

    Make one with `whole`. Every node is hashed once, and a path is compared with the one that it has to be.
    """

    __slots__ = ("_leaves", "_paths")

    def __init__(self, leaves: Sequence[bytes], tree: Tree) -> None:
        self._leaves, self._paths = leaves, tree.paths()

    def proves(self, leaf: bytes, index: int, path: bytes) -> bool:
        """Whether `path` leads from these exact bytes at `index` to the root."""
        return 0 <= index < len(self._leaves) and leaf == self._leaves[index] and path == self._paths[index]


def whole(size: int, root: bytes, leaves: Mapping[int, bytes]) -> Whole | None:
    """What checks paths in the tree of these leaves (exact bytes by index), None where it is not the one of `root`."""
    if not 0 < len(leaves) == size or not all(map(leaves.__contains__, range(size))):
        return None
    exact = [leaves[index] for index in range(size)]
    tree = tree_of(exact)
    return Whole(exact, tree) if tree.root == root else None


def range_hash(first: int, end: int, node: Node) -> bytes:
    """The hash over the leaves from `first` up to `end`; `first` is a multiple of the greatest power of 2 below."""
    count = end - first
    if count <= 0:
        return EMPTY_ROOT
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return node(level, first >> level)
    split = _split(count)
    return node_hash(range_hash(first, first + split, node), range_hash(first + split, end, node))


def inclusion_path(index: int, size: int, node: Node) -> bytes:
    """The inclusion path of the leaf at `index` in the tree of the first `size` leaves."""
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} among {size}")
    first, end, path = 0, size, []
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            path.append(range_hash(middle, end, node))
            end = middle
        else:
            path.append(range_hash(first, middle, node))
            first = middle
    return b"".join(reversed(path))


def consistency_path(old: int, new: int, node: Node) -> bytes:
    """The proof that the tree of `new` leaves begins with that of `old`; empty where there is nothing to prove."""
    if not 0 <= old <= new:
        raise ValueError(f"a log of {new} entries holds no {old}")
    if old in (0, new):
        return b""
    first, end, path, whole = 0, new, [], True
    while old != end:
        middle = first + _split(end - first)
        if old <= middle:
            path.append(range_hash(middle, end, node))
            end = middle
        else:
            path.append(range_hash(first, middle, node))
            first, whole = middle, False
    if not whole:
        path.append(range_hash(first, end, node))
    return b"".join(reversed(path))


def is_consistent(old: int, old_root: bytes, new: int, new_root: bytes, path: bytes) -> bool:
    """Whether `path` proves that the first `old` leaves under `new_root` are those under `old_root`."""
    if old == 0:
        return not path and old_root == EMPTY_ROOT
    if old == new:
        return not path and old_root == new_root
    if not 0 < old < new or len(path) % HASH_SIZE:
        return False
    steps = nodes(path)
    if old & (old - 1) == 0:
        steps.insert(0, old_root)
    if not steps:
        return False
    index, last = old - 1, new - 1
    while index & 1:
        index >>= 1
        last >>= 1
    was = now = steps[0]
    for hashed in steps[1:]:
        if last == 0:
            return False
        if index & 1 or index == last:
            was, now = node_hash(hashed, was), node_hash(hashed, now)
            while not index & 1 and index:
                index >>= 1
                last >>= 1
        else:
            now = node_hash(now, hashed)
        index >>= 1
        last >>= 1
    return last == 0 and was == old_root and now == new_root


def nodes(path: bytes) -> list[bytes]:
    """The nodes of a path, which holds whole ones."""
    return [path[at : at + HASH_SIZE] for at in range(0, len(path), HASH_SIZE)]


def _split(count: int) -> int:
    """The greatest power of two below `count` (at least 2)."""
    return 1 << ((count - 1).bit_length() - 1)
