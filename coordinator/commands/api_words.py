"""What the coordinator says to do next, in commands that can be run from elsewhere. Pure.

Its words name commands of its own machine. One that a service offers to the reader's role is named as it is there;
any other one stays, and it is said where it is run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from coordinator.callers import ALLOWED, Role

_COMMAND: Final = re.compile(r"`hopback-coordinator ([^`]+)`")
ELSEWHERE: Final[Mapping[str, tuple[str, str]]] = {
    "show": ("show", "Get"),
    "list": ("list", "List"),
    "bundle": ("export bundle", "ExportBundle"),
    "tasks list": ("tasks", "ListTasks"),
    "tasks answer": ("answer", "AnswerTask"),
    "tasks match": ("match", "MatchTask"),
    "order list": ("order list", "ListOrderSets"),
    "order show": ("order show", "GetOrderSet"),
    "order submit": ("order submit", "SignOrderSet"),
    "registry list": ("registry list", "ListProviders"),
    "registry show": ("registry show", "GetProvider"),
}
"""Commands at the coordinator, as `api` has them, and the method that each needs."""


def in_reach(words: str, role: Role | None) -> str:
    """These words for a reader of this role, None for one whose certificate tells none."""

    def here(found: re.Match[str]) -> str:
        said = found[1]
        for name, (instead, method) in ELSEWHERE.items():
            if said == name or said.startswith(f"{name} "):
                if role is not None and role in ALLOWED[method]:
                    return f"`hopback-coordinator api {instead}{said.removeprefix(name)}`"
                break
        return said.join(("`hopback-coordinator ", "`")) + ("" if said.startswith("api ") else " (at the coordinator)")

    return _COMMAND.sub(here, words)
