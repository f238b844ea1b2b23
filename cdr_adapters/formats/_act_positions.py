"""Where the fields of Ribbon (Sonus) accounting records stand, and what proves it.

Positions count from 1, as in the documents 'CDR Field Descriptions' (SBC Core 6.2, 7.1, 10.1, 12.0) and 'CDR to VSA
Mapping' (12.0), whose field names are used. Later releases append fields at the end: none of those here has moved.
INTERMEDIATE records are known up to the media end points; what stands behind them isn't read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

Kind = Literal["START", "STOP", "ATTEMPT", "INTERMEDIATE"]
KINDS: Final[tuple[Kind, ...]] = ("START", "STOP", "ATTEMPT", "INTERMEDIATE")

_COMMON: Final = {
    "Record_Type": 1,
    "Gateway_Name": 2,
    "Accounting_ID": 3,
    "Node_Time_Zone": 5,
    "Start_Time_MM_DD_YYYY": 6,
    "Start_Time_HH_MM_SS_s": 7,
}
_FROM_SERVICE: Final = (
    "Service_Delivered",
    "Call_Direction",
    "Service_Provider",
    "Transit_Network_Selection_Code_TNS",
    "Calling_Number",
    "Called_Number",
    "Extra_Called_Address_Digits",
    "Number_of_Called_Num_Translations",
    "Called_Number_Before_Translation_1",
    "Translation_Type_1",
    "Called_Number_Before_Translation_2",
    "Translation_Type_2",
    "Billing_Number",
    "Route_Label",
    "Route_Attempt_Number",
    "Route_Selected",
    "Egress_Local_Signaling_IP_Address",
    "Egress_Remote_Signaling_IP_Address",
    "Ingress_Trunk_Group_Name",
    "Ingress_PSTN_Circuit_End_Point",
    "Ingress_IP_Circuit_End_Point",
    "Egress_PSTN_Circuit_End_Point",
    "Egress_IP_Circuit_End_Point",
)
"""Fields that stand in the same order in all records, beginning at another position in each."""


def _from(first: int) -> dict[str, int]:
    return {name: first + index for index, name in enumerate(_FROM_SERVICE)}


POSITIONS: Final[Mapping[Kind, Mapping[str, int]]] = {
    "START": {
        **_COMMON,
        **_from(11),
        "Ingress_Protocol_Variant_Specific_Data": 42,
        "Dialed_Number": 50,
        "Egress_Trunk_Group_Name": 54,
        "Egress_Protocol_Variant_Specific_Data": 55,
        "Incoming_Calling_Number": 56,
        "Global_Call_ID_GCID": 65,
        "Ingress_Local_Signaling_IP_Address": 102,
        "Ingress_Remote_Signaling_IP_Address": 103,
    },
    "STOP": {
        **_COMMON,
        **_from(16),
        "Disconnect_Time_MM_DD_YYYY": 11,
        "Disconnect_Time_HH_MM_SS_s": 12,
        "Call_Service_Duration": 14,
        "Call_Disconnect_Reason": 15,
        "Ingress_Protocol_Variant_Specific_Data": 52,
        "Dialed_Number": 60,
        "Disconnect_Initiator": 64,
        "Egress_Trunk_Group_Name": 68,
        "Egress_Protocol_Variant_Specific_Data": 69,
        "Incoming_Calling_Number": 70,
        "Global_Call_ID_GCID": 82,
        "Ingress_Local_Signaling_IP_Address": 125,
        "Ingress_Remote_Signaling_IP_Address": 126,
    },
    "ATTEMPT": {
        **_COMMON,
        **_from(13),
        "Disconnect_Time_MM_DD_YYYY": 105,
        "Disconnect_Time_HH_MM_SS_s": 10,
        "Call_Disconnect_Reason": 12,
        "Ingress_Protocol_Variant_Specific_Data": 45,
        "Dialed_Number": 53,
        "Disconnect_Initiator": 57,
        "Egress_Trunk_Group_Name": 58,
        "Egress_Protocol_Variant_Specific_Data": 59,
        "Incoming_Calling_Number": 60,
        "Global_Call_ID_GCID": 72,
        "Ingress_Local_Signaling_IP_Address": 115,
        "Ingress_Remote_Signaling_IP_Address": 116,
        "Final_Attempt_Indicator": 146,
    },
    "INTERMEDIATE": {**_COMMON, **_from(13), "Call_Service_Duration": 12},
}

ADDRESS: Final = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]?"
_MEDIA: Final = r"|[^/ ]*:[0-9]+/[^/ ]*:[0-9]+"
_DATE: Final = r"[0-9]{2}/[0-9]{2}/[0-9]{4}"
_TIME: Final = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,3})?"
PROOF: Final[Mapping[str, str]] = {
    "Accounting_ID": "0x[0-9A-Fa-f]{1,16}",
    "Start_Time_MM_DD_YYYY": _DATE,
    "Start_Time_HH_MM_SS_s": _TIME,
    "Disconnect_Time_MM_DD_YYYY": f"|{_DATE}",
    "Disconnect_Time_HH_MM_SS_s": f"|{_TIME}",
    "Egress_Local_Signaling_IP_Address": f"|{ADDRESS}",
    "Egress_Remote_Signaling_IP_Address": f"|{ADDRESS}",
    "Ingress_IP_Circuit_End_Point": _MEDIA,
    "Egress_IP_Circuit_End_Point": _MEDIA,
    "Ingress_Protocol_Variant_Specific_Data": "|.*,.*",
    "Egress_Protocol_Variant_Specific_Data": "|.*,.*",
    "Ingress_Local_Signaling_IP_Address": f"|{ADDRESS}",
    "Ingress_Remote_Signaling_IP_Address": f"|{ADDRESS}",
}
"""What a field holds, as a regular expression (RE2) for the whole of it: around each number and trunk group stands one
that tells whether the row has these positions."""
NO_ADDRESSES: Final = ("Ingress_Trunk_Group_Name", "Egress_Trunk_Group_Name")
"""What never holds an address."""
PAIR: Final = ("Ingress_Local_Signaling_IP_Address", "Ingress_Remote_Signaling_IP_Address")
"""The gateway's own address and the peer's: one column further left, and the own would be the peer's. So the second
isn't there without the first."""
