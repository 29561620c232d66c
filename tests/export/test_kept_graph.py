"""A checkpoint given as a model: exported once, kept in the user's cache, streamed."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vmdepth import checkpoint
from vmdepth.networks.motion.motion_head import MotionSettings
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.session import TorchSession
from vmdepth_export.conversion.kept_graph import step_graph_of
from vmdepth_runtime import DepthStream, InputError, OnnxSession
from vmdepth_runtime.sessions.given_model import open_model

SIZE = (28, 42)
FRAME = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module", autouse=True)
def short_proofs():
    """What is kept is proven; over how many frames is another matter, and by itself it takes as long as the export."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vmdepth_export.conversion.proven_graph.PARITY_FRAMES", 33)
        yield


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "net.safetensors"
    checkpoint.save(path, network, "tiny")
    return path


@pytest.fixture(scope="module")
def filled(saved, tmp_path_factory):
    """A cache that has the checkpoint's graph already."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        step_graph_of(saved, SIZE, 1)
    return cache


@pytest.fixture
def cache(filled, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(filled))
    return filled / "vmdepth"


def run(cache, *arguments, without_torch=False):
    hidden = "sys.modules['torch'] = None;" if without_torch else ""
    code = f"import sys; {hidden} from vmdepth_runtime.pipeline.cli import main; main()"
    words = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(
        words, capture_output=True, text=True, check=False, env={"XDG_CACHE_HOME": str(cache), "PATH": ""}
    )


def test_a_stream_of_a_checkpoint_gives_what_the_network_gives(saved, network, cache, capfd):
    session = TorchSession(network, *SIZE)
    with DepthStream(saved, input_size=SIZE, keyframes=False) as stream:
        for _ in range(3):
            session.frame[...] = FRAME
            expected = session.step()["depth"][0]
            np.testing.assert_allclose(stream(FRAME).depth, expected, atol=1e-4 * np.ptp(expected))
        assert stream.model.parent == cache
    assert len(list(cache.iterdir())) == 1
    assert capfd.readouterr() == ("", "")  # it was there, and nothing is said


def test_it_is_run_from_the_command_line_and_what_is_kept_takes_no_torch(saved, cache, tmp_path):
    done = run(
        cache.parent, "demo", "--model", saved, "--input-size", "28x42", "-o", tmp_path / "d.npz", without_torch=True
    )
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "d.npz")["depth"].shape[0] > 100
    done = run(tmp_path, "demo", "--model", saved, "-o", tmp_path / "e.npz", without_torch=True)
    assert done.returncode == 2
    assert f"{saved}: what runs checkpoints needs 'torch'" in done.stderr
    assert done.stderr.splitlines()[-1].endswith("pip install 'vmdepth[export]'")
    assert not (tmp_path / "e.npz").exists()


def test_a_step_graph_of_another_size_is_taken_from_the_same_weights(step_graph, cache):
    with open_model(step_graph, (42, 56)) as session:
        assert session.path == step_graph
    with open_model(step_graph, SIZE) as session:
        assert session.path.parent == cache and session.contract.height == 28
    with pytest.raises(InputError, match=r"takes frames of 42x56.*vmdepth-export CHECKPOINT -o tiny.56x56.onnx --size"):
        open_model(step_graph, (56, 56))


def test_a_graph_that_tells_what_moves_is_made_where_that_is_asked_for(saved, step_graph, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with DepthStream(saved, input_size=SIZE, dynamic_mask=True) as stream:
        assert not stream(FRAME).dynamic.any()
        moved = stream(FRAME[::-1].copy())
        assert moved.finite
        assert 0 <= moved.dynamic.min() <= moved.dynamic.max() <= 1
    (kept,) = (tmp_path / "vmdepth").iterdir()
    assert step_graph_of(saved, SIZE, 1, True) == kept
    with pytest.raises(InputError, match=r"does not tell what moves; give a checkpoint, or a graph that does"):
        open_model(step_graph, dynamic_mask=True)


def test_of_a_network_with_a_motion_head_one_graph_is_kept_whether_or_not_it_is_asked_to_tell(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = tmp_path / "head.safetensors"
    checkpoint.save(path, VideoDepth(replace(PRESETS["tiny"], motion=MotionSettings(width=4))), "tiny")
    kept = step_graph_of(path, SIZE, 1)
    assert step_graph_of(path, SIZE, 1, dynamic_mask=True) == kept
    assert list((tmp_path / "vmdepth").iterdir()) == [kept]


def test_a_kept_graph_that_is_damaged_is_made_again(saved, filled, cache, capfd):
    (kept,) = cache.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[:1000] + b"?" + whole[1001:])
    assert step_graph_of(saved, SIZE, 1) == kept
    assert OnnxSession(kept).contract.width == 42  # which compares the digest
    assert f"made {kept} of {saved}, proven over" in capfd.readouterr().err
    assert [file.name for file in cache.iterdir()] == [kept.name]


def test_what_is_no_model_or_cannot_be_kept_is_refused(saved, tmp_path, monkeypatch):
    nothing = tmp_path / "file"
    nothing.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(nothing))
    with pytest.raises(InputError, match=r"no step graph can be kept there.*set XDG_CACHE_HOME to a folder"):
        open_model(saved)
    with pytest.raises(InputError, match="should be a checkpoint"):
        open_model(nothing)
    with pytest.raises(InputError, match="is a folder; name a checkpoint"):
        open_model(tmp_path)
    for name in ("last", "best", "train_state"):
        (tmp_path / f"{name}.safetensors").write_text("")
    with pytest.raises(InputError, match=r"is a folder; name a file in it, such as .*best\.safetensors"):
        open_model(tmp_path)
    with pytest.raises(InputError, match="no such model file"):
        open_model(Path("nothing.pth"))
    with pytest.raises(InputError, match="the bundled model takes frames of 192x272, and its checkpoint is not part"):
        DepthStream(input_size=(96, 144))
