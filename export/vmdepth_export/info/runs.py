"""How far a run of `vmdepth-train` is. No torch here: what its checkpoints are is in their headers."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote
from typing import Any

from vmdepth_export.info.facts import Facts
from vmdepth_runtime.errors import InputError

# As `vmdepth.training.run_folder` names them, which takes torch.
SETTINGS, STATE = "settings.json", "train_state.safetensors"
CHECKPOINTS = {"best": "best.safetensors", "last": "last.safetensors"}


def run_facts(folder: Path) -> Facts:
    """Name and value of what a run was given, what it reached, and what can be done next.

    Raises InputError, naming the folder, for one of no run.
    """
    settings = _settings_of(folder)
    made = {kind: _made(folder / name) for kind, name in CHECKPOINTS.items() if (folder / name).is_file()}
    done, steps = max((facts.get("steps_done", 0) for facts in made.values()), default=0), settings.get("steps", 0)
    facts = [
        ("run", str(folder)),
        ("preset", str(settings.get("preset", "unknown"))),
        ("data", str(settings.get("data", "unknown"))),
        ("steps", f"{done:,} of {steps:,}" if made else f"none saved yet, of {steps:,}"),
    ]
    facts += [(kind, _told(folder / CHECKPOINTS[kind], facts_of)) for kind, facts_of in made.items()]
    resumes = (folder / STATE).is_file()
    following = [f"vmdepth-train --out {quote(str(folder))} --resume"] if resumes and done < steps else []
    if made:
        model, graph = folder / CHECKPOINTS[next(iter(made))], f"{folder.resolve().name or 'model'}.onnx"
        following += [f"vmdepth-eval {quote(str(model))} rendered"]
        following += [f"vmdepth-export {quote(str(model))} -o {quote(graph)}"]
    return [*facts, *zip(["next", "", ""], following or ["start it again: nothing was saved"], strict=False)]


def _settings_of(folder: Path) -> dict[str, Any]:
    file = folder / SETTINGS
    if not file.is_file():
        raise InputError(
            f"{folder}: is a folder without the {SETTINGS} of a run; name a run's folder, a checkpoint, a step graph "
            "or an engine"
        )
    try:
        return dict(json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        raise InputError(f"{file}: not readable as the settings of a run") from None


def _made(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint says of how it was made."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(checkpoint, framework="np") as file:
            return dict(json.loads(file.metadata()["vmdepth"])["made"])
    except (SafetensorError, OSError, LookupError, TypeError, ValueError):
        raise InputError(f"{checkpoint}: not a checkpoint of vmdepth-train, or damaged") from None


def _told(checkpoint: Path, made: dict[str, Any]) -> str:
    """ "runs/tiny/best.safetensors, step 1,200; on held-out clips δ1 0.912, AbsRel 0.083"."""
    told = f"{checkpoint}, step {made.get('steps_done', 0):,}"
    if found := made.get("held_out"):
        told += f"; on held-out clips δ1 {found['delta1']:.3f}, AbsRel {found['absrel']:.3f}"
    return told
