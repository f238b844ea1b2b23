"""Where a chain waits for a person: what people type at the coordinator and at the next provider until it goes on.

The commands are the real ones. What the person at the provider without an agent reads in its own records, the truth of
the lab says; all others act on what they see.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.lab.build import Lab
from deploy.lab.fleet import command, run
from deploy.lab.people import APPROVER, People
from deploy.lab.truth import Truth


@dataclass(frozen=True, slots=True)
class Act:
    """What one person did: who and why in words, and the command that was typed."""

    told: str
    typed: str


@dataclass(frozen=True, slots=True)
class Continued:
    """What people did, and the traceback (the coordinator's JSON) after it.

    `held` are the questions, by provider, for whose answers people at an agent were asked.
    """

    acts: tuple[Act, ...]
    traceback: Mapping[str, Any]
    held: Mapping[str, str]


def go_on(lab: Lab, people: People, truth: Truth, traceback: Mapping[str, Any]) -> Continued:
    """Have a person answer for the provider without an agent at which `traceback` stands, and trace it to its end.

    Raises:
        deploy.lab.fleet.FleetError: a command failed.
    """
    short, stands_at = traceback["id"][:8], traceback["hops"][-1]["provider"]
    upstream = next(hop.upstream for hop in truth.hops if hop.provider == stands_at)
    key = people.home / "people" / f"{APPROVER}.key"
    acts: list[Act] = []

    def coordinator(told: str, *typed: str, unsaid: tuple[str, ...] = ()) -> str:
        if told:
            acts.append(Act(told, f"hopback-coordinator {' '.join(typed)}".replace(str(key), key.name)))
        return run([*command("hopback-coordinator"), *typed, *unsaid, "--config", str(people.config)])

    coordinator(f"A person at {stands_at} is asked, and has a business day.", "tasks", "ask", short)
    (task,) = json.loads(coordinator("", "tasks", "list", "--json"))
    coordinator(
        f"Somebody there looks the call up, and says on the telephone: it came from {upstream}.",
        *("tasks", "answer", task["id"][:8], "--outcome", "upstream", "--upstream", upstream),
        unsaid=("--as", "ann"),
    )
    coordinator(
        f"No agent takes a person's bare word for evidence: {APPROVER.title()}, who approved the order, attests it.",
        *("tasks", "attest", task["id"][:8], "--key", str(key)),
        unsaid=("--yes",),
    )
    coordinator("", "tasks", "run")
    coordinator("So the chain goes on.", "resume", short)
    held: dict[str, str] = {}
    while True:
        now = json.loads(coordinator("", "show", short, "--json"))
        last = now["hops"][-1]
        if now["status"] != "needs_human" or last["provider"] in held:
            return Continued(tuple(acts), now, held)
        held[last["provider"]] = last["question_id"]
        acts.append(_review(lab, last["provider"]))
        coordinator("And on again.", "retry", short)


def _review(lab: Lab, provider: str) -> Act:
    """A person at `provider` looks at the answer that is held there, and lets it leave."""
    config = str(lab.configs[provider])
    reviewing = [*command("hopback-agent"), "review"]
    (held,) = json.loads(run([*reviewing, "list", config, "--json"]))
    run([*reviewing, "approve", config, held["id"], "--note", "the records show it"])
    return Act(
        f"{provider} holds its answer, since only a person's word named it. Its own people look at it, and let it go.",
        f"hopback-agent review approve {Path(config).name} {held['id']}",
    )
