"""What a called or calling number means on each kind of trunk, and what is refused rather than guessed."""

from __future__ import annotations

import numpy as np
import phonenumbers
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_adapters.number_columns import normalise, read_numbers, texts_of_numbers
from cdr_adapters.number_shapes import understood
from cdr_adapters.numbers import dialled_digits, number_of
from protos.e164 import InvalidNumberError, parse_e164

FORMATS = ("auto", "10d", "11d", "e164", "00e164", "011e164", "tech:77501:11d", "tech:0155#:11d", "tech:1234#:e164")


class TestADeclaredFormat:
    @pytest.mark.parametrize(
        ("text", "called_format"),
        [
            ("2025550143", "10d"),
            ("12025550143", "11d"),
            ("12025550143", "e164"),
            ("0012025550143", "00e164"),
            ("01112025550143", "011e164"),
            ("7750112025550143", "tech:77501:11d"),
            ("0155#12025550143", "tech:0155#:11d"),
            ("0155%2312025550143", "tech:0155#:11d"),
            ("1234#2025550143", "tech:1234#:10d"),
        ],
    )
    def test_gives_the_number(self, text: str, called_format: str) -> None:
        assert number_of(text, called_format) == "+12025550143"

    @pytest.mark.parametrize(
        ("text", "called_format"),
        [
            ("12025550143", "10d"),
            ("2025550143", "11d"),
            ("22025550143", "11d"),
            ("202555014", "10d"),
            ("8015550143", "e164"),  # there is no country code 801
            ("12025550143", "00e164"),
            ("0012025550143", "011e164"),
            ("12025550143", "tech:77501:11d"),
            ("77501", "tech:77501:11d"),
        ],
    )
    def test_refuses_what_does_not_fit_it(self, text: str, called_format: str) -> None:
        assert number_of(text, called_format) is None

    def test_counts_for_more_than_what_is_usual(self) -> None:
        assert number_of("2025550143", "e164") == "+2025550143", "declared as E.164, this is a number in Egypt"

    @pytest.mark.parametrize("called_format", FORMATS)
    def test_gives_way_to_a_plus(self, called_format: str) -> None:
        assert number_of("+12025550143", called_format) == "+12025550143"
        assert number_of("+442079460123", called_format) == "+442079460123"

    def test_a_plus_may_stand_behind_the_tech_prefix(self) -> None:
        assert number_of("0155#+12025550143", "tech:0155#:11d") == "+12025550143"

    def test_a_plus_number_of_the_wrong_length_is_none(self) -> None:
        assert number_of("+1202555014", "e164") is None
        assert number_of("+120255501433", "e164") is None


class TestTheAutomaticFormat:
    @pytest.mark.parametrize(
        ("text", "number"),
        [
            ("2025550143", "+12025550143"),
            ("12025550143", "+12025550143"),
            ("011442079460123", "+442079460123"),
            ("00442079460123", "+442079460123"),
            ("01112025550143", "+12025550143"),
        ],
    )
    def test_reads_numbers_as_dialled_in_the_united_states(self, text: str, number: str) -> None:
        assert number_of(text, "auto") == number

    @pytest.mark.parametrize(
        "text",
        [
            "442079460123",
            "1025550143",
            "0125550143",
            "11025550143",
            "5550143",
            "911",
            "7750112025550143",
            "0",
            "00",
            "+",
        ],
    )
    def test_refuses_what_has_two_readings_or_none(self, text: str) -> None:
        assert number_of(text, "auto") is None


