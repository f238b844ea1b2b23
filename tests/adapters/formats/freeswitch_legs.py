"""Legs as FreeSWITCH's modules write them, for the tests of its formats. Synthetic: fictitious numbers throughout."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

A_LEG = {
    "direction": "inbound",
    "uuid": "11111111-0000-4000-8000-000000000001",
    "call_uuid": "11111111-0000-4000-8000-000000000001",
    "sip_call_id": "one@203.0.113.21",
    "sip_req_user": "+12025550143",
    "sip_received_ip": "198.51.100.20",
    "sip_network_ip": "198.51.100.20",
    "sip_gateway": "carrier-east",
    "sip_full_from": '"Alice" <sip:2025550199@198.51.100.20>;tag=1',
    "channel_name": "sofia/external/2025550199@198.51.100.20",
    "bridge_channel": "sofia/external/12025550143@203.0.113.30:5080",
    "start_stamp": "2026-11-22 04:22:41",
    "start_epoch": "1795321361",
    "start_uepoch": "1795321361250000",
    "answer_epoch": "1795321364",
    "answer_uepoch": "1795321364500000",
    "end_epoch": "1795321400",
    "end_uepoch": "1795321400750000",
    "billsec": "36",
    "hangup_cause": "NORMAL_CLEARING",
}
B_LEG = {
    **A_LEG,
    "direction": "outbound",
    "uuid": "11111111-0000-4000-8000-000000000002",
    "sip_call_id": "two@203.0.113.21",
    "sip_network_ip": "203.0.113.30",
    "sip_gateway_name": "carrier-west",
    "originating_leg_uuid": A_LEG["uuid"],
    "channel_name": "sofia/external/12025550143@203.0.113.30:5080",
}
UNANSWERED = {**A_LEG, "answer_epoch": "0", "answer_uepoch": "0", "billsec": "0", "hangup_cause": "ORIGINATOR_CANCEL"}
PROFILE = {
    "caller_id_number": "2025550199",
    "ani": "2025550199",
    "network_addr": "198.51.100.20",
    "destination_number": "12025550143",
    "uuid": A_LEG["uuid"],
}


def document(variables: dict[str, str], profile: dict[str, Any] = PROFILE, *, encode: bool = False) -> dict[str, Any]:
    """The document of a leg that was transferred once, so that its latest profile has another number."""
    written = {name: quote(value, safe="+-_./") if encode else value for name, value in variables.items()}
    later = {**profile, "destination_number": "9999"}
    return {
        "core-uuid": "22222222-0000-4000-8000-000000000000",
        "switchname": "fs1",
        "channel_data": {"state": "CS_REPORTING"},
        "variables": written,
        "callflow": [
            {"profile_index": "2", "caller_profile": later},
            {"profile_index": "1", "caller_profile": profile},
        ],
    }


def as_json(*legs: dict[str, str], encode: bool = False, indent: int | None = 1) -> str:
    """Documents one behind the other."""
    return "".join(json.dumps(document(leg, encode=encode), indent=indent) + "\n" for leg in legs)


def as_xml(*legs: dict[str, str], escape: bool = True, originator: bool = False) -> str:
    """Documents one behind the other; without `escape` as FreeSWITCH writes them when it leaves values as they are."""
    return "".join(_xml(leg, escape, originator) for leg in legs)


def _xml(leg: dict[str, str], escape: bool, originator: bool) -> str:
    def element(name: str, value: str) -> str:
        text = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") if escape else value
        return f"    <{name}>{text}</{name}>\n"

    variables = "".join(element(name, value) for name, value in leg.items())
    profile = "".join(element(name, value) for name, value in PROFILE.items())
    later = profile.replace(PROFILE["destination_number"], "9999")
    origin = "<originator><originator_caller_profile><uuid>x</uuid></originator_caller_profile></originator>"
    return (
        '<?xml version="1.0"?>\n<cdr core-uuid="22222222-0000-4000-8000-000000000000" switchname="fs1">\n'
        "  <channel_data>\n    <state>CS_REPORTING</state>\n  </channel_data>\n"
        f"  <variables>\n{variables}  </variables>\n"
        '  <app_log><application app_name="bridge" app_data="x"></application></app_log>\n'
        f'  <callflow dialplan="XML" profile_index="2"><caller_profile>{later}</caller_profile></callflow>\n'
        f'  <callflow dialplan="XML" profile_index="1"><caller_profile>{profile}{origin if originator else ""}'
        "</caller_profile></callflow>\n</cdr>\n"
    )
