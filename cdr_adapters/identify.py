"""Which format a file is of, from its first bytes: exactly one reader claims it, or the file is refused.

Two claims are an error that names the claimants, never "the first wins".
"""

from __future__ import annotations

from pathlib import Path

from cdr_adapters import registry
from cdr_adapters.raw import AdapterError
from cdr_adapters.stream import read_head


class UnknownFormatError(AdapterError):
    """No reader claims the file."""


class AmbiguousFormatError(AdapterError):
    """Several readers claim the file; `claimants` names them."""

    def __init__(self, path: Path, claimants: tuple[str, ...]) -> None:
        super().__init__(f"{path} could be any of {', '.join(claimants)}: name the format in the mapping")
        self.claimants = claimants


def claimants(path: Path) -> tuple[str, ...]:
    """The names of all formats whose reader claims the file.

    Raises:
        AdapterError: the file can't be read.
    """
    head = read_head(path)
    return tuple(name for name in registry.names() if registry.adapter(name).identify(head))


def identify(path: Path) -> str:
    """The name of the one format that claims the file.

    Raises:
        UnknownFormatError, AmbiguousFormatError: none or several do.
        AdapterError: the file can't be read.
    """
    found = claimants(path)
    if not found:
        raise UnknownFormatError(
            f"{path}: no format claims it (known: {', '.join(registry.names())}); "
            "if it is one of them, name the format in a mapping and say how its columns look"
        )
    if len(found) > 1:
        raise AmbiguousFormatError(path, found)
    return found[0]
