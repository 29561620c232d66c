"""What README, docs and docstrings tell to type works as it stands there: lines for a shell, Python, the notebook.

A line for a shell that cannot be run here says why in its comment, where the reader sees it: "# needs a camera",
"# takes hours", "# installs torch". Such a comment on a line of its own stands for what is below it, up to an empty
line. What takes long is run where `SMALLER` makes it short. Python that needs what is not everywhere says so in its
first line.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from inspect import cleandoc
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

import vmdepth_calibrate
import vmdepth_export
import vmdepth_runtime
from vmdepth import checkpoint
from vmdepth.networks.multiview.presets import VIEW_PRESETS
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.official import depth_anything_3
from vmdepth.official.dpt_names import official_shapes
from vmdepth_runtime import bundled
from vmdepth_runtime.sessions.gpu import find_gpu
from vmdepth_runtime.stage_timer import StageTimer

HOUSE = Path(__file__).parents[1]
PAGES = [HOUSE / "README.md", *sorted((HOUSE / "docs").rglob("*.md"))]
NOTEBOOK = HOUSE / "docs" / "first_hour.ipynb"
DESCRIBED = [
    *(vmdepth_runtime, vmdepth_export, vmdepth_calibrate, StageTimer),
    *(getattr(vmdepth_runtime, name) for name in vmdepth_runtime.__all__),
]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
REASON = re.compile(r"#.*?\b((?:needs|takes|installs) .+)")
COMMAND = re.compile(
    r"vmdepth[- ](run|ros|info|train-motion|train|precompute|views|masks|eval|export|calibrate scale|calibrate|parity|"
    r"bench|verify)\b([^`#|&;\n]*)"
)

PLAIN = re.compile(r"vmdepth-[a-z-]+( ([\w./:=,+-]+|'[^']*'))*")  # a command of ours, and nothing that is the shell's

# Minutes otherwise: shown → tried.
SMALLER = {
    "rendered:64": "rendered:1x4",
    "rendered:2x16": "rendered:1x4",
    "rendered:1x8": "rendered:1x4",
    "vmdepth-bench ": "vmdepth-bench --frames 2 ",
    "vmdepth-views ": "vmdepth-views --process-res 56 ",
    "vmdepth-masks walk.mp4": "vmdepth-masks walk.mp4 --process-res 56",
    "vmdepth-export ": "vmdepth-export --proof-frames 8 ",
    'Path("tiny.onnx"))).agrees': 'Path("tiny.onnx"), frames=8)).agrees',
    "--size 196x252": "--size 56x70",
    "size=(196, 252)": "size=(56, 70)",
    "--size 252x336": "--size 56x70",
    "--input-size 252x336": "--input-size 56x70",
    "--model video_depth_anything_vits.pth": "--model video_depth_anything_vits.pth --input-size 56x70",
    "--model depth-anything/Video-Depth-Anything-Small": "--model depth-anything/Video-Depth-Anything-Small "
    "--input-size 56x70",
    "vmdepth-train quick ": "vmdepth-train quick steps=1 batch=1 validate_every=0 ",
    "--resume runs/quick steps=3200": "--resume runs/quick steps=2",
    "vmdepth-train-motion ": "vmdepth-train-motion --clips 1 --clip-length 2 --frames 1 --steps 1 --size 64x96 ",
    "vmdepth-train tiny ": "vmdepth-train tiny steps=1 batch=1 clip_length=2 size=56x70 ",
}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    number: int
    language: str
    text: str

    def __str__(self):
        return f"{self.page}-{self.number}"


def blocks_of(page):
    name = str(page.relative_to(HOUSE)).removeprefix("docs/").removesuffix(".md")
    return [Block(name, number, *found) for number, found in enumerate(FENCE.findall(page.read_text()))]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
SHELL = [block for block in BLOCKS if block.language == "sh"]
EXAMPLES = [
    Block(described.__name__, number, *found)
    for described in DESCRIBED
    for number, found in enumerate(FENCE.findall(cleandoc(described.__doc__ or "")))
]
PYTHON = [block for block in (*BLOCKS, *EXAMPLES) if block.language == "python"]


def lines_of(block):
    """Every line to type with the reason that the reader sees why it is not run, or None."""
    below = None
    for line in block.text.splitlines():
        reason = REASON.search(line)
        if line.startswith("#") or not line:
            below = reason and reason[1]
        else:
            yield line, reason[1] if reason else below


def smaller(text):
    for shown, tried in SMALLER.items():
        text = text.replace(shown, tried)
    return text


def no_engine_here():
    """Why engines cannot be made on this machine; None where they can."""
    if not find_spec("tensorrt_rtx"):
        return "tensorrt_rtx is not installed"
    gpu = find_gpu()
    if gpu is None:
        return None
    if "STAND_IN_GPUS" in os.environ:
        return f"the engine would be run on {gpu.name}, which TensorRT-RTX itself cannot use"
    import tensorrt_rtx

    if f"SM{gpu.capability.replace('.', '')}" not in tensorrt_rtx.ComputeCapability.__members__:
        return f"TensorRT-RTX builds nothing for this {gpu.name} ({gpu.capability})"
    return None if find_spec("cuda") else f"the engine would be run on this {gpu.name}, which takes cuda-bindings"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, serving_hub):
    """A folder in which the names that the pages use exist, and a hub that has the models they name. What one page
    makes is there for the next."""
    place, cache = tmp_path_factory.mktemp("documentation"), tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch, serving_hub() as hub:
        for name, value in {"XDG_CACHE_HOME": cache, "HF_HOME": cache / "hub", "HF_ENDPOINT": hub.url}.items():
            patch.setenv(name, str(value))
        hub.is_asked_here(patch, cache / "hub" / "hub")
        # What runs a checkpoint proves its graph for as long as it took to make it, and a measurement runs the whole of
        # the bundled clip in each of its rounds; here it is the lines that count.
        patch.setattr("vmdepth_export.conversion.proven_graph.PARITY_FRAMES", 33)
        patch.setattr("vmdepth_export.bench.measure.ROUNDS", 1)
        filled(place)
        for name, file in {
            "Video-Depth-Anything-Small": "video_depth_anything_vits.pth",
            "DA3-SMALL": "da3-small/model.safetensors",
        }.items():
            hub.files[f"depth-anything/{name}", Path(file).name] = (place / file).read_bytes()
        yield place


def filled(place):
    write_pictures(place)
    torch.manual_seed(0)
    for preset, names in {"tiny": ("runs/tiny/last", "tiny"), "edge": ("runs/quick/last", "edge")}.items():
        for name in names:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            checkpoint.save(place / f"{name}.safetensors", VideoDepth(PRESETS[preset]), preset)
    torch.manual_seed(0)  # weights whose depth is no nearly flat one, of which rounding would be a large share
    torch.save(weights(official_shapes(PRESETS["vda-small-causal"])), place / "video_depth_anything_vits.pth")
    write_view_network(place / "da3-small" / "model.safetensors")
    shutil.copy(bundled.MODEL, place / "edge.onnx")
    shutil.copy(HOUSE / "docs" / "coffee.jpg", place)


def write_pictures(place):
    """walk.mp4 and frames/ of the bundled clip; photo.jpg, photos/ of several sizes and videos/ of it, too."""
    for name in ("frames", "photos", "videos"):
        (place / name).mkdir()
    with av.open(str(bundled.CLIP)) as clip, av.open(str(place / "walk.mp4"), "w") as walk:
        stream = walk.add_stream("libx264", rate=30)
        picture = clip.streams.video[0]
        stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, "yuv420p"
        for index, frame in zip(range(8), clip.decode(video=0), strict=False):
            image = frame.to_ndarray(format="rgb24")
            walk.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            cv2.imwrite(str(place / "frames" / f"{index:03}.png"), np.ascontiguousarray(image[..., ::-1]))
        walk.mux(stream.encode(None))
    for number in range(3):
        size = np.s_[: image.shape[0] - 16 * number, : image.shape[1] - 32 * number, ::-1]
        cv2.imwrite(str(place / "photos" / f"{number}.jpg"), np.ascontiguousarray(image[size]))
    shutil.copy(place / "photos" / "0.jpg", place / "photo.jpg")
    (place / "camera.yaml").write_text(
        "image_width: 448\nimage_height: 336\nfx: 260\nfy: 260\ncx: 223.5\ncy: 167.5\n"
        "distortion_model: plumb_bob\ndistortion_coefficients: [-0.2, 0.05, 0.001, 0.0, 0.0]\n"
    )
    for name in ("videos/front.mp4", "videos/rear.mp4", "more.mp4"):
        shutil.copy(place / "walk.mp4", place / name)


def weights(shapes):
    """For names of an official file, of sizes that keep a signal alive."""
    made = {}
    for name, shape in shapes.items():
        if name.endswith("gamma"):
            made[name] = torch.full(shape, 0.1)  # blocks that add as much as they are given are ill conditioned
        elif len(shape) == 1 and name.endswith("weight"):
            made[name] = torch.ones(shape)
        elif len(shape) == 1:
            made[name] = torch.full(shape, 0.05)
        else:
            made[name] = torch.randn(shape) / max(1, math.prod(shape[1:])) ** 0.5
    return made


def write_view_network(path):
    """An official file of Depth Anything 3 small, its weights random."""
    from safetensors.torch import save_file

    network = depth_anything_3.empty(replace(VIEW_PRESETS["small"], camera_encoder=True, camera_decoder=True))
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    named = {official: shapes[ours] for ours, official in depth_anything_3.official_names(network).items()}
    path.parent.mkdir()
    save_file(weights(named | depth_anything_3.unused_shapes(network)), path)


@pytest.fixture(scope="module")
def typed():
    """Lines that were run already: a page that repeats one need not wait for it again."""
    return set()


def test_every_block_says_its_language():
    assert {block.language for block in BLOCKS} <= {"sh", "python", "text"}
    assert len(SHELL) > 15
    assert len(EXAMPLES) >= 12  # most of what is public has one


def commands():
    scripts = [script for script in entry_points(group="console_scripts") if script.name.startswith("vmdepth-")]
    modules = [import_module(script.module) for script in scripts]
    found = [one for module in modules for one in (module.command, *getattr(module, "subcommands", {}).values())]
    return {command.name.removeprefix("vmdepth-"): command for command in found}


def test_pages_show_every_command():
    shown = {verb for block in SHELL for verb, _ in COMMAND.findall(block.text)}
    assert shown == set(commands())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_options_exist(page):
    """Of commands in blocks, run here or not, and in the text around them."""
    known = commands()
    for verb, arguments in COMMAND.findall(page.read_text()):
        options = {name for option in known[verb].params for name in (*option.opts, *option.secondary_opts)}
        own = arguments.partition("--ros-args")[0]  # what follows is ROS's
        assert set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", own)) - options - {"--help"} == set(), arguments


def test_the_site_shows_every_option_of_every_command_and_links_to_nothing_outside():
    spec = spec_from_file_location("hooks", HOUSE / "docs" / "site" / "hooks.py")
    hooks = module_from_spec(spec)
    spec.loader.exec_module(hooks)
    page = hooks.on_page_markdown(hooks.COMMANDS)
    for verb, command in commands().items():
        section = page.partition(f"## vmdepth-{verb}\n")[2].partition("\n## ")[0]
        assert {
            name for option in command.params for name in option.opts if name[0] == "-" and name not in section
        } == set()
    assert hooks.on_page_markdown("[`a.py`](../vmdepth/a.py), [b](b.md)") == "`a.py`, [b](b.md)"


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_shell(block, folder, typed, monkeypatch):
    reasons, run = [], []
    for line, reason in lines_of(block):
        if ".engine" in line and not reason:
            reason = no_engine_here()
        if reason and not (reason.startswith("takes") and smaller(line) != line):
            reasons.append(reason)
        elif (command := " ".join(line.partition("#")[0].split())) not in typed:
            run.append(command)
    if reasons and not run:
        pytest.skip("; ".join(dict.fromkeys(reasons)))
    typed.update(run)
    script = smaller("\n".join(run))
    if all(map(PLAIN.fullmatch, script.splitlines())):
        for line in script.splitlines():
            called(line, folder, monkeypatch)
    else:
        in_a_shell(script, folder)


def in_a_shell(script, folder):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def called(line, folder, monkeypatch):
    """A line of one command, as its script calls it (`runtime/test_cli.py` starts those): another process would import
    torch once more."""
    words = shlex.split(line)
    (script,) = entry_points(group="console_scripts", name=words[0])
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as end:
        script.load()()
    assert not end.value.code, line


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python(block, folder, monkeypatch):
    if reason := REASON.search(block.text.partition("\n")[0]):
        pytest.skip(reason[1])
    monkeypatch.chdir(folder)
    exec(compile(smaller(block.text), str(block), "exec"), {"__name__": "__main__"})


def test_notebook(folder, monkeypatch, tmp_path):
    import nbclient
    import nbformat

    for name in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()


def test_notebook_is_stored_without_what_it_printed():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
