"""One authority for all tests of the gate: keys and certificates take time to make."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.agent.authority import Kit
from tests.agent.gate.gated import Gated


@pytest.fixture(scope="session")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    """An authority that both sides pinned."""
    return Kit(tmp_path_factory.mktemp("authority") / "ca")


@pytest.fixture
async def gated(kit: Kit, tmp_path: Path) -> AsyncIterator[Gated]:
    """Birch's agent."""
    agent = Gated(kit, tmp_path / "birch")
    yield agent
    await agent.close()
