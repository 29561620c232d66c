"""`vmdepth-run` as a user meets it."""

from __future__ import annotations

import json
import pkgutil
import time

import av
import cv2
import numpy as np
import pytest

from vmdepth_runtime import bundled, open_source


def times_of(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [float(frame.pts * stream.time_base) for frame in container.decode(stream)]


def source_times(path):
    with open_source(path) as source:
        return [frame.time for frame in source]


# -- what comes out ------------------------------------------------------------------------------------------------


def test_video_and_raw_depth_in_one_run_with_a_report(vmdepth_run, tmp_path, make):
    path = make.video(tmp_path / "in.mp4", make.noise(30))
    outcome = vmdepth_run(path, "-o", "a.mp4", "-o", "b.npz", "--report", "run.json")
    assert outcome.code == 0
    assert outcome.lines[0].startswith("vmdepth-run: 30 frames in, 30 out, 0 skipped, ")
    assert outcome.lines[1:] == ["vmdepth-run: wrote a.mp4, b.npz"]
    assert times_of(tmp_path / "a.mp4") == pytest.approx(source_times(path), abs=1e-12)
    with np.load(tmp_path / "b.npz") as data:
        assert data["depth"].shape == (30, 48, 64)
        assert np.isfinite(data["depth"]).all()
        np.testing.assert_array_equal(data["times"], source_times(path))
    report = json.loads((tmp_path / "run.json").read_text())
    (one,) = report["sources"]
    assert (one["frames_in"], one["frames_out"], one["skipped"], one["warnings"]) == (30, 30, [], [])
    assert (one["dropped"], one["broken"], report["stalls"]) == (0, [], 0)
    assert report["model"]["name"] == "luma"
    assert report["model"]["weights_hash"] == "0123abcd"
    assert report["interrupted"] is False
    assert report["outputs"] == ["a.mp4", "b.npz"]
    assert report["fps"] > 0
    assert 0 < report["step_ms"]["p50"] <= report["latency_ms"]["p50"] <= report["latency_ms"]["p99"]
    assert report["stage_seconds"].keys() == {"read", "step", "anchor", "write"}
    assert report["stage_seconds"]["step"] <= report["seconds"]
    cpu = report["cpu_seconds"]
    assert cpu.keys() - {"per_frame"} == cpu["per_frame"].keys() == {"read", "step", "write", "process"}
    assert cpu["process"] > cpu["write"] > 0
    assert cpu["per_frame"]["process"] == pytest.approx(cpu["process"] / 30, abs=1e-4)
    assert report["limited_by"] in ("reading", "network", "writing")
    assert report["encoder"] in ("libx264", "h264_nvenc", "h264_v4l2m2m")
    assert one["colour_range"]["low"] < one["colour_range"]["high"]
    assert one["keyframes"]["kept"] == []  # the clip is shorter than the interval between two
    assert {p.name for p in tmp_path.iterdir()} == {"in.mp4", "a.mp4", "b.npz", "run.json"}


def test_the_depth_written_is_the_depth_of_the_python_face(vmdepth_run, tmp_path, make, luma_model):
    from vmdepth_runtime import DepthStream

    path = make.video(tmp_path / "in.mp4", make.noise(20))
    # With a video beside it, frames are sampled for the colour range first: that must leave no trace in the states.
    assert vmdepth_run(path, "-o", "out.npz", "-o", "out.mp4").code == 0
    with DepthStream(luma_model) as stream, open_source(path) as source, np.load(tmp_path / "out.npz") as data:
        for depth, frame in zip(data["depth"], source, strict=True):
            np.testing.assert_array_equal(depth, stream(frame.image).depth)


def test_the_default_output_is_named_after_the_source(vmdepth_run, tmp_path, make):
    (tmp_path / "frames.d").mkdir()
    for k, image in enumerate(make.noise(3)):
        make.image(tmp_path / "frames.d" / f"{k}.png", image)
    assert vmdepth_run(tmp_path / "frames.d").code == 0
    assert len(times_of(tmp_path / "frames.d.depth.mp4")) == 3
    make.video(tmp_path / "in.mp4", make.noise(3))
    assert vmdepth_run("in.mp4").code == 0
    assert len(times_of(tmp_path / "in.depth.mp4")) == 3


def test_pictures_to_look_at_are_no_higher_than_asked_for_and_depth_is_as_large_as_the_source(
    vmdepth_run, tmp_path, make
):
    images = make.noise(6, 96, 160)
    path = make.video(tmp_path / "in.mp4", images)
    words = ("-o", "out.mp4", "-o", "out.npz", "--max-height")
    with open_source(path) as source:
        pictures = [frame.image for frame in source]
    for limit, (height, width) in (("49", (48, 80)), ("720", (96, 160)), ("0", (96, 160))):
        assert vmdepth_run(path, *words, limit).code == 0
        with np.load(tmp_path / "out.npz") as data:
            assert data["depth"].shape == (6, 96, 160)
        with av.open(str(tmp_path / "out.mp4")) as container:
            shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert {picture.shape for picture in shown} == {(height, 2 * width, 3)}
        for picture, image in zip(shown, pictures, strict=True):
            left = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            error = (picture[:, :width].astype(int) - left) @ [0.2126, 0.7152, 0.0722]  # 4:2:0 blurs the colours
            assert np.abs(error).mean() < 3


@pytest.mark.parametrize(
    ("stage", "slow"),
    [
        ("writing", "vmdepth_runtime.sinks.formats.npz_archive.NpzSink._write"),
        ("network", "vmdepth_runtime.sessions.onnx.OnnxSession.step"),
        ("reading", "vmdepth_runtime.sources.colour_conversion.RgbConverter.__call__"),
    ],
)
def test_the_report_says_what_limited_the_run(vmdepth_run, tmp_path, make, monkeypatch, stage, slow):
    path = make.video(tmp_path / "in.mp4", make.noise(20))
    work = pkgutil.resolve_name(slow)

    def slowly(*arguments, **options):
        time.sleep(0.02)
        return work(*arguments, **options)

    monkeypatch.setattr(slow, slowly)
    assert vmdepth_run(path, "-o", "out.npz", "--report", "run.json").code == 0
    report = json.loads((tmp_path / "run.json").read_text())
    assert report["limited_by"] == stage
    assert report["encoder"] is None


def test_metric_models_are_painted_near_bright_too(build_graph, vmdepth_run, tmp_path, make):
    path = make.video(tmp_path / "in.mp4", make.noise(5))
    ranges = []
    for kind in ("relative", "metric"):
        assert vmdepth_run(path, "-o", "o.mp4", "--report", "r.json", "--model", build_graph(depth_kind=kind)).code == 0
        ranges.append(json.loads((tmp_path / "r.json").read_text())["sources"][0]["colour_range"])
    assert ranges[0]["low"] == ranges[1]["high"] < ranges[0]["high"] == ranges[1]["low"]


# -- the real things -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("videos/Tokyo-Walk_rgb.mp4", 195),
        ("videos/davis_rollercoaster.mp4", 70),
        ("videos/robot_unitree.mp4", 174),
        ("rgbd_office_a/rgb", 500),
        ("broken/one_frame.mp4", 1),
        ("broken/gray.mp4", 40),
        ("broken/odd_321x239.mp4", 40),
        ("broken/portrait_rotated90.mp4", 30),
        ("broken/vfr.mp4", 41),
    ],
)
def test_frames_out_are_frames_in(shared_data, vmdepth_run, tmp_path, name, count):
    # x264 would be busy with the two large ones for most of a minute, so those go to the other sink.
    output = tmp_path / ("out.npz" if "Tokyo" in name or "robot" in name else "out.mp4")
    assert vmdepth_run(shared_data / name, "-o", output, "--report", "run.json").code == 0
    (report,) = json.loads((tmp_path / "run.json").read_text())["sources"]
    assert (report["frames_in"], report["frames_out"], report["skipped"]) == (count, count, [])
    if output.suffix == ".npz":
        with np.load(output) as data:
            times = list(data["times"])
        output.unlink()  # hundreds of megabytes, which pytest would keep
    else:
        times = times_of(output)
    assert times == pytest.approx(source_times(shared_data / name), abs=1e-9)


