"""Oracle (Acme Packet) SBC local CDR: from the accounting guides, rows built after them. All is synthetic.

Guides: S-C6.1.0, S-C6.2.0, S-CX6.3.0, S-CX6.4.0, S-D7.1.0 (whole orders), S-CZ7.1.2, S-Cz8.4.0 and S-Cz9.0.0 (the first
columns of start, interim and stop records).
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.formats._acme_layouts import plain_name
from cdr_adapters.formats._acme_orders import ADDRESSES, ORDERS, Kind, Release
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from cdr_adapters.registry import adapter
from cdr_adapters.schema import Batch, Rejected
from cdr_adapters.stream import read_head
from tests.adapters.formats.acme_rows import CALLED, UNANSWERED, VALUES, fields, row, with_block
from tests.adapters.reading import raw_rows, written
from tests.shared import SAMPLES as SHARED_SAMPLES
from tests.shared import needs_samples

STOPS = "\n".join(row("stop", "C6.4") for _ in range(5))
SAMPLES: list[bytes] = [
    f"{row('start')}\n{row('stop')}\n{row('stop', changes=UNANSWERED)}\n".encode(),
    f"{STOPS}\n{row('start', 'D7.1')}\n{row('stop', 'C6.1')}\n".encode(),
]
MAPPING: dict[str, Any] = {}

KNOWN: list[tuple[Release, Kind]] = list(ORDERS)
EXPECTED = {
    "called_in": "+12025550143",
    "called_out": "+12025550143",
    "calling": "+12025550199",
    "ingress_trunk": "access",
    "egress_trunk": "core",
    "ingress_address": "203.0.113.20",
    "egress_address": "192.0.2.30",
    "call_id": "in-1@203.0.113.20",
}


def batches(path: Path, **keys: Any) -> list[Batch]:
    mapping = SourceMapping.model_validate({"name": "sbc", "path": "x", "format": "oracle_acme", **keys})
    return list(read_source(path, mapping, TrunkFormats()))


def calls(path: Path, **keys: Any) -> tuple[list[dict[str, Any]], list[Rejected]]:
    found = batches(path, **keys)
    return (
        [call for batch in found for call in batch.calls.to_pylist()],
        [reject for batch in found for reject in batch.rejected],
    )


def one(tmp_path: Path, line: str, **keys: Any) -> dict[str, Any]:
    """The one call that is in this line."""
    [call], rejected = calls(written(tmp_path, line + "\n"), **keys)
    assert not rejected
    return call


def refused(tmp_path: Path, line: str, **keys: Any) -> str:
    """Why this line is no call."""
    found, [reject] = calls(written(tmp_path, line + "\n"), **keys)
    assert not found
    return reject.detail


class TestEveryRelease:
    @pytest.mark.parametrize(("release", "kind"), KNOWN)
    @pytest.mark.parametrize("copies", [1, 6])
    def test_gives_the_same_call(self, tmp_path: Path, release: Release, kind: Kind, copies: int) -> None:
        found, rejected = calls(written(tmp_path, (row(kind, release) + "\n") * copies))
        assert not rejected
        assert len(found) == copies
        for call in found:
            assert {name: call[name] for name in EXPECTED} == EXPECTED | (
                {} if kind == "stop" else {"called_out": "+12025550143"}
            )
            assert call["seizure_earliest"].isoformat() == "2026-11-20T23:54:56.868000+00:00"
            assert call["answer"].isoformat() == "2026-11-20T23:55:01.100000+00:00"
            assert call["disposition"] == "answered"

    @pytest.mark.parametrize(("release", "kind"), KNOWN)
    def test_may_be_configured(self, tmp_path: Path, release: Release, kind: Kind) -> None:
        call = one(tmp_path, row(kind, release), options={"release": release})
        assert call["ingress_address"] == "203.0.113.20"

    def test_is_told_by_the_columns_and_not_by_their_number(self, tmp_path: Path) -> None:
        """As many columns as a stop record of C6.4 has, and all but the first ones elsewhere."""
        line = fields("stop", ORDERS["C6.1", "stop"])
        wide = with_block(line, "1200", [""] * 6)
        assert len(wide) == len(ORDERS["C6.4", "stop"])
        assert one(tmp_path, ",".join(wide))["ingress_address"] == "203.0.113.20"

    def test_start_and_stop_of_a_call_share_its_id(self, tmp_path: Path) -> None:
        found, _ = calls(written(tmp_path, f"{row('start')}\n{row('stop')}\n"))
        assert len({call["call_id"] for call in found}) == 1

    @needs_samples
    @pytest.mark.parametrize(("release", "kind"), KNOWN)
    def test_order_is_that_of_the_guide(self, release: Release, kind: Kind) -> None:
        name = f"crushton__acme_packet_parsecdr__{release.replace('.', '')}0_{kind}.fieldorder.csv"
        lines = (SHARED_SAMPLES / "oracle_acme_csv" / name).read_text().splitlines()
        told = [plain_name(line[1].replace("FlowId", "FlowID")) for line in csv.reader(lines)]
        assert [plain_name(name) for name in ORDERS[release, kind]] == told


BLOCKS = {
    "media of two more flows (S-CX6.4.0 with 269 columns)": ("stop", "C6.4", '"CZ8.4.0"', [""] * 94),
    "IPv6 flow addresses, empty": ("stop", "C6.4", '"CZ8.4.0"', [""] * 16),
    "IPv6 flow addresses": (
        "stop",
        "C6.4",
        '"CZ8.4.0"',
        ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4"] * 4,
    ),
    "a media process column": ("stop", "C6.4", '"localhost:65839"', ["1"]),
    "columns at the end": ("stop", "C6.4", "17", ["", "x", "203.0.113.99"]),
    "columns behind the numbers of a start record": ("start", "C6.4", '"CZ8.4.0"', ["", "8", "text"]),
    "an interim record as of S-Cz8.4.0": ("interim", "C6.4", '"CZ8.4.0"', []),
}


class TestAReleaseThatNobodyKnows:
    @pytest.mark.parametrize("block", BLOCKS)
    @pytest.mark.parametrize("copies", [1, 6])
    def test_is_read_by_its_rows_own_shape(self, tmp_path: Path, block: str, copies: int) -> None:
        kind, release, before, columns = BLOCKS[block]
        order = ORDERS[release, "start" if kind == "interim" else kind]  # type: ignore[index]
        line = ",".join(with_block(fields(kind, order), before, columns))  # type: ignore[arg-type]
        found, rejected = calls(written(tmp_path, f"{line}\n" * copies))
        assert not rejected
        assert len(found) == copies
        for name, value in EXPECTED.items():
            assert found[0][name] == value or (name == "called_out" and kind != "stop")

    @pytest.mark.parametrize("kind", ["start", "stop"])
    def test_may_leave_out_the_interfaces(self, tmp_path: Path, kind: Kind) -> None:
        """A vsa-id-range without 137 to 140."""
        order = [name for name in ORDERS["C6.4", kind] if "Network-Interface" not in name and "Vlan" not in name]
        call = one(tmp_path, ",".join(fields(kind, order)))
        assert (call["ingress_trunk"], call["ingress_address"]) == ("access", "203.0.113.20")

    def test_that_leaves_out_the_addresses_does_not_record_them(self, tmp_path: Path) -> None:
        order = [name for name in ORDERS["C6.4", "stop"] if not name.endswith(("-Local-Addr", "-Remote-Addr"))]
        call = one(tmp_path, ",".join(fields("stop", order)))
        assert (call["ingress_trunk"], call["ingress_address"]) == ("access", None)

    def test_may_leave_out_whatever_is_empty(self, tmp_path: Path) -> None:
        """cdr-output-inclusive disabled: columns without a value aren't there at all, row by row."""
        whole = [fields("stop", ORDERS["C6.4", "stop"], changes) for changes in ({}, UNANSWERED)]
        lines = [",".join(value for value in line if value) for line in whole]
        found, rejected = calls(written(tmp_path, "\n".join(lines * 5)))
        assert not rejected
        assert {call["ingress_address"] for call in found} == {"203.0.113.20"}
        assert {call["ingress_trunk"] for call in found} == {"access"}
        assert {call["called_in"] for call in found} == {"+12025550143"}

    def test_never_takes_our_own_address_for_the_peers(self, tmp_path: Path) -> None:
        """Rows of one width, in some of which the addresses stand a column further left."""
        line = fields("stop", ORDERS["C6.4", "stop"])
        left = [*line[:110], *line[111:], "x"]
        found, rejected = calls(written(tmp_path, "\n".join([",".join(line)] * 6 + [",".join(left)] * 6)))
        assert {call["ingress_address"] for call in found} == {"203.0.113.20"}
        assert len(found) + len(rejected) == 12

    @pytest.mark.parametrize("kind", ["start", "stop"])
    @pytest.mark.parametrize("missing", ["", "198.51.100.1:5o60"])
    @pytest.mark.parametrize("gone", [(0,), (1,), (2,), (3,), (0, 1), (0, 3), (1, 2), (2, 3), (0, 1, 2)])
    @pytest.mark.parametrize("zone", ['"GMT-08:00"', ""])
    def test_an_address_more_or_less_moves_nothing(
        self, tmp_path: Path, kind: Kind, missing: str, gone: tuple[int, ...], zone: str
    ) -> None:
        """The peer's address comes out, or none, or the row is refused: never the SBC's own, never the next one's."""
        changes = {ADDRESSES[at]: missing for at in gone} | {"Acme-Local-Time-Zone": zone}
        for order in (ORDERS["C6.4", kind], [*ORDERS["C6.4", kind], "x"]):
            line = ",".join(fields(kind, order, changes))
            for copies in (1, 6):
                found, _ = calls(written(tmp_path, f"{line}\n" * copies))
                assert {call["ingress_address"] for call in found} <= {"203.0.113.20", None}

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ({"h323-setup-time": "yesterday"}, "no session time"),
            (dict.fromkeys(("h323-setup-time", "h323-connect-time", "h323-disconnect-time"), "0"), "no setup time"),
            ({"h323-disconnect-time": "never"}, "no disconnect time"),
            ({"NAS-IP-Address": "sbc1"}, "not the SBC's address"),
            ({"Acme-Ingress-Vlan-Tag-Value": "x"}, "realms can't be told"),
            ({"Acct-Session-Time": "x"}, "no session time"),
            ({"Acme-SIP-Diversion": "192.0.2.99"}, "signalling addresses can't be told"),
            ({"Acct-Status-Type": "9"}, "no kind of record"),
        ],
    )
    def test_is_refused_where_its_shape_does_not_say(
        self, tmp_path: Path, change: dict[str, str], problem: str
    ) -> None:
        line = ",".join([*fields("stop", ORDERS["C6.4", "stop"], change), "x"])
        for copies in (1, 6):
            found, rejected = calls(written(tmp_path, f"{line}\n" * copies))
            assert not found
            assert len(rejected) == copies
            assert problem in rejected[0].detail
            assert problem == "no kind of record" or "options.columns" in rejected[0].detail

    def test_two_groups_of_addresses_are_refused(self, tmp_path: Path) -> None:
        """Around both stands what the guides give, so that either could be the signalling addresses."""
        line = fields("stop", ORDERS["C6.4", "stop"])
        at = line.index('"198.51.100.1:5060"')
        group = line[at - 8 : at + 9]
        assert "two groups" in refused(tmp_path, ",".join([*line, *group, ""]))

    def test_an_interim_record_with_two_readings_is_refused(self, tmp_path: Path) -> None:
        order = [*ORDERS["C6.4", "start"]]
        changes = {"Called-Station-Id": "5550143", "Acme-Session-Generic-Id": "2025550143", "Calling-Station-Id": "1"}
        assert "two columns could be the called number" in refused(
            tmp_path, ",".join([*fields("interim", order, changes), "x"])
        )


