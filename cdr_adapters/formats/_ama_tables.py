"""What stands where in a record of Telcordia GR-1100 (BAF, the Bellcore AMA format): data tables, structures, modules.

A data field ("table" in GR-1100) is a run of decimal digits in packed form whose last half octet is its sign. A
structure is a list of them after structure code; a module is one after module code. Lengths are in octets.

After GR-1100-CORE, as far as the guides of switches and of billing servers show it (Cisco OL-3351-01 chapter 5, Nortel
297-4102-124). Structures and modules that are not here can be added by the reader's options.
"""

from __future__ import annotations

from collections.abc import Mapping

FIELDS: Mapping[str, int] = {
    "call_type": 2,  # table 1
    "sensor_type": 2,
    "sensor_id": 4,
    "recording_office_type": 2,
    "recording_office_id": 4,
    "connect_date": 3,  # table 6
    "timing_indicator": 3,
    "study_indicator": 4,
    "called_party_off_hook": 1,  # table 9
    "service_observed": 1,
    "operator_action": 1,
    "service_feature": 2,
    "originating_npa": 2,  # table 13
    "originating_number": 4,
    "overseas_indicator": 1,  # table 15
    "terminating_npa": 3,
    "terminating_number": 4,
    "connect_time": 4,  # table 18
    "elapsed_time": 5,
    "wats_indicator": 1,
    "message_billing_index": 2,
    "revenue_accounting_office": 2,
    "ic_inc_prefix": 3,  # table 57
    "ic_inc_event_status": 2,
    "ic_inc_routing": 1,
    "ani_cpn_indicator": 1,
    "service_logic_id": 5,
    "trunk_group_number": 3,  # table 83
    "dialing_presubscription": 1,
    "lata": 2,  # table 197
    "completion_indicator": 2,  # table 280
    "carrier_connect_date": 3,  # table 6
    "carrier_connect_time": 4,  # table 18
    "carrier_elapsed_time": 5,
    "dialed_npa": 2,  # table 13
    "dialed_number": 4,
}
"""The fields of structures, and how many octets each has, its sign included."""

_HEAD = ("call_type", "sensor_type", "sensor_id", "recording_office_type", "recording_office_id", "connect_date")
_INDICATORS = (
    *("timing_indicator", "study_indicator", "called_party_off_hook", "service_observed"),
    *("operator_action", "service_feature"),
)
_ORIGINATING = ("originating_npa", "originating_number")
_TERMINATING = ("overseas_indicator", "terminating_npa", "terminating_number")
_TIMES = ("connect_time", "elapsed_time")
_CARRIER = (
    *("ic_inc_prefix", "carrier_connect_date", "carrier_connect_time", "carrier_elapsed_time"),
    *("ic_inc_event_status", "trunk_group_number", "ic_inc_routing"),
)
_CARRIER_ORIGINATING = (*_CARRIER, "dialing_presubscription", "ani_cpn_indicator")
_DETAIL = (*_HEAD, *_INDICATORS, *_ORIGINATING, *_TERMINATING, *_TIMES)
_TOLL_FREE = (*_HEAD, *_INDICATORS, *_ORIGINATING, "dialed_npa", "dialed_number", *_TERMINATING, *_TIMES)

STRUCTURES: Mapping[str, tuple[str, ...]] = {
    "0001": _DETAIL,
    "0020": (*_DETAIL, "wats_indicator", "message_billing_index"),
    "0028": (*_HEAD, *_INDICATORS, *_ORIGINATING, "connect_time"),
    "0079": (*_HEAD, *_INDICATORS, *_ORIGINATING, *_TIMES),
    "0220": (
        *_HEAD,
        *("timing_indicator", "study_indicator", "completion_indicator", "operator_action", "service_feature"),
        *(*_ORIGINATING, *_TERMINATING, *_TIMES, "service_logic_id"),
    ),
    "0221": (
        *_HEAD,
        *("timing_indicator", "study_indicator", "completion_indicator", "service_feature"),
        *("overseas_indicator", "terminating_npa", "terminating_number"),
        *(*_TIMES, "service_logic_id"),
    ),
    "0360": (*_TOLL_FREE, *_CARRIER_ORIGINATING, "revenue_accounting_office", "lata"),
    "0364": (*_TOLL_FREE, "revenue_accounting_office", "lata"),
    "0500": (*_HEAD, "called_party_off_hook", "service_feature", *_ORIGINATING, *_TERMINATING, *_TIMES),
    "0625": (*_DETAIL, *_CARRIER_ORIGINATING),
    "0653": (*_HEAD, *_INDICATORS, *_TERMINATING, *_TIMES, *_CARRIER),
}
"""Structures of calls: their fields behind the structure code, in order."""

NO_CALLS = frozenset(("0076", "0096", "0110", "0614", "1030", "9000", "9013", "9014", "9102"))
"""Structures of conference legs, forwarding, counts, screening lists, clock changes and tape labels."""

MODULES: Mapping[str, int] = {
    "021": 25,  # carrier access, originating: the fields of _CARRIER_ORIGINATING
    "022": 9,  # long duration: present date and time
    "023": 7,  # WATS
    "025": 9,  # circuit seizure or release: date and time
    "026": 16,
    "027": 8,  # business customer
    "028": 12,  # additional digits dialled
    "029": 8,  # alternate billing number
    "030": 6,
    "040": 19,  # digits
    "049": 8,
    "068": 4,
    "070": 16,
    "071": 8,
    "074": 13,
    "102": 12,
    "103": 12,
    "104": 7,  # trunk identification: table 244
    "109": 8,
    "119": 15,  # trunk group, carrier interface, remote network
    "164": 16,  # E.164 number
    "203": 12,
    "204": 4,
    "306": 4,
    "307": 11,
    "611": 14,  # generic: context and number
    "719": 14,
    "720": 27,  # local number portability: party and location routing number
}
"""Modules: octets with the module code; nothing in a module says how long it is."""

LAST_MODULE = "000"
TRUNK_MODULE = "104"
CARRIER_MODULE = "021"
CARRIER_FIELDS = _CARRIER_ORIGINATING
PORTABILITY_MODULE = "720"
