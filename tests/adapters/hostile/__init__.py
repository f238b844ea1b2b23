"""The hostile corpus: files that a switch, a disk or somebody with bad intent may hand to a reader, built when the tests run.

Each file is synthetic and built from a recipe (`tests.adapters.hostile.files`); what is large when read is small on disk or exists only while
the test runs. `tests/adapters/test_hostile.py` puts them before the readers.
"""
