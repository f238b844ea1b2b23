"""What a store's writer is given and what it gives back: a switch's passages in, files and their description out.

The description is what an engineer would write into the agent's configuration: which file, which format, which column
is what, in which zone. Beside it stands what a right reading of the files must give, for the tests to compare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from deploy.lab.industry import Provider, Switch
from deploy.lab.ingredients import Ingredient
from deploy.lab.traffic import Passage
from protos.e164 import E164

MAX_SETUP = timedelta(seconds=120)
"""No call of the lab rings and advances for longer than this before its final reply."""


@dataclass(frozen=True)
class Log:
    """What one switch has to write down: its passages, and the part of time that reaches the files.

    Rows older than `kept_from` were purged; rows written after `written_until` are not in yet. `prefix` keeps the files
    of several switches of one provider apart.
    """

    provider: Provider
    switch: Switch
    passages: tuple[Passage, ...]
    ingredients: frozenset[Ingredient]
    kept_from: datetime
    written_until: datetime
    prefix: str

    def holds(self, written: datetime) -> bool:
        """Whether a row written at that (true) time is in the files."""
        return self.kept_from <= written <= self.written_until

    @property
    def several_rows(self) -> bool:
        """Whether this lab's stores write more than one row a call."""
        return Ingredient.SEVERAL_ROWS in self.ingredients

    @property
    def clock_offset(self) -> str:
        """The known part of the switch's clock error, as configured."""
        return f"{self.switch.offset.total_seconds():g}s"


@dataclass(frozen=True, slots=True)
class Expected:
    """What a right reading of one row must give. Fields that the store does not record are None.

    `seized` is the true time; a right reading's interval holds it, once the clock's known error is taken off.
    """

    called_in: E164
    called_out: E164 | None
    calling: E164 | None
    ingress_trunk: str | None
    egress_trunk: str | None
    ingress_address: str | None
    call_id: str
    disposition: str | None
    seized: datetime


@dataclass(frozen=True)
class Source:
    """One [[sources]] table, and what it must come to: `expected` call legs, `skipped` rows that are no call setups."""

    name: str
    path: str
    format: str
    columns: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    where: dict[str, Any] = field(default_factory=dict)
    zone: str | None = None
    clock_offset: str = "0s"
    expected: tuple[Expected, ...] = ()
    skipped: int = 0

    def table(self) -> dict[str, Any]:
        """The [[sources]] table."""
        table: dict[str, Any] = {"name": self.name, "path": self.path, "format": self.format}
        if self.options:
            table["options"] = self.options
        if self.where:
            table["where"] = self.where
        if self.zone is not None:
            table["zone"] = self.zone
        if self.clock_offset != "0s":
            table["clock_offset"] = self.clock_offset
        table["max_setup"] = f"{MAX_SETUP.total_seconds():g}s"
        table["columns"] = self.columns
        return table


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a kind of store lets its provider know of a call; decides which calls can't be told apart there.

    `seizure`: the setup time is recorded (else only when the final reply came); `egress`: to whom it went;
    `naive`: local time without a zone, so that one reading of the repeated hour is as good as the other; `at_reply`:
    the first row is written when the final reply passes (else only when the call is over).
    """

    seizure: bool
    egress: bool
    naive: bool
    at_reply: bool


Writer = Callable[[Log, Path], list[Source]]
