"""Hostile XML, JSON and BER: what expands, reaches out, nests, repeats itself, or lies about its length."""

from __future__ import annotations

import json

from tests.adapters.hostile.recipes import BER, BINARY, JSON, XML, Corpus
from tests.adapters.hostile.seeds import seed_of

STRUCTURED = Corpus()

MB = 1 << 20
ENTITIES = "declares entities"
BROADWORKS = (
    b'<BroadWorksCDR version="19.0"><cdrData><headerModule><recordId><eventCounter>1</eventCounter></recordId>'
    b"<type>Normal</type></headerModule><basicModule><calledNumber>&%s;</calledNumber></basicModule></cdrData>"
    b"</BroadWorksCDR>"
)
FREESWITCH = b'<cdr core-uuid="a"><variables><sip_req_user>&%s;</sip_req_user></variables></cdr>'


def _both(doctype: bytes, entity: bytes) -> bytes:
    """A document with a record of each XML format."""
    return (
        b'<?xml version="1.0"?>\n<!DOCTYPE d ['
        + doctype
        + b"]>\n<d>"
        + BROADWORKS % entity
        + FREESWITCH % entity
        + b"</d>"
    )


@STRUCTURED.content("broadworks_xml", says=ENTITIES)
def _billion_laughs() -> bytes:
    """Ten entities, each ten times the one before."""
    laughs = b"".join(
        b'<!ENTITY l%d "%s">' % (level, b"&l%d;" % (level - 1) * 10 if level else b"lol") for level in range(10)
    )
    return _both(laughs, b"l9")


@STRUCTURED.content("broadworks_xml", says=ENTITIES)
def _quadratic_blow_up() -> bytes:
    """One long entity, used a hundred thousand times."""
    doctype = b'<!ENTITY a "' + b"9" * 100_000 + b'">'
    return _both(doctype, b"a").replace(b"&a;", b"&a;" * 100_000)


@STRUCTURED.content("broadworks_xml", says=ENTITIES)
def _entity_that_is_a_file() -> bytes:
    """A secret of the machine that reads it would become a called number."""
    return _both(b'<!ENTITY f SYSTEM "file:///etc/passwd">', b"f")


@STRUCTURED.content("broadworks_xml", says=ENTITIES)
def _entities_of_parameters() -> bytes:
    """Declared by what is declared elsewhere."""
    return _both(b'<!ENTITY %% p SYSTEM "http://192.0.2.1/d.dtd">%%p;'.replace(b"%%", b"%"), b"q")


@STRUCTURED.content(*XML)
def _document_type_elsewhere() -> bytes:
    """A document type definition on another machine: nobody must ask for it."""
    record = BROADWORKS % b"amp" + FREESWITCH % b"amp"
    return b'<?xml version="1.0"?><!DOCTYPE d SYSTEM "http://192.0.2.1/d.dtd"><d>' + record + b"</d>"


@STRUCTURED.content(*XML)
def _records_in_the_document_type() -> bytes:
    """What looks like a record stands in a declaration, before any."""
    entity = b'<!ENTITY a "<cdrData>" ><!ENTITY b "<cdr>"><!ENTITY c "&b;&b;">'
    return _both(entity, b"c")


@STRUCTURED.content(*XML)
def _xml_100000_deep() -> bytes:
    """Elements in elements; also without end."""
    inside = b"<a>" * 100_000
    return BROADWORKS.replace(b"&%s;", inside) + FREESWITCH.replace(b"&%s;", inside + b"</a>" * 100_000)


@STRUCTURED.content(*XML)
def _element_of_50000_attributes() -> bytes:
    """Each of which must be compared with all others."""
    attributes = b" ".join(b'a%d="1"' % number for number in range(50_000))
    return b"<d><cdr " + attributes + b"></cdr><cdrData " + attributes + b"></cdrData></d>"


