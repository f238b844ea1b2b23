"""XML documents of FreeSWITCH's mod_xml_cdr: one a file, many behind each other, also as posted; well-formed or not.

A document is one leg, with the same columns as in JSON (`freeswitch_json`). FreeSWITCH writes values into it that it
does not always escape (`<sip_full_from><sip:2025550199@192.0.2.1></sip_full_from>`), so that many a document is no XML:
none is parsed as such. A value is what stands between a tag and its own closing tag; the five entities of XML 1.0 and
character references in it are resolved, and no others: there are no entities of a document's own to expand, and a
document type is passed over. A document that a `<cdr` begins and no `</cdr>` ends, that has no variables, or is longer
than `MAX_LINE`, is rejected. A row is the number of its document in the file, from 1.
"""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cdr_adapters import raw
from cdr_adapters.formats import _freeswitch
from cdr_adapters.formats.freeswitch_json import leg_of
from cdr_adapters.records import RAW_LIMIT, RecordBuffer
from cdr_adapters.stream import MAX_LINE, Encoding, read_text

SUMMARY = "FreeSWITCH mod_xml_cdr: documents, malformed ones too, also URL-encoded or as posted"
GRADE = raw.Grade.DOCUMENTATION
COLUMNS = _freeswitch.columns()
WHERE = _freeswitch.WHERE

_MARK = re.compile(r"(<cdr(?=[\s>])|%3[Cc]cdr(?=%20|%3[Ee]))|</cdr>|%3[Cc](?:/|%2[Ff])cdr%3[Ee]")
"""Where a document begins (the group) or ends, plain or percent-encoded."""
_OVERLAP = 16
"""No mark is longer than this."""
_ATTRIBUTE = re.compile(r"([A-Za-z][\w-]*)\s*=\s*(?:\"([^\"<>]*)\"|'([^'<>]*)')")
_TAG = re.compile(r"<([A-Za-z_][\w.-]*)((?:\s[^<>]*?)?)(/?)>")
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});")
_NEVER_CLOSED = 64
"""So many tags that nothing closes, and a text is no longer searched for more."""
_BATCH = 1024


class Options(raw.Options):
    """Options of FreeSWITCH's XML; `encoded` says whether variables are percent-encoded where it can't be seen."""

    encoded: bool | None = None
    encoding: Encoding = "utf-8"


def _resolved(text: str) -> str:
    """`text` without entities; unlike in HTML, only what XML itself has."""
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]), text) if "&" in text else text


def _attributes(tag: str) -> dict[str, Any]:
    return {found[1]: _resolved(found[2] if found[2] is not None else found[3]) for found in _ATTRIBUTE.finditer(tag)}


def _elements(text: str) -> Iterator[tuple[str, str, str]]:
    """The outermost elements of a text: name, attributes, content; tags that nothing closes are text."""
    position, never_closed = 0, set[str]()
    while (tag := _TAG.search(text, position)) is not None:
        name, position = tag[1], tag.end()
        if tag[3]:
            yield name, tag[2], ""
            continue
        if name in never_closed or len(never_closed) >= _NEVER_CLOSED:
            continue
        end = text.find(f"</{name}>", position)
        if end < 0:
            never_closed.add(name)
            continue
        yield name, tag[2], text[position:end]
        position = end + len(name) + 3


def _fields(text: str) -> dict[str, Any]:
    """The outermost elements of a text that hold nothing but text, the first of each name."""
    fields: dict[str, Any] = {}
    for name, _, content in _elements(text):
        fields.setdefault(name, _resolved(content))
    return fields


def document_in(text: str) -> dict[str, Any] | None:
    """A document (from `<cdr` to `</cdr>`) in the shape of a JSON one; None when it has no variables."""
    head, _, body = text.partition(">")
    document = _attributes(head)
    callflow: list[dict[str, Any]] = []
    for name, attributes, content in _elements(body):
        if name == "variables" and "variables" not in document:
            document["variables"] = _fields(content)
        elif name == "callflow":
            profile = next((inner for tag, _, inner in _elements(content) if tag == "caller_profile"), "")
            callflow.append({**_attributes(attributes), "caller_profile": _fields(profile)})
    document["callflow"] = callflow
    return document if "variables" in document else None


def identify(head: raw.Head) -> bool:
    """A document of mod_xml_cdr begins, and has what FreeSWITCH writes into one."""
    text = head.data.decode("utf-8-sig", "replace").lstrip()
    begin = _MARK.search(text, 0, 4096)
    if begin is None or not begin[1] or not text.startswith(("<", "%3", "cdr=", "uuid=")):
        return False
    if text[begin.start()] == "%":
        text = unquote(text)
    return "<variables>" in text and ("<channel_data>" in text or "<callflow" in text or "core-uuid" in text[:4096])


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    wanted = _freeswitch.needed(columns)
    buffer = RecordBuffer(wanted)
    for number, (text, problem) in enumerate(_documents(path, options), 1):
        document = None if problem else document_in(text)
        if document is None:
            buffer.reject(number, problem or "a document without variables", text)
        else:
            buffer.add(number, leg_of(document, wanted, options.encoded))
        if number % _BATCH == 0:
            yield _freeswitch.completed(buffer.take(), columns)
    yield _freeswitch.completed(buffer.take(), columns)


def _documents(path: Path, options: Options) -> Iterator[tuple[str, str]]:
    """The text of each document, percent-decoded when it was encoded as a whole, and what is wrong with it."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = ""
    start: int | None = None  # where the document begins that has not ended yet
    for block in read_text(path, options.encoding):
        # a mark may have been cut in two; the one at `start` was seen
        searched = max(len(text) - _OVERLAP, 0 if start is None else start + 1)
        text += decoder.decode(block)
        while (mark := _MARK.search(text, searched)) is not None:
            searched = mark.end()
            if mark[1]:
                if start is not None:
                    yield text[start : mark.start()], "cut off: another document begins before it ends"
                start = mark.start()
            elif start is not None:
                yield _whole(text[start : mark.start()])
                start = None
        if start is None:
            text = text[max(searched, len(text) - _OVERLAP) :]
        elif len(text) - start > MAX_LINE + len(block):
            yield text[start : start + RAW_LIMIT], "too long"
            text, start = text[max(searched, len(text) - _OVERLAP) :], None
        else:
            text, start = text[start:], 0
    if start is not None:
        yield text[start:], "cut off: the file ends before it does"


def _whole(document: str) -> tuple[str, str]:
    if len(document) > MAX_LINE:
        return document[:RAW_LIMIT], "too long"
    return unquote(document) if document[0] == "%" else document, ""
