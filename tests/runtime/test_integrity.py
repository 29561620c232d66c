"""A model's file that is not, byte for byte, what was written is refused in one line."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import onnxruntime
import pytest

from vmdepth_runtime import bundled
from vmdepth_runtime.contract import METADATA_KEY
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.integrity import DIGEST_KEY, check_digest, read_metadata, seal
from vmdepth_runtime.sessions.onnx import OnnxSession

SEAL = len(seal(b""))


def with_byte(path, content, place, value):
    """The file with one byte replaced."""
    path.write_bytes(content[:place] + bytes([value]) + content[place + 1 :])
    return path


def places_in(content, part):
    """Where in a small graph's file its weights and nodes, its contract and its digest lie."""
    start = content.index(b'{"depth_kind"')
    end = len(content) - SEAL
    return {"graph": range(start), "contract": range(start, end), "digest": range(end, len(content))}[part]


def mutations(content, part, count):
    """Random places, each with a byte that does not stand there now."""
    random = np.random.default_rng(0)
    places = places_in(content, part)
    for place in random.choice(places, min(count, len(places)), replace=False):
        yield int(place), int(content[place] ^ random.integers(1, 256))


@pytest.mark.parametrize("part", ["graph", "contract", "digest"])
def test_one_byte_that_changed_is_enough(luma_model, tmp_path, part):
    content = luma_model.read_bytes()
    path = tmp_path / "damaged.onnx"
    for place, value in mutations(content, part, 100):
        with pytest.raises(InputError) as refused:
            OnnxSession(with_byte(path, content, place, value))
        assert str(refused.value).startswith(f"{path}: is not as it was written"), (place, value)
        assert "copy it here again, or export it again with 'vmdepth-export CHECKPOINT" in str(refused.value)
        assert "\n" not in str(refused.value)


def test_one_bit_of_the_bundled_model_and_what_to_do_about_it(tmp_path, monkeypatch):
    assert check_digest(bundled.MODEL)
    content = bundled.MODEL.read_bytes()
    path = with_byte(tmp_path / "edge.onnx", content, 1_500_000, content[1_500_000] ^ 1)
    monkeypatch.setattr(bundled, "MODEL", path)
    with pytest.raises(InputError, match=r"edge\.onnx: is not as it was written .*; install vmdepth again"):
        OnnxSession(path)


@pytest.mark.parametrize("kept", [-1, -4096, 0.5, 10])
def test_a_graph_that_is_cut_off(luma_model, tmp_path, kept):
    content = luma_model.read_bytes()
    path = tmp_path / "short.onnx"
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(InputError, match=r"short\.onnx: "):
        OnnxSession(path)


def test_the_command_tells_it_in_one_line(luma_model, vmdepth_run, tmp_path, make):
    make.video(tmp_path / "in.mp4", make.noise(2))
    content = luma_model.read_bytes()
    for part in ("graph", "contract", "digest"):
        for place, value in mutations(content, part, 3):
            path = with_byte(tmp_path / "damaged.onnx", content, place, value)
            outcome = vmdepth_run("in.mp4", "--model", path)
            assert outcome.code == 2
            assert [line.partition(" (")[0] for line in outcome.lines] == [
                f"vmdepth-run: {path}: is not as it was written"
            ]


def test_no_verify_runs_what_onnx_runtime_can_load(luma_model, vmdepth_run, tmp_path, make):
    make.video(tmp_path / "in.mp4", make.noise(2))
    content = luma_model.read_bytes()
    half = content.index(np.float32(0.5).tobytes())
    path = with_byte(tmp_path / "damaged.onnx", content, half, 1)
    assert vmdepth_run("in.mp4", "-o", "out.npz", "--model", path).code == 2
    assert vmdepth_run("in.mp4", "-o", "out.npz", "--model", path, "--no-verify").code == 0


def test_damaged_metadata_is_no_traceback_without_verification_either(luma_model, vmdepth_run, tmp_path, make):
    make.video(tmp_path / "in.mp4", make.noise(2))
    content = luma_model.read_bytes()
    no_text = with_byte(tmp_path / "no_text.onnx", content, content.index(b'"luma"') + 2, 0xFF)
    outcome = vmdepth_run("in.mp4", "--model", no_text, "--no-verify")
    assert outcome.code == 2
    assert outcome.lines[0].startswith(f"vmdepth-run: {no_text}: is damaged, its names or metadata are no text; ")
    assert len(outcome.lines) == 1
    path = tmp_path / "damaged.onnx"
    for place, value in mutations(content, "contract", 200):
        with_byte(path, content, place, value)
        with suppress(InputError):  # and nothing else; what still fits its graph may load
            OnnxSession(path, verify=False).close()


def test_a_graph_from_before_there_were_digests_runs(luma_model, tmp_path):
    path = tmp_path / "old.onnx"
    path.write_bytes(luma_model.read_bytes()[:-SEAL])
    assert not check_digest(path)
    OnnxSession(path).step()


def test_the_digest_is_metadata_to_onnx_and_outlives_another_save(luma_model, tmp_path):
    onnx = pytest.importorskip("onnx")
    proto = onnx.load(luma_model)
    assert [entry.key for entry in proto.metadata_props] == ["vmdepth", DIGEST_KEY]
    onnx.save(proto, tmp_path / "same.onnx")
    assert check_digest(tmp_path / "same.onnx")
    proto.graph.initializer[0].raw_data = bytes(len(proto.graph.initializer[0].raw_data))
    onnx.save(proto, tmp_path / "changed.onnx")
    with pytest.raises(InputError, match=r"changed\.onnx: is not as it was written \(damaged, or changed since then\)"):
        check_digest(tmp_path / "changed.onnx")


def test_metadata_is_read_without_a_library(build_graph):
    for path in (bundled.MODEL, build_graph()):
        entries = onnxruntime.InferenceSession(str(path)).get_modelmeta().custom_metadata_map
        assert read_metadata(path, METADATA_KEY) == entries[METADATA_KEY]
        assert read_metadata(path, "vmdepth.nothing") is None


def test_metadata_of_a_file_that_is_cut_off_or_cannot_be_read(build_graph, tmp_path):
    content = build_graph().read_bytes()
    key, path = METADATA_KEY.encode() + b"\x12", tmp_path / "short.onnx"
    start = content.index(key) + len(key)
    for kept in (0, 1, 2, 100):
        path.write_bytes(content[: start + kept])
        assert read_metadata(path, METADATA_KEY) is None
    path.write_bytes(content[:start] + b"\xff" * 20)
    assert read_metadata(path, METADATA_KEY) is None
    with pytest.raises(InputError, match=rf"^{tmp_path}: cannot be read \(Is a directory\)$"):
        read_metadata(tmp_path, METADATA_KEY)
