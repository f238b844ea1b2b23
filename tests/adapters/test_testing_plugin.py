"""hopback's own formats hold the contract that third parties inherit, and adapters that break it are caught.

Each format's tests bring `SAMPLES` and `MAPPING`; here stands only how a sample is cut into its records.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

from cdr_adapters.raw import Grade
from cdr_adapters.registry import BUILT_IN, adapter
from hopback.testing import AdapterContract, Blocks, Lines
from hopback.testing.contract import Split

PLAIN, ONE, TWO, PARAGRAPHS = Lines(), Lines(header=1), Lines(header=2), Blocks()

SPLITS: Mapping[str, Mapping[int, Split]] = {
    "asterisk_csv": {0: PLAIN},
    "asterisk_sql": {3: ONE},
    "audiocodes": {0: PLAIN, 1: PLAIN},
    "bandwidth": {0: ONE},
    "broadworks_csv": {0: ONE, 1: ONE},
    "cisco_cube": {0: PLAIN, 1: PLAIN},
    "cisco_cucm": {0: TWO},
    "didww": {0: ONE, 1: ONE},
    "freeswitch_csv": {0: PLAIN},
    "freeswitch_json": {2: PLAIN},
    "freeswitch_sql": {2: ONE},
    "genband_nextone": {0: PLAIN},
    "kamailio_acc": {3: ONE},
    "kamailio_dbtext": {0: ONE},
    "kamailio_syslog": {0: PLAIN},
    "kazoo_json": {0: PLAIN},
    "netsapiens": {1: ONE},
    "opensips_flatstore": {0: PLAIN},
    "oracle_acme": {0: PLAIN, 1: PLAIN},
    "portaswitch": {1: ONE},
    "radius_detail": {0: PARAGRAPHS, 1: PARAGRAPHS, 2: PARAGRAPHS},
    "ribbon_act": {0: PLAIN, 1: PLAIN},
    "sansay_vsx": {0: PLAIN},
    "sippy": {1: ONE},
    "teams_direct_routing": {1: ONE},
    "telcobridges": {0: PLAIN},
    "telnyx": {1: ONE},
    "twilio": {1: ONE},
    "vos3000": {0: ONE},
    "yate_cdrfile": {2: PLAIN, 3: PLAIN},
    "delimited": {0: ONE},
    "fixed_width": {0: PLAIN},
    "jsonl": {0: PLAIN},
}
"""How the sample of that number is cut; those that aren't here are binary, one document, or join several rows."""

CLAIM_NOTHING = frozenset({"fixed_width"})
"""Formats that nothing gives away: the mapping must name them."""
NEEDS_TSHARK = frozenset({"sip_pcap"})
EXAMPLES = 12


def samples_of(name: str) -> tuple[list[bytes], dict[str, Any]]:
    """The samples of a format, and the mapping that reads them: from the format's own tests."""
    module = import_module(f"tests.adapters.formats.test_{name}")
    return module.SAMPLES, module.MAPPING


@dataclass(frozen=True)
class BySample:
    """Cuts each sample in its own way."""

    ways: Mapping[bytes, Split]

    def __call__(self, sample: bytes) -> tuple[bytes, list[bytes]] | None:
        way = self.ways.get(sample)
        return None if way is None else way(sample)


def contract_of(name: str, examples: int) -> type[AdapterContract]:
    """The contract as a test class for a format of our own."""
    samples, mapping = samples_of(name)
    ways = {samples[at]: way for at, way in SPLITS.get(name, {}).items()}
    body: dict[str, Any] = {
        "adapter": name,
        "samples": tuple(samples),
        "mapping": mapping,
        "split": BySample(ways) if ways else None,
        "indivisible": "binary, one document, or several rows are joined",
        "claims": name not in CLAIM_NOTHING,
        "examples": 2 if name in NEEDS_TSHARK else examples,
    }
    return type(f"Test_{name}", (AdapterContract,), body)


