"""Which blocks the maps of moving things are taken from: tables, a notation, and places among a network's blocks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vmdepth.networks.moving.bands import Band, Bands, relative_bands
from vmdepth_runtime.errors import InputError


@dataclass(frozen=True)
class Blocks:
    """The blocks of a network. count: of them; over_views: those that see all views, none where views never meet."""

    count: int
    over_views: Band = ()

    @property
    def candidates(self) -> Band:
        """The blocks among which relative depth counts: those that see all views, or all where there are none."""
        return self.over_views or tuple(range(self.count))


def _run(first: int, last: int) -> Band:
    return tuple(range(first, last + 1))


TABLES = {
    "vggt": Bands((0,), _run(3, 7), _run(17, 21), (18, 19)),
    "bands": Bands(_run(1, 5), _run(6, 15), _run(18, 21), _run(18, 21)),
    "giant": Bands((1,), _run(6, 13), _run(30, 37), _run(30, 37)),
}
"""Fixed tables by name: VGGT4D's released code; wide bands for networks of 24 blocks; their like for 40 blocks. The
last two reach, in Depth Anything 3, into blocks before the first one that sees all views."""

RELATIVE = "relative"
"""The name of the choice whose blocks lie as deep among a network's as those of VGGT's table among VGGT's."""


def choose_layers(given: str, blocks: Blocks) -> Bands:
    """The choice that a name or a notation means for a network.

    Args:
        given: "relative", a name of `TABLES`, one block for all bands ("9"), or the bands from shallow to deep with a
            slash between, as "9/11-13/21+23"; a fourth one is that of the deep variance, which else is the deep one.
        blocks: of the network.

    Raises:
        InputError: no such name or notation, or blocks that the network has not.
    """
    choice = bands_of(given)
    if choice is None:
        return relative_bands(blocks.candidates)
    check_layers(choice.watched, blocks, f"layers '{given}'")
    return choice


def bands_of(given: str) -> Bands | None:
    """The bands that a name or a notation means whatever the network; None of "relative". Raises InputError for neither
    a name nor a notation."""
    if given == RELATIVE:
        return None
    return TABLES[given] if given in TABLES else _read(given)


def check_layers(layers: Iterable[int], blocks: Blocks, what: str) -> None:
    """Raises InputError, beginning with `what`, where a network has no such block."""
    missing = [layer for layer in layers if not 0 <= layer < blocks.count]
    if missing:
        see = f"; {', '.join(map(str, blocks.over_views))} see all views" if blocks.over_views else ""
        raise InputError(
            f"{what}: there is no block {missing[0]}, the network's are 0 to {blocks.count - 1}{see}; "
            f"'{RELATIVE}' fits any network"
        )


def blocks_of(network: Any) -> Blocks:
    """The blocks of a network that `vmdepth.load` gives.

    Raises:
        InputError: it has no attention whose queries and keys could be asked.
    """
    from vmdepth.networks.encoder import Encoder  # late: arrays of an earlier pass need no torch
    from vmdepth.networks.multiview.encoder import ViewEncoder

    encoder = getattr(getattr(network, "views", network), "encoder", None)  # of a nested network its any-view one
    if not isinstance(encoder, Encoder):
        name = getattr(network, "name", type(network).__name__)
        raise InputError(
            f"'{name}' has no attention blocks, which is where moving things show; Depth Anything 3 and 2 and networks "
            "with their encoders have"
        )
    over_views = tuple(encoder.global_blocks) if isinstance(encoder, ViewEncoder) else ()
    return Blocks(len(encoder.blocks), over_views)


def _read(given: str) -> Bands:
    bands = [_band(part, given) for part in given.split("/")]
    if len(bands) == 1:
        bands *= 3
    if len(bands) not in (3, 4):
        raise InputError(f"layers '{given}': {len(bands)} bands; give one, or shallow/middle/deep as 9/11-13/21+23")
    return Bands(bands[0], bands[1], bands[2], bands[-1])


def _band(part: str, given: str) -> Band:
    layers: set[int] = set()
    for piece in part.split("+"):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", piece.strip())
        if match is None:
            names = ", ".join([RELATIVE, *TABLES])
            raise InputError(
                f"layers '{given}': '{part}' is no band of blocks; give a name ({names}) or shallow/middle/deep as "
                "9/11-13/21+23"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise InputError(f"layers '{given}': the band {piece.strip()} is empty; write {last}-{first}")
        layers.update(_run(first, last))
    return tuple(sorted(layers))