class TestTheOrderMayBeConfigured:
    ORDER = ("Acct-Status-Type", "NAS-IP-Address", "Called-Station-Id", "h323-setup-time", "Acme-Ingress-Remote-Addr")

    def test_as_the_sbc_prints_it(self, tmp_path: Path) -> None:
        line = ",".join(fields("stop", self.ORDER))
        call = one(tmp_path, line, options={"columns": {"stop": list(self.ORDER)}})
        assert (call["called_in"], call["ingress_address"]) == ("+12025550143", "203.0.113.20")

    def test_names_are_the_guides_however_they_are_spelt(self, tmp_path: Path) -> None:
        names = [
            "Acct-Status-Type",
            "NAS-IP-Address",
            "called-station-id",
            "h323-setup-time",
            "Acme-Session--Egress-CallId",
        ]
        rows, _, _ = raw_rows(
            written(tmp_path, ",".join(fields("stop", self.ORDER))), "oracle_acme", {"columns": {"stop": names}}
        )
        assert set(rows[0][1]) >= {"Called-Station-Id", "Acme-Session-Egress-CallId"}

    def test_new_attributes_are_read_by_their_names(self, tmp_path: Path) -> None:
        """STIR/SHAKEN attributes as of S-Cz9.1.0 and later."""
        names = [*self.ORDER, "Stir-VS-Attest", "Stir-VS-Verstat"]
        line = ",".join([*fields("stop", self.ORDER), "B", "TN-Validation-Passed"])
        call = one(tmp_path, line, options={"columns": {"stop": names}})
        assert (call["attestation"], call["verstat"]) == ("B", "TN-Validation-Passed")

    def test_a_row_that_contradicts_it_is_refused(self, tmp_path: Path) -> None:
        order = ["Acct-Status-Type", "NAS-IP-Address", "h323-setup-time", "Called-Station-Id"]
        for copies in (1, 6):
            line = ",".join(fields("stop", self.ORDER))
            found, rejected = calls(written(tmp_path, f"{line}\n" * copies), options={"columns": {"stop": order}})
            assert not found
            assert "where options.columns.stop has one" in rejected[0].detail

    def test_a_row_that_is_shorter_is_refused(self, tmp_path: Path) -> None:
        names = [*self.ORDER, *(f"x{number}" for number in range(300))]
        assert "options.columns.stop names 305" in refused(
            tmp_path, ",".join(fields("stop", self.ORDER)), options={"columns": {"stop": names}}
        )

    def test_without_the_called_number_it_is_an_error(self) -> None:
        with pytest.raises(AdapterError, match=r"columns\.stop lacks Called-Station-Id"):
            adapter("oracle_acme").check_options({"columns": {"stop": ["Acct-Status-Type", "h323-setup-time"]}})

    def test_any_column_can_be_asked_for_by_its_position(self, tmp_path: Path) -> None:
        columns = frozenset({"4", "11", "9999"})
        for copies in (1, 6):
            path = written(tmp_path, f"{row('stop')}\n" * copies)
            rows, _, _ = raw_rows(path, "oracle_acme", columns=columns)
            assert rows[-1][1] == {"4": "SDep01-0123456789abcdef", "11": CALLED}


