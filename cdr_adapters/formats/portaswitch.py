"""PortaSwitch (PortaBilling) xDR records: exports with a header, and lists of its API as JSON.

After "Appendix D. Description of xDR record fields" (docs.portaone.com, MR100) and the API's `get_customer_xdrs` and
its siblings. `CLD` is the number called, `connect_time` when the session began, `h323_conf_id` joins the records that
one call leaves with its account, its customer and its vendor. Unix times go before written ones, which need the
source's `zone`. `setup_time` is the post-dial delay in milliseconds, no time.

`account_id` is the account that was charged. For a call from a wholesale customer that is where the call came from; for
a call to a subscriber's number it can be the one called. The record doesn't say which, so that no upstream is taken
from it unless the operator vouches for it: `options = { charged = "caller" }`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from cdr_adapters import presets, raw
from cdr_adapters.json_exports import Either, JsonExport

SUMMARY = "PortaSwitch (PortaBilling) xDRs, with a header or as JSON"
GRADE = raw.Grade.DOCUMENTATION


class Options(presets.Options):
    """Options of xDRs; `charged = "caller"` vouches that the charged account is where the calls came from."""

    charged: Literal["caller", "unknown"] = "unknown"


_ACCOUNT, _CALLER = "account_id", "caller_account"
_KNOWN = (
    "i_xdr",
    "id",
    "h323_conf_id",
    "call_id",
    "CLI",
    "CLD",
    _ACCOUNT,
    "i_account",
    "i_customer",
    "i_vendor",
    "connect_time",
    "unix_connect_time",
    "disconnect_time",
    "unix_disconnect_time",
    "disconnect_cause",
    "charged_quantity",
    "used_quantity",
    "charged_amount",
)
_SIGNATURE = (
    "CLI",
    "CLD",
    ("connect_time", "unix_connect_time"),
    ("charged_quantity", "used_quantity", "charged_amount"),
    ("i_xdr", "i_customer", "i_account", _ACCOUNT, "bill_status", "i_dest"),
)
_FORMAT = Either(
    presets.Headed(_SIGNATURE, _KNOWN, absent=("remote_ip", "i_cdr")),
    JsonExport(_SIGNATURE, lists=("xdr_list", "data"), known=_KNOWN),
)
identify = _FORMAT.identify


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`. The column `caller_account` is `account_id` when the option `charged` says so."""
    wanted = None if columns is None else columns - {_CALLER}
    if wanted is not None and columns is not None and _CALLER in columns and options.charged == "caller":
        wanted |= {_ACCOUNT}
    for batch in _FORMAT.read(path, options, wanted):
        arrays = {name: batch.columns.column(name) for name in batch.columns.schema.names}
        if columns is not None and _CALLER in columns and options.charged == "caller" and _ACCOUNT in arrays:
            arrays[_CALLER] = arrays[_ACCOUNT]
        header = None if batch.header is None else (*batch.header, _CALLER)
        yield replace(batch, columns=raw.string_batch(arrays, batch.columns.num_rows), header=header)


COLUMNS: dict[str, Any] = {
    "called_in": "CLD",
    "calling": "CLI",
    "answer": {"column": ["unix_connect_time", "connect_time"], "format": ["epoch_s", "iso8601"]},
    "release": {"column": ["unix_disconnect_time", "disconnect_time"], "format": ["epoch_s", "iso8601"]},
    "ingress_trunk": _CALLER,
    "call_id": ["h323_conf_id", "call_id"],
}
