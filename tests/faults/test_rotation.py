"""Keys, certificates and roots of everybody change on disk, for TLS and for evidence, while ten agents are asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from coordinator.authority.lab_ca import ROOT_CERTIFICATE, LabAuthority
from coordinator.tracing.chain import Traceback
from tests.faults.line import PRODUCT, Line, line

AT_A_TIME = 3


async def load(chain: Line, done: asyncio.Event) -> Sequence[Traceback]:
    """Trace one call after the other, so many at a time."""

    async def one_by_one() -> list[Traceback]:
        traced = []
        while not done.is_set():
            (traceback,) = chain.submit()
            traced.append(await traceback)
        return traced

    return [one for some in await asyncio.gather(*(one_by_one() for _ in range(AT_A_TIME))) for one in some]


async def everybody_renews(chain: Line) -> None:
    """One after the other, while calls go on."""
    for name in chain.path:
        over = chain.wires.over
        await chain.renew(name)
        while chain.wires.over < over + AT_A_TIME:
            chain.wires.ended.clear()
            await chain.wires.ended.wait()
    await chain.renew_coordinator()


async def test_no_attempt_fails_while_everybody_renews_and_the_root_is_replaced(tmp_path: Path) -> None:
    async with line(tmp_path, hops=10, calls=1000, ways=["port", "stream", "relay"], limits=PRODUCT) as chain:
        done = asyncio.Event()
        loading = asyncio.create_task(load(chain, done))
        shown = {party.tls.current.certificate for party in chain.parties}
        old, new = chain.authority, LabAuthority.create(tmp_path / "new root")
        await chain.pin(old, new)
        await everybody_renews(chain)
        done.set()
        traced = list(await loading)

        await chain.pin(new)  # what was signed under the old root has come to its end: it may go
        last = chain.submit(AT_A_TIME)
        traced += [await one for one in last]
        for traceback in traced:
            chain.check_chain(traceback)
        chain.check_searches()
        chain.check_attempts()
        assert chain.wires.failures == []
        assert shown.isdisjoint(party.tls.current.certificate for party in chain.parties)
        only = tuple(x509.load_pem_x509_certificates((new.directory / ROOT_CERTIFICATE).read_bytes()))
        assert {party.roots.roots for party in chain.parties} == {only}