class TestUris:
    @pytest.mark.parametrize(
        "text",
        [
            "sip:+12025550143@198.51.100.10:5060",
            "sips:12025550143@example.net",
            "SIP:2025550143@example.net;user=phone",
            "tel:+1-202-555-0143",
            "tel:2025550143;phone-context=+1",
            '"Example, Inc." <sip:+12025550143@198.51.100.10>;tag=a',
            "<tel:+1(202)555-0143;ext=22>",
            "2025550143@198.51.100.10",
            "sip:%2B12025550143@example.net",
            "sip:2025550143:secret@example.net",
            "202.555.0143",
            " (202) 555-0143 ",
        ],
    )
    def test_hold_the_dialled_number(self, text: str) -> None:
        assert number_of(text, "auto") == "+12025550143"

    @pytest.mark.parametrize(
        "text",
        [
            "sip:+12025550143;npdi;rn=+15715550199@198.51.100.10",
            "tel:+12025550143;npdi;rn=+15715550199",
            "+12025550143;npdi;rn=+15715550199",
            "2025550143;rn=5715550199;npdi",
        ],
    )
    def test_a_routing_number_is_never_the_dialled_one(self, text: str) -> None:
        assert number_of(text, "auto") == "+12025550143"

    @pytest.mark.parametrize(
        "text",
        [
            "sip:203.0.113.201:5060",
            "sip:203.0.113.201",
            "203.0.113.201",
            "198.51.100.110",
            "sip:alice@example.net",
            "anonymous",
            "sip:anonymous@anonymous.invalid",
            "tel:2025550143;phone-context=+44",
            "<sip:+12025550143@example.net",
            "٢٠٢٥٥٥٠١٤٣",
            "2025550143x",
            "12025550143 12025550144",
            "1.2025550143E+10",
            "1" * 5000,
        ],
    )
    def test_addresses_names_and_broken_texts_are_no_numbers(self, text: str) -> None:
        assert number_of(text, "auto") is None
        assert number_of(text, "10d") is None

    @pytest.mark.parametrize(
        "text", ["2025550143.0", "493012345678.00", "+493012345678.", "sip:493012345678.0@example.net"]
    )
    def test_a_decimal_of_a_spreadsheet_is_no_number(self, text: str) -> None:
        assert number_of(text, "e164") is None, "as Egyptian or German it would be one digit longer"
        assert number_of("49.30.12345678", "e164") == "+493012345678"

    def test_the_national_zero_of_a_foreign_number_goes(self) -> None:
        assert number_of("+44 (0)20 7946 0123", "auto") == "+442079460123"

    def test_a_country_code_that_does_not_exist_is_refused(self) -> None:
        assert number_of("+99912345678", "e164") is None


class TestColumns:
    def test_absent_and_unreadable_numbers_are_null(self) -> None:
        values = pa.array(["2025550143", None, "", "anonymous", "+442079460123"], pa.string())
        assert normalise(values, "auto").to_pylist() == ["+12025550143", None, None, None, "+442079460123"]

    @pytest.mark.parametrize("around", ["sip:{}@192.0.2.7", "{}@192.0.2.7", "tel:{}", "<sip:{}@192.0.2.7>", "{}"])
    def test_what_stands_around_every_number_of_a_column_is_no_part_of_any(self, around: str) -> None:
        assert normalise(pa.array([around.format("+12025550143")] * 100), "auto").to_pylist() == ["+12025550143"] * 100

    def test_digits_of_other_scripts_are_no_digits(self) -> None:
        assert normalise(pa.array(["1٢٠٢٥٥", "12025٢٠٢"]), "11d").to_pylist() == [None, None]

    @pytest.mark.parametrize("text", ["1025550143", "0125550143", "11025550143", "10125550143", "99025550143x"])
    def test_what_no_switch_can_dial_is_none_in_a_column_too(self, text: str) -> None:
        assert normalise(pa.array([text] * 100), "auto").to_pylist() == [number_of(text, "auto")] * 100 == [None] * 100

    def test_a_national_number_may_begin_with_anything_where_the_trunk_says_that_it_is_one(self) -> None:
        assert normalise(pa.array(["0125550143"] * 100), "10d").to_pylist() == [number_of("0125550143", "10d")] * 100

    def test_a_technical_prefix_may_be_longer_than_a_number(self) -> None:
        called_format = "tech:123456789012:11d"
        texts = ["12345678901212025550143", "+12025550143", "123456789012+12025550143", "12025550143"] * 30
        expected = ["+12025550143", "+12025550143", "+12025550143", None] * 30
        assert normalise(pa.array(texts), called_format).to_pylist() == expected

    def test_no_rows_give_no_rows(self) -> None:
        assert normalise(pa.array([], pa.string()), "auto").to_pylist() == []

    def test_each_distinct_number_is_looked_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[str] = []

        def counting(text: str, called_format: str) -> str | None:
            seen.append(text)
            return number_of(text, called_format)

        monkeypatch.setattr("cdr_adapters.numbers.number_of", counting)
        normalise(pa.array(["+44 (0)20 7946 0123", "2025550143"] * 500), "auto")
        assert seen == ["+44 (0)20 7946 0123"], "its trunk prefix has to go"


