"""How called numbers are written on each trunk, for columns whose format depends on the row's trunk."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters.number_columns import Numbers, read_numbers

_UNDESCRIBED = "auto"


class FormatOf:
    """The called format of a trunk, by its name, else by the address or the narrowest network that holds it."""

    def __init__(self, formats: Mapping[str, str]) -> None:
        self._by_name = dict(formats)
        self._networks: list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str]] = []
        for key, called_format in formats.items():
            try:
                self._networks.append((ipaddress.ip_network(key), called_format))
            except ValueError:
                continue  # a trunk group's name
        self._networks.sort(key=lambda entry: -entry[0].prefixlen)

    def __bool__(self) -> bool:
        """Whether any trunk is described."""
        return bool(self._by_name)

    def find(self, trunk: str | None, address: str | None) -> str:
        """The format; for a trunk that nobody described `auto`, which still must give a number beyond doubt."""
        if trunk is not None and trunk in self._by_name:
            return self._by_name[trunk]
        if address is not None:
            there = ipaddress.ip_address(address)
            for network, called_format in self._networks:
                if there in network:
                    return called_format
        return _UNDESCRIBED


def read_by_trunk(
    texts: pa.StringArray, formats: FormatOf, trunks: pa.StringArray, addresses: pa.StringArray
) -> Numbers:
    """Numbers, each in the format of its row's trunk."""
    if not formats:
        return read_numbers(texts, _UNDESCRIBED)
    trunk, address = trunks.dictionary_encode(), addresses.dictionary_encode()
    trunk_names = [*trunk.dictionary.to_pylist(), None]
    address_names = [*address.dictionary.to_pylist(), None]
    width = len(address_names)
    trunk_at = pc.fill_null(trunk.indices, len(trunk_names) - 1).to_numpy(zero_copy_only=False)
    address_at = pc.fill_null(address.indices, width - 1).to_numpy(zero_copy_only=False)
    pair = trunk_at.astype(np.int64) * width + address_at
    distinct, which = np.unique(pair, return_inverse=True)
    found = [formats.find(trunk_names[key // width], address_names[key % width]) for key in distinct]
    numbers: Numbers = np.zeros(len(texts), np.uint64)
    for called_format in sorted(set(found)):
        rows = np.array([name == called_format for name in found])[which]
        if rows.all():
            return read_numbers(texts, called_format)
        numbers[rows] = read_numbers(texts.filter(pa.array(rows)), called_format)
    return numbers
