"""Call records of mobile and IMS networks in BER, after 3GPP TS 32.298 (release 4 to 18) and TS 32.297.

Read: the records of circuit switched calls (mobile originated, terminated, roaming, incoming and outgoing gateway,
transit, CAMEL, MTRF) and of IMS sessions (P-, I-, S-, E-CSCF, MGCF, BGCF, AS, IBCF, TRF, TF, ATCF). Records of short
messages, location updates, supplementary services and conferences are passed over. Refused, one by one: records of
other types, and such whose recordType contradicts their tag; so a file of a vendor who gave the standard's tags a
meaning of their own shows up as rejects. How records lie in a file: `_threegpp_files.py`. Of which fields: the ASN.1
text `_threegpp_32298.asn`; columns have the standard's names. `row` is the position of a record's first octet, from 1.

Columns that the reader makes of several fields:

- `called`, `called_sent`, `calling`: where each type of record keeps them. The number called is servedMSISDN in
  terminating and roaming records, calledNumber in the other circuit switched ones, and in IMS ones the party asked for,
  or else the party called. As sent on: translatedNumber, or the roaming number, or the party called.
- `trunkGroupID.incoming`, `trunkGroupID.outgoing`: an MGCF record has one of the two.
- `nNI-Information.inbound`, `nNI-Information.outbound`: addresses of the neighbour before and the neighbour behind.
- `interOperatorIdentifiers.originatingIOI`, `.terminatingIOI`: comma between several.
- `list-Of-Calling-Party-Address`: its tel URI or E.164 number, or else the first of the list.
- times have their offset from UTC, and the fraction where the record has one.
- `call_id`: recording entity and call reference, or the IMS charging identifier. It joins the partial records of one
  call (sequenceNumber, recordSequenceNumber). A continued part that doesn't repeat the time of the setup is passed
  over: the part before it stands for the call.
- `outcome`: `answered` when the record has an answer time.

The upstream is the incoming trunk group or the inbound neighbour. An originating IOI is not taken for it: it names the
network where the session began, which need not be the one that handed it over; whoever knows that their neighbours
write their own may map it. A mobile originated record without an incoming trunk group is not taken as originated here:
forwarded calls have such records too.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from cdr_adapters import raw
from cdr_adapters.formats import _ber
from cdr_adapters.formats._bcd import telephone_number, time_stamp
from cdr_adapters.formats._threegpp_files import Framed, Unframed, has_file_header, pieces
from cdr_adapters.records import RAW_LIMIT, RecordBuffer
from cdr_adapters.stream import read_blocks

SUMMARY = "3GPP TS 32.298 call records in BER: MSC and IMS, files after TS 32.297 too"
GRADE = raw.Grade.DOCUMENTATION

COLUMNS: dict[str, Any] = {
    "called_in": "called",
    "called_out": "called_sent",
    "calling": "calling",
    "seizure": {"column": ["seizureTime", "seizureTimestamp", "serviceRequestTimeStamp"], "format": "iso8601"},
    "answer": {"column": ["answerTime", "answerTimestamp", "serviceDeliveryStartTimeStamp"], "format": "iso8601"},
    "release": {"column": ["releaseTime", "releaseTimestamp", "serviceDeliveryEndTimeStamp"], "format": "iso8601"},
    "ingress_trunk": ["mscIncomingTKGP", "trunkGroupID.incoming"],
    "egress_trunk": ["mscOutgoingTKGP", "trunkGroupID.outgoing"],
    "ingress_address": "nNI-Information.inbound",
    "egress_address": "nNI-Information.outbound",
    "call_id": "call_id",
    "leg": "recordType",
    "disposition": "outcome",
}
WHERE: dict[str, list[str]] = {"sIP-Method": ["INVITE", ""]}
"""Circuit switched records have no method; REGISTER, MESSAGE and the like set up no calls."""

_ASN1 = "_threegpp_32298.asn"
_RECORD = "CallRecord"

_FIRST_IMS = 63
_OTHER_TYPES = {"termCAMELRecord": 17, "mMTRFRecord": 88}
"""recordType where it isn't the record's tag."""
_NO_CALLS = frozenset(
    (0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xAB, 0xAC, 0xAD, 0xAE, 0xAF, 0xB1, 0xB2, 0xB3, 0xB4, 0xB6, 0xBF42)
)
"""Tags of the standard's records that are no calls: [6] to [15], [17] to [20], [22], and [66] (MRFC)."""

