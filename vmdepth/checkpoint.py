"""Checkpoints: a file of weights becomes the network it belongs to.

Our own are one `.safetensors` file with the weights and, in its metadata, what they are weights of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vmdepth.networks.heads.attention_head import AttentionSettings, TemporalForm
from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.mono_depth import MonoDepth
from vmdepth.networks.multiview.nested_depth import NestedDepth
from vmdepth.networks.presets import NetworkConfig
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.official import depth_anything_3
from vmdepth.official.depth_anything import called, check_names, network_shapes, recognise, shapes_of
from vmdepth_runtime.atomic_files import part_name
from vmdepth_runtime.errors import InputError, WorkError

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
    tensors, metadata = _read(path)
    return tensors, _facts(path, metadata)


def save(path: Path, model: VideoDepth, name: str, facts: Mapping[str, Any] | None = None) -> None:
    """Write a network under `path`. name: what the model is called; facts: how it was made (JSON-able)."""
    write_tensors(path, model.state_dict(), {"name": name, "network": model.config.to_dict(), "made": facts or {}})


def load(
    path: str | Path,
    temporal: TemporalForm | None = None,
    window: int | None = None,
    metric: bool | None = None,
    max_depth: float | None = None,
) -> VideoDepth | AnyViewDepth | MonoDepth | NestedDepth:
    """A network from its checkpoint, float32, on the CPU, in eval mode; `model.name` is set.

    path: a checkpoint of vmdepth-train, or an official file of Depth Anything V2, Video Depth Anything or Depth
    Anything 3 (`.pth`, or `.safetensors` as Hugging Face has it). temporal, window: form of attention over time and
    frames it sees when causal; official video networks stream by the official rule unless told otherwise. metric,
    max_depth: whether depth is in metres, and how many a metric Depth Anything V2 reaches; the weights do not tell, so
    None goes by the official names of files and folders. Raises InputError, naming the file and up to five keys, when
    the weights are not exactly those of a network we know, and for a form it cannot have.
    """
    path = Path(path)
    tensors, metadata = _read(path)
    if _KEY not in metadata and depth_anything_3.recognise(shapes_of(tensors)) is not None:
        if temporal or window or max_depth:
            raise InputError(f"{path}: is Depth Anything 3; temporal, window and max_depth do not apply")
        try:
            network = depth_anything_3.build(tensors, "da3metric" in called(path) if metric is None else metric)
        except ValueError as error:
            raise InputError(f"{path}: {error}") from None
        if metric and isinstance(network, AnyViewDepth):
            raise InputError(f"{path}: is the {network.name} network for any number of views; it has no metric form")
        return network
    if _KEY in metadata:
        if metric is not None or max_depth is not None:
            raise InputError(f"{path}: says itself whether its depth is metric; leave metric and max_depth out")
        facts = _facts(path, metadata)
        name, config = facts["name"], _config(path, facts)
    else:
        tensors, config, name = recognise(path, tensors, metric, max_depth)
    config = _in_form(path, config, temporal, window)
    check_names(path, tensors, network_shapes(config), f"its network '{name}'")
    model = VideoDepth(config)
    model.load_state_dict(tensors)
    model.name = name
    return model.float().eval()


def load_video(path: str | Path, temporal: TemporalForm | None = None, window: int | None = None) -> VideoDepth:
    """`load` for what needs a network of videos. Raises InputError for one that sees all views at once."""
    model = load(path, temporal, window)
    if not isinstance(model, VideoDepth):
        raise InputError(f"{path}: is Depth Anything 3, which sees all views at once: it has no step to stream")
    return model


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a `.safetensors` or `.pth` file."""
    if not path.is_file():
        raise InputError(f"{path}: {'is a folder, not a checkpoint' if path.is_dir() else 'no such file'}")
    if path.suffix not in (".pth", ".pt"):
        try:
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: not a readable checkpoint ({error})") from None
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
    return tensors, {}


def _facts(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        return json.loads(metadata[_KEY])
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: not a checkpoint of vmdepth-train ({error})") from None


def _config(path: Path, facts: Mapping[str, Any]) -> NetworkConfig:
    try:
        return NetworkConfig.from_dict(facts["network"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: its network settings are not readable ({error})") from None


def _in_form(path: Path, config: NetworkConfig, temporal: TemporalForm | None, window: int | None) -> NetworkConfig:
    """The same network with its attention over time in another form."""
    if temporal is None and window is None:
        return config
    head = config.head
    if not isinstance(head, AttentionSettings):
        raise InputError(f"{path}: has no attention over time; temporal and window do not apply")
    try:
        head = AttentionSettings(temporal or head.temporal, head.window if window is None else window)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    if window is not None and head.temporal != "causal":
        raise InputError(f"{path}: a window belongs to temporal='causal', not to '{head.temporal}'")
    return replace(config, head=head)


def weights_hash(model: VideoDepth) -> str:
    """`sha256:<hex>` over names and values of all weights, the same on every machine."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"
