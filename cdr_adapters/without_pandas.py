"""pyarrow without pandas, for processes that read and index records and have nothing of pandas'.

At its first use, pyarrow looks whether what it gets is pandas', for which it imports pandas: that takes longer than
reading a file of 100 MB. In a process that is settled so, pyarrow takes no pandas objects.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder


class _WithoutPandas(MetaPathFinder):
    """While in use, there is no pandas to be imported."""

    def find_spec(self, fullname: str, *_: object) -> None:
        """See `importlib.abc.MetaPathFinder`."""
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname)


def settle_without_pandas() -> None:
    """Let pyarrow load what it loads at its first use, but not pandas; nothing where it has loaded that before."""
    import pyarrow as pa

    finder = _WithoutPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([""])
    finally:
        sys.meta_path.remove(finder)
