"""Explanations kept on the operator's disk: one file of JSON lines a UTC day, mode 0600, off by default.

They hold no number, but say which records a question led to: they are the operator's alone. This is no audit log; an
explanation that can't be kept stops no answer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from agent.explain import explanation
from agent.service import Consultation


class Journal:
    """Explanations as JSON lines, one file a UTC day, readable by the operator alone.

    Raises:
        OSError: a file can't be made or written; from every method.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def keep(self, consultations: Iterable[Consultation], answered_at: datetime) -> None:
        """Append the explanations of what was answered at that time."""
        lines = [json.dumps(explanation(item, answered_at), separators=(",", ":")) + "\n" for item in consultations]
        path = self._directory / f"explanations-{answered_at:%Y-%m-%d}.jsonl"
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write("".join(lines).encode())