def _by_the_library(digits: str) -> str | None:
    """A number outside +1 as `phonenumbers` reads it: the reference."""
    try:
        parsed = phonenumbers.parse("+" + digits)
        possible = phonenumbers.is_possible_number_with_reason(parsed)
        if possible != phonenumbers.ValidationResult.IS_POSSIBLE:
            return None
        return parse_e164(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))
    except (phonenumbers.NumberParseException, InvalidNumberError):
        return None


_CODES = sorted(code for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE if code != 1)


class TestNumbersOfOtherCountries:
    @given(st.sampled_from(_CODES), st.text("0123456789", min_size=3, max_size=13))
    @settings(max_examples=1500, deadline=None)
    def test_are_what_phonenumbers_says(self, code: int, national: str) -> None:
        digits = f"{code}{national}"
        expected = _by_the_library(digits) if 7 <= len(digits) <= 15 else None
        assert number_of("+" + digits, "e164") == expected
        assert number_of("011" + digits, "auto") == expected
        assert normalise(pa.array(["00" + digits]), "00e164").to_pylist() == [expected]

    @given(st.text("23456789", min_size=1, max_size=1), st.text("0123456789", min_size=6, max_size=14))
    @settings(max_examples=500, deadline=None)
    def test_have_a_country_code_that_exists(self, first: str, rest: str) -> None:
        assert number_of("+" + first + rest, "e164") == _by_the_library(first + rest)

    def test_are_settled_without_being_parsed_where_nothing_has_to_go(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cdr_adapters.numbers._parsed", lambda _: pytest.fail("parsed"))
        assert number_of("+442079460123", "e164") == "+442079460123"
        assert number_of("+33123456789", "e164") == "+33123456789"
        assert number_of("+4420794601", "e164") is None


_DIGITS = st.one_of(
    st.text("0123456789", max_size=16),
    st.builds(
        lambda lead, rest: lead + rest,
        st.sampled_from(["", "1", "001", "0111"]),
        st.from_regex("[0-9]{10}", fullmatch=True),
    ),
)
_LIKE_NUMBERS = st.builds(
    lambda before, digits, after: before + digits + after,
    st.sampled_from(
        ["", "+", "+1", "1", "00", "011", "77501", "0155#", "1234#", "sip:", "sip:+", "<sip:", "tel:", "٢"]
    ),
    _DIGITS,
    st.sampled_from(
        ["", "@example.net", "@example.net>", ";npdi;rn=5715550199", ">", " ", ";phone-context=+44", "%23"]
    ),
)
_ANY = st.one_of(
    _LIKE_NUMBERS, _LIKE_NUMBERS, st.text(max_size=40), st.text("0123456789+*#@:;<>.()- siptel%", max_size=30)
)


class TestVectorOperations:
    @given(st.lists(st.one_of(st.none(), _ANY), max_size=12), st.sampled_from(FORMATS), st.booleans())
    @settings(max_examples=200, deadline=None)
    def test_say_the_same_as_one_number_at_a_time(
        self, texts: list[str | None], called_format: str, many: bool
    ) -> None:
        texts = texts * 60 if many else texts  # long columns take a shorter way through URIs
        expected = [None if text is None else number_of(text, called_format) for text in texts]
        assert normalise(pa.array(texts, pa.string()), called_format).to_pylist() == expected

    @given(st.integers(2_000_000_000, 9_999_999_999).map(str), st.sampled_from(FORMATS))
    @settings(max_examples=50, deadline=None)
    def test_settle_every_domestic_number_in_its_trunks_form(self, national: str, called_format: str) -> None:
        prefix = called_format.split(":")[1] if called_format.startswith("tech:") else ""
        inner = called_format.split(":")[-1]
        written = {"00e164": "001", "011e164": "0111", "10d": ""}.get(inner, "1") + national
        assert normalise(pa.array([prefix + written]), called_format).to_pylist() == ["+1" + national]

    @given(st.text(max_size=60))
    @settings(max_examples=100, deadline=None)
    def test_no_text_breaks_them(self, text: str) -> None:
        dialled_digits(text)
        for called_format in FORMATS:
            number_of(text, called_format)


_SHAPES = st.one_of(
    st.sampled_from(
        [
            "+10000000000", "10000000000", "0000000000", "(000) 000-0000", "000-000-0000", "000.000.0000",
            "011000000000000", "00000000000000", "+000 00 0000 0000", "+00 (0)00 0000 0000", "sip:+10000000000@a",
            "sip:0000000000@198.51.100.7;user=phone", "<sip:+10000000000@a>", '"0" <tel:+1-000-000-0000>',
            "tel:+00000000000;npdi", "0000#10000000000", "0000000000.0", "000.00.00.000", "sip:%2B10000000000@a",
            "0000000000000000000000@a", "tel:0000000000;phone-context=+00", " 0000000000 ", "00000#+0000000000",
        ]
    ),
    st.text("00000000+-(). @<>:;#*%sipte\t\0\u00a0\u0660", max_size=30),
)  # fmt: skip
"""Texts in which any digit may stand for each nought."""


def _filled(shape: str, digits: list[int]) -> str:
    """The shape with these digits in place of its noughts, as many as there are."""
    rest = iter(digits)
    return "".join(str(next(rest, 0)) if mark == "0" else mark for mark in shape)


_FILLED = st.builds(_filled, _SHAPES, st.lists(st.sampled_from([0, 0, 1, 1, 4, 2, 3, 5, 6, 7, 8, 9]), max_size=20))


class TestShapes:
    @given(st.lists(st.one_of(st.none(), _FILLED), min_size=33, max_size=80), st.sampled_from(FORMATS))
    @settings(max_examples=100, deadline=None)
    def test_say_the_same_as_one_number_at_a_time(self, texts: list[str | None], called_format: str) -> None:
        expected = [None if text is None else number_of(text, called_format) for text in texts]
        assert normalise(pa.array(texts, pa.string()), called_format).to_pylist() == expected

    @given(_SHAPES, st.lists(st.lists(st.integers(0, 9), max_size=20), min_size=40, max_size=60), st.data())
    @settings(max_examples=100, deadline=None)
    def test_mean_for_each_text_what_it_means_alone(
        self, shape: str, digits: list[list[int]], data: st.DataObject
    ) -> None:
        called_format = data.draw(st.sampled_from(FORMATS))
        texts = [_filled(shape, each) for each in digits]
        expected = [number_of(text, called_format) for text in texts]
        column = pa.array(["before", *texts, "behind"])
        assert normalise(column[1:-1], called_format).to_pylist() == expected, "of a part of a column, too"

    @pytest.mark.parametrize(
        "shape", ["(000) 000-0000", "sip:+10000000000@192.0.2.7", "<tel:+1-000-000-0000>", "01100000000000"]
    )
    def test_settle_all_their_texts_together(self, shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cdr_adapters.numbers.number_of", lambda *_: pytest.fail("one by one"))
        digits = [[2, 0, 2, 5, 5, 5, 0, 1, *divmod(line, 10)] for line in range(100)]
        if shape.startswith("011"):
            digits = [[0, 1, 1, 4, 4, 2, 0, 7, 9, 4, 6, 0, *divmod(line, 10)] for line in range(100)]
        found = normalise(pa.array([_filled(shape, each) for each in digits]), "auto")
        assert found.null_count == 0

    @pytest.mark.parametrize("shape", [b"%000000000000", b"0000000000.0", b"0;phone-context=+00", "٢0".encode()])
    def test_in_which_it_matters_which_digits_there_are_are_left_alone(self, shape: bytes) -> None:
        assert understood(shape) is None

    @pytest.mark.parametrize(
        "text",
        [
            "2025550143\0",
            "<2025550143@a> <b>",
            "<2025550143@a",
            "2025550143@<b>",
            ">2025550143@a<",
            "2025550143@" + "x" * 2000,
        ],
    )
    def test_are_not_those_of_texts_that_only_begin_alike(self, text: str) -> None:
        texts = ["2025550143", "2025550143@a", text] * 40
        assert normalise(pa.array(texts), "auto").to_pylist() == [number_of(text, "auto") for text in texts]

    def test_texts_cut_off_at_the_end_of_a_column_are_whole(self) -> None:
        for width in range(1, 30):
            texts = ["2" * width] * 40
            assert normalise(pa.array(texts), "auto").to_pylist() == [number_of("2" * width, "auto")] * 40


class TestIntegers:
    @given(st.lists(st.one_of(st.just(0), st.integers(10**6, 10**15 - 1)), max_size=60))
    @settings(max_examples=100, deadline=None)
    def test_become_the_texts_that_they_are(self, integers: list[int]) -> None:
        texts = texts_of_numbers(np.array(integers, np.uint64))
        texts.validate(full=True)
        assert texts.to_pylist() == [f"+{integer}" if integer else None for integer in integers]

    def test_are_what_texts_become(self) -> None:
        assert read_numbers(pa.array(["2025550143", None, "x"]), "auto").tolist() == [12025550143, 0, 0]
