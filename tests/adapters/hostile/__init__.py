"""The hostile corpus: files that a switch, a disk or somebody with bad intent may put before a reader.

Each is synthetic, built from a recipe when the tests run, and says why it is there (`tests.adapters.hostile.files` has
the list). `tests/adapters/test_hostile.py` puts them before the readers.
"""
