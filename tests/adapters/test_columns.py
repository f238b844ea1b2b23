"""From columns of text to call legs: what each mapped column becomes, and what becomes of every record."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from cdr_adapters.columns import ColumnMapper
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError, RawBatch, string_batch
from cdr_adapters.schema import CALLS, Batch, Rejected, RejectReason

T = "1795321360"  # 2026-11-22 04:22:40 UTC


def mapper(formats: TrunkFormats | None = None, **table: Any) -> ColumnMapper:
    columns = {"called_in": "called", "seizure": {"column": "start", "format": "epoch_s"}} | table.pop("columns", {})
    columns = {name: column for name, column in columns.items() if column is not None}
    source = SourceMapping.model_validate(
        {"name": "test", "path": "x", "format": "delimited", "columns": columns, **table}
    )
    return ColumnMapper(source, formats or TrunkFormats())


def records(*rows: dict[str, str | None], header: tuple[str, ...] | None = None) -> RawBatch:
    names = dict.fromkeys(name for row in rows for name in row)
    table = string_batch({name: [row.get(name) for row in rows] for name in names}, len(rows))
    return RawBatch(table, pa.array(range(1, len(rows) + 1), pa.int64()), header=header)


def calls(batch: Batch) -> list[dict[str, Any]]:
    batch.calls.validate(full=True)
    assert batch.calls.schema == CALLS
    rows: list[dict[str, Any]] = batch.calls.to_pylist()
    return rows


def interval(row: dict[str, Any]) -> tuple[str, str]:
    return tuple(f"{row[name]:%H:%M:%S.%f}"[:-3] for name in ("seizure_earliest", "seizure_latest"))  # type: ignore[return-value]


def reasons(batch: Batch) -> list[tuple[int, RejectReason]]:
    return [(reject.row, reject.reason) for reject in batch.rejected]


class TestTheSeizureInterval:
    def test_of_a_known_seizure_is_as_wide_as_the_clock_is_coarse(self) -> None:
        [row] = calls(mapper().apply(records({"called": "2025550143", "start": T})))
        assert interval(row) == ("04:22:40.000", "04:22:41.000")
        [row] = calls(mapper().apply(records({"called": "2025550143", "start": T + ".779"})))
        assert interval(row) == ("04:22:40.779", "04:22:40.780")

    def test_of_an_answered_call_begins_as_long_before_the_answer_as_a_setup_may_take(self) -> None:
        answered = mapper(
            columns={"seizure": None, "answer": {"column": "start", "format": "epoch_s"}}, max_setup="120s"
        )
        [row] = calls(answered.apply(records({"called": "2025550143", "start": T})))
        assert interval(row) == ("04:20:40.000", "04:22:41.000")

    def test_takes_the_earliest_time_that_the_record_has(self) -> None:
        later = {"answer": {"column": "a", "format": "epoch_s"}, "release": {"column": "r", "format": "epoch_s"}}
        both = mapper(columns=later)
        found = calls(
            both.apply(
                records(
                    {"called": "2025550143", "start": T, "a": "1795321370", "r": "1795321380"},
                    {"called": "2025550143", "start": "", "a": "1795321370", "r": "1795321380"},
                    {"called": "2025550143", "start": None, "a": "0", "r": "1795321380"},
                )
            )
        )
        assert [interval(row) for row in found] == [
            ("04:22:40.000", "04:22:41.000"),
            ("04:19:50.000", "04:22:51.000"),
            ("04:20:00.000", "04:23:01.000"),
        ]

    def test_is_moved_by_the_clocks_offset(self) -> None:
        fast, slow = mapper(clock_offset="47s"), mapper(clock_offset="-9s")
        record = records({"called": "2025550143", "start": T})
        assert interval(calls(fast.apply(record))[0])[0] == "04:21:53.000"
        assert interval(calls(slow.apply(record))[0])[0] == "04:22:49.000"

    def test_is_given_twice_for_a_local_time_that_occurred_twice(self) -> None:
        local = mapper(zone="America/New_York", columns={"seizure": {"column": "start", "format": "%Y-%m-%d %H:%M:%S"}})
        batch = local.apply(
            records(
                {"called": "2025550143", "start": "2026-11-01 01:30:00"},
                {"called": "bad", "start": "2026-11-01 01:30:00"},
                {"called": "2025550144", "start": "2026-11-01 02:30:00"},
                {"called": "2025550145", "start": "2026-03-08 02:30:00"},
            )
        )
        assert [(row["row"], row["called_in"], interval(row)[0]) for row in calls(batch)] == [
            (1, "+12025550143", "05:30:00.000"),
            (1, "+12025550143", "06:30:00.000"),
            (3, "+12025550144", "07:30:00.000"),
        ]
        assert reasons(batch) == [(2, RejectReason.BAD_CALLED_NUMBER), (4, RejectReason.TIME_SKIPPED_BY_DST)]

    @pytest.mark.parametrize(
        ("start", "reason"), [("", RejectReason.NO_TIME), ("0", RejectReason.NO_TIME), ("soon", RejectReason.BAD_TIME)]
    )
    def test_without_a_time_there_is_no_call(self, start: str, reason: RejectReason) -> None:
        batch = mapper().apply(records({"called": "2025550143", "start": start}))
        assert (calls(batch), reasons(batch)) == ([], [(1, reason)])


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
        ],
    )
    def test_of_addresses_are_canonical(self, text: str, address: str) -> None:
        with_address = mapper(columns={"ingress_address": "peer"})
        [row] = calls(with_address.apply(records({"called": "2025550143", "start": T, "peer": text})))
        assert row["ingress_address"] == address

    @pytest.mark.parametrize("text", ["gw1.example.net", "198.51.100", "198.51.100.010", "unknown", "5060"])
    def test_of_addresses_that_are_none_reject_the_record(self, text: str) -> None:
        with_address = mapper(columns={"ingress_address": "peer"})
        batch = with_address.apply(records({"called": "2025550143", "start": T, "peer": text}))
        assert reasons(batch) == [(1, RejectReason.BAD_ADDRESS)]

    def test_of_dispositions_are_translated(self) -> None:
        values = {"200": "answered", "487": "unanswered", "*": "failed"}
        coded = mapper(columns={"disposition": {"column": "code", "values": values}})
        rows = [{"called": "2025550143", "start": T, "code": code} for code in ("200", "487", "503", None)]
        found = calls(coded.apply(records(*rows)))
        assert [row["disposition"] for row in found] == ["answered", "unanswered", "failed", None]


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
