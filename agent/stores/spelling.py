"""A number in all the ways in which a called-number column may have it written, so that an index finds it.

The inverse of `cdr_adapters.numbers`: whatever is spelled here is read back there as the same number (a test holds
them to it). It is not complete, and can't be: separators, URIs and prefixes that nobody announced are read in files,
but a database finds only what it is asked for. `written` announces more; `check-config` samples the table and says
what of it would not be found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from protos.e164 import E164

BARE = ("{}",)


def spellings(number: E164, called_format: str) -> tuple[str, ...]:
    """The texts that mean `number` where numbers are written in `called_format` (not `trunk`)."""
    return tuple(dict.fromkeys(_spelled(number, called_format)))


def in_all(number: E164, formats: Iterable[str], written: Sequence[str] = BARE) -> tuple[str, ...]:
    """The same in several formats, each as it stands in one of the templates."""
    bare = dict.fromkeys(text for one in formats for text in _spelled(number, one))
    if written == BARE:
        return tuple(bare)
    return tuple(dict.fromkeys(template.replace("{}", text) for template in written for text in bare))


def _spelled(number: E164, called_format: str) -> Iterator[str]:
    if called_format.startswith("tech:"):
        _, prefix, inner = called_format.split(":", 2)
        for text in _spelled(number, inner):
            yield prefix + text
        yield number  # the plus sign says that there is no prefix
        return
    digits = number[1:]
    american = len(digits) == 11 and digits[0] == "1"
    # a number in the plan of North America can't begin with 0 or 1, but a file's reader takes it where it is announced
    plain = american and digits[1] in "23456789"
    if called_format == "auto":
        if plain:
            yield digits[1:]
            yield digits
        yield "011" + digits
        yield "00" + digits
    elif called_format == "10d":
        if american:
            yield digits[1:]
    elif called_format == "11d":
        if american:
            yield digits
    elif called_format == "e164":
        yield digits
    else:
        yield called_format.removesuffix("e164") + digits
    yield number
