"""Numbers and times in binary coded decimal, as mobile switches and North American billing write them.

Telephone numbers after 3GPP TS 24.008 10.5.4.7 and TS 29.002 (AddressString): an octet with type of number and plan,
perhaps an octet 3a (presentation and screening), then digits, the low half of an octet first, filled up with 15.
Time stamps after 3GPP TS 32.298 (TimeStamp): local time with its offset from UTC, the high half first.
"""

from __future__ import annotations

_SWAPPED = bytes((byte & 15) << 4 | byte >> 4 for byte in range(256))
_SYMBOLS = str.maketrans("abcde", "*#abc")
_INTERNATIONAL = 0x10
_NUMBERING_PLANS = (0, 1)  # unknown, and E.164: all others are no telephone numbers
_UNSET = ("0" * 12, "f" * 12)
_SIGNS = {0x2B: "+", 0x2D: "-"}


def semi_octets(data: bytes) -> str:
    """Digits, `*`, `#`, a, b and c, the low half of each octet first, without the filler at the end.

    A filler before the end stays as `f`, so that nobody takes what stands around it for one number.
    """
    digits = data.translate(_SWAPPED).hex()
    return digits if digits.isdecimal() else digits.rstrip("f").translate(_SYMBOLS)


def telephone_number(data: bytes) -> str | None:
    """The number in a BCDDirectoryNumber or AddressString: with `+` when its type is international; None when empty."""
    if not data:
        return None
    first = data[0]
    digits = semi_octets(data[1:] if first & 0x80 else data[2:])
    if first & 0x70 == _INTERNATIONAL and first & 0x0F in _NUMBERING_PLANS:
        return "+" + digits if digits else None
    return digits or None


def time_stamp(data: bytes) -> str | None:
    """`YYMMDDhhmmssShhmm` as ISO 8601 with its offset; None when the switch left it unset. Years are 2000 to 2099.

    Raises:
        ValueError: not nine octets, or no sign. Digits are not looked at: whoever reads the time does that.
    """
    text = data.hex()
    if text[:12] in _UNSET:
        return None
    if len(data) != 9 or data[6] not in _SIGNS:
        raise ValueError("no time stamp of TS 32.298")
    return (
        f"20{text[:2]}-{text[2:4]}-{text[4:6]}T{text[6:8]}:{text[8:10]}:{text[10:12]}"
        f"{_SIGNS[data[6]]}{text[14:16]}:{text[16:]}"
    )
