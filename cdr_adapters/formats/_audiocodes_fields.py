"""Names and meaning of the fields in AudioCodes call and session detail records.

Field titles vary by release (`Durat`, `Duration`), by kind of record, and operators may choose their own; compared is
what is left without case, spaces, punctuation and a remark in brackets (`IPGroup (name)`). After the chapters 'CDR
Field Description' and 'SDR Field Description' of the Mediant user's manuals, 6.6, 7.2 and 7.4.

What a column means depends on the leg that a record is of: in one of the leg that came in (`Orig` = RMT: the remote
side originated it) the source is the peer, in one of the leg that went out (LCL) it is the device itself. A gateway's
record (not SBC) is of the whole call: RMT came in by IP, LCL from the trunk group on its TDM side.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

CALL_RECORDS: Final = frozenset(("CALL_START", "CALL_CONNECT", "CALL_END"))
SESSION_RECORDS: Final = frozenset(("START", "STOP", "ATTEMPT", "INTERMEDIATE"))
OTHER_RECORDS: Final = frozenset(
    (
        *("MEDIA_START", "MEDIA_UPDATE", "MEDIA_END"),
        *("DIALOG_START", "DIALOG_CONNECT", "DIALOG_END"),
    )
)
"""Reports on media, and on dialogs that are no calls."""

DEFAULT: Final = (
    *("SBCReportType", "EPTyp", "SIPCallId", "SessionId", "Orig", "SourceIp", "SourcePort", "DestIp", "DestPort"),
    *("TransportType", "SrcURI", "SrcURIBeforeMap", "DstURI", "DstURIBeforeMap", "Duration", "TrmSd", "TrmReason"),
    *("TrmReasonCategory", "SetupTime", "ConnectTime", "ReleaseTime", "RedirectReason", "RedirectURINum"),
    *("RedirectURINumBeforeMap", "TxSigIPDiffServ", "IPGroup", "SrdId", "SIPInterfaceId", "ProxySetId"),
    *("IpProfileId", "MediaRealmId", "DirectMedia", "SIPTrmReason", "SIPTermDesc", "Caller", "Callee", "Trigger"),
    *("LegId", "VoiceAIConnectorName"),
)
"""An SBC's signalling CDR in syslog as it is when nobody customised it; 6.6 has the first 33, 7.4 has all."""

_TITLES: Final = (
    *DEFAULT,
    *("GWReportType", "MediaReportType", "RecordType", "SIPMethod", "Cid", "Trunk", "TG", "IPG", "GlobalSessionId"),
    *("SrcPhoneNum", "SrcNumBeforeMap", "DstPhoneNum", "DstNumBeforeMap", "SrcHost", "DstHost", "RemoteIP"),
)
_REMARK: Final = re.compile(r"[\[(<]")


def fold(title: str) -> str:
    """A field's title without what varies."""
    bare = _REMARK.split(title, maxsplit=1)[0]
    return "".join(letter for letter in bare.casefold() if letter.isalnum())


_BY_FOLD: Final = {
    **{fold(title): title for title in _TITLES},
    "durat": "Duration",
    "callduration": "Duration",
    "orig": "Orig",
    "callorig": "Orig",
    "callorigin": "Orig",
    "ipgdescription": "IPG",
    "ipgroupname": "IPGroup",
    "ipgroupid": "IPGroup",
    "siptermdescription": "SIPTermDesc",
    "endpointtype": "EPTyp",
    "callid": "SIPCallId",
    "reporttype": "SBCReportType",
    "cdrreporttype": "SBCReportType",
    "destinationip": "DestIp",
    "calledbeforemap": "DstURIBeforeMap",
}


def name_of(title: str) -> str:
    """A field's stable name: the title that it has by default; an unknown one's own."""
    folded = fold(title)
    return _BY_FOLD.get(folded, title.strip())