_TIMES = (
    "seizureTime",
    "answerTime",
    "releaseTime",
    "seizureTimestamp",
    "answerTimestamp",
    "releaseTimestamp",
    "serviceRequestTimeStamp",
    "serviceDeliveryStartTimeStamp",
    "serviceDeliveryEndTimeStamp",
)
_SEIZURES = ("seizureTime", "seizureTimestamp", "serviceRequestTimeStamp")
_NUMBERS = (
    "servedMSISDN",
    "callingNumber",
    "calledNumber",
    "translatedNumber",
    "connectedNumber",
    "roamingNumber",
    "recordingEntity",
)
_HEXADECIMAL = ("callReference", "networkCallReference", "locationRoutNum")
_PARTIES = ("called-Party-Address", "requested-Party-Address")
_TELEPHONE = ("tEL-URI", "iSDN-E164")
_CALLED_IS_SERVED = frozenset(("mtCallRecord", "roamingRecord", "mMTRFRecord"))


class Options(raw.Options):
    """Options of TS 32.298 files.

    Attributes:
        block_size: octets of the blocks whose ends are filled up, for files where the fillers don't show it.
    """

    block_size: Annotated[int, Field(ge=64, le=1 << 20)] | None = None


def _of_octets(convert: Callable[[bytes], str | None]) -> _ber.Reader:
    def read(data: bytes, at: int, end: int) -> str | None:
        return convert(data[at:end])

    return read


@dataclass(frozen=True, slots=True)
class _Kind:
    """A type of record: its name, the recordType that it must say, whether it is of IMS, and what reads it."""

    name: str
    record_type: int
    is_ims: bool
    read: _ber.Reader


@lru_cache(maxsize=8)
def _kinds(fields: frozenset[str] | None) -> Mapping[int, _Kind]:
    """The types of records by tag; `fields` are those to be read, None for all."""
    import asn1tools

    text = files("cdr_adapters.formats").joinpath(_ASN1).read_text("ascii")
    choice = asn1tools.compile_string(text, "ber").types[_RECORD].type
    instead = {
        **dict.fromkeys(_TIMES, _of_octets(time_stamp)),
        **dict.fromkeys(_NUMBERS, _of_octets(telephone_number)),
        **dict.fromkeys(_HEXADECIMAL, _of_octets(bytes.hex)),
    }
    kinds = {}
    for record in choice.members:
        tag = int.from_bytes(record.tag, "big")
        number = tag & (0x1F if tag < 0x100 else 0x7F)
        reader = _ber.members(_ber.table_of(record.root_members, instead, fields))
        kinds[tag] = _Kind(record.name, _OTHER_TYPES.get(record.name, number), number >= _FIRST_IMS, reader)
    return kinds


def _address(value: Any) -> str | None:
    """An IPAddress or NodeAddress as text."""
    if value is None:
        return None
    kind, content = value
    if kind == "iPAddress":
        return _address(content)
    if not isinstance(content, bytes):
        return str(content)
    return str(ipaddress.ip_address(content)) if len(content) in (4, 16) else None


def _party(value: tuple[str, str] | None) -> str | None:
    """An InvolvedParty as text; an E.164 number gets the `+` that it means."""
    if value is None:
        return None
    kind, text = value
    return "+" + text if kind == "iSDN-E164" and text.isdecimal() else text


