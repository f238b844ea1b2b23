"""From columns of text to call legs: what each mapped column becomes, and what becomes of every record."""

from __future__ import annotations

import ipaddress
import struct

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdr_adapters.addresses import canonical_address
from cdr_adapters.mapping import TrunkFormats
from cdr_adapters.raw import AdapterError, RawBatch, string_batch
from cdr_adapters.schema import Rejected, RejectReason
from tests.adapters.mapped import T, calls, mapper, one, reasons, records

CALLED: dict[str, str | None] = {"called": "2025550143", "start": T}


class TestNumbers:
    def test_each_take_the_format_of_their_rows_trunk(self) -> None:
        formats = TrunkFormats(
            ingress={"TG1": "tech:77501:11d", "TG2": "10d", "198.51.100.0/24": "00e164", "198.51.100.20": "e164"},
            egress={"TG1": "tech:0155#:11d"},
        )
        by_trunk = mapper(
            formats,
            columns={
                "called_in": {"column": "called", "format": "trunk"},
                "called_out": {"column": "sent", "format": "trunk"},
                "ingress_trunk": "in",
                "ingress_address": "peer",
                "egress_trunk": "out",
            },
        )
        found = calls(
            by_trunk.apply(
                records(
                    {"called": "7750112025550143", "in": "TG1", "sent": "0155#12025550143", "out": "TG1", "start": T},
                    {"called": "2025550143", "in": "TG2", "peer": "198.51.100.20", "sent": "", "start": T},
                    {"called": "0012025550143", "in": "new", "peer": "198.51.100.21:5060", "start": T},
                    {"called": "12025550143", "peer": "198.51.100.20", "start": T},
                    {"called": "2025550143", "in": "unknown", "sent": "12025550143", "start": T},
                )
            )
        )
        assert [row["called_in"] for row in found] == ["+12025550143"] * 5
        assert [row["called_out"] for row in found] == ["+12025550143", None, None, None, "+12025550143"]

    def test_as_received_that_are_none_reject_the_record(self) -> None:
        batch = mapper().apply(
            records({"called": "sip:alice@example.net", "start": T}, {"called": "", "start": T}, {"start": T})
        )
        assert reasons(batch) == [
            (1, RejectReason.BAD_CALLED_NUMBER),
            (2, RejectReason.NO_CALLED_NUMBER),
            (3, RejectReason.NO_CALLED_NUMBER),
        ]

    def test_as_received_reject_it_even_where_the_one_sent_is_good(self) -> None:
        batch = mapper(columns={"called_out": "sent"}).apply(
            records(
                {"called": "alice", "sent": "2025550143", "start": T}, {"called": "", "sent": "2025550143", "start": T}
            )
        )
        assert reasons(batch) == [(1, RejectReason.BAD_CALLED_NUMBER)]
        assert [(row["called_in"], row["called_out"]) for row in calls(batch)] == [(None, "+12025550143")]

    def test_as_sent_may_be_a_subscribers_name(self) -> None:
        both = mapper(columns={"called_out": "sent"})
        [row] = calls(both.apply(records({"called": "2025550143", "sent": "sip:alice@10.0.0.1", "start": T})))
        assert (row["called_in"], row["called_out"]) == ("+12025550143", None)

    def test_as_sent_alone_do_too(self) -> None:
        sent = mapper(columns={"called_in": None, "called_out": "called"})
        batch = sent.apply(records({"called": "2025550143", "start": T}, {"called": "alice", "start": T}))
        assert [row["called_out"] for row in calls(batch)] == ["+12025550143"]
        assert reasons(batch) == [(2, RejectReason.BAD_CALLED_NUMBER)]

    def test_of_the_calling_side_never_reject_a_record(self) -> None:
        with_calling = mapper(columns={"calling": "from"})
        found = calls(
            with_calling.apply(
                records(
                    {"called": "2025550143", "from": "+12025550199", "start": T},
                    {"called": "2025550143", "from": "anonymous", "start": T},
                    {"called": "2025550143", "from": None, "start": T},
                )
            )
        )
        assert [row["calling"] for row in found] == ["+12025550199", None, None]

    def test_no_reject_repeats_a_number(self) -> None:
        [reject] = mapper().apply(records({"called": "20255501", "start": T})).rejected
        assert "20255501" not in reject.detail
        assert reject.raw == "called=20255501\tstart=" + T