class TestQuoting:
    def test_a_name_may_hold_commas(self, tmp_path: Path) -> None:
        changes = {"Calling-Station-Id": "\"'Caller, Example, Inc'<sip:12025550199@203.0.113.20>;tag=1\""}
        lines = [row("stop"), row("stop", changes=changes)] * 5
        found, rejected = calls(written(tmp_path, "\n".join(lines)))
        assert not rejected
        assert [call["calling"] for call in found] == ["+12025550199"] * 10
        assert {call["ingress_address"] for call in found} == {"203.0.113.20"}

    @pytest.mark.parametrize(
        "calling",
        [
            '""EXAMPLE" <sip:12025550199@203.0.113.20>;tag=1"',
            '""CALLER, EXAMPLE" <sip:12025550199@203.0.113.20>;tag=1"',
            '"EXAMPLE "THE CALLER" <sip:12025550199@203.0.113.20>"',
            "sip:12025550199@203.0.113.20",
            "tel:+12025550199",
            "12025550199",
            "'12025550199'",
        ],
    )
    def test_quotes_within_quotes_are_text(self, tmp_path: Path, calling: str) -> None:
        call = one(tmp_path, row("stop", changes={"Calling-Station-Id": calling}))
        assert call["calling"] == "+12025550199"
        assert call["called_in"] == "+12025550143"
        assert call["ingress_address"] == "203.0.113.20"

    def test_a_comma_in_a_header_does_not_move_the_addresses(self, tmp_path: Path) -> None:
        asserted = '"<sip:+12025550199@203.0.113.20>, <tel:+12025550199>"'
        for copies in (1, 6):
            line = row("stop", changes={"Acme-P-Asserted-ID": asserted})
            found, rejected = calls(written(tmp_path, f"{line}\n" * copies))
            assert not rejected
            assert {call["ingress_address"] for call in found} == {"203.0.113.20"}

    def test_no_quotes_at_all(self, tmp_path: Path) -> None:
        assert one(tmp_path, row("stop").replace('"', ""))["calling"] == "+12025550199"


