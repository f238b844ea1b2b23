"""JSON documents of FreeSWITCH's mod_json_cdr: one a file, many behind each other, one a line, an array, or as posted.

A document is one leg: `variables`, `callflow`, `core-uuid`, `switchname`. Columns are called by the names of the
variables; what is no variable but in the caller profile (destination_number, caller_id_number, network_addr, ...) is
that of the first profile, as the call came in, before any transfer. A column with dots in it is a path in the document.

With encode-values (the default) every variable is percent-encoded; that a document is not, its own values show, for an
encoded one holds no blank, `@`, `<`, `:` or quote. A POST body, `cdr=` and the document percent-encoded or in base64,
is understood, and so is the percent-encoded document alone that FreeSWITCH keeps of a failed POST; such bodies stand
one a line. A leg without `direction` is known by its profile: one with an originator went out, one with sip_received_ip
came in. A row is the number of its document in the file, from 1.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cdr_adapters import raw
from cdr_adapters.formats import _freeswitch
from cdr_adapters.formats.jsonl import fields_of, text_of
from cdr_adapters.json_documents import Broken, records, scan
from cdr_adapters.records import RecordBuffer
from cdr_adapters.stream import MAX_LINE, Encoding, read_lines, read_text

SUMMARY = "FreeSWITCH mod_json_cdr: documents, also URL-encoded or as posted"
GRADE = raw.Grade.REAL_FILES
COLUMNS = _freeswitch.columns()
WHERE = _freeswitch.WHERE

_SPACE = " \t\r\n\ufeff"
_RAW = re.compile(r"[ @<>:\"]")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_POSTED = re.compile(r"(?:[\w-]+=[^&\s]*&)*cdr=", re.ASCII)
_SIGNS = ("core-uuid", "channel_data", "callflow", "switchname")
_BATCH = 1024
"""Documents are long: a batch of so many is as much as one of other formats' records."""


class Options(raw.Options):
    """Options of FreeSWITCH's JSON; `encoded` says whether variables are percent-encoded where it can't be seen."""

    encoded: bool | None = None
    encoding: Encoding = "utf-8"


