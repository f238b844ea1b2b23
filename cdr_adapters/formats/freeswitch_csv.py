"""CSV files of FreeSWITCH's mod_cdr_csv, whose columns the operator's template decides.

The option `template` is the name of a template that FreeSWITCH ships (example, sql, snom, linksys, asterisk,
opencdrrate), or the text of one from cdr_csv.conf.xml, or its variables (`${caller_id_number},...`). Columns are called
by the names of the variables. Without it, `example` is taken, the default of FreeSWITCH; a line that has another number
of values, or no times where that template has them, is rejected.

FreeSWITCH escapes nothing: a quote within a caller's name stands there as it is. So lines are not cut as CSV but where
the template's own text stands between two values; a line in which it stands elsewhere too can be read in more than one
way and is rejected. Lines without any quotes, as spreadsheets leave them behind, are cut at commas.

start_stamp is local: the source needs a zone, except with start_epoch or start_uepoch in the template, for which any
will do. The shipped templates record no peer but for opencdrrate's network_addr: add ${direction}, ${sip_received_ip}
and ${sip_gateway} (see `_freeswitch`). With legs = ab add ${originator} too, which tells B legs.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from cdr_adapters import raw
from cdr_adapters.formats import _freeswitch
from cdr_adapters.formats._template_lines import Template, fits, read_template
from cdr_adapters.stream import MAX_LINE, Encoding

SUMMARY = "FreeSWITCH mod_cdr_csv, by the operator's template"
GRADE = raw.Grade.REAL_FILES
COLUMNS = _freeswitch.columns(["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y/%m/%d %H:%M"])
WHERE = _freeswitch.WHERE

_CALLER = ("caller_id_name", "caller_id_number", "destination_number", "context")
_TIMES = ("start_stamp", "answer_stamp", "end_stamp", "duration", "billsec", "hangup_cause", "uuid", "bleg_uuid")
_CODECS = ("accountcode", "read_codec", "write_codec")


def _quoted(*names: str) -> str:
    return ",".join(f'"${{{name}}}"' for name in names)


TEMPLATES = {
    "example": _quoted(*_CALLER, *_TIMES, *_CODECS),
    "sql": f'INSERT INTO cdr VALUES ({_quoted(*_CALLER, *_TIMES)}, "${{accountcode}}");',  # noqa: S608 - no query
    "snom": f"{_quoted(*_CALLER, *_TIMES)}, "
    + _quoted(*_CODECS, "sip_user_agent", "call_clientcode", "sip_rtp_rxstat", "sip_rtp_txstat", "sofia_record_file"),
    "linksys": _quoted(*_CALLER, *_TIMES, *_CODECS, "sip_user_agent", "sip_p_rtp_stat"),
    "asterisk": _quoted(
        *("accountcode", "caller_id_number", "destination_number", "context", "caller_id", "channel_name"),
        *("bridge_channel", "last_app", "last_arg", "start_stamp", "answer_stamp", "end_stamp", "duration"),
        *("billsec", "hangup_cause", "amaflags", "uuid", "userfield"),
    ),
    "opencdrrate": _quoted(
        *("uuid", "signal_bond", "direction", "ani", "destination_number", "answer_stamp", "end_stamp", "billsec"),
        *("accountcode", "userfield", "network_addr", "regex('${original_caller_id_name}'|^.)", "sip_gateway_name"),
    ),
}
"""The templates of the vanilla configuration, release 1.10."""

_ELEMENT = re.compile(r"<template\b[^>]*>(.*?)</template>", re.DOTALL)
_STAMP = r"^(?:[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2} [0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?(?:\.[0-9]+)?)?$"
_UUID = r"^(?:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|_undef_)?$"
_ANCHORS = {
    **dict.fromkeys(("start_stamp", "answer_stamp", "end_stamp", "progress_stamp", "bridge_stamp"), _STAMP),
    **dict.fromkeys(("uuid", "bleg_uuid"), _UUID),
    **dict.fromkeys(("duration", "billsec", "start_epoch", "answer_epoch", "end_epoch"), r"^[0-9]*$"),
    **dict.fromkeys(("start_uepoch", "answer_uepoch", "end_uepoch"), r"^[0-9]*$"),
}
_SHIPPED = {**_ANCHORS, "uuid": _UUID.replace("?$", "$"), "end_stamp": _STAMP.replace("?$", "$")}
"""In a shipped template every leg has its own id and an end."""


@lru_cache(maxsize=64)
def template_of(text: str) -> Template:
    """The template with this name, or this text.

    Raises:
        ValueError: it can't be taken apart.
    """
    text = TEMPLATES.get(text.strip(), text)
    element = _ELEMENT.search(text)
    return Template.of(html.unescape(element[1] if element else text).strip())


def _check_template(text: str) -> str:
    try:
        template_of(text)
    except ValueError as error:
        raise ValueError(f"{error}; write one of {', '.join(TEMPLATES)}, or its text from cdr_csv.conf.xml") from None
    return text


class Options(raw.Options):
    """Options of FreeSWITCH's CSV."""

    template: Annotated[str, Field(max_length=1 << 16), AfterValidator(_check_template)] = "example"
    encoding: Encoding = "utf-8"


def identify(head: raw.Head) -> bool:
    """Nearly all lines fit a template that FreeSWITCH ships, each value looking as its variable does."""
    lines = [line.strip() for line in head.lines(20) if len(line) <= MAX_LINE]
    return bool(lines) and any(
        sum(fits(template_of(name), _SHIPPED, line) for line in lines) * 10 >= len(lines) * 8 for name in TEMPLATES
    )


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    template = template_of(options.template)
    for batch in read_template(path, options.encoding, template, _ANCHORS, _freeswitch.needed(columns)):
        yield _freeswitch.completed(batch, columns)