def _calling_party(parties: list[tuple[str, str] | None]) -> str | None:
    best = next((party for party in parties if party is not None and party[0] in _TELEPHONE), None)
    return _party(best or next(iter(parties), None))


def _charging_identifier(data: bytes) -> str:
    """An IMS charging identifier: text nearly everywhere, else hexadecimal."""
    return data.decode("ascii") if data.isascii() and data.decode("ascii").isprintable() else data.hex()


def _finish_ims(record: dict[str, Any]) -> None:
    """Replace what an IMS record has in structures by columns."""
    for time in _TIMES[6:]:
        fraction = record.get(time + "Fraction")
        stamp = record.get(time)
        if stamp is not None and fraction is not None and 0 <= fraction <= 999:
            record[time] = f"{stamp[:19]}.{fraction:03d}{stamp[19:]}"
    for name in _PARTIES:
        if name in record:
            record[name] = _party(record[name])
    if "list-Of-Calling-Party-Address" in record:
        record["list-Of-Calling-Party-Address"] = _calling_party(record["list-Of-Calling-Party-Address"])
    if (trunk := record.pop("trunkGroupID", None)) is not None:
        record[f"trunkGroupID.{trunk[0]}"] = trunk[1]
    neighbours = record.pop("nNI-Information", None)
    for neighbour in (neighbours,) if isinstance(neighbours, dict) else neighbours or ():
        if (direction := neighbour.get("sessionDirection")) is not None:
            record[f"nNI-Information.{direction}"] = _address(neighbour.get("neighbourNodeAddress"))
    operators = record.pop("interOperatorIdentifiers", None)
    if operators is not None:
        listed = [operators] if isinstance(operators, dict) else operators
        for name in ("originatingIOI", "terminatingIOI"):
            record[f"interOperatorIdentifiers.{name}"] = ",".join(one[name] for one in listed if name in one)
    if "nodeAddress" in record:
        record["nodeAddress"] = _address(record["nodeAddress"])


def _finish(kind: _Kind, record: dict[str, Any]) -> None:
    """Add the columns that are made of several fields, and make text of everything."""
    get = record.get
    if (identifier := get("iMS-Charging-Identifier")) is not None:
        record["iMS-Charging-Identifier"] = _charging_identifier(identifier)
    if (reference := get("callReference")) is not None:
        record["call_id"] = f"{get('recordingEntity') or ''}:{reference}"
    else:
        record["call_id"] = get("iMS-Charging-Identifier")
    if kind.is_ims:
        _finish_ims(record)
        sent = get("called-Party-Address")
        record["called"] = get("requested-Party-Address") or sent
        record["called_sent"] = sent
        record["calling"] = get("list-Of-Calling-Party-Address")
        answered = get("serviceDeliveryStartTimeStamp")
    else:
        for trunk in ("mscIncomingTKGP", "mscOutgoingTKGP", "diagnostics"):
            if (choice := get(trunk)) is not None:
                record[trunk] = str(choice[1])
        if kind.name in _CALLED_IS_SERVED:
            record["called"] = get("servedMSISDN")
            record["called_sent"] = get("roamingNumber")
            record["calling"] = get("callingNumber")
        else:
            record["called"] = get("calledNumber")
            record["called_sent"] = get("translatedNumber")
            record["calling"] = get("callingNumber") or (get("servedMSISDN") if kind.name == "moCallRecord" else None)
        answered = get("answerTime") or get("answerTimestamp")
    record["outcome"] = "answered" if answered else "unanswered"
    record["recordType"] = kind.name


_INTEGERS = (
    "callDuration",
    "causeForTerm",
    "sequenceNumber",
    "recordSequenceNumber",
    "causeForRecordClosing",
    "serviceRequestTimeStampFraction",
    "serviceDeliveryStartTimeStampFraction",
    "serviceDeliveryEndTimeStampFraction",
)

