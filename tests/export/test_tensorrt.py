"""The way to an engine of TensorRT and through it, on a stand-in for TensorRT and a GPU (`tests/stand_ins`)."""

from __future__ import annotations

import os
import resource
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from vmdepth_export import engine as engine_module
from vmdepth_export.conversion import proven_engine
from vmdepth_export.conversion.cli import command
from vmdepth_export.conversion.proven_engine import build_engine
from vmdepth_export.engine import BuildSettings
from vmdepth_export.parity.cli import command as parity
from vmdepth_export.parity.comparison import compare
from vmdepth_export.parity.frames import clip_frames
from vmdepth_runtime import bundled
from vmdepth_runtime.errors import MissingLibrary, WorkError
from vmdepth_runtime.sessions.engine_sidecar import read_sidecar, sidecar_of
from vmdepth_runtime.sessions.load import load_session
from vmdepth_runtime.sessions.tensorrt import TensorrtSession

GRAPH = Path(bundled.MODEL)


@pytest.fixture
def output(building, tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "edge.engine"


def build(output, frames=2, **settings):
    return build_engine(GRAPH, output, BuildSettings("tensorrt", **settings), frames)


def names(output):
    return sorted(path.name for path in output.parent.iterdir())


def test_an_engine_steps_as_its_graph_does_states_included(output):
    assert build(output)
    with load_session(GRAPH, device="cpu") as reference, load_session(output) as candidate:
        assert compare(reference, candidate, clip_frames(20, 192, 272, 1)).agrees


def test_the_command_proves_an_engine_and_builds_it_once(output, run):
    arguments = (GRAPH, "-o", output, "--proof-frames", 3)
    code, told = run(command, *arguments)
    assert code == 0, told
    assert f"{output}: 9.5 MB, tensorrt 10.16.1, compute capability 8.9" in told
    assert f"agrees with {GRAPH} over 3 frames: depth " in told
    assert "reported to build engines" not in told
    assert names(output) == ["edge.engine", "edge.engine.json"]
    contract, facts = read_sidecar(output)
    assert (contract.parity["frames"], contract.parity["reference"]) == (3, GRAPH.name)
    assert (facts.cuda, facts.capabilities, facts.tf32) == ("13.0", ("8.9",), False)
    assert facts.tensors["frame"] == ["uint8", 1, 192, 272, 3]
    code, told = run(parity, GRAPH, output, "--frames", 3)
    assert (code, "agree over 3 frames" in told) == (0, True)
    before = output.stat().st_mtime_ns
    code, told = run(command, *arguments)
    assert (code, output.stat().st_mtime_ns) == (0, before)
    assert "is up to date (tensorrt 10.16.1, compute capability 8.9)" in told


def test_what_makes_it_be_built_again(output, monkeypatch):
    import tensorrt

    assert build(output)
    assert not build(output)
    assert build(output, workspace=64)
    monkeypatch.setattr(tensorrt, "__version__", "10.16.2")
    assert build(output, workspace=64)
    sidecar_of(output).unlink()
    assert build(output, workspace=64)
    output.write_bytes(output.read_bytes()[:-1])
    assert build(output, workspace=64)
    assert not build(output, workspace=64)


def test_timings_are_kept_from_build_to_build_unless_they_are_damaged(output, building):
    assert build(output)
    (kept,) = building.iterdir()
    assert kept.name == "timing-tensorrt-10.16.1-sm8.9-cuda13.0.cache"
    assert kept.read_bytes() == b"stand-in timings ."
    assert build(output, workspace=64)
    assert kept.read_bytes() == b"stand-in timings .."
    kept.write_bytes(b"something else")
    assert build(output)
    assert kept.read_bytes() == b"stand-in timings ."


def test_a_cache_that_is_full_costs_no_engine(output, building, monkeypatch):
    def full(path, content):
        raise WorkError(f"{path}: cannot be written (No space left on device); is the disk full?")

    monkeypatch.setattr(engine_module, "write_whole", full)
    assert build(output)
    assert list(building.iterdir()) == []


def test_how_far_a_build_is(output):
    heard, settings = [], BuildSettings("tensorrt")

    class Stages:
        @contextmanager
        def stage(self, doing):
            yield lambda done, total, part="": heard.append((doing, done, total, part))

    build_engine(GRAPH, output, settings, 2, Stages())
    doing = "builds edge.engine with tensorrt"
    assert [told[1:] for told in heard if told[0] == doing] == [
        *((0, 2, f"Choosing kernels {step}/3") for step in (1, 2, 3)),
        (1, 2, ""),
        (2, 2, ""),
    ]


def test_ctrl_c_stops_the_builder_and_leaves_nothing(output):
    class Stages:
        @contextmanager
        def stage(self, doing):
            def moved(done, total, part=""):
                if part == "Choosing kernels 2/3":
                    os.kill(os.getpid(), signal.SIGINT)

            yield moved

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        build_engine(GRAPH, output, BuildSettings("tensorrt"), 2, Stages())
    assert names(output) == []
    assert signal.getsignal(signal.SIGINT) is before


def test_a_version_that_is_known_to_be_wrong_is_warned_of(output, run, monkeypatch):
    import tensorrt

    monkeypatch.setattr(tensorrt, "__version__", "10.3.0")
    code, told = run(command, GRAPH, "-o", output, "--proof-frames", 2)
    assert code == 0
    assert f"{output}: TensorRT 10.3.0 is reported to build engines of this family of networks that run and are" in told


def test_tensorrt_11_makes_networks_of_no_other_kind(output, monkeypatch):
    import enum

    import tensorrt

    monkeypatch.setattr(tensorrt, "__version__", "11.4.1")
    assert build(output)  # its flag is there still, and given
    monkeypatch.setattr(tensorrt, "NetworkDefinitionCreationFlag", enum.IntEnum("NetworkDefinitionCreationFlag", []))
    flags = []
    create = tensorrt.Builder.create_network
    monkeypatch.setattr(
        tensorrt.Builder, "create_network", lambda builder, given=0: flags.append(given) or create(builder, given)
    )
    assert build(output, workspace=64)
    assert flags == [0]
    assert read_sidecar(output)[1].version == "11.4.1"


@pytest.fixture
def rtx(output, monkeypatch):
    """TensorRT-RTX on the stand-ins."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "stand_ins" / "rtx")
    monkeypatch.delitem(sys.modules, "tensorrt_rtx", raising=False)
    import tensorrt_rtx

    yield tensorrt_rtx
    sys.modules.pop("tensorrt_rtx")


def test_an_engine_of_tensorrt_rtx_is_captured_by_the_library(rtx, output, stand_in_gpu, building):
    assert build_engine(GRAPH, output, BuildSettings("tensorrt-rtx"), 3)
    launched = stand_in_gpu.count("GRAPHS")
    with load_session(GRAPH, device="cpu") as reference, load_session(output) as candidate:
        assert compare(reference, candidate, clip_frames(5, 192, 272, 1)).agrees
        assert {context._strategy for context in candidate._contexts} == {rtx.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE}
        assert candidate.captured is None  # it does not say
    with TensorrtSession(output, graphs=False) as session:
        assert {context._strategy for context in session._contexts} == {rtx.CudaGraphStrategy.DISABLED}
        assert session.captured is False
    assert stand_in_gpu.count("GRAPHS") == launched
    assert not building.exists()
    assert read_sidecar(output)[1].capabilities == ("8.9",)


@pytest.fixture
def small_disk():
    """`with small_disk(bytes):` no file can grow beyond that."""

    @contextmanager
    def limit(size):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


def test_a_disk_that_is_full_is_one_line_and_leaves_what_was_there(output, run, small_disk):
    assert build(output)
    before = output.read_bytes(), sidecar_of(output).read_bytes()
    with small_disk(1_000_000):
        code, told = run(command, GRAPH, "-o", output, "--workspace", 64, "--proof-frames", 1)
    assert code == 1
    assert told.splitlines()[-1] == f"vmdepth-export: {output}: cannot be written (File too large); is the disk full?"
    assert names(output) == ["edge.engine", "edge.engine.json"]
    assert (output.read_bytes(), sidecar_of(output).read_bytes()) == before


def test_what_goes_wrong_with_a_file_in_a_proof_is_told_of_that_file_and_leaves_nothing(output, monkeypatch):
    def lost(*_):
        raise FileNotFoundError(2, "No such file or directory", "clip.mp4")

    monkeypatch.setattr(proven_engine, "_prove", lost)
    with pytest.raises(FileNotFoundError, match=r"clip\.mp4"):
        build(output)
    assert names(output) == []


@pytest.mark.parametrize("target", ["tensorrt", "tensorrt-rtx"], ids="for {}".format)
def test_without_cuda_bindings_nothing_is_built_that_could_not_be_proven(target, rtx, output, monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", None)
    monkeypatch.setattr(proven_engine, "compile_graph", lambda *_: pytest.fail("it was built"))
    with pytest.raises(MissingLibrary, match="pip install cuda-bindings"):
        build_engine(GRAPH, output, BuildSettings(target))
    assert names(output) == []


def test_a_builder_that_gives_up_says_why(output, run, monkeypatch):
    import tensorrt

    def give_up(builder, network, config):
        builder._logger.log(tensorrt.ILogger.Severity.WARNING, "this is no reason")
        builder._logger.log(tensorrt.ILogger.Severity.ERROR, "Could not find\n any implementation")

    monkeypatch.setattr(tensorrt.Builder, "build_serialized_network", give_up)
    code, told = run(command, GRAPH, "-o", output)
    assert code == 1
    assert told.splitlines()[-1].endswith(f"{GRAPH}: tensorrt built no engine of it: Could not find any implementation")
    assert names(output) == []


@pytest.mark.parametrize(
    ("capabilities", "told"),
    [
        (("8.6",), "--target tensorrt: builds for the GPU of this machine alone, which is 8.9"),
        (("8.9",), None),
    ],
)
def test_it_builds_for_this_gpu_alone(output, run, capabilities, told):
    options = [word for name in capabilities for word in ("--compute-capability", name)]
    code, line = run(command, GRAPH, "-o", output, "--proof-frames", 1, *options)
    assert (code, told is None or line.splitlines()[-1].endswith(told)) == (0 if told is None else 2, True)


def test_an_engine_of_another_machine_is_refused_by_every_command(building, standing_in, tmp_path, run):
    from vmdepth_runtime.pipeline.cli import command as runs

    output = tmp_path / "edge.engine"
    with standing_in(capability="8.7"):
        assert build(output)
    with standing_in(capability="11.0"):
        for told in (
            run(parity, GRAPH, output),
            run(runs, "demo", "-o", tmp_path / "x.npz", "--model", output),
        ):
            assert told[0] == 2
            line = f"{output}: built for compute capability 8.7, this Stand-in 0 has 11.0; build it again on this mach"
            assert line in told[1].splitlines()[-1]
