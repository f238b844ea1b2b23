"""The contract that every adapter holds, and one file that was looked at."""

from pathlib import Path

import hopback_bluebird

from hopback.testing import AdapterContract, Lines, assert_golden

HERE = Path(__file__).parent
CALLS = HERE / "samples" / "calls.log"


class TestBluebird(AdapterContract):
    adapter = hopback_bluebird
    samples = (CALLS,)
    split = Lines()


def test_the_sample_is_read_as_it_was_looked_at() -> None:
    assert_golden("bluebird", CALLS, HERE / "samples" / "calls.golden")
