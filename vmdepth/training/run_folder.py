"""The folder of a run: what is in it, and how a run is taken up again."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from vmdepth import checkpoint
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.training.rounding import rounded
from vmdepth.training.settings import TrainSettings
from vmdepth_runtime.atomic_files import part_name
from vmdepth_runtime.errors import InputError

MODEL, STATE, SETTINGS, PICTURES = "last.safetensors", "train_state.safetensors", "settings.json", "pictures"


def check(folder: Path, settings: TrainSettings, resume: bool) -> None:
    """Raise InputError when the folder holds another run, or when there is none to resume.

    What ended before it was saved for the first time is no run.
    """
    file = folder / SETTINGS
    if not resume:
        if (folder / STATE).exists():
            raise InputError(f"{folder}: holds a run already; go on with --resume or choose another --out")
        return
    if not (folder / STATE).is_file():
        raise InputError(f"{folder}: no run to resume there; leave --resume out to start one")
    try:
        before = json.loads(file.read_text())
        now = json.loads(json.dumps(settings.to_dict()))  # as a file has it
        # What is not given may be left out or empty.
        differing = sorted(key for key in before.keys() | now if (before.get(key) or 0) != (now.get(key) or 0))
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{file}: not readable ({error}); start anew with another --out") from None
    if differing:
        raise InputError(
            f"{folder}: was started with another {', '.join(differing)} (see {file}); resume with the same"
        )


def claim(folder: Path, settings: TrainSettings) -> None:
    """Make the folder of a new run. Raises InputError where it cannot be written."""
    try:
        (folder / PICTURES).mkdir(parents=True, exist_ok=True)
        part = part_name(folder / SETTINGS)
        part.write_text(json.dumps(settings.to_dict(), indent=2))
        part.replace(folder / SETTINGS)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from None


def save(
    folder: Path,
    settings: TrainSettings,
    step: int,
    model: VideoDepth,
    average: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write the model, and all that resuming needs. average: smoothed weights by name; they are the model if given."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in average.items()}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{key}.{name}"] = value
    # Weights and optimiser in one file: a kill between two files could not part them.
    checkpoint.write_tensors(folder / STATE, tensors, {"step": step})
    made = {"settings": settings.to_dict(), "steps_done": step}
    facts = {"name": model.name, "network": model.config.to_dict(), "made": made}
    weights = {**model.state_dict(), **average}
    checkpoint.write_tensors(folder / MODEL, rounded(weights) if settings.round_weights else weights, facts)


def load(folder: Path, model: VideoDepth, optimizer: torch.optim.Optimizer) -> tuple[int, dict[str, Tensor]]:
    """Weights and optimiser as they were saved, to the bit. Returns the step and the average of weights."""
    tensors, facts = checkpoint.read_tensors(folder / STATE)
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "average": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = tensor
    if parts["model"].keys() != model.state_dict().keys() or "step" not in facts:
        raise InputError(f"{folder / STATE}: is not the state of this run; start anew with another --out")
    model.load_state_dict(parts["model"])
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            optimizer.state[parameter] = {
                key: parts["optimizer"][f"{key}.{name}"].to("cpu" if key == "step" else parameter.device)
                for key in ("step", "exp_avg", "exp_avg_sq")
            }
    return facts["step"], {name: tensor.to(_device(model)) for name, tensor in parts["average"].items()}


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