class TestTextColumns:
    def test_take_the_first_column_that_is_not_empty(self) -> None:
        either = mapper(columns={"ingress_trunk": ["new_tg", "old_tg"]})
        found = calls(
            either.apply(
                records(
                    {"called": "2025550143", "start": T, "new_tg": "N", "old_tg": "O"},
                    {"called": "2025550143", "start": T, "new_tg": "", "old_tg": "O"},
                    {"called": "2025550143", "start": T, "new_tg": None, "old_tg": ""},
                )
            )
        )
        assert [row["ingress_trunk"] for row in found] == ["N", "O", None]

    def test_are_cut_out_by_a_pattern(self) -> None:
        cut = mapper(
            columns={
                "ingress_trunk": {"column": "info", "pattern": "(?:^|;)in=([^;]*)"},
                "ingress_address": {"column": "info", "pattern": "src=([^;]*)"},
            }
        )
        found = calls(
            cut.apply(
                records(
                    {"called": "2025550143", "start": T, "info": "src=203.0.113.21;in=CUST-1;out=x\nin=no"},
                    {"called": "2025550143", "start": T, "info": "src=;in="},
                    {"called": "2025550143", "start": T, "info": "nothing"},
                )
            )
        )
        assert [row["ingress_trunk"] for row in found] == ["CUST-1", None, None]
        assert [row["ingress_address"] for row in found] == ["203.0.113.21", None, None]

    def test_are_cut_out_by_the_first_of_several_patterns_that_matches(self) -> None:
        cut = mapper(columns={"ingress_trunk": {"column": "info", "pattern": ["new=(.*)", "old=(.*)", "(.*)=any"]}})
        found = [one(cut, start=T, info=info)["ingress_trunk"] for info in ("old=O;new=N", "old=O", "x=any", "none")]
        assert found == ["N", "O", "x", None]

    def test_are_joined_where_the_mapping_says_with_what(self) -> None:
        joined = mapper(columns={"call_id": {"column": ["a", "b"], "join": "-"}})
        found = [one(joined, start=T, a=a, b=b)["call_id"] for a, b in (("1", "2"), ("1", ""), (None, "2"), (None, ""))]
        assert found == ["1-2", "1", "2", None]

    def test_that_are_joined_must_all_be_in_the_header(self) -> None:
        joined = mapper(columns={"call_id": {"column": ["a", "b"], "join": "-"}})
        with pytest.raises(AdapterError, match="has no column b; it has"):
            joined.apply(records({**CALLED, "a": "1"}, header=("called", "start", "a")))

    def test_are_translated_where_there_is_a_table(self) -> None:
        values = {"in": "INGRESS", "junk": "", "": "unknown"}
        some = mapper(columns={"leg": {"column": "leg", "values": values}})
        assert [one(some, start=T, leg=leg)["leg"] for leg in ("in", "junk", "other", "", None)] == [
            "INGRESS",
            None,
            "other",
            "unknown",
            "unknown",
        ]
        closed = mapper(columns={"leg": {"column": "leg", "values": {"in": "INGRESS", "*": ""}}})
        assert [one(closed, start=T, leg=leg)["leg"] for leg in ("in", "other")] == ["INGRESS", None]

    def test_of_stir_shaken_are_kept(self) -> None:
        signed = mapper(
            columns={
                "attestation": "attest",
                "origid": "origid",
                "verstat": {"column": "verstat", "pattern": "verstat=([A-Za-z-]+)"},
            }
        )
        row = one(
            signed,
            start=T,
            attest="A",
            origid="123e4567-e89b-42d3-a456-426614174000",
            verstat="+12025550199;verstat=TN-Validation-Passed",
        )
        assert (row["attestation"], row["origid"], row["verstat"]) == (
            "A",
            "123e4567-e89b-42d3-a456-426614174000",
            "TN-Validation-Passed",
        )
        assert one(signed, start=T, attest="D")["attestation"] is None, "ATIS-1000074 knows A, B and C"

    def test_of_attestations_may_be_translated(self) -> None:
        values = {"full": "A", "partial": "B", "*": ""}
        named = mapper(columns={"attestation": {"column": "attest", "values": values}})
        assert [one(named, start=T, attest=word)["attestation"] for word in ("full", "partial", "A")] == [
            "A",
            "B",
            None,
        ]

    def test_of_dispositions_are_translated(self) -> None:
        values = {"200": "answered", "487": "unanswered", "302": "route-advanced", "*": "failed"}
        coded = mapper(columns={"disposition": {"column": "code", "values": values}})
        found = [one(coded, start=T, code=code)["disposition"] for code in ("200", "487", "302", "503", None)]
        assert found == ["answered", "unanswered", "route-advanced", "failed", None]

    def test_of_dispositions_may_be_told_by_an_empty_column(self) -> None:
        told = mapper(columns={"disposition": {"column": "answered_at", "values": {"": "unanswered", "*": "answered"}}})
        found = [one(told, start=T, answered_at=text)["disposition"] for text in ("12:00", "", None)]
        assert found == ["answered", "unanswered", "unanswered"]


