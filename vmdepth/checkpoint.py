"""Checkpoints: a file of weights becomes the network it belongs to.

Our own are one `.safetensors` file with the weights and, in its metadata, what they are weights of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vmdepth.model_files import CHECKPOINT_ENDINGS, PICKLED_ENDINGS
from vmdepth.networks.heads.attention_head import TemporalForm
from vmdepth.networks.moving.moving_network import MovingNetwork
from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.multiview.mono_depth import MonoDepth
from vmdepth.networks.multiview.nested_depth import NestedDepth
from vmdepth.networks.multiview.presets import CausalViewsConfig
from vmdepth.networks.multiview.single_view import SingleView
from vmdepth.networks.multiview.views import ViewNetwork
from vmdepth.networks.presets import NetworkConfig
from vmdepth.networks.step_network import StepNetwork
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.official.deeplab import DEEPLAB
from vmdepth.official.depth_anything_3 import DEPTH_ANYTHING_3
from vmdepth.official.depth_anything_v2 import DEPTH_ANYTHING_V2
from vmdepth.official.family import CheckpointFile, EncoderFamily, Family, LoadOptions
from vmdepth.official.hub import local_file
from vmdepth.official.video_depth_anything import VIDEO_DEPTH_ANYTHING
from vmdepth.official.video_networks import video_network
from vmdepth.official.view_networks import causal_network
from vmdepth_runtime.atomic_files import part_name
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.outputs import DYNAMIC

_KEY = "vmdepth"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write named tensors and JSON-able facts; the file appears under its name only when it is whole.

    Raises WorkError where it cannot be written.
    """
    part = part_name(path)
    try:
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, part, {_KEY: json.dumps(facts)})
        part.replace(path)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise WorkError(f"{path}: cannot be written ({error}); is the disk full?") from None


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The inverse of `write_tensors`. Raises InputError when the file is missing, broken or not one of ours."""
    file = _read(path)
    return dict(file.tensors), _facts(file)


def save(path: Path, model: VideoDepth | CausalViews, name: str, facts: Mapping[str, Any] | None = None) -> None:
    """Write a network under `path`. name: what the model is called; facts: how it was made (JSON-able)."""
    write_tensors(path, model.state_dict(), {"name": name, "network": model.config.to_dict(), "made": facts or {}})


def load(
    path: str | Path,
    temporal: TemporalForm | None = None,
    window: int | None = None,
    metric: bool | None = None,
    max_depth: float | None = None,
) -> VideoDepth | CausalViews | ViewNetwork:
    """A network from its checkpoint, ready for use: float32, on the CPU, in eval mode; `model.name` is set.

    No parameter asks for gradients, so what it gives keeps nothing of how it was computed: a loop over `model.step` may
    go on for ever. Who trains it says `model.requires_grad_()` first.

    Args:
        path: a checkpoint of vmdepth-train, or an official file of Depth Anything V2, Video Depth Anything or Depth
            Anything 3 (`.pth`, or `.safetensors` as Hugging Face has it); or its name there, as
            "depth-anything/DA3-SMALL", by which it is downloaded once.
        temporal: form of attention over time; official video networks stream by the official rule unless told
            otherwise. "causal" also makes any-view networks of Depth Anything 3 networks of videos; "bidirectional"
            takes the mask off one that was trained so.
        window: frames that attention over time sees when causal; of Depth Anything 3 besides the first frame, which
            every frame sees.
        metric: whether depth is in metres. The weights do not tell, so None goes by the official names of files and
            folders.
        max_depth: metres that a metric Depth Anything V2 reaches; None goes by the names, too.

    Returns:
        A `VideoDepth`, or of Depth Anything 3 a `ViewNetwork`, a `CausalViews` where it is causal or was trained so.

    Raises:
        InputError: the file cannot be read, is of no family in `FAMILIES`, or has names or shapes that are not exactly
            its family's (up to five are named); a form it cannot have.

    Example:
        >>> import torch, vmdepth
        >>> from pathlib import Path
        >>> from vmdepth.checkpoint import save
        >>> from vmdepth.networks.presets import PRESETS
        >>> from vmdepth.networks.video_depth import VideoDepth
        >>> save(Path("tiny.safetensors"), VideoDepth(PRESETS["tiny"]), "tiny")
        >>> model = vmdepth.load("tiny.safetensors")
        >>> depth, states = model(torch.rand(1, 4, 3, 28, 42))  # a clip of four frames
        >>> depth.shape
        torch.Size([1, 4, 1, 28, 42])
        >>> depth, states = model.step(torch.rand(1, 3, 28, 42), states)  # the fifth frame
        >>> depth.shape
        torch.Size([1, 1, 28, 42])
    """
    file = _read(Path(path))
    return recognise(file).build(file, LoadOptions(temporal, window, metric, max_depth)).requires_grad_(False)


def load_stepping(
    path: str | Path, temporal: TemporalForm | None = None, window: int | None = None, dynamic_mask: bool = False
) -> StepNetwork:
    """`load` for what streams, exports or proves a network; of Depth Anything 3 one picture at a time, or causal.

    dynamic_mask: with the output `dynamic`, how much of every pixel moves by itself, told by the motion head of a
    network that has one, of all others by the encoder's attention. Raises InputError for a network that has no step at
    all, or none that can tell.
    """
    network, family = load_of(path, temporal, window)
    if temporal == "bidirectional" and isinstance(network, AnyViewDepth):
        raise InputError(
            f"{path}: all views of a call see each other, which is no step; take temporal='causal' (--causal), or "
            "leave the form out, which of an official file gives a picture at a time"
        )
    model = stepping(network)
    if isinstance(network, NestedDepth):
        raise InputError(
            f"{path}: is Depth Anything 3 {network.name}, two networks whose metres come from all pixels of both, and "
            "has no step; vmdepth.load runs it. A step in metres has the metric network alone, DA3METRIC-LARGE"
        )
    if model is None:
        raise InputError(
            f"{path}: is {family.name}, a network of views: it has no step to stream; vmdepth.load runs it"
        )
    return telling_what_moves(path, model) if dynamic_mask and DYNAMIC not in model.extra_outputs else model


def telling_what_moves(path: str | Path, model: StepNetwork) -> MovingNetwork:
    """A network with the output `dynamic` besides. Raises InputError, naming its file, where it cannot tell, or does so
    anyway."""
    try:
        return MovingNetwork(model)
    except ValueError as error:
        raise InputError(f"{path}: {error}; leave the dynamic mask (--dynamic-mask) out") from None


def stepping(network: StepNetwork | ViewNetwork) -> StepNetwork | None:
    """What `load` gave as what streams, exports or proves it, with the same weights; None where it has no step."""
    if isinstance(network, StepNetwork):
        return network
    return SingleView(network) if isinstance(network, (AnyViewDepth, MonoDepth)) else None


def load_of(
    path: str | Path, temporal: TemporalForm | None = None, window: int | None = None
) -> tuple[VideoDepth | CausalViews | ViewNetwork, Family]:
    """`load`, and the family that the file is of."""
    file = _read(Path(path))
    family = recognise(file)
    return family.build(file, LoadOptions(temporal, window)).requires_grad_(False), family


def recognise(file: CheckpointFile) -> Family:
    """The family of a file. Raises InputError, naming the families there are, where it is of none."""
    for family in FAMILIES:
        if family.recognises(file):
            return family
    some = f"it begins with {', '.join(sorted(file.tensors)[:5])}" if file.tensors else "it is empty"
    families = ", ".join(family.name for family in FAMILIES)
    raise InputError(f"{file.path}: not a checkpoint of a network we know; {some}. There are: {families}")


def family_of(path: str | Path) -> Family:
    """The family of a file on disk. Raises InputError as `load` does."""
    return recognise(_read(Path(path)))


def encoder_family(path: Path) -> EncoderFamily | None:
    """The family of a file that holds an encoder and no network; None where it is of none, as checkpoints are."""
    return next((family for family in ENCODER_FAMILIES if path.suffix == family.ending), None)


def _read(path: Path) -> CheckpointFile:
    """What is in a `.safetensors` or `.pth` file, which may be given by name."""
    path = local_file(path)
    if not path.is_file():
        raise InputError(f"{path}: {'is a folder, not a checkpoint' if path.is_dir() else 'no such file'}")
    if (encoder := encoder_family(path)) is not None:
        raise InputError(
            f"{path}: holds the encoder of {encoder.name} and no network; vmdepth-train starts from it: init={path}"
        )
    if path.suffix not in CHECKPOINT_ENDINGS:
        raise InputError(f"{path}: not a readable checkpoint; those end in .safetensors, .pth or .pt")
    if path.suffix not in PICKLED_ENDINGS:
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                return CheckpointFile(path, tensors, file.metadata() or {})
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: not a readable checkpoint ({error}); get it again") from None
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise InputError(
            f"{path}: not a readable checkpoint of plain weights, and nothing else is read, since it could run code; "
            f"save its state_dict() alone"
        ) from None
    except Exception:  # a broken file fails in many ways
        raise InputError(f"{path}: not a readable checkpoint: broken, or not PyTorch's; get it again") from None
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise InputError(f"{path}: holds no plain dictionary of weights")
    return CheckpointFile(path, tensors)


def weights_hash(model: nn.Module) -> str:
    """`sha256:<hex>` over names and values of all weights, the same on every machine."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