def test_raw_depth_keeps_an_odd_size_and_a_video_says_what_it_did(shared_data, vmdepth_run, tmp_path):
    outcome = vmdepth_run(shared_data / "broken" / "odd_321x239.mp4", "-o", "out.npz", "-o", "out.mp4")
    assert outcome.lines[0] == "vmdepth-run: warning: out.mp4: 239 rows are odd, the last one is there twice"
    with np.load(tmp_path / "out.npz") as data:
        assert data["depth"].shape == (40, 239, 321)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (642, 240)


def test_an_early_end_is_a_warning_and_what_was_there_is_kept(shared_data, vmdepth_run, tmp_path):
    outcome = vmdepth_run(shared_data / "broken" / "truncated_tail.mp4", "-o", "out.mp4", "--report", "run.json")
    assert outcome.code == 0
    assert outcome.lines[0] == "vmdepth-run: warning: truncated_tail.mp4 ended early: 31 of 60 frames"
    assert len(times_of(tmp_path / "out.mp4")) == 31
    assert json.loads((tmp_path / "run.json").read_text())["sources"][0]["warnings"] == [
        "truncated_tail.mp4 ended early: 31 of 60 frames"
    ]


def test_corrupt_frames_are_skipped_counted_and_named(shared_data, vmdepth_run, tmp_path):
    folder = shared_data / "broken" / "seq_corrupt"
    outcome = vmdepth_run(folder, "--no-images", "-o", "out.mp4", "--report", "run.json")
    assert outcome.code == 0
    assert outcome.lines[0].startswith("vmdepth-run: skipped frame 5 (000005.jpg): not a readable image")
    assert outcome.lines[1].startswith(
        "vmdepth-run: warning: seq_corrupt: 000008.jpg is 240x180, the first image 320x240"
    )
    assert outcome.lines[2].startswith("vmdepth-run: 11 frames in, 10 out, 1 skipped")
    (report,) = json.loads((tmp_path / "run.json").read_text())["sources"]
    assert [s["index"] for s in report["skipped"]] == [5]
    assert times_of(tmp_path / "out.mp4") == pytest.approx([k / 30 for k in (0, 1, 2, 3, 4, 6, 7, 8, 9, 10)])


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.fixture
def refused(vmdepth_run, tmp_path):
    """Run a command that must end with exit code 2, one line, and nothing written."""

    def run(*arguments):
        before = sorted(tmp_path.rglob("*"))
        outcome = vmdepth_run(*arguments)
        assert outcome.code == 2
        assert len(outcome.lines) == 1
        assert sorted(tmp_path.rglob("*")) == before
        return outcome.lines[0]

    return run


