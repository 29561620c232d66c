"""Our checkpoints: one `.safetensors` file with the weights and, in its metadata, what they are weights of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vmdepth.networks.presets import NetworkConfig
from vmdepth.networks.video_depth import VideoDepth
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.outputs import part_name

_KEY = "vmdepth"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write named tensors and JSON-able facts; the file appears under its name only when it is whole."""
    part = part_name(path)
    save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, part, {_KEY: json.dumps(facts)})
    part.replace(path)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The inverse of `write_tensors`. Raises InputError when the file is missing, broken or not one of ours."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})[_KEY])
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118 (not a dict)
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"{path}: not a checkpoint of vmdepth-train ({error})") from None


def save(path: Path, model: VideoDepth, name: str, facts: Mapping[str, Any] | None = None) -> None:
    """Write a network under `path`. name: what the model is called; facts: how it was made (JSON-able)."""
    write_tensors(path, model.state_dict(), {"name": name, "network": model.config.to_dict(), "made": facts or {}})


def load(path: str | Path) -> VideoDepth:
    """A network from its checkpoint, float32, on the CPU, in eval mode; `model.name` is set.

    Raises InputError, naming the file and up to five keys, when the weights are not exactly those of the network.
    """
    path = Path(path)
    tensors, facts = read_tensors(path)
    try:
        config = NetworkConfig.from_dict(facts["network"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: its network settings are not readable ({error})") from None
    with torch.device("meta"):
        expected = VideoDepth(config).state_dict()
    wrong = sorted(expected.keys() ^ tensors.keys())
    wrong += [key for key in expected.keys() & tensors.keys() if expected[key].shape != tensors[key].shape]
    if wrong:
        raise InputError(f"{path}: {len(wrong)} weights do not fit its network: {', '.join(wrong[:5])}")
    model = VideoDepth(config)
    model.load_state_dict(tensors)
    model.name = facts["name"]
    return model.float().eval()


def weights_hash(model: VideoDepth) -> str:
    """`sha256:<hex>` over names and values of all weights, the same on every machine."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"
