"""What the process that reads captures may do to its caller: nothing."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from itertools import count
from pathlib import Path

import pytest

from cdr_adapters.raw import AdapterError
from cdr_adapters.sip.capture import Limits, Worker, find_tshark, messages
from cdr_adapters.sip.capture_worker import PacketReader, ending, epoch_us
from cdr_adapters.sip.legs import Packet
from cdr_adapters.sip.message import Bye, Final, Invite, Via
from cdr_adapters.sip.sieve import Sieve
from cdr_adapters.sip.wire import Damage, Seen, Unreadable, decode, encode

MEMORY_HINT = "if it was for want of memory, raise memory_mb, or editcap -c 1000000"
PACKET = Packet(1, 2, "192.0.2.1", 3, "2001:db8::1", 4)
VIAS = (Via("h:5060", "b"), Via("g", ""))
FINAL = '["final",7,1000000,"192.0.2.1",0,"192.0.2.2",0,"c1",1,"h","b",200]'


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "some.pcap"
    path.write_bytes(b"not looked at by these workers")
    return path


def worker(code: str, *, seconds: float | None = None) -> Worker:
    return Worker(tshark="/nowhere/tshark", limits=Limits(seconds=seconds), launch=(sys.executable, "-c", code))


class TestWhenTheReaderFails:
    def test_a_crash_is_an_error_that_says_how(self, capture: Path) -> None:
        with pytest.raises(AdapterError, match=r"some\.pcap.*ended by signal 9"):
            list(messages(capture, worker("import os; os.kill(os.getpid(), 9)")))

    def test_an_early_exit_is_an_error_with_its_last_words(self, capture: Path) -> None:
        with pytest.raises(AdapterError, match=r"exited with 3: no memory"):
            list(messages(capture, worker("import sys; print('no memory', file=sys.stderr); sys.exit(3)")))

    def test_what_it_read_before_a_crash_is_not_the_whole_capture(self, capture: Path) -> None:
        stream = messages(capture, worker(f"print({FINAL!r}, flush=True)"))
        assert next(stream) == (
            Packet(7, 1_000_000, "192.0.2.1", 0, "192.0.2.2", 0),
            Final("c1", 1, Via("h", "b"), 200),
        )
        with pytest.raises(AdapterError, match="exited with 0"):
            next(stream)

    def test_a_hang_ends_at_the_time_limit_and_the_process_is_gone(self, capture: Path, tmp_path: Path) -> None:
        pids = tmp_path / "pids"
        code = (
            "import os, subprocess, sys, time\n"
            "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
            f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
            f"print({FINAL!r}, flush=True)\n"
            "time.sleep(600)"
        )
        ticks = count(step=30)
        hung = Worker("", Limits(seconds=30), launch=(sys.executable, "-c", code), clock=lambda: float(next(ticks)))
        stream = messages(capture, hung)
        next(stream)
        with pytest.raises(AdapterError, match="not read within 30 s; give it more with options"):
            next(stream)
        assert all(goes_away(int(pid)) for pid in pids.read_text().split())

    def test_a_caller_that_loses_interest_leaves_nothing_running(self, capture: Path, tmp_path: Path) -> None:
        pid = tmp_path / "pid"
        code = (
            f"import os, time\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\n"
            f"print({FINAL!r}, flush=True)\ntime.sleep(600)"
        )
        stream = messages(capture, worker(code))
        next(stream)
        stream.close()
        assert goes_away(int(pid.read_text()))

    @pytest.mark.parametrize(
        "line", ["nonsense", "{}", "7", '["invite",1]', '["final",true]', "[]", '["other",1,2]', "\\xff"]
    )
    def test_a_line_that_is_no_record_is_an_error(self, capture: Path, line: str) -> None:
        with pytest.raises(AdapterError, match="something else than a record"):
            list(messages(capture, worker(f"print({line!r})")))

    def test_an_endless_line_is_an_error(self, capture: Path) -> None:
        with pytest.raises(AdapterError, match="endless line"):
            list(messages(capture, worker("while True: print('x' * 65536, end='')")))

    def test_a_caller_that_takes_its_time_is_not_cut_off(self, capture: Path) -> None:
        now = [0.0]
        patient = Worker(
            "", Limits(seconds=60), launch=(sys.executable, "-c", f"print({FINAL!r})"), clock=lambda: now[0]
        )
        stream = messages(capture, patient)
        next(stream)
        now[0] += 1_000_000
        with pytest.raises(AdapterError, match="exited with 0"):
            next(stream)

    def test_the_time_limit_grows_with_the_file(self) -> None:
        assert Limits().seconds_for(0) == 120
        assert Limits().seconds_for(1_000_000_000) == 10_120
        assert Limits(seconds=5).seconds_for(1_000_000_000) == 5


class TestWhatTheReaderKnows:
    def test_it_gets_none_of_our_secrets_and_nobodys_preferences(
        self, capture: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOPBACK_ROOT_KEY", "5ec2e7")
        code = "import json, os; print(json.dumps(['reject', 1, json.dumps(dict(os.environ)), '']))"
        seen = next(messages(capture, worker(code)))
        assert isinstance(seen, Unreadable)
        environment = json.loads(seen.reason)
        assert "5ec2e7" not in environment.values()
        assert environment["HOME"] == environment["WIRESHARK_CONFIG_DIR"] != os.environ.get("HOME")


class TestHowACaptureEnds:
    def test_a_whole_one(self, capture: Path) -> None:
        assert list(messages(capture, worker("""print('["end","complete",""]')"""))) == []

    def test_one_cut_short_says_so_after_what_was_read(self, capture: Path) -> None:
        code = f"print({FINAL!r}); print({json.dumps(['end', 'broken-off', 'cut short'])!r})"
        assert list(messages(capture, worker(code)))[1:] == [Damage(7, "cut short")]

    def test_one_that_is_none_is_an_error(self, capture: Path) -> None:
        with pytest.raises(AdapterError, match="can't be read as a capture: isn't a capture file"):
            list(messages(capture, worker("""print('["end","failed","isn\\'t a capture file"]')""")))

    def test_an_empty_file_is_damaged_and_starts_no_process(self, tmp_path: Path) -> None:
        (tmp_path / "empty.pcap").touch()
        nothing = Worker("", launch=("/nowhere/at/all",))
        assert list(messages(tmp_path / "empty.pcap", nothing)) == [Damage(0, "the file is empty")]

    def test_a_file_that_is_not_there_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match=r"gone\.pcap: No such file"):
            list(messages(tmp_path / "gone.pcap", worker("")))

    @pytest.mark.parametrize(
        ("code", "errors", "end"),
        [
            (0, ['Running as user "root" and group "root".'], ["complete", ""]),
            (
                2,
                ['tshark: The file "x" appears to have been cut short.'],
                ["broken-off", "appears to have been cut short."],
            ),
            (
                2,
                ['tshark: The file "x" isn\'t a capture file'],
                ["failed", "tshark exited with 2: isn't a capture file"],
            ),
            (-6, [], ["failed", f"tshark was ended by signal 6 ({MEMORY_HINT})"]),
            (None, [], ["failed", "tshark exited with None"]),
        ],
    )
    def test_tsharks_own_words_are_passed_on(self, code: int | None, errors: list[str], end: list[str]) -> None:
        assert ending(code, errors) == end


