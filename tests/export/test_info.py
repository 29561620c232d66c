"""vmdepth-info says what is here, and what a model is."""

import subprocess
import sys

import pytest

from vmdepth_export.info import environment
from vmdepth_runtime import bundled


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
    assert ("", f"{lacking}: listed, but does not load") in environment.environment_facts()


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