_NEEDED_FOR: Mapping[str, tuple[str, ...]] = {
    "called": ("calledNumber", "servedMSISDN", *_PARTIES),
    "called_sent": ("translatedNumber", "roamingNumber", "called-Party-Address"),
    "calling": ("callingNumber", "servedMSISDN", "list-Of-Calling-Party-Address"),
    "call_id": ("recordingEntity", "callReference", "iMS-Charging-Identifier"),
    "outcome": ("answerTime", "answerTimestamp", "serviceDeliveryStartTimeStamp"),
    **{name: (name, name + "Fraction") for name in _TIMES[6:]},
}
_ALWAYS = ("recordType", "sequenceNumber", "recordSequenceNumber", *_SEIZURES)


def _fields(columns: frozenset[str] | None) -> frozenset[str] | None:
    """The record's fields that `columns` are made of."""
    if columns is None:
        return None
    return frozenset(_ALWAYS).union(
        *(_NEEDED_FOR.get(name, (name.partition(".")[0] if "." in name else name,)) for name in columns)
    )


def _is_continued(record: Mapping[str, Any]) -> bool:
    """Whether this is a later part of a call, without the time of its setup."""
    part = record.get("sequenceNumber", record.get("recordSequenceNumber"))
    return part is not None and part > 1 and not any(record.get(name) for name in _SEIZURES)


def _take(piece: Framed, kinds: Mapping[int, _Kind], buffer: RecordBuffer) -> None:
    kind = kinds.get(piece.tag)
    if kind is None:
        if piece.tag in _NO_CALLS:
            buffer.skip()
        else:
            _reject(buffer, piece, f"tag {piece.tag:X} is no record of TS 32.298 that hopback knows")
        return
    try:
        record = kind.read(piece.data, piece.start, piece.stop)
    except ValueError as error:
        _reject(buffer, piece, f"{kind.name}: {error}")
        return
    if record.get("recordType") != kind.record_type:
        _reject(buffer, piece, f"{kind.name}: recordType says something else")
    elif _is_continued(record):
        buffer.skip()
    else:
        _finish(kind, record)
        for name in _INTEGERS:
            if (number := record.get(name)) is not None:
                record[name] = str(number)
        buffer.add(piece.row, record)


def _reject(buffer: RecordBuffer, piece: Framed, detail: str) -> None:
    stop = min(piece.stop, piece.start + RAW_LIMIT // 2)
    buffer.reject(piece.row, detail, piece.data[piece.start : stop].hex())


def identify(head: raw.Head) -> bool:
    """Files that begin with a header after TS 32.297, or with records whose tag and recordType agree."""
    data = head.data
    if len(data) < 8 or not (has_file_header(data, head.complete) or data[0] in _FIRST or data[3] >> 5 == 1):
        return False
    kinds = _kinds(frozenset(_ALWAYS))
    seen = 0
    try:
        for piece in pieces(head.path, iter((data,)), None):
            if isinstance(piece, Unframed):
                break
            kind = kinds.get(piece.tag)
            if kind is None and piece.tag not in _NO_CALLS:
                return False
            if kind is not None:
                if kind.read(piece.data, piece.start, piece.stop).get("recordType") != kind.record_type:
                    return False
                seen += 1
            if seen >= _ENOUGH:
                break
    except (raw.AdapterError, ValueError):
        pass  # the head may end within a record
    return seen > 0


_FIRST = frozenset((0x30, 0x31, *range(0xA0, 0xC0), 0x00, 0xFF))
_ENOUGH = 8


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    kinds = _kinds(_fields(columns))
    buffer = RecordBuffer(columns)
    try:
        for piece in pieces(path, read_blocks(path), options.block_size):
            if isinstance(piece, Framed):
                _take(piece, kinds, buffer)
            else:
                buffer.reject(piece.row, piece.detail, piece.raw)
            if buffer.full:
                yield buffer.take()
    except raw.AdapterError:
        if not buffer.empty:
            yield buffer.take()
        raise
    if not buffer.empty:
        yield buffer.take()
