"""What a column's name says of what is in it, in the words that switches and their operators use.

A name gives a role, a side (where the call came in, where it went out) or both, and how plainly it says so. It proves
nothing: `propose` holds it against what the column holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

PLAIN: Final = 3
USUAL: Final = 2
HINT: Final = 1

_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def word_set(text: str) -> frozenset[str]:
    """The words in a text."""
    return frozenset(text.split())


IN_WORDS: Final = word_set(
    "in ingress incoming inbound orig originating origination originator src source received rcvd entry"
)
OUT_WORDS: Final = word_set(
    "out egress outgoing outbound term terminating termination dst dest destination sent exit xlated translated final "
    "outpulsed routed"
)
OWN_WORDS: Final = word_set("local own nas self my server switch node sbc")
_MEDIA_WORDS: Final = word_set("media rtp codec audio payload")

_CALLED: Final = (
    (PLAIN, r"called|dnis|dialled|dialed|callee|calledstationid|dstnumber|destinationnumber|bnumber|bnum|numberb|cld"),
    (USUAL, r"dst|destination|dest|ruri|requri|rpid|to|tonumber|touser|requestuser|dstuser|number"),
)
_CALLING: Final = (
    (PLAIN, r"calling|ani|caller|callerid|callingstationid|anumber|anum|numbera|clid|cli|sourcenumber|srcnumber"),
    (USUAL, r"src|source|from|fromnumber|fromuser|srcuser|cid|origination"),
)
_TIMES: Final = {
    "release": (
        (PLAIN, r"disconnect|release|hangup|teardown|end|stop|bye|finish|finished|closed|close|ended|terminated"),
    ),
    "answer": ((PLAIN, r"answer|answered|connect|connected|ans|established|pickup"),),
    "seizure": (
        (PLAIN, r"setup|seizure|seized|invite|offered|attempt|initiated"),
        (USUAL, r"start|begin|started|created|origination|calldate|received|arrival"),
    ),
}
_TIME_WORDS: Final = word_set("time date timestamp datetime at ts when stamp epoch uepoch")
_RING_WORDS: Final = word_set("ring ringing alert alerting progress pdd update updated write written export")
_TRUNK_WORDS: Final = word_set(
    "trunk tg tgrp trunkgroup tkgp trunkgrp carrier gateway gw route peer nap realm adjacency interface vendor "
    "connection endpoint itrunk otrunk trunkid"
)
_ACCOUNT_WORDS: Final = word_set("account customer accountcode client tenant")
_ADDRESS_WORDS: Final = word_set("ip addr address host ipaddr ipaddress remote peer sig signalling signaling")
_NO_PEER_WORDS: Final = word_set("port proto protocol transport name desc description type class count cost rate")
_DURATION: Final = (
    (PLAIN, r"billsec|billsecs|billedduration|duration|talktime|callduration|sessiontime|holdtime|durationsec"),
    (USUAL, r"dur|seconds|secs|length|talk|elapsed"),
)
_DISPOSITION: Final = (
    (PLAIN, r"sipcode|disposition|sipresponse|responsecode|sipstatus|finalcode|finalsipcode|dialstatus|callstatus"),
    (USUAL, r"code|cause|status|result|hangupcause|releasecause|disconnectcause|response|reason|causecode"),
)
_CALL_ID: Final = (
    (PLAIN, r"callid|sipcallid|sessionid|icid|linkedid|confid|conferenceid|h323confid|callreference|calluuid|calluid"),
    (USUAL, r"uuid|uniqueid|guid|callref|session|acctuniqueid|acctsessionid|billid|cdrid|refid"),
)
_ATTESTATION: Final = ((PLAIN, r"attest|attestation|stirattest|attestationlevel|shakenattestation"),)
_ORIGID: Final = ((PLAIN, r"origid|stirorigid|shakenorigid"),)
_VERSTAT: Final = ((PLAIN, r"verstat|verificationstatus|stirverstat"),)


@dataclass(frozen=True, slots=True)
class NameSays:
    """What a name says.

    Attributes:
        roles: role -> how plainly. Called numbers, times and the rest; trunks and addresses have their side beside.
        came_in, went_out: whether it names the side where the call came in, went out.
        own: whether it names our own side of a connection.
    """

    roles: dict[str, int]
    came_in: bool
    went_out: bool
    own: bool


def words_of(name: str) -> list[str]:
    """The words in a column's name: `origTrunkGroup`, `orig_trunk_group` and `Orig-Trunk-Group` have the same."""
    return [word.lower() for word in _WORDS.findall(name)]


def name_says(name: str) -> NameSays:
    """What the name says; nothing for a position such as `3`."""
    words = words_of(name)
    there = set(words)
    folded = "".join(words)
    roles: dict[str, int] = {}
    media = bool(there & _MEDIA_WORDS)
    if "name" not in there and not media:
        _add(roles, "called", _best(words, folded, _CALLED))
        _add(roles, "calling", _best(words, folded, _CALLING))
    if not there & _RING_WORDS:
        for role, patterns in _TIMES.items():
            _add(roles, role, _best(words, folded, patterns))
        if there & _TIME_WORDS or folded in _TIME_WORDS:
            roles["time"] = HINT
    for role, patterns in (
        ("duration", _DURATION),
        ("disposition", _DISPOSITION),
        ("call_id", _CALL_ID),
        ("attestation", _ATTESTATION),
        ("origid", _ORIGID),
        ("verstat", _VERSTAT),
    ):
        _add(roles, role, _best(words, folded, patterns))
    port = bool(there & _NO_PEER_WORDS)
    if there & _TRUNK_WORDS and not media and not port:
        roles["trunk"] = PLAIN
    elif there & _ACCOUNT_WORDS:
        roles["trunk"] = HINT
    if there & _ADDRESS_WORDS and not media and not port:
        roles["address"] = PLAIN
    came_in, went_out = bool(there & IN_WORDS), bool(there & OUT_WORDS)
    if folded.startswith(("itrunk", "intrunk", "ingress")):
        came_in = True
    if folded.startswith(("otrunk", "outtrunk", "egress")):
        went_out = True
    return NameSays(roles, came_in and not went_out, went_out and not came_in, bool(there & OWN_WORDS))


def _add(roles: dict[str, int], role: str, weight: int) -> None:
    if weight:
        roles[role] = weight


def _best(words: list[str], folded: str, patterns: tuple[tuple[int, str], ...]) -> int:
    """The plainest that a pattern says of the whole name, of one of its words, or of two that stand together."""
    pairs = [one + other for one, other in pairwise(words)]
    for weight, pattern in patterns:
        known = re.compile(pattern)
        if any(known.fullmatch(part) for part in (folded, *words, *pairs)):
            return weight
    return 0
