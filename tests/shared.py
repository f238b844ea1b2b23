"""Where real files lie that are not part of the repository, and how a test says that it needs them."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"
SIPLAB = SHARED / "siplab"
SAMPLES = SHARED / "samples"

needs_siplab = pytest.mark.skipif(not SIPLAB.is_dir(), reason="the folder ../shared is not here (real calls)")
needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the folder ../shared is not here (real CDR files)")
