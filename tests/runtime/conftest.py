"""A small real step graph, small real videos, and the command as a user meets it."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from vmdepth_runtime.contract import METADATA_KEY, StateSpec, StepContract
from vmdepth_runtime.integrity import seal

HEIGHT, WIDTH = 28, 42
LUMA = (0.25 / 256, 0.5 / 256, 0.25 / 256)  # powers of two: what the graph computes, NumPy computes to the last bit


@pytest.fixture
def free_port() -> int:
    """One of this machine that nothing listens on, and that the system gives to nobody who asks for any."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", random.randrange(10_000, 32_000)))
            return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def nan_on_white() -> Callable[[Any], None]:
    """For `build_graph(touch=...)`: the graph gives NaN, its states included, for a picture that is all white; of
    others nothing changes by a bit."""

    def touch(model: Any) -> None:
        from onnx import helper, numpy_helper

        nodes = model.graph.node
        place = next(k for k, node in enumerate(nodes) if node.output[0] == "grey")
        nodes[place].output[0] = "plain"
        added = [
            helper.make_node("ReduceMean", ["rgb", "whole"], ["level"], keepdims=1),
            helper.make_node("Sub", ["limit", "level"], ["below"]),
            helper.make_node("Sqrt", ["below"], ["root"]),  # of a negative number: NaN
            helper.make_node("Mul", ["root", "zero"], ["nothing"]),
            helper.make_node("Squeeze", ["nothing", "last"], ["added"]),
            helper.make_node("Add", ["plain", "added"], ["grey"]),
        ]
        for offset, node in enumerate(added):
            nodes.insert(place + 1 + offset, node)
        for name, value in (
            ("whole", np.array([1, 2, 3], np.int64)),
            ("limit", np.array([250], np.float32)),
            ("zero", np.array([0], np.float32)),
        ):
            model.graph.initializer.append(numpy_helper.from_array(value, name))

    return touch


@dataclass(frozen=True)
class Outcome:
    """How a command ended: exit code and lines on stderr."""

    code: int
    lines: list[str]


@pytest.fixture(scope="session")
def build_graph(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a step graph whose depth is the running mean of luma: state' = (luma + state) / 2, depth = state'.

    streams, contract changes (`changes`) and a last touch on the ONNX model (`touch`) are the caller's. Of
    `extra_outputs`, confidence is 1 + red / 256, sky is green / 256, pose the mean colour, three times, and dynamic
    eight times the change of luma since the frame before, at most 1, and 0 of the first frame.
    """
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    def build(*, streams: int = 1, touch: Callable[[Any], None] | None = None, **changes: Any) -> Path:
        shape = (streams, HEIGHT, WIDTH)
        constants = {
            "luma": np.array(LUMA, np.float32),
            "half": np.array([0.5], np.float32),
            "one": np.array([1], np.float32),
            "eps": np.array([1e-6], np.float32),
            "last": np.array([3], np.int64),
            "plane": np.array([1, 2], np.int64),
            "red": np.array([1 / 256, 0, 0], np.float32),
            "least": np.array(0, np.float32),
            "unit": np.array(1, np.float32),
            "eight": np.array([8], np.float32),
            "column": np.array([-1, 1, 1], np.int64),
            "green": np.array([0, 1 / 256, 0], np.float32),
        }
        ssm, counter, before = "layer_2.0.ssm", "counter", "dynamic.luma"
        extra_outputs = changes.get("extra_outputs", ())
        remembered = (StateSpec(before, shape),) if "dynamic" in extra_outputs else ()
        facts: dict[str, Any] = {
            "model": "luma",
            "weights_hash": "0123abcd",
            "height": HEIGHT,
            "width": WIDTH,
            "streams": streams,
            "states": (StateSpec(ssm, shape), StateSpec(counter, (streams,)), *remembered),
            "extra_outputs": extra_outputs,
        }
        plain = StepContract(**facts)
        inputs, outputs = plain.inputs, plain.outputs
        nodes = [
            helper.make_node("Cast", ["frame"], ["rgb"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["rgb", "luma"], ["weighted"]),
            helper.make_node("ReduceSum", ["weighted", "last"], ["grey"], keepdims=0),
            helper.make_node("Add", ["grey", f"state.{ssm}"], ["sum"]),
            helper.make_node("Mul", ["sum", "half"], [f"next.{ssm}"]),
            helper.make_node("Identity", [f"next.{ssm}"], ["depth"]),
            helper.make_node("Add", [f"state.{counter}", "one"], [f"next.{counter}"]),
            helper.make_node("ReduceMean", ["rgb", "plane"], ["mean"], keepdims=0),
            helper.make_node("LpNormalization", ["mean"], ["descriptor"], axis=1, p=2),
            helper.make_node("Sub", [f"next.{ssm}", f"state.{ssm}"], ["moved"]),
            helper.make_node("ReduceL2", ["moved", "plane"], ["moved_norm"], keepdims=0),
            helper.make_node("ReduceL2", [f"state.{ssm}", "plane"], ["norm"], keepdims=0),
            helper.make_node("Add", ["norm", "eps"], ["norm_eps"]),
            helper.make_node("Div", ["moved_norm", "norm_eps"], ["state_change"]),
        ]
        extra = {
            "confidence": [
                helper.make_node("Mul", ["rgb", "red"], ["reds"]),
                helper.make_node("ReduceSum", ["reds", "last"], ["summed"], keepdims=0),
                helper.make_node("Add", ["summed", "one"], ["confidence"]),
            ],
            "sky": [
                helper.make_node("Mul", ["rgb", "green"], ["greens"]),
                helper.make_node("ReduceSum", ["greens", "last"], ["sky"], keepdims=0),
            ],
            "pose": [helper.make_node("Concat", ["mean", "mean", "mean"], ["pose"], axis=1)],
            "dynamic": [
                helper.make_node("Identity", ["grey"], [f"next.{before}"]),
                helper.make_node("Sub", ["grey", f"state.{before}"], ["change"]),
                helper.make_node("Abs", ["change"], ["size"]),
                helper.make_node("Clip", [f"state.{counter}", "least", "unit"], ["begun"]),
                helper.make_node("Reshape", ["begun", "column"], ["begun_column"]),
                helper.make_node("Mul", ["size", "begun_column"], ["seen"]),
                helper.make_node("Mul", ["seen", "eight"], ["strong"]),
                helper.make_node("Clip", ["strong", "least", "unit"], ["dynamic"]),
            ],
        }
        nodes += [node for name in extra_outputs for node in extra[name]]
        lengths = {"descriptor": len(LUMA), "pose": 3 * len(LUMA)}
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            nodes,
            "luma",
            [value(name, helper.np_dtype_to_tensor_dtype(np.dtype(s.dtype)), s.shape) for name, s in inputs.items()],
            [value(name, TensorProto.FLOAT, [n or lengths[name] for n in s.shape]) for name, s in outputs.items()],
            [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        helper.set_model_props(model, {METADATA_KEY: StepContract(**{**facts, **changes}).to_json()})
        onnx.checker.check_model(model, full_check=True)
        if touch is not None:
            touch(model)
        path = tmp_path_factory.mktemp("graph") / "luma.onnx"
        content = model.SerializeToString()
        path.write_bytes(content + seal(content))
        return path

    return build


@pytest.fixture(scope="session")
def luma_model(build_graph: Callable[..., Path]) -> Path:
    return build_graph()


def noise(count: int, height: int = 48, width: int = 64, seed: int = 0) -> NDArray[np.uint8]:
    """Frames uint8 `[count, height, width, 3]`: smooth, moving, no two alike."""
    x = np.linspace(0, 1, width)[None, None, :, None]
    y = np.linspace(0, 1, height)[None, :, None, None]
    t = np.arange(count)[:, None, None, None] / 20
    phase = np.random.default_rng(seed).uniform(0, 6, 3)
    return (127 + 120 * np.sin(7 * x + 4 * y + 5 * t + phase)).astype(np.uint8)


def write_video(
    path: Path,
    images: NDArray[np.uint8],
    *,
    ticks: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 30),
    codec: str = "libx264",
    damage: Callable[[int, bytes], bytes] | None = None,
    **options: str,
) -> Path:
    """Encode images `[N, H, W, 3]` at the given times. damage: what becomes of packet k. options: the muxer's."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=30)
        layout = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.height, stream.width, stream.pix_fmt = *images.shape[1:3], layout
        stream.codec_context.time_base = time_base
        packets = []
        for k, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image).reformat(format=layout)
            frame.pts, frame.time_base = k if ticks is None else ticks[k], time_base
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for k, packet in enumerate(packets):
            if damage is not None:
                content = bytes(packet)
                broken = av.Packet(damage(k, content))
                broken.pts, broken.dts, broken.time_base = packet.pts, packet.dts, packet.time_base
                broken.duration, broken.is_keyframe, broken.stream = packet.duration, packet.is_keyframe, stream
                packet = broken
            container.mux(packet)
    return path


