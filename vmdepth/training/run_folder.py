"""The folder of a run: what is in it, and how a run is taken up again."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vmdepth import checkpoint
from vmdepth.evaluation.accuracy import Accuracy
from vmdepth.training.rounding import rounded
from vmdepth.training.settings.train_settings import TrainSettings
from vmdepth.training.students import Student
from vmdepth_runtime.atomic_files import part_name
from vmdepth_runtime.errors import InputError

MODEL, BEST, STATE = "last.safetensors", "best.safetensors", "train_state.safetensors"
SETTINGS, PICTURES = "settings.json", "pictures"


def check(folder: Path, settings: TrainSettings, resume: bool) -> None:
    """Raise InputError when the folder holds another run, or when there is none to resume.

    What ended before it was saved for the first time is no run. A run that is resumed may be given more steps.
    """
    if not resume:
        if (folder / STATE).exists():
            raise InputError(f"{folder}: holds a run already; go on with --resume or choose another --out")
        return
    before = settings_before(folder)
    now = json.loads(json.dumps(settings.to_dict()))  # as a file has it
    # What is not given may be left out or empty; what a run decided for itself stays so.
    keys = (key for key in before.keys() | now if key not in now or now[key] is not None)
    differing = sorted(key for key in keys if (before.get(key) or 0) != (now.get(key) or 0))
    if now["steps"] > before["steps"]:
        differing.remove("steps")
    if differing:
        raise InputError(
            f"{folder}: was started with another {', '.join(differing)} (see {folder / SETTINGS}); leave that out: "
            f"--resume goes on with the run's own settings, and only steps= may grow"
        )


def settings_before(folder: Path) -> dict[str, Any]:
    """What the run of a folder was started with, by the names of settings; those that are newer, at their defaults.

    Raises InputError where there is no run to resume.
    """
    if not (folder / STATE).is_file():
        raise InputError(f"{folder}: no run to resume there; leave --resume out to start one")
    file = folder / SETTINGS
    try:
        return TrainSettings().to_dict() | dict(json.loads(file.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{file}: not readable ({error}); start anew with another --out") from None


def claim(folder: Path, settings: TrainSettings) -> None:
    """Make the folder of a run, and keep its settings there. Raises InputError where it cannot be written."""
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
    model: Student,
    average: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    best: Accuracy | None = None,
) -> None:
    """Write the model, and all that resuming needs.

    Args:
        folder: of the run.
        settings: likewise.
        step: steps done.
        model: as it learns.
        average: smoothed weights by name; they are the model if given.
        optimizer: of the model.
        best: of the weights in `BEST`, where there are any.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in average.items()}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{key}.{name}"] = value
    # Weights and optimiser in one file: a kill between two files could not part them.
    checkpoint.write_tensors(folder / STATE, tensors, {"step": step, "best": asdict(best) if best else None})
    save_model(folder / MODEL, settings, step, model, average)


def save_model(
    path: Path,
    settings: TrainSettings,
    step: int,
    model: Student,
    average: dict[str, Tensor],
    held_out: Accuracy | None = None,
) -> None:
    """Write a checkpoint of the model alone. held_out: what it reaches, where that was looked at."""
    made: dict[str, Any] = {"settings": settings.to_dict(), "steps_done": step}
    if held_out:
        made["held_out"] = asdict(held_out)
    facts = {"name": model.name, "network": model.config.to_dict(), "made": made}
    checkpoint.write_tensors(path, final_weights(settings, model, average), facts)


def final_weights(settings: TrainSettings, model: Student, average: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights that are the model: smoothed where there is an average, and rounded where that is asked for."""
    weights = {**model.state_dict(), **average}
    return rounded(weights) if settings.round_weights else weights


def load(
    folder: Path, model: Student, optimizer: torch.optim.Optimizer
) -> tuple[int, dict[str, Tensor], Accuracy | None]:
    """Weights and optimiser as they were saved, to the bit.

    Returns:
        The step, the average of weights, and what the weights in `BEST` reach.
    """
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
    best = facts.get("best")
    average = {name: tensor.to(_device(model)) for name, tensor in parts["average"].items()}
    return facts["step"], average, Accuracy(**best) if best else None


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
