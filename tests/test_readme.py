"""What the README says to type works as it stands there."""

import math
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from vmdepth import checkpoint
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.official.dpt_names import official_shapes
from vmdepth_runtime import bundled
from vmdepth_runtime.sessions.gpu import find_gpu

README = (Path(__file__).parents[1] / "README.md").read_text()
# Installing and training are what `make test` and the training tests do; they take too long here. Cameras are not here.
COMMANDS = [
    line.partition("#")[0].strip()
    for line in README.splitlines()
    if re.match(r"vmdepth-(?!train)\w+ [^.0]", line) and "rtsp://" not in line
]
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which the names that the README uses exist: walk.mp4, frames/, a checkpoint of the tiny preset."""
    place = tmp_path_factory.mktemp("readme")
    (place / "frames").mkdir()
    (place / "runs" / "tiny").mkdir(parents=True)
    with av.open(str(bundled.CLIP)) as clip, av.open(str(place / "walk.mp4"), "w") as walk:
        stream = walk.add_stream("libx264", rate=30)
        picture = clip.streams.video[0]
        stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, "yuv420p"
        for index, frame in zip(range(8), clip.decode(video=0), strict=False):
            image = frame.to_ndarray(format="rgb24")
            walk.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            cv2.imwrite(str(place / "frames" / f"{index:03}.png"), np.ascontiguousarray(image[..., ::-1]))
        walk.mux(stream.encode(None))
    torch.manual_seed(0)
    checkpoint.save(place / "runs" / "tiny" / "last.safetensors", VideoDepth(PRESETS["tiny"]), "tiny")
    torch.save(official_video_weights(), place / "video_depth_anything_vits.pth")
    return place


def official_video_weights():
    """Weights under the names of an official video checkpoint, of sizes that keep a signal alive."""
    weights = {}
    for name, shape in official_shapes(PRESETS["vda-small-causal"]).items():
        if len(shape) == 1 and name.endswith(("weight", "gamma")):
            weights[name] = torch.ones(shape)
        elif len(shape) == 1:
            weights[name] = torch.full(shape, 0.05)
        else:
            weights[name] = torch.randn(shape) / max(1, math.prod(shape[1:])) ** 0.5
    return weights


def test_the_readme_shows_commands_and_snippets():
    verbs = ("run", "eval", "export", "parity", "bench", "calibrate", "info")
    assert {c.split()[0] for c in COMMANDS} == {f"vmdepth-{verb}" for verb in verbs}
    assert len(SNIPPETS) == 2


def no_engine_here():
    """Why the README's engine cannot be made on this machine; None where it can."""
    if not find_spec("tensorrt_rtx"):
        return "tensorrt_rtx is not installed"
    gpu = find_gpu()
    if gpu is None:
        return None
    import tensorrt_rtx

    if f"SM{gpu.capability.replace('.', '')}" not in tensorrt_rtx.ComputeCapability.__members__:
        return f"TensorRT-RTX builds nothing for this {gpu.name} ({gpu.capability})"
    return None if find_spec("pycuda") else f"the engine would be run on this {gpu.name}, which takes pycuda"


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command, folder):
    if "tiny.engine" in command and (reason := no_engine_here()):
        pytest.skip(reason)
    smaller = {
        "rendered:64": "rendered:1",
        "vda.onnx --size 196x252": "vda.onnx --size 56x70",
        "tiny.onnx --size 196x252": "tiny.onnx --size 98x126",
    }  # minutes otherwise
    for shown, tried in smaller.items():
        command = command.replace(shown, tried)
    program, *arguments = shlex.split(command)
    script = Path(sys.executable).parent / program
    done = subprocess.run([script, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("snippet", SNIPPETS, ids=["runtime", "network"])
def test_snippet(snippet, folder):
    done = subprocess.run([sys.executable, "-c", snippet], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
