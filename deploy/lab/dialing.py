"""How one called number looks on the wire of a trunk, and the fictitious numbers that the lab dials.

Every number is reserved for fiction: 555-01xx in each area code and behind each toll-free code, and what Ofcom keeps
for drama in London (020 7946 0xxx). Nothing here can ring anywhere.
"""

from __future__ import annotations

from random import Random

from protos.e164 import E164, parse_e164

_AREA_CODES = (
    "201 202 203 205 206 207 208 209 210 212 213 214 215 216 217 218 219 224 225 228 229 231 234 239 240 248 "
    "251 252 253 254 256 260 262 267 269 270 276 281 301 302 303 304 305 307 308 309 310 312 313 314 315 316 "
    "317 318 319 320 321 323 330 334 336 337 339 347 351 352 360 361 385 386 401 402 404 405 406 407 408 409 "
    "410 412 413 414 415 417 419 423 424 425 430 432 434 435 440 443 469 470 478 479 480 484 501 502 503 504 "
    "505 507 508 509 510 512 513 515"
)
AREA_CODES = tuple(_AREA_CODES.split())
TOLL_FREE_CODES = ("800", "833", "844", "855", "866", "877", "888")


class UnwritableNumberError(ValueError):
    """The number can't be written in the format that the trunk wants."""


def wire(number: E164, called_format: str) -> str:
    """`number` as it is dialled over a trunk of that format (10d, 11d, e164, 00e164, 011e164, tech:PREFIX:FORMAT).

    Raises:
        UnwritableNumberError: a foreign number in a ten- or eleven-digit format, or an unknown format.
    """
    if called_format.startswith("tech:"):
        _, prefix, inner = called_format.split(":")
        return prefix + wire(number, inner)
    digits = number[1:]
    if called_format in ("10d", "11d") and not (digits.startswith("1") and len(digits) == 11):
        raise UnwritableNumberError(f"a number outside the North American plan can't be dialled as {called_format}")
    match called_format:
        case "10d":
            return digits[1:]
        case "11d":
            return digits
        case "e164":
            return number
        case "00e164":
            return "00" + digits
        case "011e164":
            return "011" + digits
    raise UnwritableNumberError(f"unknown format {called_format!r}")


def subscribers(count: int) -> list[E164]:
    """The first `count` fictitious subscriber numbers, spread over the area codes."""
    numbers = [f"+1{code}55501{line:02d}" for line in range(100) for code in AREA_CODES]
    if count > len(numbers):
        raise UnwritableNumberError(f"{count} fictitious subscribers asked for, {len(numbers)} exist")
    return [parse_e164(number) for number in numbers[:count]]


def toll_free(rng: Random) -> E164:
    """A fictitious toll-free number."""
    return parse_e164(f"+1{rng.choice(TOLL_FREE_CODES)}55501{rng.randrange(100):02d}")


def claimed(rng: Random, called: E164, *, foreign: bool) -> E164:
    """A calling number as robocallers claim it: often from the called number's own area, sometimes from abroad."""
    if foreign and rng.random() < 0.3:
        return parse_e164(f"+442079460{rng.randrange(1000):03d}")
    code = called[2:5] if rng.random() < 0.4 else rng.choice(AREA_CODES)
    return parse_e164(f"+1{code}55501{rng.randrange(100):02d}")
