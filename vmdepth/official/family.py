"""What a family of checkpoints is: how its files are told from others, and how one becomes a network.

A new family is a module beside this one with a `Family`, which `vmdepth.checkpoint.FAMILIES` then lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from torch import Tensor

from vmdepth.model_files import location
from vmdepth.networks.heads.attention_head import TemporalForm
from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.multiview.views import ViewNetwork
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.official.shapes import Shapes, shapes_of
from vmdepth_runtime.errors import InputError


class NoAttentionOverTime(InputError):
    """A form of attention over time was asked of a network that has none."""


@dataclass(frozen=True)
class CheckpointFile:
    """What a file holds, before it is known what of.

    tensors: by the names they have in the file. metadata: of a safetensors file; others have none.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def shapes(self) -> Shapes:
        """Name → shape of every tensor."""
        return shapes_of(self.tensors)

    @property
    def location(self) -> str:
        """What its names tell of it: see `vmdepth.model_files.location`."""
        return location(self.path)


@dataclass(frozen=True)
class LoadOptions:
    """What `vmdepth.load` is told beside the path (see there); None leaves it to the family."""

    temporal: TemporalForm | None = None
    window: int | None = None
    metric: bool | None = None
    max_depth: float | None = None


@dataclass(frozen=True)
class Family:
    """A kind of checkpoint.

    name: as errors call it. recognises: whether a file is of this family, by a few of its names and shapes, so that one
    with others missing or wrong still is. build: the network, float32, in eval mode, its `name` set, every weight of
    the file in its place; raises InputError, naming the file, for up to five names or shapes that misfit and for
    options that do not apply.
    """

    name: str
    recognises: Callable[[CheckpointFile], bool]
    build: Callable[[CheckpointFile, LoadOptions], VideoDepth | CausalViews | ViewNetwork]


@dataclass(frozen=True)
class EncoderFamily:
    """A kind of file that holds an encoder and no network: training starts from it.

    name: as errors call it. ending: of its files' names. encoder: as `NetworkConfig.encoder` has it. read: the state
    dict of that encoder; raises InputError, naming the file.
    """

    name: str
    ending: str
    encoder: str
    read: Callable[[Path], dict[str, Tensor]]
