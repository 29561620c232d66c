"""vmdepth-info says what is here, and what a model is."""

import json
import subprocess
import sys

import pytest

from vmdepth import checkpoint
from vmdepth.training import run_folder
from vmdepth_export.info import environment, runs
from vmdepth_runtime import bundled
from vmdepth_runtime.errors import NO_ONNXRUNTIME
from vmdepth_runtime.sessions.onnx_runtime import build


def vmdepth_info(*arguments):
    command = [sys.executable, "-m", "vmdepth_export.info.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_this_machine():
    done = vmdepth_info()
    assert done.returncode == 0, done.stderr
    for line in ("Python", "ONNX Runtime", "CPUExecutionProvider: loads", "GPU", "TensorRT"):
        assert line in done.stdout


def test_a_listed_provider_that_does_not_load(monkeypatch):
    import onnxruntime

    lacking = next(p for p in onnxruntime.get_all_providers() if p not in onnxruntime.get_available_providers())
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [lacking])
    told = dict(environment.environment_facts()[::-1])[""]
    assert told.startswith(f"{lacking}: listed, but does not load (")


def told_of(facts, name):
    """The lines under a name."""
    names = [entry[0] or None for entry in facts]
    first = names.index(name)
    last = next((k for k in range(first + 1, len(names)) if names[k]), len(names))
    return [value for _, value in facts[first:last]]


def test_gpus_and_the_build_that_uses_them(standing_in, stand_in_onnxruntime):
    with standing_in(gpus="2", memory=str(8 << 30)), stand_in_onnxruntime(starts=["CUDAExecutionProvider"]):
        facts = environment.environment_facts()
    assert told_of(facts, "ONNX Runtime")[1:] == [
        "TensorrtExecutionProvider: listed, but does not load (it gives no reason)",
        "CUDAExecutionProvider: loads",
        "CPUExecutionProvider: loads",
        "step graphs run on cuda unless --device says otherwise",
    ]
    assert told_of(facts, "ONNX Runtime")[0].endswith(", for CUDA 12.8)")
    assert told_of(facts, "GPU") == [f"{k}: Stand-in {k}, compute capability 8.9, 8,192 MiB" for k in (0, 1)]
    assert told_of(facts, "CUDA driver") == ["up to CUDA 13.0"]


def test_a_provider_is_tried_with_one_node_and_not_with_a_network(standing_in, stand_in_onnxruntime, monkeypatch):
    """TensorRT's builds an engine as a session begins: minutes for a network on a board."""
    import onnx

    monkeypatch.setattr(bundled, "MODEL", None)
    with standing_in(), stand_in_onnxruntime():
        told = told_of(environment.environment_facts(), "ONNX Runtime")
    assert told[1:4] == [f"{name}ExecutionProvider: loads" for name in ("Tensorrt", "CUDA", "CPU")]
    probe = onnx.load_from_string(environment._PROBE)
    onnx.checker.check_model(probe, full_check=True)
    assert [node.op_type for node in probe.graph.node] == ["Relu"]


def test_what_keeps_a_build_from_a_gpu(standing_in, stand_in_onnxruntime, monkeypatch):
    with standing_in(cuda="12080"), stand_in_onnxruntime(cuda="13.0"):
        told = " ".join(told_of(environment.environment_facts(), "ONNX Runtime"))
    assert "CUDAExecutionProvider: listed, but does not load (the driver of Stand-in 0 runs CUDA up to 12.8" in told
    with standing_in(gpus="0"):
        facts = environment.environment_facts()
    assert told_of(facts, "GPU")[0].startswith(
        "none that can be used: NVIDIA's driver finds none (CUDA_ERROR_NO_DEVICE)"
    )
    monkeypatch.setattr(build, "installed_builds", lambda: {"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.31.1"})
    told = told_of(environment.environment_facts(), "ONNX Runtime")[-1]
    assert told.startswith("onnxruntime 1.32.0 and onnxruntime-gpu 1.31.1 are both installed")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert told_of(environment.environment_facts(), "ONNX Runtime") == [NO_ONNXRUNTIME]


@pytest.mark.parametrize(
    ("release", "told"),
    [
        ("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic", "6.1 or 6.2 (Linux for Tegra 36.4.3)"),
        ("# R99 (release), REVISION: 1.0", "unknown (Linux for Tegra 99.1.0)"),
    ],
)
def test_jetpack(release, told, tmp_path, monkeypatch):
    file = tmp_path / "nv_tegra_release"
    file.write_text(release)
    monkeypatch.setattr(environment, "_L4T", file)
    assert environment.find_jetpack() == told