class TestFindingTshark:
    def test_without_tshark_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(AdapterError, match="apt-get install tshark"):
            find_tshark()

    def test_a_configured_one_must_exist(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match=r"option tshark: .*/tshark is no program"):
            find_tshark(str(tmp_path / "tshark"))

    def test_a_configured_one_must_be_tshark(self) -> None:
        with pytest.raises(AdapterError, match="must be called 'tshark'"):
            find_tshark(shutil.which("env"))

    def test_without_pyshark_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "tshark").touch(mode=0o755)
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        with pytest.raises(AdapterError, match=r"pip install 'hopback\[pcap\]'"):
            find_tshark(str(tmp_path / "tshark"))


class TestRecords:
    @pytest.mark.parametrize(
        ("text", "microseconds"),
        [("1795321361.847327008", 1_795_321_361_847_327), ("7.5", 7_500_000), ("7", 7_000_000), ("-1.5", 0), ("", 0)],
    )
    def test_times_keep_their_microseconds(self, text: str, microseconds: int) -> None:
        assert epoch_us(text) == microseconds

    @pytest.mark.parametrize(
        "seen",
        [
            (
                PACKET,
                Invite("c1", 5, "t", "+12025550143", ("x", "y"), VIAS, "A", "o-1", "v", "+12025550144", "+12025550145"),
            ),
            (PACKET, Invite("c1", 5, "t", "", (), VIAS)),
            (PACKET, Final("c1", 5, VIAS[0], 200)),
            (PACKET, Bye("c1", ("a", "b"))),
            Unreadable(7, "INVITE without via", "INVITE"),
            Damage(7, "cut short"),
        ],
    )
    def test_what_is_seen_survives_the_pipe(self, seen: Seen) -> None:
        assert decode(json.loads(json.dumps(encode(seen)))) == seen

    @pytest.mark.parametrize("packet", [b"", b"<packet", b"<packet><proto name='sip'/></packet>", b"\xff\xfe<packet/>"])
    def test_a_packet_that_is_no_packet_gives_nothing(self, packet: bytes) -> None:
        assert list(PacketReader(Sieve(), frozenset()).seen_in(packet)) == []


def goes_away(pid: int) -> bool:
    """Whether the process ends; a signal takes a moment to arrive."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
    return False