WITH_SAMPLES = [name for name in BUILT_IN if find_spec(f"tests.adapters.formats.test_{name}") is not None]


def test_every_format_brings_samples() -> None:
    assert set(BUILT_IN) - set(WITH_SAMPLES) == set()


for _name in WITH_SAMPLES:
    _class = contract_of(_name, EXAMPLES)
    if _name in NEEDS_TSHARK:
        _class = pytest.mark.slow(_class)
        _class = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")(_class)
    globals()[_class.__name__] = _class


SPECIAL = [name for name in BUILT_IN if adapter(name).grade is not Grade.GENERIC]


@pytest.mark.parametrize("name", SPECIAL)
def test_no_special_format_claims_another_one_s_files(name: str) -> None:
    from cdr_adapters.raw import Head
    from hopback.testing.reading import file_of

    claimed = []
    for other in WITH_SAMPLES:
        for number, sample in enumerate(samples_of(other)[0]):
            with file_of(sample) as path:
                if other != name and adapter(name).identify(Head(path, sample[: 1 << 16], len(sample) <= 1 << 16)):
                    claimed.append(f"{other}, sample {number}")
    assert claimed == []


@pytest.mark.nightly
@pytest.mark.parametrize("name", [name for name in WITH_SAMPLES if name not in NEEDS_TSHARK])
def test_a_long_sweep_of_damaged_files_is_read_or_refused(name: str) -> None:
    contract = contract_of(name, 3000)()
    contract.test_any_bytes_are_read_or_refused()
    contract.test_identify_never_fails()


GOOD = '''
"""Calls of an imaginary switch: `SW1`, then called, calling, start, trunk, parted by bars."""

from collections.abc import Iterator
from pathlib import Path

from cdr_adapters import raw
from cdr_adapters.records import RecordBuffer, batches
from cdr_adapters.stream import read_lines

SUMMARY = "Imaginary switch"
GRADE = raw.Grade.DOCUMENTATION
COLUMNS = {
    "called_in": "called", "calling": "calling", "seizure": {"column": "start", "format": "iso8601"},
    "ingress_trunk": "trunk",
}
NAMES = ("mark", "called", "calling", "start", "trunk")

class Options(raw.Options):
    """None."""

def identify(head):
    lines = head.lines(5)
    return bool(lines) and all(line.startswith("SW1|") for line in lines)

def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    buffer = RecordBuffer(columns, NAMES)

    def steps():
        for number, line in read_lines(path):
            fields = line.split("|")
            if not line:
                buffer.skip()
            elif len(fields) == 5 and fields[0] == "SW1":
                buffer.add(number, dict(zip(NAMES, fields)))
            else:
                buffer.reject(number, "not five values", line)
            yield

    return batches(buffer, steps)
'''
USE = """
from hopback.testing import AdapterContract, Lines
import imaginary

class TestImaginary(AdapterContract):
    adapter = imaginary
    samples = (
        b"SW1|2025550143|2025550199|2026-11-21T23:23:27Z|TG1\\nSW1|2025550144||2026-11-21T23:24:27Z|TG2\\n",
        b"SW1|+12025550145||2026-11-21T23:25:27Z|TG2\\n",
    )
    split = Lines()
    examples = 30
"""