def _facts(file: CheckpointFile) -> dict[str, Any]:
    try:
        return json.loads(file.metadata[_KEY])
    except (KeyError, ValueError) as error:
        raise InputError(f"{file.path}: not a checkpoint of vmdepth-train ({error})") from None


def _build(file: CheckpointFile, options: LoadOptions) -> VideoDepth | CausalViews | AnyViewDepth:
    if options.metric is not None or options.max_depth is not None:
        raise InputError(f"{file.path}: says itself whether its depth is metric; leave metric and max_depth out")
    facts = _facts(file)
    try:
        name, raw = facts["name"], facts["network"]
        views = raw.get("kind") == CausalViewsConfig.kind
        config = CausalViewsConfig.from_dict(raw) if views else NetworkConfig.from_dict(raw)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file.path}: its network settings are not readable ({error})") from None
    if isinstance(config, CausalViewsConfig):
        return causal_network(file.path, file.tensors, config, name, options)
    return video_network(file.path, file.tensors, config, name, options)


OURS = Family("vmdepth-train's own", lambda file: _KEY in file.metadata, _build)
FAMILIES: tuple[Family, ...] = (OURS, VIDEO_DEPTH_ANYTHING, DEPTH_ANYTHING_V2, DEPTH_ANYTHING_3)
"""In the order that a file is offered to them."""
ENCODER_FAMILIES: tuple[EncoderFamily, ...] = (DEEPLAB,)