def is_header(titles: Sequence[str]) -> bool:
    """Whether these are titles of a call's or a session's record."""
    names = {name_of(title) for title in titles}
    folded = [fold(title) for title in titles]
    times = sum(1 for title in folded if title.endswith(("setuptime", "connecttime", "releasetime")))
    return "SessionId" in names and times >= 1 and ("Orig" in names or any(title[:7] == "ingress" for title in folded))


def is_media_header(titles: Sequence[str]) -> bool:
    """Whether these are titles of a media report."""
    return any(fold(title) == "mediareporttype" for title in titles[:2])


def looks_like_default(fields: Sequence[str]) -> bool:
    """Whether a record without header is written as `DEFAULT`: the leg, the times and the ports are where they are."""
    if not 33 <= len(fields) <= len(DEFAULT) or fields[1] != "SBC" or fields[4] not in ("RMT", "LCL"):
        return False
    ports = (fields[6], fields[8])
    return all(port.isdigit() or not port for port in ports) and _TIME.match(fields[18]) is not None


_TIME: Final = re.compile(r"[0-9]{1,2}:[0-9]{2}:[0-9]{2}\.[0-9]{1,6} ", re.ASCII)

# --- session records ------------------------------------------------------------------------------------------------

_NO_NUMBER: Final = ("host", "ton", "npi", "privacy", "screening", "display", "gateway", "device")
_BEFORE: Final = ("beforemanip", "beforemap", "beforemanipulation")


def session_columns(titles: Sequence[str]) -> Mapping[str, str]:
    """Which title of a session record holds what, by the words in it; what two titles could hold is left out."""
    folded = {title: fold(title) for title in titles}
    found: dict[str, str] = {}
    for side, prefix in (("Ingress", "ingress"), ("Egress", "egress")):
        of_side = {title: name[len(prefix) :] for title, name in folded.items() if name.startswith(prefix)}
        ends = ("sourceip", "srcip") if side == "Ingress" else ("destinationip", "destip", "dstip")
        _put(
            found,
            f"{side}Ip",
            [t for t, n in of_side.items() if n.removeprefix("call").startswith((*ends, "remoteip"))],
        )
        _put(found, f"{side}Group", [t for t, n in of_side.items() if n in ("ipgroup", "ipgroupname", "ipgroupid")])
        for what, words in (("Called", ("called", "dst", "dest")), ("Calling", ("calling", "caller", "src"))):
            numbers = {
                title: name
                for title, name in of_side.items()
                if name.removeprefix("call").startswith(words) or name.startswith(words)
                if not any(word in name for word in (*_NO_NUMBER, "ip", "port"))
            }
            before = [title for title, name in numbers.items() if any(word in name for word in _BEFORE)]
            after = [title for title in numbers if title not in before]
            _put(found, f"{side}{what}", before if before and side == "Ingress" else after or before)
        _put(found, f"{side}Reason", [t for t, n in of_side.items() if "reason" in n and "sip" in n])
    for name in ("SetupTime", "ConnectTime", "ReleaseTime"):
        ending = name.lower()
        exact = [title for title, other in folded.items() if other == ending]
        _put(found, name, exact or [title for title, other in folded.items() if other.endswith(ending)])
    return found


def _put(found: dict[str, str], name: str, titles: Sequence[str]) -> None:
    if len(titles) == 1:
        found[name] = titles[0]


# --- outcome --------------------------------------------------------------------------------------------------------

_UNANSWERED: Final = frozenset(("CANCEL", "408", "480", "486", "487", "600", "603", "BUSY", "NO_ANSWER"))


def outcome(report: str, connected: bool, reason: str, category: str) -> str | None:
    """How a call ended, from the kind of record, the SIP reason and the category of the termination reason."""
    if connected or report in ("CALL_CONNECT", "START", "STOP", "INTERMEDIATE"):
        return "answered"
    if report == "CALL_START":
        return None
    if reason in _UNANSWERED or category in _UNANSWERED:
        return "unanswered"
    if (len(reason) == 3 and reason[0] in "3456") or (category and category != "NORMAL_CALL_CLEAR"):
        return "failed"
    return "failed" if report == "ATTEMPT" else None
