"""Versions of TensorRT that are reported to build engines of this family of networks which run and are wrong.

The one place where the code knows them; docs/engines.md has the same table for people, with the reports.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class KnownFault:
    """first, last: versions it is reported of, both included; (10, 5) as last takes in every 10.5.x. capability: of the
    GPUs it is reported on; None means any. what: is wrong, after "TensorRT 10.3 is". remedy: what to do about it."""

    first: tuple[int, ...]
    last: tuple[int, ...]
    capability: str | None
    what: str
    remedy: str

    def touches(self, version: tuple[int, ...], capability: str | None) -> bool:
        """Whether it is reported of this version on this GPU."""
        fits = self.first <= version and version[: len(self.last)] <= self.last
        return fits and self.capability in (None, capability)


_WRONG = "reported to build engines of this family of networks that run and are wrong"
_LATER = "take 10.16 or later (for Jetsons it comes with JetPack 7.2)"

KNOWN_FAULTS = (
    KnownFault((10, 3), (10, 5), None, f"{_WRONG} (JetPack 6.1 and 6.2 ship 10.3)", _LATER),
    KnownFault((10, 7), (10, 7), None, _WRONG, _LATER),
    KnownFault(
        (10,),
        (10, 16, 1),
        "12.0",
        "reported to compute fused attention in fp16 and bf16 wrongly on compute capability 12.0",
        "leave --attention explicit, or build as fp32",
    ),
    KnownFault(
        (10, 13),
        (10, 13),
        "11.0",
        "reported to fuse linear layers after one norm wrongly on Thor, with one stream (JetPack 7.1 ships 10.13.3)",
        "set __LUNOWUD=-peep:fc_h_fusion=off in the environment while building, or take a later JetPack",
    ),
)


def known_bad(target: str, version: str, capability: str | None) -> str | None:
    """What is wrong with a version of TensorRT and what to do; None for all that is not known to be wrong.

    target: "tensorrt" or "tensorrt-rtx", of which nothing is known. capability: of the GPU; None where there is none.
    """
    if target != "tensorrt":
        return None
    numbers = tuple(int(number) for number in re.findall(r"\d+", version))
    found = [fault for fault in KNOWN_FAULTS if fault.touches(numbers, capability)]
    if not found:
        return None
    told = "; ".join(f"{fault.what}: {fault.remedy}" for fault in found)
    return f"{told}; prove every engine with vmdepth-parity"
