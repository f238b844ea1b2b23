"""Options of Asterisk's files whose columns a mapping of cdr_custom.conf or cel_custom.conf may say.

Refused: a delimiter that is the quote, too, and a mapping that says nothing readable (`_asterisk.names_in`).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from cdr_adapters import raw
from cdr_adapters.formats import _asterisk
from cdr_adapters.formats.delimited import Character
from cdr_adapters.stream import Encoding


class TemplateOptions(raw.Options):
    """`template` is the mapping, with its separator and quote."""

    template: Annotated[str, Field(max_length=1 << 16)] | None = None
    delimiter: Character = ","
    quote: Character = '"'
    encoding: Encoding = "utf-8"

    @model_validator(mode="after")
    def _readable(self) -> TemplateOptions:
        if self.delimiter == self.quote:
            raise ValueError("delimiter and quote must differ from each other")
        self.names()
        return self

    def names(self) -> tuple[str, ...] | None:
        """The columns that the template says; None without one."""
        return None if self.template is None else tuple(_asterisk.names_in(self.template, self.delimiter))
