"""Exports of cloud carriers, as their customers see them: they name no upstream, and none is made up. All is synthetic.

After the documents named in the modules of Twilio, Telnyx, Bandwidth and DIDWW.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cdr_adapters.identify import claimants
from tests.adapters.formats import test_bandwidth, test_didww, test_teams_direct_routing, test_telnyx, test_twilio
from tests.adapters.formats.exports import DOWNSTREAM, UPSTREAM, read, some
from tests.adapters.reading import written

EXPORTS = {
    "twilio": test_twilio,
    "telnyx": test_telnyx,
    "bandwidth": test_bandwidth,
    "didww": test_didww,
    "teams_direct_routing": test_teams_direct_routing,
}


@pytest.mark.parametrize("name", EXPORTS)
def test_no_upstream_is_named_whatever_else_is_in_the_file(tmp_path: Path, name: str) -> None:
    for sample in EXPORTS[name].SAMPLES:
        path = written(tmp_path, sample)
        assert claimants(path) == (name,)
        calls, rejected, _ = read(path, name)
        assert calls
        assert not rejected
        for call in calls:
            assert some(call, *UPSTREAM, *DOWNSTREAM) == (None, None, None, None)


def test_json_of_something_else_is_nobodys(tmp_path: Path) -> None:
    path = written(
        tmp_path, json.dumps({"data": [{"cli": "1", "cld": "2", "sent_at": "x", "record_type": "messaging"}]})
    )
    assert claimants(path) in ((), ("jsonl",))
