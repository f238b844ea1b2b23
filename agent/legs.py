"""The vocabulary between the index, the trunk map and the matcher: one call leg as the index gives it back.

Numbers in a leg are pseudonyms or, where the next question needs them, recovered with the key; trunks are still the
switch's names. Nothing in here leaves the provider.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from protos.e164 import E164


class Leg(NamedTuple):
    """One record found for a called number.

    Attributes:
        called_in: the number as received, when it differs from the one asked for; None when it is the same.
        sent_as_asked: whether the number asked for is the one that went downstream (True), or only the one that came
            in while another was sent (False).
        calling_matches: whether the question's calling number is this record's; None when either is unknown.
        earliest, latest: the interval in which the seizure lies, aware UTC.
        call_ref: pseudonym of the call id, joining rows of one call; None when the record has no call id.
        source, row: where the record lies: `NAME:FILE` with the source's name in the configuration, and the row there.
    """

    called_in: E164 | None
    sent_as_asked: bool
    calling_matches: bool | None
    earliest: datetime
    latest: datetime
    ingress_trunk: str | None
    ingress_address: str | None
    egress_trunk: str | None
    egress_address: str | None
    call_ref: int | None
    disposition: str | None
    source: str
    row: int

    @property
    def source_name(self) -> str:
        """The source's name in the configuration."""
        return self.source.partition(":")[0]


class TooMany(tuple[Leg, ...]):
    """In place of legs: there are more than may be read, so that none can be told from another."""

    __slots__ = ()
