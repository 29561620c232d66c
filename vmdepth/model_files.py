"""Which files are checkpoints, by their endings. No torch here: `vmdepth-info` asks without it."""

from __future__ import annotations

import json
from pathlib import Path

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.outputs import DYNAMIC

PICKLED_ENDINGS = (".pth", ".pt")
"""Of checkpoints as `torch.save` writes them."""

CHECKPOINT_ENDINGS = (".safetensors", *PICKLED_ENDINGS)

_LONGEST_HEADER = 100_000_000  # bytes, as safetensors itself has it


def location(path: Path) -> str:
    """What tells a metric file from a relative one with the same names and shapes, in lower case.

    That is the names of the file, of its folder and of its model in Hugging Face's cache, which keeps files three
    folders deep in `models--owner--name`, as links to files that have no names of their own.
    """
    parts = path.absolute().parts
    return "/".join([*(part for part in parts[:-2] if part.startswith("models--")), *parts[-2:]]).lower()


def has_motion_head(path: Path) -> bool:
    """Whether a checkpoint has weights that learnt to tell what moves, so that all made of it does.

    False for what cannot be read as well: who loads it says why. Reads the header alone, which a `.safetensors` file
    begins with: its length in 8 bytes, little-endian, and JSON by the names of weights.
    """
    if path.suffix in PICKLED_ENDINGS:
        return False
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), _LONGEST_HEADER)))
    except (OSError, ValueError):
        return False
    return isinstance(header, dict) and any(name.startswith(f"{DYNAMIC}.") for name in header)


def no_model(path: Path) -> InputError:
    """What to raise for a path that is no file, or whose ending is that of no model."""
    known = "a checkpoint (.safetensors, .pth), a step graph (.onnx) or an engine (.engine)"
    if path.is_dir():
        inside = min(path.glob("*.safetensors"), default=None)  # of a run the best one
        known = f"a file in it, such as {inside}" if inside else known
        return InputError(f"{path}: is a folder; name {known}")
    return InputError(f"{path}: should be {known}" if path.exists() else f"{path}: no such file; name {known}")
