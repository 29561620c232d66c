"""A model is the same network by name, by path, from the cache and offline; every command takes the name."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants

import vmdepth
from vmdepth import checkpoint
from vmdepth.evaluation.evaluator import open_models
from vmdepth.networks.heads.base import NoHead
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.official.hub import local_file
from vmdepth.official.hub.models import MODELS
from vmdepth.training.settings.train_settings import TrainSettings
from vmdepth.training.setup import first_network
from vmdepth_calibrate import CalibrationSettings, calibrate
from vmdepth_export.conversion import kept_graph
from vmdepth_export.conversion.convert import export
from vmdepth_export.conversion.settings import ExportSettings
from vmdepth_export.info.describe import describe
from vmdepth_export.info.settings import InfoSettings
from vmdepth_export.parity.proof import compare_models
from vmdepth_export.parity.settings import ParitySettings
from vmdepth_runtime import DepthStream, InputError, bundled

NAME = Path("someone/edge:last.safetensors")
SIZE = (32, 48)
VKITTI = "depth-anything/Depth-Anything-V2-Metric-VKITTI-Small"


@pytest.fixture
def online(hub, tmp_path, monkeypatch):
    """The hub, as this process sees it, and empty caches."""
    hub.is_asked_here(monkeypatch, tmp_path / "hf")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return hub


@pytest.fixture
def by_path(online, tmp_path):
    """A checkpoint here, of the network that is exported fastest, which the hub has as NAME."""
    path = tmp_path / "last.safetensors"
    torch.manual_seed(0)
    checkpoint.save(path, VideoDepth(replace(PRESETS["edge"], head=NoHead(), taps=())), "edge")
    online.files["someone/edge", "last.safetensors"] = path.read_bytes()
    return path


def test_graphs_are_bit_equal_however_the_model_is_given_and_every_command_opens_it(
    by_path, online, tmp_path, monkeypatch
):
    def exported(source, output):
        export(ExportSettings(source, tmp_path / output, size=SIZE, proof_frames=1))
        return (tmp_path / output).read_bytes()

    graph = exported(by_path, "path.onnx")
    assert exported(NAME, "name.onnx") == graph
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    in_cache = local_file(NAME)  # which is all that a command sees of a name
    assert in_cache.is_relative_to(tmp_path / "hf") and in_cache.read_bytes() == by_path.read_bytes()
    assert vmdepth.load(NAME).name == "edge"
    assert compare_models(ParitySettings(NAME, tmp_path / "path.onnx", frames=1)).agrees
    assert open_models([NAME], None)[1] == vmdepth.load(by_path).config.usual_size
    assert len(online.downloads()) == 1


def test_what_is_kept_is_found_by_name_by_path_and_without_torch(by_path, online, tmp_path, capfd):
    with DepthStream(NAME, input_size=SIZE, keyframes=False) as stream:
        depth = stream(np.zeros((*SIZE, 3), np.uint8)).depth.copy()
        assert (
            stream.model
            == kept_graph.step_graph_of(by_path, SIZE, 1)
            == kept_graph.step_graph_of(local_file(NAME), SIZE, 1)
        )
    said = capfd.readouterr().err
    assert said.startswith(f"vmdepth: downloads {NAME}, ") and said.count("proven over") == 1
    with DepthStream(by_path, input_size=SIZE, keyframes=False) as stream:
        np.testing.assert_array_equal(stream(np.zeros((*SIZE, 3), np.uint8)).depth, depth)
    beside = by_path.with_name("config.json")  # as Hugging Face has it; it may say that depth is in metres
    beside.write_text(json.dumps({"depth_estimation_type": "relative"}))
    assert kept_graph.step_graph_of(by_path, SIZE, 1) == stream.model
    relative = kept_graph._key(by_path, SIZE, 1, False)
    beside.write_text(json.dumps({"depth_estimation_type": "metric", "max_depth": 20}))
    assert kept_graph._key(by_path, SIZE, 1, False) != relative
    code = "import sys; sys.modules['torch'] = None; from vmdepth_runtime.pipeline.cli import main; main()"
    words = ["demo", "--frames", "2", "--model", NAME, "--input-size", "32x48", "-o", tmp_path / "depth.npz"]
    settings = {
        "HF_HUB_CACHE": tmp_path / "hf",
        "HF_HUB_OFFLINE": "1",
        "XDG_CACHE_HOME": tmp_path / "cache",
        "PATH": "",
    }
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, env=settings
    )
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "depth.npz")["depth"].shape[0] == 2


def test_metres_are_told_by_the_name(online, official_weights, tmp_path):
    path = tmp_path / "depth_anything_v2_metric_vkitti_vits.pth"
    torch.save(official_weights("da2_vits"), path)
    online.files[VKITTI, path.name] = path.read_bytes()
    assert vmdepth.load(VKITTI).config.max_depth == 80
    facts = dict(describe(InfoSettings(Path(VKITTI))))
    assert facts["licence"] == "Apache-2.0" and facts["next"] == f"vmdepth-export {VKITTI} -o {path.stem}.onnx"


def test_the_list_of_models():
    facts = describe(InfoSettings(models=True))
    assert [name for name, _ in facts] == [model.repository for model in MODELS]
    assert dict(facts)[VKITTI] == "Apache-2.0        Depth Anything V2, metres"


def test_an_unknown_name_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="did you mean 'depth-anything/DA3-SMALL'"):
        export(ExportSettings(Path("depth-anything/DA3-SMAL"), tmp_path / "model.onnx"))
    assert list(tmp_path.iterdir()) == []


def test_encoders_and_step_graphs_of_other_repositories_are_had_by_name(online, tmp_path):
    online.files["someone/edge", "net.tflite"] = b"no network"
    with pytest.raises(InputError, match=r"holds the encoder of DeepLabv3 .*, which preset \S+ has, not 'tiny'"):
        first_network(TrainSettings(preset="tiny", init="someone/edge:net.tflite"))
    online.files["someone/edge", "model.onnx"] = bundled.MODEL.read_bytes()
    asked = CalibrationSettings(Path("someone/edge:model.onnx"), str(tmp_path / "none.mp4"), tmp_path / "int8.onnx")
    with pytest.raises(InputError, match=r"none\.mp4"):  # the graph has been read
        calibrate(asked)