@pytest.mark.parametrize("name", ["truncated_no_moov.mp4", "zero_byte.mp4", "README.md", "missing.mp4"])
def test_unreadable_sources(shared_data, refused, name):
    path = shared_data / "broken" / name
    line = refused(path, "-o", "out.mp4", "-o", "out.npz", "--report", "run.json")
    assert line.startswith(f"vmdepth-run: {path}: ")


def test_bad_models(refused, tmp_path, make, build_graph):
    path = make.video(tmp_path / "in.mp4", make.noise(2))
    (tmp_path / "text.onnx").write_text("hello")
    assert "tiny: no such model file" in refused(path, "--model", "tiny")
    assert "text.onnx: not an ONNX file, or broken off; export it" in refused(path, "--model", tmp_path / "text.onnx")
    assert f"{tmp_path}: is a folder; name a checkpoint" in refused(path, "--model", tmp_path)
    assert "a.engine: no such file; make it with" in refused(path, "--model", "a.engine")
    assert "'--model': is an address (https://…)" in refused(path, "--model", "https://x/model.onnx?key=hunter2")
    odd = build_graph(height=30)
    assert f"{odd}: " in (line := refused(path, "--model", odd))
    assert "its contract says uint8 [1, 30, 42, 3]" in line
    assert "--streams 1" in refused(path, "--model", build_graph(streams=2))


