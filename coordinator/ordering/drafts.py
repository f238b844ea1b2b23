"""Drafts of orders from what people hand in: one call, or a file of calls with what orders need besides.

A row may say its own purpose, legal basis, campaign, evidence and certification; where it doesn't, what was said for
the whole file holds. Evidence is named by a file, of which the order carries the SHA-256 digest, or by that digest
itself; the file never leaves. Nothing is made up: an order without certification, campaign or evidence is refused, with
all that is wrong with its row. No message repeats a telephone number.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple

from coordinator.ordering.intake import Intake, IntakeError, RejectedCall, read_rows
from coordinator.ordering.orders import DEFAULT_LIFE, OrdersError, Terms, evidence_digest, order_of
from coordinator.stir.passport import Identity
from protos.orders import Order, Purpose

COLUMNS: Final = ("purpose", "legal_basis", "campaign", "evidence", "certification")
PURPOSES: Final[Mapping[str, Purpose]] = {
    "unlawful-robocalls": Purpose.UNLAWFUL_ROBOCALLS,
    "threat-to-life": Purpose.THREAT_TO_LIFE,
    "court-order": Purpose.COURT_ORDER,
}
LEGAL_BASIS: Final = "47 U.S.C. 222(d)(2)"
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)

ReadFile = Callable[[Path], bytes]


@dataclass(frozen=True, slots=True)
class Wording:
    """What is said of all calls of a draft, in words as people write them; empty where each row says it."""

    purpose: str = "unlawful-robocalls"
    legal_basis: str = LEGAL_BASIS
    campaign: str = ""
    evidence: str = ""
    certification: str = ""


class Draft(NamedTuple):
    """A draft with its line in the file (0: of none), and the Identity header that came with the call, if one did."""

    line: int
    order: Order
    identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class Desk:
    """Where drafts are made: for which coordinator, by whom, of which calls; evidence files lie in `directory`."""

    coordinator: str
    submitter: str
    intake: Intake
    directory: Path
    life: timedelta = DEFAULT_LIFE
    read: ReadFile = Path.read_bytes

    def draft(self, fields: Mapping[str, str], wording: Wording, line: int = 0) -> Draft:
        """An order for the call that `fields` describe; what they say besides the call goes before `wording`.

        Raises:
            IntakeError: naming all that is wrong.
        """
        said = {name: fields.get(name) or getattr(wording, name) for name in COLUMNS}
        problems: list[str] = []
        call, identity = None, None
        try:
            call, identity = self.intake.reported(fields)
        except IntakeError as error:
            problems += error.problems
        purpose = PURPOSES.get(said["purpose"])
        if purpose is None:
            problems.append(f"purpose: none of {', '.join(PURPOSES)}")
        problems += [f"{name}: missing" for name in ("legal_basis", "campaign", "certification") if not said[name]]
        try:
            evidence = evidence_named(said["evidence"], self.directory, self.read)
        except ValueError as error:
            evidence = b""
            problems.append(f"evidence: {error}")
        if problems or call is None or purpose is None:
            raise IntakeError(problems)
        terms = Terms(
            coordinator=self.coordinator,
            purpose=purpose,
            legal_basis=said["legal_basis"],
            campaign=said["campaign"],
            evidence_sha256=evidence,
            submitter=self.submitter,
            certification=said["certification"],
            life=self.life,
        )
        try:
            order = order_of(call, terms, self.intake.now, uuid.uuid4(), os.urandom(16))
        except OrdersError as error:
            raise IntakeError([str(error)]) from None
        return Draft(line, order, identity)

    def drafts(self, text: str, wording: Wording) -> Iterator[Draft | RejectedCall]:
        """Orders for the calls of a file (CSV with a header), each with its line.

        Raises:
            CallsFileError: the file as a whole is no file of calls.
        """
        for row in read_rows(text, COLUMNS):
            if isinstance(row, RejectedCall):
                yield row
                continue
            line, fields = row
            try:
                yield self.draft(fields, wording, line)
            except IntakeError as error:
                yield RejectedCall(line, error.problems)


def evidence_named(named: str, directory: Path, read: ReadFile = Path.read_bytes) -> bytes:
    """The digest of evidence that is named by a file in `directory`, or by that digest itself.

    Raises:
        ValueError: nothing is named, or the file can't be read.
    """
    if not named:
        raise ValueError("missing: name the file that shows the call, or the SHA-256 digest of it")
    if _SHA256.fullmatch(named):
        return bytes.fromhex(named)
    try:
        return evidence_digest(read(directory / named))
    except (OSError, ValueError):
        raise ValueError("the file can't be read") from None
