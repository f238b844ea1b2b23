"""What the coordinator's tests share: one lab authority, and a client with a certificate of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from coordinator.agents import GrpcAgents
from coordinator.lab_ca import LabAuthority
from tests.coordinator.fake_agent import tls


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> LabAuthority:
    return LabAuthority.create(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def agents(authority: LabAuthority) -> AsyncIterator[GrpcAgents]:
    async with GrpcAgents(tls(authority.issue_coordinator("lab"))) as agents:
        yield agents