class TestNumbers:
    def test_the_called_number_is_never_taken_from_a_name(self, tmp_path: Path) -> None:
        called = "\"'2025550111'<sip:someone@203.0.113.20>\""
        assert "called_in" in refused(tmp_path, row("stop", changes={"Called-Station-Id": called}))

    def test_a_routing_number_is_not_the_called_one(self, tmp_path: Path) -> None:
        called = '"<sip:+12025550143;npdi;rn=+15715550100@198.51.100.1;user=phone>"'
        assert one(tmp_path, row("stop", changes={"Called-Station-Id": called}))["called_in"] == "+12025550143"


class TestOutcome:
    @pytest.mark.parametrize(
        ("kind", "changes", "outcome"),
        [
            ("stop", {}, "answered"),
            ("stop", UNANSWERED, "unanswered"),
            ("stop", UNANSWERED | {"Acme-SIP-Status": "503"}, "failed"),
            ("stop", UNANSWERED | {"Acme-SIP-Status": ""}, "unanswered"),
            ("stop", UNANSWERED | {"Acme-SIP-Status": "", "Acme-Session-Disposition": "1"}, "failed"),
            ("stop", UNANSWERED | {"Acme-SIP-Status": "", "Acme-Session-Disposition": "0"}, None),
            ("stop", UNANSWERED | {"h323-connect-time": "0"}, "unanswered"),
            ("stop", UNANSWERED | {"h323-connect-time": '"00:00:00.000 UTC JAN 01 1970"'}, "unanswered"),
            ("start", {}, "answered"),
            ("start", {"h323-connect-time": ""}, None),
        ],
    )
    @pytest.mark.parametrize("copies", [1, 6])
    def test_of_a_record(
        self, tmp_path: Path, kind: Kind, changes: dict[str, str], outcome: str | None, copies: int
    ) -> None:
        found, rejected = calls(written(tmp_path, (row(kind, changes=changes) + "\n") * copies))
        assert not rejected
        assert [call["disposition"] for call in found] == [outcome] * copies

    def test_a_failed_attempt_of_a_call_that_was_routed_on(self, tmp_path: Path) -> None:
        """An interim record, written like a stop record."""
        changes = UNANSWERED | {"Acct-Status-Type": "3", "Acme-SIP-Status": "503"}
        assert one(tmp_path, row("stop", changes=changes))["disposition"] == "route-advanced"

    def test_records_about_the_sbc_itself_are_skipped(self, tmp_path: Path) -> None:
        found = batches(written(tmp_path, f"7,198.51.100.1,,,\n8,198.51.100.1,,,\n{row('stop')}\n"))
        assert [(batch.calls.num_rows, batch.skipped, batch.rejected) for batch in found] == [(1, 2, ())]


