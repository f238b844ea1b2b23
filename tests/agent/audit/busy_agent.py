"""A process that logs and answers until it is killed: it prints the number of each question that it answered."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from agent.audit.book import AuditBook
from agent.audit.log import AuditLog
from protos.signing import read_signer
from tests.agent.audit.books import KEY, Clock, answered, certificate_in
from tests.protos.evidence_kit import BIRCH


def main(directory: Path, authority: Path) -> None:
    """Answer questions for ever, signed by the key that lies in the directory of the tests' authority."""
    signer, certificate = read_signer(authority / "birch.key"), certificate_in(authority / "birch.crt")
    book = AuditBook(AuditLog.open(directory), signer, certificate, BIRCH, KEY, Clock())
    for number in itertools.count():
        answered(book, number)
        print(number, flush=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
