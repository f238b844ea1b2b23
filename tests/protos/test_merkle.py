"""Merkle trees: an independent implementation agrees, and nothing but the right path proves anything."""

from __future__ import annotations

from hashlib import sha256

import pymerkle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protos import merkle

# RFC 6962's well-known example: the leaves of the Certificate Transparency reference tests, with published roots.
LEAVES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
LEAVES.append(bytes.fromhex("606162636465666768696a6b6c6d6e6f"))
ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def node_of(hashes: list[bytes]) -> merkle.Node:
    def node(level: int, index: int) -> bytes:
        some = hashes[index << level : (index + 1) << level]
        assert len(some) == 1 << level, "only complete subtrees may be asked for"
        return merkle.Tree(some).root

    return node


def leaves_of(count: int) -> list[bytes]:
    return [b"leaf %d" % number for number in range(count)]


class TestRoots:
    @pytest.mark.parametrize("size", ROOTS)
    def test_are_those_of_certificate_transparency(self, size: int) -> None:
        assert merkle.tree_of(LEAVES[:size]).root.hex() == ROOTS[size]

    def test_of_nothing_is_the_hash_of_nothing(self) -> None:
        assert merkle.range_hash(0, 0, node_of([])) == sha256(b"").digest() == merkle.EMPTY_ROOT
        with pytest.raises(ValueError, match="at least one"):
            merkle.Tree([])

    @pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 33, 100])
    def test_are_those_of_another_implementation(self, size: int) -> None:
        other = pymerkle.InmemoryTree(algorithm="sha256")
        for leaf in leaves_of(size):
            other.append_entry(leaf)
        assert merkle.tree_of(leaves_of(size)).root == other.get_root()