class TestAddresses:
    @pytest.mark.parametrize(
        ("text", "address"),
        [
            ("198.51.100.10", "198.51.100.10"),
            ("198.51.100.10:5060", "198.51.100.10"),
            ("udp:198.51.100.10:5060", "198.51.100.10"),
            ("[2001:DB8::0030]:5061", "2001:db8::30"),
            ("2001:db8:c::30", "2001:db8:c::30"),
            ("fe80::1%eth0", "fe80::1"),
            ("::ffff:198.51.100.10", "198.51.100.10"),
            ("sip:alice@198.51.100.10:5060;transport=tcp", "198.51.100.10"),
            ('"Trunk" <sip:198.51.100.10:5060;lr>', "198.51.100.10"),
        ],
    )
    def test_are_canonical(self, text: str, address: str) -> None:
        assert one(mapper(columns={"ingress_address": "peer"}), start=T, peer=text)["ingress_address"] == address

    @pytest.mark.parametrize("text", ["0.0.0.0", "::", "0.0.0.0:0", "[::]:5060", "::ffff:0.0.0.0"])  # noqa: S104
    def test_that_say_that_there_is_none_are_null(self, text: str) -> None:
        assert one(mapper(columns={"ingress_address": "peer"}), start=T, peer=text)["ingress_address"] is None

    @pytest.mark.parametrize("text", ["gw1.example.net", "198.51.100", "198.51.100.010", "unknown", "5060"])
    def test_that_are_none_reject_the_record_unless_the_mapping_says_null(self, text: str) -> None:
        record = records({**CALLED, "peer": text})
        assert reasons(mapper(columns={"ingress_address": "peer"}).apply(record)) == [(1, RejectReason.BAD_ADDRESS)]
        lenient = mapper(columns={"ingress_address": {"column": "peer", "bad": "null"}})
        assert [row["ingress_address"] for row in calls(lenient.apply(record))] == [None]

    @pytest.mark.parametrize(
        ("text", "kind", "address"),
        [
            # Cisco, Call Detail Records Administration Guide, "Convert Signed Decimal Value to IP Address"
            ("-1139627840", "signed_int_le", "192.168.18.188"),
            ("991078592", "signed_int_le", "192.168.18.59"),
            ("3155339456", "signed_int_le", "192.168.18.188"),
            ("-1062726980", "signed_int_be", "192.168.18.188"),
            ("3232240316", "int_be", "192.168.18.188"),
            ("3155339456", "int_le", "192.168.18.188"),
            ("C0A812BC", "hex", "192.168.18.188"),
            ("0xc0a812bc", "hex", "192.168.18.188"),
            ("20010db8000000000000000000000030", "hex", "2001:db8::30"),
            ("0", "signed_int_le", ""),
            ("-1139627840", "int_le", None),
            ("4294967296", "int_le", None),
            ("-2147483649", "signed_int_le", None),
            ("192.168.18.188", "signed_int_le", None),
            ("C0A812", "hex", None),
            ("3155339456", "auto", None),
        ],
    )
    def test_may_be_integers(self, text: str, kind: str, address: str | None) -> None:
        assert canonical_address(text, kind) == address

    @given(st.ip_addresses(v=4).filter(lambda address: not address.is_unspecified))
    def test_of_cucm_are_what_its_procedure_gives(self, address: ipaddress.IPv4Address) -> None:
        (shown,) = struct.unpack("<i", address.packed)
        assert canonical_address(str(shown), "signed_int_le") == str(address)

    def test_are_read_in_the_format_of_their_column(self) -> None:
        cisco = mapper(columns={"ingress_address": {"column": "origIpAddr", "format": "signed_int_le"}})
        assert one(cisco, start=T, origIpAddr="1680094150")["ingress_address"] == "198.51.36.100"
        assert one(cisco, start=T, origIpAddr="0")["ingress_address"] is None

    def test_of_our_own_gateways_are_no_upstream(self) -> None:
        own = mapper(
            columns={"ingress_address": "from", "egress_address": "to", "ingress_trunk": "tg"},
            own_addresses=["192.0.2.0/24", "2001:db8::5"],
        )
        row = one(own, start=T, **{"from": "192.0.2.7:5060", "to": "192.0.2.8", "tg": "CORE"})
        assert (row["ingress_address"], row["egress_address"], row["ingress_trunk"]) == (None, "192.0.2.8", "CORE")
        assert one(own, start=T, **{"from": "2001:db8::5"})["ingress_address"] is None
        assert one(own, start=T, **{"from": "198.51.100.7"})["ingress_address"] == "198.51.100.7"


