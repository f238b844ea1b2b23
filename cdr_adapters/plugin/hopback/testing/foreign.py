"""Beginnings of files that are of no switch, or of any: no special format may claim them. All content is fictitious."""

from __future__ import annotations

from typing import Final

FOREIGN: Final[dict[str, bytes]] = {
    "nothing": b"",
    "an empty line": b"\n",
    "prose": b"The quick brown fox jumps over the lazy dog.\nAnd then it rests.\n" * 3,
    "numbers alone": b"2025550143\n2025550144\n2025550145\n",
    "a table of anything": b"id,name,amount\n1,pear,17\n2,apple,4\n3,plum,11\n",
    "a table of calls of nobody's": b"a;b;when\n2025550143;2025550199;2026-11-21 23:23:27\n" * 2,
    "a table without header": b"1|pear|17\n2|apple|4\n3|plum|11\n",
    "JSON lines": b'{"id": 1, "fruit": "pear"}\n{"id": 2, "fruit": "plum"}\n',
    "a JSON document": b'{"fruits": [{"name": "pear"}, {"name": "plum"}]}\n',
    "a JSON list": b'[{"name": "pear"}, {"name": "plum"}]\n',
    "XML": b'<?xml version="1.0" encoding="UTF-8"?>\n<fruits><fruit name="pear"/></fruits>\n',
    "a web page": b"<!DOCTYPE html>\n<html><head><title>Fruit</title></head><body></body></html>\n",
    "SQL": b"CREATE TABLE fruit (id integer, name text);\nINSERT INTO fruit VALUES (1, 'pear');\n",
    "a SQLite database": b"SQLite format 3\x00\x10\x00\x01\x01\x00\x40\x20\x20" + bytes(80),
    "a log": b"Nov 21 23:23:27 host sshd[42]: session opened for user root\n" * 3,
    "key = value": b"[section]\nname = value\nother = thing\n",
    "a capture's mark": b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00" + bytes(16),
    "zeros": bytes(512),
    "all bytes": bytes(range(256)) * 2,
    "UTF-16": "id,name,amount\n1,pear,17\n".encode("utf-16"),
    "an image": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(17),
    "a program": b"\x7fELF\x02\x01\x01" + bytes(60),
    "BER of something else": bytes.fromhex("300c02010a0c0770656172203137") * 4,
}
"""By what it is; a special format claims none, unless it is that."""
