"""The pitfalls of real call records, each a named ingredient of the lab that can be switched on and off.

The list follows the table of pitfalls that an automatic lookup must survive. An ingredient that is off leaves no trace:
not in the files, not in the truth. With all of them off the lab is an industry of perfect clocks, one number format and
one record a call, which no real one is.
"""

from __future__ import annotations

import enum


class Ingredient(enum.Enum):
    """One pitfall. `value` is its name on the command line and in the truth."""

    LOCAL_TIME = "local-time"
    REPEATED_HOUR = "repeated-hour"
    CLOCK_SKEW = "clock-skew"
    NUMBER_FORMATS = "number-formats"
    SEVERAL_ROWS = "several-rows"
    SEVERAL_SWITCHES = "several-switches"
    UNANSWERED = "unanswered"
    ROUTE_ADVANCE = "route-advance"
    TOLL_FREE = "toll-free"
    FORWARDING = "forwarding"
    LOOP = "loop"
    FOREIGN_GATEWAY = "foreign-gateway"
    CALLING_REWRITTEN = "calling-rewritten"
    CALLING_ANONYMOUS = "calling-anonymous"
    SAME_SECOND = "same-second"
    INDISTINGUISHABLE = "indistinguishable"
    TRUNK_REASSIGNED = "trunk-reassigned"
    UNMAPPED_TRUNK = "unmapped-trunk"
    NAMED_BY_MISTAKE = "named-by-mistake"
    RECORDS_EXPIRED = "records-expired"
    LATE_RECORDS = "late-records"
    NO_AGENT = "no-agent"

    @property
    def summary(self) -> str:
        """One line for people."""
        return _SUMMARIES[self]


_SUMMARIES = {
    Ingredient.LOCAL_TIME: "records in local time that don't say which zone",
    Ingredient.REPEATED_HOUR: "calls around the night in which daylight saving ends and an hour comes twice",
    Ingredient.CLOCK_SKEW: "clocks that are off: by a known offset, and by some hundred milliseconds nobody knows",
    Ingredient.NUMBER_FORMATS: "10 digits, 1+10, +1, 00 and tech prefixes, a format per trunk",
    Ingredient.SEVERAL_ROWS: "several rows a call: INVITE and BYE, start and stop, two tables of one switch",
    Ingredient.SEVERAL_SWITCHES: "one provider with two switches, joined by internal trunks",
    Ingredient.UNANSWERED: "calls nobody answered, busy calls, and the caller dialling again seconds later",
    Ingredient.ROUTE_ADVANCE: "failed attempts over other carriers before the call got through",
    Ingredient.TOLL_FREE: "a toll-free number that one provider on the way translates",
    Ingredient.FORWARDING: "a subscriber who forwards the call to a number elsewhere",
    Ingredient.LOOP: "a call that crosses one provider twice",
    Ingredient.FOREIGN_GATEWAY: "a call that a foreign carrier brought into the country",
    Ingredient.CALLING_REWRITTEN: "a provider on the way replaced the calling number",
    Ingredient.CALLING_ANONYMOUS: "the calling number is withheld, at once or half-way",
    Ingredient.SAME_SECOND: "two calls to one number in the same second, from different callers",
    Ingredient.INDISTINGUISHABLE: "two calls to one number in one second with one calling number",
    Ingredient.TRUNK_REASSIGNED: "a trunk that changed hands, under the same name",
    Ingredient.UNMAPPED_TRUNK: "a trunk that the provider's own map does not know",
    Ingredient.NAMED_BY_MISTAKE: "a provider whose map names the wrong neighbour",
    Ingredient.RECORDS_EXPIRED: "a call older than one provider's retention",
    Ingredient.LATE_RECORDS: "a provider whose records of the last hour are not in yet",
    Ingredient.NO_AGENT: "a provider on the way that runs no agent",
}

ALL: frozenset[Ingredient] = frozenset(Ingredient)


class UnknownIngredientError(ValueError):
    """The text names no ingredient; the message lists those that exist."""


def parse_ingredient(text: str) -> Ingredient:
    """The ingredient called `text`.

    Raises:
        UnknownIngredientError: there is none of that name.
    """
    try:
        return Ingredient(text)
    except ValueError:
        known = ", ".join(i.value for i in Ingredient)
        raise UnknownIngredientError(f"{text!r} is no ingredient; there are: {known}") from None