def test_whatever_file_is_given_as_a_model_one_line_says_that_it_is_none(refused, tmp_path, make):
    path = make.video(tmp_path / "in.mp4", make.noise(2))
    make.image(tmp_path / "a.png", make.noise(1)[0])
    np.savez(tmp_path / "a.npz", depth=np.zeros(3))
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "a.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))
    for name in ("a.png", "a.npz", "a.txt", "a.tflite", "in.mp4"):
        line = refused(path, "--model", tmp_path / name)
        assert line.startswith(
            f"vmdepth-run: {tmp_path / name}: should be a checkpoint (.safetensors, .pth), a step graph"
        )
    for name in ("cut.onnx", "empty.onnx"):
        (tmp_path / name).write_bytes(bundled.MODEL.read_bytes()[: 300_000 * (name == "cut.onnx")])
        assert f"{name}: not an ONNX file, or broken off" in refused(path, "--model", tmp_path / name)


def test_bad_outputs(refused, tmp_path, make):
    path = make.video(tmp_path / "in.mp4", make.noise(2))
    assert "unknown output ending '.avi'" in refused(path, "-o", "out.avi")
    assert "nowhere is not there" in refused(path, "-o", "nowhere/to/out.mp4")
    assert "is the source itself" in refused(path, "-o", "in.mp4")
    assert "is the source itself" in refused(path, "-o", "out.mp4", "--report", "in.mp4")
    assert "is the source itself" in refused(f"file://{path}", "-o", "in.mp4")
    make.image(tmp_path / "000000.png", make.noise(1)[0])
    for source in (tmp_path, tmp_path / "%06d.png"):
        assert "among the source's own files" in refused(source, "-o", f"{tmp_path}/%06d.png")
    assert "no file can be there (File name too long)" in refused(path, "-o", f"{'x' * 300}.mp4")
    assert "named as an output twice" in refused(path, "-o", "out.mp4", "-o", tmp_path / "out.mp4")
    assert "nowhere is not there" in refused(path, "-o", "out.mp4", "--report", "nowhere/run.json")
    line = refused(path, "-o", "%02d.png", "-o", "out.npz", "--palette", "turbo")
    assert line == "vmdepth-run: --palette turbo: no output has colours; --colour gives .png some, .jpg has them"


def test_bad_usage(refused, tmp_path, make):
    path = make.video(tmp_path / "in.mp4", make.noise(2))
    assert "'tpu' is not one of 'auto', 'onnxruntime', 'tensorrt', 'tensorrt-rtx'" in refused(path, "--backend", "tpu")
    assert "--threads" in refused(path, "--threads", "0")
    assert "Missing argument 'SOURCE" in refused()
    assert "a source is empty; give a video" in refused("")
    assert "'--model': is empty; name a file" in refused(path, "--model", "")
    assert "'--model': cannot be a file here (File name too long)" in refused(path, "--model", "x" * 300)
    for name in ("x" * 300, f"{'x' * 300}.jpg", f"{'x' * 300}*.png"):
        assert name in refused(name, "-o", "out.npz")


def test_frames_smaller_than_a_patch(refused, tmp_path, make):
    make.image(tmp_path / "a.png", make.noise(1, 10, 12)[0])
    assert "12x10" in refused(tmp_path, "-o", "out.mp4")


def test_an_output_that_cannot_be_written_ends_with_exit_code_1(vmdepth_run, tmp_path, make, monkeypatch):
    path = make.video(tmp_path / "in.mp4", make.noise(5))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vmdepth_runtime.sinks.formats.npz_archive.NpzSink._write", full)
    outcome = vmdepth_run(path, "-o", "out.mp4", "-o", "out.npz")
    assert outcome.code == 1
    assert outcome.lines == ["vmdepth-run: out.npz: cannot be written (No space left on device); is the disk full?"]
    assert {p.name for p in tmp_path.iterdir()} == {"in.mp4", "out.mp4"}
    assert len(times_of(tmp_path / "out.mp4")) == 1  # what the other output had got by then
