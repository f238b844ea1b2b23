"""BER call records of a mobile network, from the file to the canonical table, against asn1tools decoding them alone.

Two thirds are gateway records with a dozen fields that hopback doesn't know, one third IBCF records with their lists.
The peer gets the same records without the unknown fields, since it stops at the first of them, and does nothing with
what it decodes.
"""

from __future__ import annotations

import random
import statistics
import tempfile
from importlib.resources import files
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console

from benchmarks.measure import Figure
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.read import read_source

RECORDS = 60_000
PEER_RECORDS = 3_000
RUNS = 5
_UNKNOWN = tuple(range(0x50, 0x5C))


def _telephone(rng: random.Random, area: str) -> bytes:
    digits = f"1{area}555{rng.randrange(10_000):04d}f"
    return b"\x91" + bytes(int(digits[i + 1] + digits[i], 16) for i in range(0, 12, 2))


def _time(rng: random.Random) -> bytes:
    return bytes.fromhex(f"2611{rng.randrange(10, 28)}{rng.randrange(10, 24)}{rng.randrange(10, 60)}00") + b"+\0\0"


def _gateway(rng: random.Random, at: int) -> tuple[str, dict[str, Any]]:
    time = _time(rng)
    return "incGatewayRecord", {
        "recordType": 3,
        "callingNumber": _telephone(rng, "202"),
        "calledNumber": _telephone(rng, "571"),
        "recordingEntity": bytes.fromhex("912120550501f0"),
        "mscIncomingTKGP": ("tkgpName", f"IN{at % 40:02d}"),
        "mscOutgoingTKGP": ("tkgpNumber", at % 300),
        "seizureTime": time,
        "answerTime": time,
        "releaseTime": time,
        "callDuration": at % 600,
        "causeForTerm": 0,
        "diagnostics": ("itu-tQ767Cause", 16),
        "callReference": at.to_bytes(5, "big"),
    }


def _border(rng: random.Random, at: int) -> tuple[str, dict[str, Any]]:
    time = _time(rng)
    caller = f"+1202555{rng.randrange(10_000):04d}"
    return "iBCFRecord", {
        "recordType": 82,
        "sIP-Method": "INVITE",
        "session-Id": f"{at}@198.51.100.7",
        "list-Of-Calling-Party-Address": [("sIP-URI", f"sip:{caller}@ims.test"), ("tEL-URI", f"tel:{caller}")],
        "called-Party-Address": ("tEL-URI", f"tel:+1571555{rng.randrange(10_000):04d}"),
        "serviceRequestTimeStamp": time,
        "serviceDeliveryStartTimeStamp": time,
        "serviceDeliveryEndTimeStamp": time,
        "interOperatorIdentifiers": {"originatingIOI": "a.test", "terminatingIOI": "b.test"},
        "iMS-Charging-Identifier": f"icid-{at}".encode(),
        "serviceRequestTimeStampFraction": at % 1000,
        "nNI-Information": [
            {
                "sessionDirection": "inbound",
                "neighbourNodeAddress": ("iPBinV4Address", bytes((198, 51, 100, at % 250))),
            },
            {"sessionDirection": "outbound", "neighbourNodeAddress": ("iPTextV4Address", "192.0.2.1")},
        ],
    }


def _with_unknown_fields(record: bytes) -> bytes:
    """The record with more members in it, as every real one has them."""
    tag = 2 if record[0] & 0x1F == 0x1F else 1
    contents = record[tag + (1 if record[tag] < 0x80 else 2 if record[tag] == 0x81 else 3) :]
    unknown = b"".join(bytes((0x9F, 0x80 | 1, number, 4)) + b"abcd" for number in _UNKNOWN)
    contents = contents[:3] + unknown[: len(unknown) // 2] + contents[3:] + unknown[len(unknown) // 2 :]
    return record[:tag] + b"\x82" + len(contents).to_bytes(2, "big") + contents


def ber_records_per_s(console: Console) -> Figure:
    """Records a second through `read_source`."""
    import asn1tools

    text = files("cdr_adapters.formats").joinpath("_threegpp_32298.asn").read_text("ascii")
    specification = asn1tools.compile_string(text, "ber")
    rng = random.Random(32298)
    console.print(f"writing {RECORDS:,} records ...")
    records = [
        bytes(specification.encode("CallRecord", (_border if at % 3 == 2 else _gateway)(rng, at)))
        for at in range(RECORDS)
    ]
    ours, peers = [], []
    with tempfile.TemporaryDirectory(prefix="hopback-bench-") as work:
        path = Path(work) / "records.ber"
        path.write_bytes(b"".join(_with_unknown_fields(record) for record in records))
        mapping = SourceMapping.model_validate({"name": "bench", "path": "x", "format": "threegpp_ber"})
        for _ in range(RUNS):
            start = perf_counter()
            calls = sum(batch.calls.num_rows for batch in read_source(path, mapping, TrunkFormats()))
            ours.append(calls / (perf_counter() - start))
            if calls != RECORDS:
                raise AssertionError(f"{calls} calls of {RECORDS} records")
            start = perf_counter()
            for record in records[:PEER_RECORDS]:
                specification.decode("CallRecord", record)
            peers.append(PEER_RECORDS / (perf_counter() - start))
    peer = f"asn1tools decoding the same records, known fields only: {statistics.median(peers):,.0f} records/s"
    return Figure(statistics.median(ours), "records/s", peer, tuple(ours))
