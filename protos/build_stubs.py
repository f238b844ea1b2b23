"""Build hook: generates the typed protobuf and gRPC stubs from the .proto files.

Runs for wheel and for editable builds, so that no generated file is ever committed and none can be stale:
whatever is installed was generated from the .proto files beside it. `python protos/build_stubs.py` does the
same by hand in a checkout.

The generated modules import as `hopback.v1.*` and `buf.validate.*`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by hand, outside a build
    BuildHookInterface = object  # type: ignore[assignment,misc]

HERE = Path(__file__).resolve().parent


class StubGenerationError(RuntimeError):
    """protoc refused the .proto files; its own message names file and line."""


def generate(protos: Path = HERE) -> None:
    """Write the packages `hopback.v1` and `buf.validate` below `protos`/stubs, which is on the import path."""
    import grpc_tools
    from grpc_tools import protoc

    google = Path(grpc_tools.__file__).parent / "_proto"
    own = sorted((protos / "hopback").rglob("*.proto"))
    rules = "buf/validate/validate.proto"
    include = [f"-I{protos / 'third_party'}", f"-I{protos}", f"-I{google}"]
    stubs = protos / "stubs"
    shutil.rmtree(stubs, ignore_errors=True)
    stubs.mkdir()
    python = [f"--python_out={stubs}", f"--pyi_out={stubs}"]
    for args in (
        [*include, *python, f"--grpc_python_out={stubs}", *map(str, own)],
        [*include, *python, rules],
    ):
        if protoc.main(["protoc", *args]) != 0:
            raise StubGenerationError("protoc failed; see its message above")


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Hatchling calls this before it collects files, for every target and version."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version, build_data
        generate(Path(self.root) / "protos")


if __name__ == "__main__":
    generate()
    sys.exit(0)