def write_image(path: Path, image: NDArray[np.uint8]) -> Path:
    """A PNG or JPEG of one image `[H, W, 3]` RGB."""
    import cv2

    assert cv2.imwrite(str(path), image[..., ::-1])
    return path


@dataclass(frozen=True)
class Make:
    """The builders above, for tests: `--import-mode=importlib` keeps them from being imported."""

    noise: Callable[..., NDArray[np.uint8]]
    video: Callable[..., Path]
    image: Callable[..., Path]


@pytest.fixture(scope="session")
def make() -> Make:
    return Make(noise, write_video, write_image)


@pytest.fixture(scope="session")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 frames of 128×96."""
    images = noise(200, 96, 128)
    return write_video(tmp_path_factory.mktemp("long") / "long.mp4", np.concatenate([images] * 10))


@pytest.fixture
def vmdepth_run(
    luma_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Run the command in this process, in `tmp_path`, with the small model unless another is named."""
    from vmdepth_runtime.cli import run_command
    from vmdepth_runtime.pipeline.cli import command

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Outcome:
        words = [str(a) for a in arguments]
        if "--model" not in words:
            words += ["--model", str(luma_model)]
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            run_command(command, words)
        captured = capfd.readouterr()
        assert captured.out == ""
        return Outcome(int(end.value.code or 0), captured.err.splitlines())

    return run


# What stands in for a machine with the base install only.
_WITHOUT_TRAINING = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "onnx", "vmdepth", "vmdepth_export"):
            raise ImportError(f"{name} is not in the base install")
sys.meta_path.insert(0, Blocked())
"""


@pytest.fixture(scope="session")
def start_bare() -> Callable[..., subprocess.Popen[str]]:
    """Start Python code in a fresh process in which torch, onnx and vmdepth cannot be imported."""

    def start(code: str, *arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
        # As from a terminal: what is started in the background is born deaf to Ctrl-C.
        listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        words = [sys.executable, "-c", listen + _WITHOUT_TRAINING + code, *map(str, arguments)]
        return subprocess.Popen(words, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start