class TestInclusion:
    @given(st.integers(1, 200), st.data())
    @settings(max_examples=100, deadline=None)
    def test_is_proved_by_the_path_and_by_no_other(self, size: int, data: st.DataObject) -> None:
        leaves = leaves_of(size)
        tree, index = merkle.tree_of(leaves), data.draw(st.integers(0, size - 1))
        hashed, path = merkle.leaf_hash(leaves[index]), tree.path(index)
        assert merkle.inclusion_path(index, size, node_of([merkle.leaf_hash(leaf) for leaf in leaves])) == path
        assert merkle.root_by_path(hashed, index, size, path) == tree.root
        assert merkle.root_by_path(merkle.leaf_hash(b"another"), index, size, path) != tree.root
        assert merkle.root_by_path(hashed, index, size, path + bytes(32)) != tree.root
        if path:
            place = 32 * data.draw(st.integers(0, len(path) // 32 - 1))
            bent = path[:place] + bytes(32) + path[place + 32 :]
            assert merkle.root_by_path(hashed, index, size, bent) != tree.root
            assert merkle.root_by_path(hashed, index, size, path[:-32]) != tree.root
            assert merkle.root_by_path(hashed, index, size, path[:place] + path[place + 1 :]) is None

    @pytest.mark.parametrize("size", range(1, 40))
    def test_of_all_leaves_at_once_is_that_of_each(self, size: int) -> None:
        tree = merkle.tree_of(leaves_of(size))
        assert tree.paths() == [tree.path(index) for index in range(size)]

    def test_of_a_leaf_outside_the_tree_is_none(self) -> None:
        tree = merkle.tree_of(leaves_of(3))
        for index in (-1, 3, 1 << 70):
            assert merkle.root_by_path(merkle.leaf_hash(b"leaf 0"), index, 3, tree.path(0)) is None
        with pytest.raises(ValueError, match="no leaf 3"):
            merkle.inclusion_path(3, 3, node_of([]))

    def test_in_a_tree_of_another_size_is_none(self) -> None:
        two = merkle.tree_of(leaves_of(2))
        hashed = merkle.leaf_hash(b"leaf 0")
        assert merkle.root_by_path(hashed, 0, 2, two.path(0)) == two.root
        for size in (1, 3, 4, 5, 100):
            assert merkle.root_by_path(hashed, 0, size, two.path(0)) is None

    def test_an_inner_node_is_no_leaf(self) -> None:
        tree = merkle.tree_of(leaves_of(4))
        pair = b"".join(merkle.leaf_hash(leaf) for leaf in leaves_of(2))
        assert merkle.root_by_path(merkle.leaf_hash(pair), 0, 2, tree.path(0)[32:]) != tree.root

    @given(st.integers(1, 60), st.data())
    @settings(max_examples=100, deadline=None)
    def test_of_many_leaves_is_judged_as_one_by_one(self, size: int, data: st.DataObject) -> None:
        leaves = leaves_of(size)
        tree = merkle.tree_of(leaves)
        many = merkle.Inclusions(size, tree.root)
        whole = merkle.whole(size, tree.root, dict(enumerate(leaves)))
        assert whole is not None
        for _ in range(20):
            index = data.draw(st.integers(0, size - 1))
            claimed = data.draw(st.just(index) | st.integers(-1, size))
            path = tree.path(index)
            altered = data.draw(st.booleans())
            if path and altered:
                place = 32 * data.draw(st.integers(0, len(path) // 32 - 1))
                node = data.draw(st.binary(min_size=32, max_size=32) | st.binary(max_size=33))
                path = path[:place] + node + path[place + data.draw(st.sampled_from([0, 32])) :]
            leaf = data.draw(st.sampled_from([leaves[index], b"another"]))
            alone = merkle.root_by_path(merkle.leaf_hash(leaf), claimed, size, path)
            assert many.proves(leaf, claimed, path) is (alone == tree.root)
            assert whole.proves(leaf, claimed, path) is (alone == tree.root)

    def test_of_all_leaves_needs_all_of_them_and_no_others(self) -> None:
        leaves = dict(enumerate(leaves_of(5)))
        root = merkle.tree_of(leaves.values()).root
        assert merkle.whole(5, root, leaves) is not None
        assert merkle.whole(5, bytes(32), leaves) is None
        assert merkle.whole(5, root, leaves | {2: b"another"}) is None
        assert merkle.whole(5, root, {index: leaf for index, leaf in leaves.items() if index != 2}) is None
        assert merkle.whole(5, root, {index + 1: leaf for index, leaf in leaves.items()}) is None
        assert merkle.whole(6, root, leaves) is None
        assert merkle.whole(0, merkle.EMPTY_ROOT, {}) is None


class TestConsistency:
    @given(st.integers(0, 130), st.integers(0, 130), st.data())
    @settings(max_examples=150, deadline=None)
    def test_is_proved_by_the_path_and_by_no_other(self, one: int, two: int, data: st.DataObject) -> None:
        old, new = sorted((one, two))
        hashes = [merkle.leaf_hash(leaf) for leaf in leaves_of(new)]
        node = node_of(hashes)
        was, now = merkle.range_hash(0, old, node), merkle.range_hash(0, new, node)
        path = merkle.consistency_path(old, new, node)
        assert merkle.is_consistent(old, was, new, now, path)
        assert not merkle.is_consistent(old, was, new, bytes(32), path) or old == 0
        assert not merkle.is_consistent(old, bytes(32), new, now, path)
        assert not merkle.is_consistent(old, was, new, now, path + bytes(32))
        if path:
            place = 32 * data.draw(st.integers(0, len(path) // 32 - 1))
            bent = path[:place] + bytes(32) + path[place + 32 :]
            assert not merkle.is_consistent(old, was, new, now, bent)
            assert not merkle.is_consistent(old, was, new, now, path[:-32])
            assert not merkle.is_consistent(old, was, new, now, path[:-1])

    @given(st.integers(1, 60), st.integers(1, 60), st.data())
    @settings(max_examples=100, deadline=None)
    def test_a_log_that_was_rewritten_is_never_consistent(self, one: int, two: int, data: st.DataObject) -> None:
        old, new = sorted((one, two))
        hashes = [merkle.leaf_hash(leaf) for leaf in leaves_of(new)]
        was = merkle.range_hash(0, old, node_of(hashes))
        hashes[data.draw(st.integers(0, old - 1))] = merkle.leaf_hash(b"rewritten")
        node = node_of(hashes)
        path = merkle.consistency_path(old, new, node)
        assert not merkle.is_consistent(old, was, new, merkle.range_hash(0, new, node), path)

    def test_of_a_log_that_shrank_can_be_neither_made_nor_shown(self) -> None:
        with pytest.raises(ValueError, match="holds no 5"):
            merkle.consistency_path(5, 4, node_of([]))
        assert not merkle.is_consistent(5, bytes(32), 4, bytes(32), b"")
