"""The pytest plug-in: hands every sample of a contract class to its tests, and lets assertions explain themselves."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("hopback.testing.contract", "hopback.testing.goldens", "hopback.testing.reading")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each sample, and for each file that the adapter must leave alone."""
    contract = metafunc.cls
    if contract is None or not getattr(contract, "is_adapter_contract", False):
        return
    if "sample" in metafunc.fixturenames:
        samples = list(contract.samples)
        metafunc.parametrize("sample", samples, ids=[f"sample{number}" for number in range(1, len(samples) + 1)])
    if "foreign" in metafunc.fixturenames:
        from hopback.testing.foreign import FOREIGN

        metafunc.parametrize("foreign", list(FOREIGN.values()), ids=list(FOREIGN))
