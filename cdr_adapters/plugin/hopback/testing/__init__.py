"""The contract that every adapter must hold, as tests to inherit; for adapters of hopback and of third parties.

    from hopback.testing import AdapterContract, Lines
    from my_package import my_switch

    class TestMySwitch(AdapterContract):
        adapter = my_switch
        samples = (b"id,called,start\\n1,2025550143,2026-11-21T23:23:27Z\\n",)
        split = Lines(header=1)

Install `hopback[testing]`; the pytest plug-in comes with it. What is tested, and what each attribute says, stands in
`AdapterContract`. `docs/adapters.md` shows a whole adapter with its tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hopback.testing.contract import AdapterContract
    from hopback.testing.goldens import assert_golden
    from hopback.testing.pieces import Blocks, Lines

__all__ = ["AdapterContract", "Blocks", "Lines", "assert_golden"]

_WHERE = {
    "AdapterContract": "hopback.testing.contract",
    "Blocks": "hopback.testing.pieces",
    "Lines": "hopback.testing.pieces",
    "assert_golden": "hopback.testing.goldens",
}


def __getattr__(name: str) -> Any:
    """Imported when asked for: every pytest beside which hopback is installed loads the plug-in; it must be light."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_WHERE[name]), name)