LOOP = "for number, line in read_lines(path):"
BREACHES = [
    ("return bool(lines) and all(", "return bool(lines) and any(1 for _ in ", "it_leaves_other_files_alone"),
    ("lines = head.lines(5)", "lines = [head.data.decode()]", "identify_never_fails"),
    ("return bool(lines) and all(", "return bool(lines) and not all(", "it_claims_its_own_files"),
    ('buffer.reject(number, "not five values", line)', "raise ValueError(line)", "any_bytes_are_read_or_refused"),
    ("            if not line:\n", "            if 'TG2' in line:\n                pass\n            elif not line:\n",
     "every_record_is_accounted_for"),
    ("buffer.add(number, dict(zip(NAMES, fields)))", "[buffer.add(number, dict(zip(NAMES, fields))) for _ in (1, 2)]",
     "every_record_is_accounted_for"),
    ('"not five values"', 'f"not five values: {line}"', "messages_hold_no_numbers"),
    (LOOP, f"{LOOP}\n            SEEN.update([len(SEEN)] * (number == 1))\n"
     "            line = line.replace('TG', 'T' + str(len(SEEN)))", "reading_leaves_no_trace"),
    (LOOP, f"last = ['']\n        {LOOP}\n            line, last[0] = line.replace('TG', 'T' + last[0][-3:-2]), line",
     "the_order_of_records_makes_no_difference"),
    (LOOP, "for number, line in enumerate(path.read_text('latin-1').split(chr(10)), 1):",
     "compression_makes_no_difference"),
    ("fields = line.split", "import time; line = line.replace('27Z', time.strftime('27%z', time.localtime(0)))\n"
     "            fields = line.split", "the_machines_own_zone_makes_no_difference"),
    ("class Options(raw.Options):", "class Options(raw.Options, extra='ignore'):",
     "it_refuses_options_that_it_does_not_know"),
    ('SUMMARY = "Imaginary switch"', 'SUMMARY = ""', "it_says_what_it_is"),
    ("buffer = RecordBuffer(columns, NAMES)", "buffer = RecordBuffer(columns and columns - {'trunk'}, NAMES)",
     "it_gives_the_columns_that_are_asked_for"),
    ("    def steps():\n", "    KEPT.append(path.open('rb'))\n    def steps():\n",
     "a_reader_that_is_given_up_closes_its_file"),
]  # fmt: skip
"""What is done to the good adapter, and which test of the contract must see it."""


VOID = [("split = Lines()", ""), ("samples = (", "samples = ()\n    other = ("), ("SW1|+1", "SW2|+1")]
"""What is done to the tests of the good adapter, so that they say nothing of it."""


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, set[str]]:
    """The contract run over the good adapter and all broken ones, in a pytest of its own as their authors would.

    By file, the tests that failed.
    """
    directory = tmp_path_factory.mktemp("third-party")
    (directory / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    modules = {"good": GOOD}
    for number, (before, after, _) in enumerate(BREACHES):
        assert before in GOOD
        module = GOOD.replace(before, after, 1).replace("NAMES = (", "SEEN, KEPT = set(), []\nNAMES = (", 1)
        modules[f"breach{number}"] = module
    for name, module in modules.items():
        (directory / f"{name}.py").write_text(module)
        (directory / f"test_{name}.py").write_text(USE.replace("imaginary", name))
    for number, (before, after) in enumerate(VOID):
        assert before in USE
        (directory / f"test_void{number}.py").write_text(USE.replace(before, after).replace("imaginary", "good"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rf", "--tb=no", str(directory)],
        capture_output=True,
        text=True,
        cwd=directory,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    failed: dict[str, set[str]] = {}
    for line in done.stdout.splitlines():
        match = re.match(r"FAILED test_(\w+)\.py::Test\w+::test_(\w+)", line)
        if match is not None:
            failed.setdefault(match[1], set()).add(match[2])
    return failed


class TestAThirdPartysAdapter:
    def test_that_holds_the_contract_passes(self, failures: Mapping[str, set[str]]) -> None:
        assert "good" not in failures

    @pytest.mark.parametrize(
        "number", range(len(BREACHES)), ids=[f"{number}-{b[2]}" for number, b in enumerate(BREACHES)]
    )
    def test_that_breaks_it_is_caught(self, failures: Mapping[str, set[str]], number: int) -> None:
        assert BREACHES[number][2] in failures.get(f"breach{number}", set())

    @pytest.mark.parametrize("number", range(len(VOID)))
    def test_with_samples_that_say_nothing_is_caught(self, failures: Mapping[str, set[str]], number: int) -> None:
        assert failures.get(f"void{number}")
