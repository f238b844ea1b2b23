"""All hostile files; each is described where it is built."""

from __future__ import annotations

from tests.adapters.hostile.captured import CAPTURED
from tests.adapters.hostile.packed import PACKED
from tests.adapters.hostile.places import PLACES
from tests.adapters.hostile.recipes import Hostile
from tests.adapters.hostile.stored import STORED
from tests.adapters.hostile.structured import STRUCTURED
from tests.adapters.hostile.texts import TEXTS

FILES: tuple[Hostile, ...] = tuple(
    file for corpus in (PACKED, TEXTS, STRUCTURED, CAPTURED, STORED, PLACES) for file in corpus.files
)