class TestEveryRecordIsAccountedFor:
    def test_those_that_where_does_not_choose_are_skipped(self) -> None:
        chosen = mapper(where={"method": ["INVITE", "invite"], "trunk": "!", "code": ["!404", "!480"]})
        batch = chosen.apply(
            records(
                {"called": "2025550143", "start": T, "method": "INVITE", "trunk": "A", "code": "200"},
                {"called": "2025550143", "start": T, "method": "BYE", "trunk": "A", "code": "200"},
                {"called": "2025550143", "start": T, "method": "INVITE", "trunk": None, "code": "200"},
                {"called": "2025550143", "start": T, "method": "invite", "trunk": "A", "code": "404"},
                {"called": "2025550143", "start": T, "method": "invite", "trunk": "A", "code": None},
            )
        )
        assert [row["row"] for row in calls(batch)] == [1, 5]
        assert batch.skipped == 3

    def test_those_that_the_reader_rejected_stay_rejected(self) -> None:
        raw = records({"called": "2025550143", "start": T})
        broken = Rejected(7, RejectReason.MALFORMED_ROW, "2 values instead of 3", "x")
        batch = mapper().apply(RawBatch(raw.columns, raw.rows, (broken,), skipped=4))
        assert (len(calls(batch)), batch.rejected, batch.skipped) == (1, (broken,), 4)

    def test_a_batch_without_records_is_a_batch_without_calls(self) -> None:
        empty = RawBatch(string_batch({}, 0), pa.array([], pa.int64()))
        assert calls(mapper(columns={"calling": "a", "ingress_address": "b"}).apply(empty)) == []

    def test_columns_that_a_record_does_not_have_are_null(self) -> None:
        [row] = calls(mapper(columns={"call_id": "nowhere"}).apply(records({"called": "2025550143", "start": T})))
        assert row["call_id"] is None

    def test_columns_that_the_source_does_not_have_are_refused(self) -> None:
        wrong = mapper(where={"kind": "x"}, columns={"call_id": ["a", "b"], "ingress_trunk": ["called", "c"]})
        with pytest.raises(AdapterError, match="has no column kind, a or b; it has: called, start"):
            wrong.apply(records({"called": "2025550143", "start": T}, header=("called", "start")))
