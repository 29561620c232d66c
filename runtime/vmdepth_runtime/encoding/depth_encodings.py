"""How ROS lays out depth, and which depth may be so."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from vmdepth_runtime.depth_kinds import DepthKind
from vmdepth_runtime.errors import InputError

DepthEncoding: TypeAlias = Literal["32FC1", "16UC1"]
"""float32, or uint16 millimetres with 0 for none."""
DEPTH_ENCODINGS: tuple[DepthEncoding, ...] = get_args(DepthEncoding)


def check_encoding(kind: DepthKind, encoding: DepthEncoding) -> None:
    """Raise InputError where depth of a kind cannot be of an encoding."""
    if encoding == "16UC1" and kind.unit != "m":
        raise InputError(
            f"--depth-encoding 16UC1: is millimetres, and the model gives {kind.meaning}; take 32FC1, whose encoding "
            "says so, a metric model, or --metres"
        )