def document_in(body: str) -> dict[str, Any] | None:
    """The document in a POST body or an encoded text; None when there is none."""
    text = body.strip(_SPACE)
    posted = _POSTED.match(text)
    text = text[posted.end() :] if posted else text
    if text[:1] != "{":
        text = unquote(text) if text[:1] == "%" else _from_base64(text)
    try:
        value, _ = scan(text.lstrip(_SPACE), 0)
    except (ValueError, StopIteration, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _from_base64(text: str) -> str:
    try:
        return base64.b64decode(unquote(text), validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def first_profile(callflow: object) -> Mapping[str, Any]:
    """The caller profile with which the call came in: the one numbered lowest, or the last, for the latest is first."""
    flows = [flow for flow in callflow if isinstance(flow, dict)] if isinstance(callflow, list) else [callflow]
    flow = min(reversed(flows), key=_index, default=None)
    profile = flow.get("caller_profile") if isinstance(flow, dict) else None
    return profile if isinstance(profile, dict) else {}


def _index(flow: object) -> int:
    index = flow.get("profile_index") if isinstance(flow, dict) else None
    return int(index) if isinstance(index, str) and re.fullmatch("[0-9]{1,6}", index, re.ASCII) else 1 << 20


def _originator(callflow: object) -> str | None:
    """The leg that gave rise to this one, as its profiles tell."""
    for flow in callflow if isinstance(callflow, list) else [callflow]:
        profile = flow.get("caller_profile") if isinstance(flow, dict) else None
        origin = profile.get("originator") if isinstance(profile, dict) else None
        if origin:
            profiles = origin.get("originator_caller_profiles") if isinstance(origin, dict) else None
            first = profiles[0] if isinstance(profiles, list) and profiles else None
            found = first.get("uuid") if isinstance(first, dict) else None
            return found if isinstance(found, str) and found else "unnamed"
    return None


def is_encoded(values: Iterable[object]) -> bool:
    """Whether a document's variables are percent-encoded: some have an escape and none what would have become one."""
    texts = [value for value in values if isinstance(value, str)]
    return any(_ESCAPE.search(text) for text in texts) and not any(_RAW.search(text) for text in texts)


def leg_of(document: Mapping[str, Any], columns: frozenset[str] | None, encoded: bool | None) -> dict[str, str | None]:
    """The wanted columns of a document; all variables and profile fields when `columns` is None."""
    inner = document.get("variables")
    variables: Mapping[str, Any] = inner if isinstance(inner, dict) else {}
    callflow = document.get("callflow")
    profile = first_profile(callflow)
    decode = is_encoded(variables.values()) if encoded is None else encoded
    if columns is None:
        columns = frozenset((*variables, *profile, "core-uuid", "switchname", "direction", "originator"))
    leg: dict[str, str | None] = {}
    for name in columns:
        text = text_of(variables.get(name))
        if text is None:
            text = text_of(profile.get(name)) or text_of(document.get(name))
        elif decode:
            text = unquote(text)
        if text is None and "." in name:
            text = fields_of(dict(document), frozenset((name,)))[name]
        leg[name] = text
    if "originator" in columns and not leg["originator"]:
        leg["originator"] = _originator(callflow)
    if "direction" in columns and not leg["direction"]:
        leg["direction"] = _direction(variables, callflow)
    return leg


def _direction(variables: Mapping[str, Any], callflow: object) -> str | None:
    if _originator(callflow) or any(variables.get(name) for name in _freeswitch.ORIGINATOR):
        return "outbound"
    return "inbound" if variables.get("sip_received_ip") else None


def _is_posted(text: str) -> bool:
    """Whether a file that begins so holds POST bodies or encoded documents, one a line."""
    first = text.lstrip(_SPACE)[:512]
    return first.startswith("%7B") or first.startswith("%7b") or _POSTED.match(first) is not None


def identify(head: raw.Head) -> bool:
    """The first document has what mod_json_cdr writes besides the variables."""
    text = head.data.decode("utf-8-sig", "replace").lstrip(_SPACE)
    if _is_posted(text):
        body = text.partition("\n")[0]
        posted = _POSTED.match(body)
        body = body[posted.end() :] if posted else body
        text = unquote(body) if body[:1] in "%{" else _from_base64(body[: len(body) // 4 * 4])
    elif text[:1] == "[":
        text = text[1:].lstrip(_SPACE)
    # a document may be longer than the head
    return text.startswith("{") and '"variables"' in text and any(f'"{sign}"' in text for sign in _SIGNS)


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    wanted = _freeswitch.needed(columns)
    buffer = RecordBuffer(wanted)
    for number, found in enumerate(_documents(path, options), 1):
        if isinstance(found, Broken):
            buffer.reject(number, found.detail, found.text)
        elif not isinstance(found.get("variables"), dict):
            buffer.reject(number, "a document without variables", str(found)[:MAX_LINE])
        else:
            buffer.add(number, leg_of(found, wanted, options.encoded))
        if number % _BATCH == 0:
            yield _freeswitch.completed(buffer.take(), columns)
    yield _freeswitch.completed(buffer.take(), columns)


def _documents(path: Path, options: Options) -> Iterator[dict[str, Any] | Broken]:
    pieces = _decoded(path, options)
    beginning = ""
    for piece in pieces:
        beginning += piece
        if len(beginning.lstrip(_SPACE)) >= 512:
            break
    if not _is_posted(beginning):
        yield from records(itertools.chain((beginning,), pieces))
        return
    for _, line in read_lines(path, options.encoding):
        if not line.strip(_SPACE):
            continue
        document = document_in(line) if len(line) <= MAX_LINE else None
        yield Broken("no document of mod_json_cdr, or too long", line[:MAX_LINE]) if document is None else document


def _decoded(path: Path, options: Options) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for block in read_text(path, options.encoding):
        yield decoder.decode(block)
    yield decoder.decode(b"", final=True)