@STRUCTURED.content(*XML)
def _element_without_end() -> bytes:
    """8 MB of text in a record that isn't closed."""
    return BROADWORKS[: BROADWORKS.index(b"&%s;")] + b"2025550143 " * (8 * MB // 11)


@STRUCTURED.content(*XML)
def _records_that_are_opened_again_and_again() -> bytes:
    """A hundred thousand beginnings: to look for the end of each would take for ever."""
    return b"<d>" + b"<cdrData>" * 120_000 + b"<cdr>" * 10_000


@STRUCTURED.content(*XML)
def _tags_that_do_not_end() -> bytes:
    """Quotes in tags that never close."""
    return b"<d>" + b"<cdr a=\"<cdrData b='" * 50_000


@STRUCTURED.content(*XML)
def _comments_and_sections_that_do_not_end() -> bytes:
    """And records in them."""
    record = FREESWITCH % b"amp" + BROADWORKS % b"amp"
    return b"<d>" + record + b"<!-- " + record + b"<![CDATA[" + record * 1000 + b"<?php "


@STRUCTURED.content(*XML)
def _xml_of_another_encoding_than_it_says() -> bytes:
    """It says UTF-16 in ASCII, and then isn't."""
    return b'<?xml version="1.0" encoding="UTF-16"?>\n<d>' + FREESWITCH % b"amp" + BROADWORKS % b"amp" + b"</d>"


@STRUCTURED.content(*XML)
def _xml_in_a_codec_that_is_no_encoding() -> bytes:
    """Python has codecs called zip, hex and idna."""
    return b'<?xml version="1.0" encoding="zip"?>\n<d>' + FREESWITCH % b"amp" + BROADWORKS % b"amp" + b"</d>"


@STRUCTURED.content(*XML)
def _xml_in_utf_7() -> bytes:
    """An encoding in which a tag needs no angle brackets."""
    return b'<?xml version="1.0" encoding="utf-7"?>\n+ADw-cdr+AD4-' + (FREESWITCH % b"amp") * 10


# --- JSON


@STRUCTURED.content(*JSON)
def _json_a_million_deep() -> bytes:
    """Arrays in arrays; a parser that recurses has no stack for it."""
    return b"[" * MB


@STRUCTURED.content(*JSON)
def _json_objects_100000_deep() -> bytes:
    """Objects in objects, closed properly, on one line."""
    return b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"\n"


@STRUCTURED.content(*JSON)
def _json_300_deep() -> bytes:
    """Deep, but within what a parser takes: paths of 300 names."""
    return (b'{"a":' * 300 + b"1" + b"}" * 300 + b"\n") * 200


@STRUCTURED.content(*JSON)
def _json_numbers_that_are_none() -> bytes:
    """NaN, infinities, a million digits, exponents beyond any, minus zero."""
    numbers = (b"NaN", b"-Infinity", b"1e999999999", b"9" * 100_000, b"-0", b"0" * 50, b"1e-999999999", b"0.1" * 9)
    return b"".join(
        b'{"id": %s, "start": %s, "called": %s, "leg": {"called": %s}}\n' % ((number,) * 4) for number in numbers
    )


@STRUCTURED.content(*JSON)
def _json_with_the_same_key_again() -> bytes:
    """Which of two called numbers is it?"""
    return (
        b'{"start": 1795321360250, "leg": {"called": "2025550143", "called": "2025550144"}, "leg": 1, "leg": {}}\n' * 50
    )


@STRUCTURED.content(*JSON)
def _json_with_half_surrogates() -> bytes:
    """Valid JSON, and no text."""
    return b'{"id": "\\ud800", "start": 1795321360250, "leg": {"called": "20255501\\udc0043", "\\ud800": 1}}\n' * 50


@STRUCTURED.content(*JSON)
def _json_string_without_end() -> bytes:
    """8 MB of a value."""
    return b'{"start": 1795321360250, "leg": {"called": "' + b"2025550143" * (8 * MB // 10)


@STRUCTURED.content(*JSON)
def _json_array_without_end() -> bytes:
    """30,000 records, and then nothing."""
    return b"[" + b'{"start": 1795321360250, "leg": {"called": "2025550143"}},\n' * 30_000


@STRUCTURED.content(*JSON)
def _json_of_ever_new_keys() -> bytes:
    """Every record has a hundred keys that no other has: columns without number."""
    return b"".join(
        json.dumps({f"k{row}.{at}": at for at in range(100)} | {"leg": {"called": "2025550143"}}).encode() + b"\n"
        for row in range(2000)
    )


@STRUCTURED.content(*JSON)
def _json_object_of_200000_keys() -> bytes:
    """In one record."""
    return b'{"data": [{' + b",".join(b'"k%d": 1' % at for at in range(80_000)) + b"}]}"


@STRUCTURED.content(*JSON)
def _json_that_is_no_object() -> bytes:
    """Scalars, nulls, arrays of arrays, where objects are expected."""
    return b'null\ntrue\n17\n"x"\n[]\n[[]]\n[null, 1, "x", {}]\n{}\n' * 100


@STRUCTURED.content(*JSON)
def _json_whose_types_are_others() -> bytes:
    """Arrays for numbers, objects for times, truth for text, in each format's own records."""
    texts = [sample for name in JSON for sample in seed_of(name).samples]
    others = (b"[1, [2]]", b'{"x": {}}', b"true", b"null", b"-1.5e3")
    return b"\n".join(
        b'"'.join(part if at % 4 < 3 else other.replace(b'"', b"'") for at, part in enumerate(text.split(b'"')))
        for text in texts
        for other in others
    )


# --- BER


@STRUCTURED.content(*BER, says="nested too deep")
def _ber_100000_deep() -> bytes:
    """Indefinite lengths in each other, and no end of any."""
    return b"\x30\x80" * 100_000


@STRUCTURED.content(*BINARY)
def _ber_of_records_100000_deep() -> bytes:
    """The same, in tags of call records."""
    return b"\xa0\x80" * 50_000 + b"\xbf\x2d\x80" * 50_000


@STRUCTURED.content(*BINARY)
def _ber_closed_100000_times() -> bytes:
    """Ends without beginnings."""
    return bytes(200_000)


@STRUCTURED.content(*BINARY)
def _ber_with_a_length_of_4_gigabytes() -> bytes:
    """A length that the file doesn't have."""
    return b"\x30\x84\xff\xff\xff\xff" + b"\x30\x03\x02\x01\x01" * 1000


@STRUCTURED.content(*BINARY)
def _ber_with_a_length_of_127_octets() -> bytes:
    """A length as long as X.690 allows, which is 10 to the 305th."""
    return b"\x30\xfe" + b"\xff" * 126 + b"\x30\xff" * 1000


@STRUCTURED.content(*BINARY)
def _ber_tags_without_end() -> bytes:
    """Every octet says that the tag goes on."""
    return b"\x3f" + b"\xff" * MB


@STRUCTURED.content(*BINARY)
def _ber_of_empty_records() -> bytes:
    """Half a million records with nothing in them."""
    return b"\x30\x00" * 100_000 + b"\xa0\x00" * 100_000 + b"\xa1\x00" * 100_000


@STRUCTURED.content(*BINARY)
def _ber_in_pieces_of_pieces() -> bytes:
    """A string in pieces, whose pieces are in pieces."""
    inner = b"\x04\x01a"
    for _ in range(60):
        inner = b"\x24" + _length(len(inner)) + inner
    return (b"\xa0" + _length(len(inner)) + inner) * 500


def _length(length: int) -> bytes:
    return bytes([length]) if length < 128 else b"\x82" + length.to_bytes(2, "big")


@STRUCTURED.content(*BINARY)
def _ber_samples_whose_lengths_lie() -> bytes:
    """Real records in which every length is a little too long, then far too long."""
    samples = [sample for name in BER for sample in seed_of(name).samples]
    return b"".join(
        sample[:at] + bytes([octet]) + sample[at + 1 :]
        for sample in samples
        for octet in (0x7F, 0x84)
        for at in (1, 3, 9)
    )


@STRUCTURED.content(*BINARY)
def _indefinite_length_that_never_ends() -> bytes:
    """One record takes 4 MB of others with it."""
    return b"\xa0\x80" + b"\x80\x01\x01" * (4 * MB // 3)


@STRUCTURED.content(*BINARY)
def _binary_of_ones() -> bytes:
    """Every length, every count, every BCD digit at its limit."""
    return b"\xff" * MB


@STRUCTURED.content(*BINARY)
def _binary_that_counts() -> bytes:
    """Lengths that grow by one each time."""
    return b"".join(number.to_bytes(2, "big") + bytes(number % 300) for number in range(3000))
