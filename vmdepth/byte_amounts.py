"""Amounts of memory as people write them."""

from __future__ import annotations

import re

from vmdepth_runtime.errors import InputError

_UNITS = {"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def parse_bytes(amount: int | str) -> int:
    """1024, "512MiB", "1.5 GB" → bytes. Raises ValueError for anything else, and for less than one byte."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(amount))
    if match is None or match[2].upper() not in _UNITS:
        raise ValueError(f"memory budget '{amount}': write bytes, or an amount such as 512MiB or 4GiB")
    size = int(float(match[1]) * _UNITS[match[2].upper()])
    if size < 1:
        raise ValueError(f"memory budget '{amount}': it is at least one byte")
    return size


def check_budget(amount: str | None) -> None:
    """Raise InputError, naming the option, for a --memory-budget that `parse_bytes` cannot read; None is none."""
    try:
        if amount is not None:
            parse_bytes(amount)
    except ValueError as error:
        raise InputError(f"--{str(error).replace('memory budget', 'memory-budget', 1)}") from None
