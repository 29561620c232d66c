"""Which names stand for which file, and which are paths."""

from pathlib import Path

import pytest

from vmdepth.checkpoint import FAMILIES
from vmdepth.official.hub import local_file
from vmdepth.official.hub.models import MODELS
from vmdepth.official.hub.names import HubFile, parse
from vmdepth_runtime.errors import InputError

BY_NAME = {model.repository: model for model in MODELS}


def test_the_table_has_every_official_repository_once():
    assert len(BY_NAME) == len(MODELS) == 8 * 3 + 10
    assert {model.family for model in MODELS} <= {family.name for family in FAMILIES}
    video = BY_NAME["depth-anything/Metric-Video-Depth-Anything-Large"]
    assert (video.file, video.licence, video.metric) == ("metric_video_depth_anything_vitl.pth", "CC BY-NC 4.0", True)
    hf = BY_NAME["depth-anything/Depth-Anything-V2-Base-hf"]
    assert (hf.file, hf.licence, hf.metric) == ("model.safetensors", "CC BY-NC 4.0", False)
    for model in MODELS:
        assert model.instead is None or BY_NAME[model.instead].instead is None
        assert model.metric == ("metric" in model.repository.lower() or "NESTED" in model.repository)


def test_revision_and_file_may_be_said():
    asked = parse("depth-anything/da3-small@refs/pr/1:other/model.safetensors")
    assert asked == HubFile(
        "depth-anything/DA3-SMALL", "other/model.safetensors", "refs/pr/1", BY_NAME["depth-anything/DA3-SMALL"]
    )
    assert parse("depth-anything/DA3-LARGE-1.1").file == "model.safetensors"
    assert parse("some-one/net@v1:step.onnx") == HubFile("some-one/net", "step.onnx", "v1")


@pytest.mark.parametrize(
    "path",
    ["runs/last.safetensors", "models/edge.onnx", "/tmp/depth-anything/x", "./runs/quick", "runs/quick/last", "edge"],
)
def test_paths_stay_what_they_are(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert local_file(path) == Path(path)


def test_what_is_here_is_never_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine = Path("depth-anything", "DA3-SMALL")
    mine.mkdir(parents=True)
    assert local_file(mine) == mine
    assert local_file("depth-anything/no-such") == Path("depth-anything", "no-such")  # in a folder that is here


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("depth-anything/Video-Depth-Anything-Smal", r"did you mean 'depth-anything/Video-Depth-Anything-Small'\?"),
        ("depth-anything/da3-metric-large", r"did you mean 'depth-anything/DA3METRIC-LARGE'\?"),
        ("runs/quick", r"'vmdepth-info --models' lists those. Of another .*: runs/quick:model.safetensors$"),
        ("da3-small", r"; as a model by name it is 'depth-anything/DA3-SMALL'$"),
    ],
)
def test_unknown_names_are_told_the_nearest_known(name, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=rf"^{name}: no such file.*{line}"):
        local_file(name)
