"""Which format a file is of, from its first bytes: exactly one reader claims it, or the file is refused.

A generic format (delimited text, JSON lines) can read many a file of a more special one, and yields to it. Two claims
of one rank are an error that names the claimants, never "the first wins".
"""

from __future__ import annotations

from pathlib import Path

from cdr_adapters import registry
from cdr_adapters.raw import AdapterError, Grade
from cdr_adapters.stream import read_head


class UnknownFormatError(AdapterError):
    """No reader claims the file."""


class AmbiguousFormatError(AdapterError):
    """Several readers claim the file; `claimants` names them."""

    def __init__(self, path: Path, claimants: tuple[str, ...]) -> None:
        super().__init__(f"{path} could be any of {', '.join(claimants)}: name the format in the mapping")
        self.claimants = claimants


def claimants(path: Path) -> tuple[str, ...]:
    """The names of all formats whose reader claims the file; of generic ones only when no other does.

    Raises:
        AdapterError: the file can't be read.
    """
    head = read_head(path)
    claiming = [adapter for adapter in map(registry.adapter, registry.names()) if adapter.identify(head)]
    special = [adapter for adapter in claiming if adapter.grade is not Grade.GENERIC]
    return tuple(adapter.name for adapter in special or claiming)


def identify(path: Path) -> str:
    """The name of the one format that claims the file.

    Raises:
        UnknownFormatError, AmbiguousFormatError: none or several do.
        AdapterError: the file can't be read.
    """
    found = claimants(path)
    if not found:
        raise UnknownFormatError(
            f"{path}: no format claims it (known: {', '.join(registry.names())}). Let 'hopback-cdr init' propose a "
            "mapping from the file itself, or name the format in a mapping and say how its columns look"
        )
    if len(found) > 1:
        raise AmbiguousFormatError(path, found)
    return found[0]
