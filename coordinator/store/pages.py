"""Pages: where one ends and the next begins, for callers as a token that they bring back."""

from __future__ import annotations

import base64
import binascii
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import and_, or_

DEFAULT_PAGE: Final = 100
_WRONG: Final = "this page token is none that was given out"


class BadPageError(ValueError):
    """A page token that nobody gave out."""


@dataclass(frozen=True, slots=True)
class Place:
    """The last row of a page: by time, then by id."""

    time: datetime
    id: uuid.UUID


def older(time: Any, identity: Any, after: Place) -> Any:
    """The condition that a row comes after this place, newest first, so said that an index leads there."""
    return and_(time <= after.time, or_(time < after.time, identity > after.id))


def newer(time: Any, identity: Any, after: Place) -> Any:
    """The same, oldest first."""
    return and_(time >= after.time, or_(time > after.time, identity > after.id))


def token_of(place: Place | None) -> str:
    """The token; empty for none."""
    if place is None:
        return ""
    aware = place.time if place.time.tzinfo is not None else place.time.replace(tzinfo=UTC)
    return base64.urlsafe_b64encode(f"{aware.isoformat()} {place.id}".encode()).decode()


def place_of(token: str) -> Place | None:
    """The place; None for an empty token.

    Raises:
        BadPageError: it is none.
    """
    if not token:
        return None
    try:
        time, identity = base64.urlsafe_b64decode(token.encode()).decode().split(" ")
        aware = datetime.fromisoformat(time)
        if aware.utcoffset() is None:
            raise BadPageError(_WRONG)
        return Place(aware, uuid.UUID(identity))
    except (ValueError, binascii.Error):
        raise BadPageError(_WRONG) from None
