"""What the kit asks of an agent's configuration, without knowing what an agent is."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from cdr_adapters.mapping import MappingFile

Side = Literal["ingress", "egress"]


class Trunks(Protocol):
    """A provider's dated trunk map, as far as the kit needs it."""

    def knows(self, side: Side, trunk: str | None, address: str | None, at: datetime) -> bool:
        """Whether the map says who stood behind this trunk or address at that time."""
        ...


class AgentFiles(Protocol):
    """Reads what engineers already have: an agent's configuration, or its trunk tables alone.

    Both methods raise `cdr_adapters.mapping.MappingError` with everything that is wrong.
    """

    def source(self, config: Path, name: str | None, file: Path) -> MappingFile:
        """The source `name` of the configuration; without a name, the one whose path matches `file`, or the only
        one.
        """
        ...

    def trunks(self, file: Path) -> Trunks:
        """The trunk map of a configuration, or of a file that holds [[trunks]] tables alone."""
        ...
