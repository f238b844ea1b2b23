"""What `check-config` says of a store: whether it can be reached and searched, and what would make it slow or unsafe.

The database is asked how it would carry out a lookup (EXPLAIN or its own word for it), what the account may do, and
some of the newest rows are looked up by what they say of themselves: whatever isn't found again is written in a way
that the configuration doesn't tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from agent.index.coverage import Coverage
from agent.index.errors import IndexUnusableError
from agent.index.reader import Query
from agent.stores.errors import StoreError
from agent.stores.store import Store
from protos.e164 import parse_e164

_SOME_NUMBER: Final = parse_e164("+12025550143")
_REACH: Final = timedelta(minutes=4)


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What was found. `problem` keeps the store from being used; `facts` are good to know."""

    name: str
    problem: str | None = None
    warnings: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    coverage: Coverage | None = None


def look_at(store: Store, now: datetime) -> StoreFacts:
    """Look at a store as the agent will use it; changes nothing."""
    try:
        plan = store.plan()
        warnings = list(plan.warnings)
        query = Query(_SOME_NUMBER, None, now - timedelta(days=1) - _REACH, now - timedelta(days=1) + _REACH)
        advice = store.engine.advise(plan.sought([query]), plan.select)
        warnings += advice.warnings
        coverage = store.coverage()
        rows, calls, again = store.sample(now)
    except StoreError as error:
        return StoreFacts(store.name, error.problem)
    except IndexUnusableError as error:
        return StoreFacts(store.name, str(error))
    if not rows:
        warnings.append("it has no rows, or none with a time that can be searched")
    elif not calls:
        warnings.append(f"none of its {rows} newest rows could be read as a call: check the columns' formats")
    if again < calls:
        warnings.append(
            f"of {calls} of its newest calls, {calls - again} are not found again by their own number and time: "
            "numbers or times are written there in a way that columns, trunks' called_format and written don't tell"
        )
    facts = (*advice.facts, f"{again} of {calls} sampled calls found again")
    return StoreFacts(store.name, None, tuple(warnings), facts, coverage)