def test_a_step_graph():
    done = vmdepth_info(bundled.MODEL)
    assert done.returncode == 0, done.stderr
    for line in ("step graph", "7 recurrent", "float32", "relative inverse depth", "ONNX Runtime on CPU", "as written"):
        assert line in done.stdout


@pytest.mark.parametrize("part", ["weight", "contract"])
def test_a_damaged_step_graph(part, tmp_path):
    content = bytearray(bundled.MODEL.read_bytes())
    content[1_000_000 if part == "weight" else content.index(b'"keyframes"') + 1] ^= 1
    path = tmp_path / "damaged.onnx"
    path.write_bytes(content)
    done = vmdepth_info(path)
    assert done.returncode == 2
    assert f"{path}: is not as it was written" in done.stderr


def test_bad_input_in_one_line(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    fake = tmp_path / "fake.onnx"
    fake.write_text("hello")
    for path in (tmp_path / "missing.onnx", text, fake):
        done = vmdepth_info(path)
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
        assert str(path) in done.stderr


def test_a_checkpoint_is_told_by_its_name_and_family(network, tmp_path):
    checkpoint.save(tmp_path / "net.safetensors", network, "edge")
    done = vmdepth_info(tmp_path / "net.safetensors")
    assert done.returncode == 0, done.stderr
    assert "network       edge, vmdepth-train's own\n" in done.stdout


def test_a_run_is_told_by_what_it_reached_and_what_comes_next(network, tmp_path):
    assert (runs.SETTINGS, runs.STATE) == (run_folder.SETTINGS, run_folder.STATE)
    assert runs.CHECKPOINTS["last"] == run_folder.MODEL
    folder = tmp_path / "my run"
    folder.mkdir()
    (folder / runs.SETTINGS).write_text(json.dumps({"preset": "edge", "data": "rendered", "steps": 2000}))
    done = vmdepth_info(folder)
    assert done.returncode == 0
    assert "steps   none saved yet, of 2,000\nnext    start it again" in done.stdout
    found = {"delta1": 0.91, "absrel": 0.083, "rmse": 2.0}
    checkpoint.save(folder / "best.safetensors", network, "edge", {"steps_done": 900, "held_out": found})
    checkpoint.save(folder / run_folder.MODEL, network, "edge", {"steps_done": 1200})
    (folder / run_folder.STATE).touch()
    done = vmdepth_info(folder)
    assert done.stdout.splitlines() == [
        f"run     {folder}",
        "preset  edge",
        "data    rendered",
        "steps   1,200 of 2,000",
        f"best    {folder}/best.safetensors, step 900; on held-out clips δ1 0.910, AbsRel 0.083",
        f"last    {folder}/last.safetensors, step 1,200",
        f"next    vmdepth-train --out '{folder}' --resume",
        f"        vmdepth-eval '{folder}/best.safetensors' rendered",
        f"        vmdepth-export '{folder}/best.safetensors' -o 'my run.onnx'",
    ]


def test_a_run_is_told_without_torch(network, tmp_path):
    (tmp_path / runs.SETTINGS).write_text("{}")
    checkpoint.save(tmp_path / run_folder.MODEL, network, "edge", {"steps_done": 1200})
    code = "import sys; sys.modules['torch'] = None; from vmdepth_export import InfoSettings, describe; "
    code += "from pathlib import Path; print(describe(InfoSettings(Path(sys.argv[1]))))"
    words = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "step 1,200" in done.stdout, done.stderr


def test_a_folder_of_no_run_and_one_that_is_damaged_get_one_line(tmp_path):
    for name, content in ((None, None), (runs.SETTINGS, "no JSON"), (runs.SETTINGS, "[1]")):
        if name:
            (tmp_path / name).write_text(content)
        done = vmdepth_info(tmp_path)
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
    (tmp_path / runs.SETTINGS).write_text("{}")
    (tmp_path / run_folder.MODEL).write_bytes(b"damaged")
    done = vmdepth_info(tmp_path)
    assert done.returncode == 2
    assert "last.safetensors: not a checkpoint of vmdepth-train, or damaged" in done.stderr
