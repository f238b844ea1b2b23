"""What is said to do next names commands that its reader can run, or says where they are run."""

from __future__ import annotations

from datetime import timedelta

import click
import pytest

from coordinator.callers import ALLOWED, Role
from coordinator.cli import main
from coordinator.commands.api import api
from coordinator.commands.api_words import ELSEWHERE, in_reach
from coordinator.ordering.orders import OrderSet
from coordinator.present.live import console
from coordinator.present.orders import SHOWN, whole_set
from protos.orders import encode_order
from tests.coordinator.make import T0
from tests.coordinator.parties import order

PROGRAM = "hopback-coordinator"


@pytest.mark.parametrize(
    ("said", "role", "reads"),
    [
        (f"`{PROGRAM} show 81c0`", Role.PROVIDER, f"`{PROGRAM} api show 81c0`"),
        (f"see `{PROGRAM} tasks list`.", Role.ANALYST, f"see `{PROGRAM} api tasks`."),
        (f"see `{PROGRAM} tasks list`.", Role.REQUESTER, f"see `{PROGRAM} tasks list` (at the coordinator)."),
        (f"`{PROGRAM} order submit`", Role.APPROVER, f"`{PROGRAM} api order submit`"),
        (f"`{PROGRAM} retry 81c0`", Role.ANALYST, f"`{PROGRAM} retry 81c0` (at the coordinator)"),
        (f"`{PROGRAM} show 81c0`", None, f"`{PROGRAM} show 81c0` (at the coordinator)"),
        (f"`{PROGRAM} api tasks`", Role.ANALYST, f"`{PROGRAM} api tasks`"),
        ("`hopback-agent review list` says more", Role.PROVIDER, "`hopback-agent review list` says more"),
    ],
)
def test_a_command_is_named_as_its_reader_runs_it(said: str, role: Role | None, reads: str) -> None:
    assert in_reach(said, role) == reads


def command(group: click.Command, name: str) -> click.Command:
    for word in name.split():
        assert isinstance(group, click.Group)
        group = group.commands[word]
    return group


@pytest.mark.parametrize("name", ELSEWHERE)
def test_both_commands_are_there_and_so_is_the_method(name: str) -> None:
    elsewhere, method = ELSEWHERE[name]
    assert command(main, name)
    assert command(api, elsewhere)
    assert method in ALLOWED


def test_a_large_set_says_how_many_more_and_how_to_see_them() -> None:
    orders = OrderSet.of(encode_order(order(at=T0 + number * timedelta(hours=1))) for number in range(SHOWN + 5))

    def shown(*, everything: bool) -> str:
        screen = console()
        with screen.capture() as captured:
            screen.print(whole_set(orders, None, (), everything=everything))
        return captured.get()

    assert "and 5 more" in shown(everything=False)
    assert "--all" in shown(everything=False)
    first, last = (f"{T0 + hours * timedelta(hours=1):%Y-%m-%d %H:%M:%S}" for hours in (0, SHOWN + 4))
    assert first in shown(everything=False)
    assert last not in shown(everything=False)
    assert last in shown(everything=True)
