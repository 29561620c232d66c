"""Depth of a whole video by a network of views (Depth Anything 3), whose frames are views that all see each other.

As many as `WINDOW` go together. A longer video goes in windows of that length, the last one too, each of which shares
`OVERLAP` frames or more with the one before; global attention is always over a whole window. Depth up to a scale is
brought to that of the window before by the median ratio over the overlap, and blended with it there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from vmdepth.networks.multiview.mono_depth import MonoDepth
from vmdepth.networks.multiview.nested_depth import NothingButSkyError
from vmdepth.networks.multiview.views import ViewNetwork
from vmdepth_runtime.depth_kinds import DEPTH_KINDS
from vmdepth_runtime.errors import InputError

WINDOW = 64
OVERLAP = 16
_AT_A_TIME = 4  # images; keeps memory small and changes no result

Map = NDArray[np.float32]
Image = NDArray[np.uint8]
Said = dict[str, Map]
"""Of one frame: depth, and confidence or sky where the network has them; by the names of the contract."""


def view_depths(
    network: ViewNetwork,
    frames: Iterable[Image],
    prepare: Callable[[Image], Map],
    bring_back: Callable[[Map], Map],
    window: int = WINDOW,
    overlap: int = OVERLAP,
) -> Iterator[Said]:
    """What a network of views says of a video of any length, in the memory of one window.

    A network for single images sees every frame alone.

    Args:
        network: its depth is of the kind that `depth_kind` says.
        frames: uint8 [H, W, 3], RGB, all of one size.
        prepare: makes of a frame what the network sees, float32 [h, w, 3].
        bring_back: makes of a map, float32 [h, w], that of the frame, [H, W].
        window: frames that see each other.
        overlap: least number of frames that a window shares with the one before, below `window`.

    Yields:
        Maps float32 [H, W], of one frame after the other.

    Raises:
        InputError: a window shows nothing but sky, and the network takes metres from the rest.
    """
    if isinstance(network, MonoDepth):
        window, overlap = 1, 0
    prepared = map(prepare, frames)
    inputs: list[Map] = []
    held: list[Said] = []  # the end of the window before, which the next one may still change
    seen = 0
    while new := list(islice(prepared, window - overlap if inputs else window)):
        inputs = (inputs + new)[-window:]
        seen += len(new)
        try:
            said = _look(network, inputs)
        except NothingButSkyError as error:
            raise InputError(
                f"frames {seen - len(inputs)} to {seen - 1}: {error}; cut them out, or take a network that sees every "
                "frame alone, such as DA3METRIC-LARGE"
            ) from None
        if held:
            shared = len(inputs) - len(new)
            said = _joined(held, said[shared - overlap :], fitted=DEPTH_KINDS[network.depth_kind].unit is None)
        ready = max(len(said) - overlap, 0)
        yield from (_at_frames(one, bring_back) for one in said[:ready])
        held = said[ready:]
    yield from (_at_frames(one, bring_back) for one in held)


@torch.inference_mode()
def _look(network: ViewNetwork, inputs: list[Map]) -> list[Said]:
    like = next(network.parameters())
    clip = torch.from_numpy(np.stack(inputs)).permute(0, 3, 1, 2)[None].to(like)
    views = network(clip, chunk=_AT_A_TIME)
    found = {name: getattr(views, name)[0].float().cpu().numpy() for name in ("depth", *network.extra_maps)}
    return [{name: maps[number] for name, maps in found.items()} for number in range(len(inputs))]


def _joined(held: list[Said], said: list[Said], *, fitted: bool) -> list[Said]:
    """A window's frames from the first of the overlap on, at the scale of those held, going over from them."""
    ratios = [before["depth"] / np.maximum(now["depth"], 1e-6) for before, now in zip(held, said, strict=False)]
    scale = np.float32(np.median(ratios)) if fitted else np.float32(1)
    said = [{**one, "depth": scale * one["depth"]} for one in said]
    for number, before in enumerate(held):
        weight = np.float32((number + 1) / (len(held) + 1))
        said[number] = {name: (1 - weight) * before[name] + weight * value for name, value in said[number].items()}
    return said


def _at_frames(said: Said, bring_back: Callable[[Map], Map]) -> Said:
    return {name: bring_back(value) for name, value in said.items()}