class TestTimes:
    @pytest.mark.parametrize(
        ("text", "utc"),
        [
            ("15:54:56.868 PST DEC 18 2026", "2026-12-18T23:54:56.868000+00:00"),
            ("15:54:56.868 EDT JUL 18 2026", "2026-07-18T19:54:56.868000+00:00"),
            ("15:54:56.868 UTC JUL 08 2026", "2026-07-08T15:54:56.868000+00:00"),
        ],
    )
    def test_say_their_zone(self, tmp_path: Path, text: str, utc: str) -> None:
        changes = {"h323-setup-time": f'"{text}"', "h323-connect-time": "0", "h323-disconnect-time": f'"{text}"'}
        assert one(tmp_path, row("stop", changes=changes))["seizure_earliest"].isoformat() == utc

    def test_an_abbreviation_with_two_meanings_is_refused(self, tmp_path: Path) -> None:
        line = row("stop", changes={"h323-setup-time": "15:54:56.868 IST DEC 18 2026"})
        assert "zone abbreviation" in refused(tmp_path, line)


class TestIdentify:
    @pytest.mark.parametrize(("release", "kind"), KNOWN)
    def test_claims_its_own(self, tmp_path: Path, release: Release, kind: Kind) -> None:
        assert adapter("oracle_acme").identify(read_head(written(tmp_path, row(kind, release))))

    @pytest.mark.parametrize(
        "line",
        [
            "1,198.51.100.1,5060,a,b",
            ",".join(VALUES["stop"]),
            "2," + "," * 40,
            "1,2025550143,2026-11-21T23:23:27" + "," * 30,
        ],
    )
    def test_leaves_others_alone(self, tmp_path: Path, line: str) -> None:
        assert not adapter("oracle_acme").identify(read_head(written(tmp_path, line + "\n")))
