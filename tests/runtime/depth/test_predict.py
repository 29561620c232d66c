"""`predict`: a picture in whatever people have it, its depth at its size, and what is done with that."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from threading import Thread

import av
import cv2
import numpy as np
import pytest

import vmdepth
import vmdepth_runtime
from vmdepth_runtime import DepthStream, InputError, predict
from vmdepth_runtime.depth.colour_map import FixedRange, colourise
from vmdepth_runtime.depth.prediction import Prediction

LUMA = np.array([0.25, 0.5, 0.25], np.float32) / 256


@pytest.fixture(scope="module")
def image():
    rows, columns = np.mgrid[:90, :120]
    return np.stack([2 * columns, 2 * rows, 255 - rows - columns], axis=-1).astype(np.uint8)


@pytest.fixture(scope="module")
def stream(luma_model):
    with DepthStream(luma_model) as stream:
        yield stream


@pytest.fixture
def prediction(stream, image):
    return stream.predict(image)


def test_depth_comes_at_the_pictures_size_from_initial_states(luma_model, image):
    prediction = predict(image, model=luma_model)
    expected = cv2.resize(image, (42, 28), interpolation=cv2.INTER_AREA).astype(np.float32) @ LUMA / 2
    np.testing.assert_array_equal(prediction.depth, cv2.resize(expected, (120, 90)))
    np.testing.assert_array_equal(prediction.image, image)
    assert prediction.kind == "relative"
    assert prediction.depth.dtype == np.float32
    again = predict(image, model=luma_model)
    np.testing.assert_array_equal(again.depth, prediction.depth)
    assert not np.shares_memory(again.depth, prediction.depth)


def test_without_a_model_it_is_the_bundled_one_and_without_torch(start_bare, make, tmp_path):
    make.image(tmp_path / "photo.png", make.noise(1)[0])
    code = """
import vmdepth_runtime
prediction = vmdepth_runtime.predict("photo.png")
prediction.save("depth.png", colour=True)
print(prediction)
"""
    process = start_bare(code, cwd=tmp_path)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert output.startswith("Prediction(relative depth of 64x48, 0.")
    code = "import sys, vmdepth; vmdepth.predict('photo.png').save('a.npy'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_it_is_there_where_people_look():
    assert vmdepth.predict is vmdepth_runtime.predict
    for package in (vmdepth, vmdepth_runtime):
        assert "predict" in package.__all__
    assert "predict" in dir(vmdepth)


NEEDS_TORCH = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")


@pytest.mark.parametrize("torch", [pytest.param(True, marks=NEEDS_TORCH), False])
def test_help_shows_it_with_torch_and_without(tmp_path, torch):
    missing = "" if torch else "sys.modules['torch'] = None\n"  # as if it were not installed
    code = f"import pydoc, sys\n{missing}import vmdepth\nprint(pydoc.plain(pydoc.render_doc(vmdepth)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "    predict(pictures: " in done.stdout
    assert ("    load(path: " in done.stdout) == torch


def test_a_file_is_read_as_a_run_reads_it(stream, vmdepth_run, image, make, tmp_path):
    (tmp_path / "in").mkdir()
    path = make.image(tmp_path / "in" / "photo.jpg", image)
    assert vmdepth_run("in", "-o", "out.npz").code == 0
    with np.load(tmp_path / "out.npz") as data:
        np.testing.assert_array_equal(stream.predict(path).depth, data["depth"][0])
    np.testing.assert_array_equal(stream.predict(str(path)).depth, stream.predict(f"file://{path}").depth)


@pytest.mark.parametrize(("orientation", "turn"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_a_photograph_stands_upright_as_a_file_and_as_an_image(stream, image, tmp_path, orientation, turn):
    pillow = pytest.importorskip("PIL.Image")
    photo = pillow.fromarray(image)
    exif = photo.getexif()
    exif[0x0112] = orientation
    photo.save(tmp_path / "photo.png", exif=exif)
    upright = np.rot90(image, turn)
    np.testing.assert_array_equal(stream.predict(tmp_path / "photo.png").image, upright)
    np.testing.assert_array_equal(stream.predict(pillow.open(tmp_path / "photo.png")).image, upright)


def test_arrays_of_every_common_kind_are_the_same_picture(stream, image):
    opaque = np.full((*image.shape[:2], 1), 7, np.uint8)
    for same, order in [
        (image[..., ::-1], "bgr"),
        (np.concatenate([image, opaque], axis=2), "rgb"),
        (np.concatenate([image[..., ::-1], opaque], axis=2), "bgr"),
        (image.astype(np.uint16) * 257, "rgb"),
        (image / 255, "rgb"),
        (image.astype(np.float32) / 255, "rgb"),
        (np.asfortranarray(image), "rgb"),
    ]:
        np.testing.assert_array_equal(stream.predict(same, order=order).image, image)
    gray = np.repeat(image[..., :1], 3, axis=2)
    for one in (gray[..., 0], gray[..., :1], gray[..., 0] / 255, gray[..., 0].astype(np.uint16) * 257):
        np.testing.assert_array_equal(stream.predict(one).image, gray)


def test_images_of_pillow_of_every_mode(stream, image):
    pillow = pytest.importorskip("PIL.Image")
    photo = pillow.fromarray(image)
    for mode in ("RGB", "RGBA", "L", "LA", "P", "CMYK"):
        expected = np.asarray(photo.convert(mode).convert("RGB"))
        np.testing.assert_array_equal(stream.predict(photo.convert(mode)).image, expected)
    deep = pillow.fromarray(image[..., 0].astype(np.uint16) * 257)  # Pillow's own conversion would cut it at 255
    np.testing.assert_array_equal(stream.predict(deep).image[..., 0], image[..., 0])


def test_several_are_each_on_their_own(stream, image, make, tmp_path):
    path = make.image(tmp_path / "a.png", image)
    other = 255 - image[:50]
    together = stream.predict([image, other, path])
    assert [one.depth.shape for one in together] == [(90, 120), (50, 120), (90, 120)]
    np.testing.assert_array_equal(together[1].depth, stream.predict(other).depth)
    np.testing.assert_array_equal(together[2].depth, together[0].depth)
    assert len(stream.predict(tmp_path.glob("*.png"))) == 1
    assert stream.predict([]) == []


def test_a_stream_goes_on_as_if_nothing_had_been(luma_model, make, image):
    frames = make.noise(6)
    with DepthStream(luma_model) as alone, DepthStream(luma_model) as disturbed:
        for frame in frames:
            expected = alone(frame).depth
            result = disturbed(frame)
            np.testing.assert_array_equal(result.depth, expected)
            kept = result.depth.copy()
            disturbed.predict([image, frame])
            np.testing.assert_array_equal(result.depth, kept)


def test_calls_from_several_threads_wait_for_each_other(luma_model, image):
    pictures = [np.roll(image, 7 * k, axis=1) for k in range(4)]
    expected = [predict(picture, model=luma_model).depth for picture in pictures]
    found = {}

    def work(k):
        found[k] = [predict(pictures[k], model=luma_model).depth for _ in range(10)]

    threads = [Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, depths in found.items():
        for depth in depths:
            np.testing.assert_array_equal(depth, expected[k])
    assert len(found) == 4


def test_a_model_made_again_under_its_name_is_another_one(build_graph, image, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(build_graph().read_bytes())
    assert predict(image, model=path).kind == "relative"
    path.write_bytes(build_graph(depth_kind="metric").read_bytes())
    assert predict(image, model=path).kind == "metric"


@pytest.mark.parametrize(
    ("picture", "kind", "message"),
    [
        ("nothere.jpg", InputError, "nothere.jpg: no such file"),
        ("x" * 5000, InputError, "no such file"),
        (
            "https://user:secret@web.org/a.jpg?key=1",
            InputError,
            r"https://\*\*\*@web.org/a.jpg\?\*\*\*: addresses are not",
        ),
        (".", InputError, "is a folder; give a list of its pictures"),
        ("text.jpg", InputError, "text.jpg: not a readable image"),
        ("empty.png", InputError, "empty.png: not a readable image"),
        ("clip.mp4", InputError, "clip.mp4: is a video; run 'vmdepth-run clip.mp4'"),
        (None, TypeError, "a picture is a path, a NumPy array or a PIL image, not NoneType"),
        ([3], TypeError, "not int"),
        (np.zeros((40, 40, 3), np.int64), TypeError, "not int64"),
        (np.zeros((40, 40), bool), TypeError, "not bool"),
        (np.zeros((2, 40, 40, 3), np.uint8), ValueError, r"several are a list: list\(pictures\)"),
        (np.zeros((3, 40, 40), np.uint8), ValueError, "channels come last"),
        (np.zeros((40, 40, 2), np.uint8), ValueError, r"not \[40, 40, 2\]"),
        (np.full((40, 40, 3), 255.0), ValueError, "is from 0 to 1, not from 255 to 255"),
        (np.full((40, 40, 3), np.nan), ValueError, "not from nan to nan"),
        (np.zeros((13, 40, 3), np.uint8), ValueError, "at least 14x14 pixels, not 40x13"),
    ],
)
def test_what_is_no_picture_is_refused_with_the_way_out(stream, make, tmp_path, monkeypatch, picture, kind, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    make.video(tmp_path / "clip.mp4", make.noise(3))
    with pytest.raises(kind, match=message):
        stream.predict(picture)


def test_an_order_that_is_none_is_refused(stream, image):
    with pytest.raises(ValueError, match='order is "rgb" or "bgr", not \'gbr\''):
        stream.predict(image, order="gbr")


def test_a_network_that_fails_gives_no_depth(build_graph, image):
    def poison(model):
        (half,) = (tensor for tensor in model.graph.initializer if tensor.name == "half")
        half.raw_data = np.array([np.nan], np.float32).tobytes()

    prediction = predict(image, model=build_graph(touch=poison))
    assert np.isnan(prediction.depth).all()
    assert str(prediction) == "Prediction(relative depth of 120x90, none)"
    assert (prediction.coloured() == 128).all()
    assert len(prediction.points(fov=60).points) == 0


def test_saved_depth_is_read_back(prediction, tmp_path):
    depth = prediction.depth
    for name in ("a.npy", "a.npz", "a.exr", "a.png", "new/folder/a.PNG"):
        prediction.save(tmp_path / name)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), depth)
    with np.load(tmp_path / "a.npz") as data:
        np.testing.assert_array_equal(data["depth"], depth)
        np.testing.assert_array_equal(data["image"], prediction.image)
    with av.open(str(tmp_path / "a.exr")) as container:
        np.testing.assert_array_equal(next(container.decode(video=0)).to_ndarray(), depth)
    raw = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert (raw.dtype, raw.max()) == (np.uint16, 65535)
    np.testing.assert_allclose(raw / 65535 * depth.max(), depth, atol=depth.max() / 65535)
    assert (tmp_path / "new" / "folder" / "a.PNG").read_bytes() == (tmp_path / "a.png").read_bytes()


def test_metric_depth_is_saved_in_millimetres_and_painted_near_as_bright(image, tmp_path):
    depth = np.linspace(0.5, 20, image[..., 0].size, dtype=np.float32).reshape(image.shape[:2])
    depth[0, 0] = np.nan
    prediction = Prediction(depth, image, "metric")
    prediction.save(tmp_path / "a.png")
    raw = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(raw, np.nan_to_num(1000 * depth), atol=0.51)
    colours = prediction.coloured("gray")
    assert colours[0, 5, 0] == 255
    assert colours[-1, -1, 0] == 0
    assert (colours[0, 0] == 128).all()
    points = prediction.points(fov=60).points
    assert points[:, 2].max() == 20


def test_coloured_pictures_are_those_of_a_run(prediction, tmp_path):
    prediction.save(tmp_path / "a.png", colour=True, palette="spectral")
    prediction.save(tmp_path / "a.jpg", palette="spectral")
    bounds = FixedRange.of([prediction.depth])
    expected = colourise(prediction.depth, bounds.low, bounds.high, palette="spectral")
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"))[..., ::-1], expected)
    lossy = cv2.imread(str(tmp_path / "a.jpg"))[..., ::-1].astype(int)
    assert np.abs(lossy - expected).mean() < 5


def test_points_carry_the_pictures_colours(prediction, tmp_path):
    points, colours = prediction.points(fov=60)
    assert (points.dtype, colours.dtype, len(points)) == (np.float32, np.uint8, len(colours))
    assert 0.9 * prediction.depth.size < len(points) <= prediction.depth.size
    columns = points[:, 0] / points[:, 2] * (60 / np.tan(np.radians(30))) + 59.5
    np.testing.assert_allclose(2 * columns, colours[:, 0], atol=0.01)
    same = prediction.points(intrinsics=(60 / np.tan(np.radians(30)),) * 2 + (59.5, 44.5))
    np.testing.assert_allclose(same.points, points, rtol=1e-6)
    prediction.save(tmp_path / "a.ply", fov=60)
    assert f"element vertex {len(points)}\n".encode() in (tmp_path / "a.ply").read_bytes()


def test_a_plot_goes_where_it_is_wanted(prediction):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    figure, axes = pyplot.subplots()
    assert prediction.plot(axes, palette="turbo") is axes
    (shown,) = axes.get_images()
    np.testing.assert_array_equal(shown.get_array(), prediction.depth)
    made = prediction.plot()
    assert made is not axes
    pyplot.close(figure)
    pyplot.close(made.figure)


def test_a_plot_of_metres_has_the_colours_of_its_picture(image):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    depth = np.linspace(0.5, 20, image[..., 0].size, dtype=np.float32).reshape(image.shape[:2])
    prediction = Prediction(depth, image, "metric")
    axes = prediction.plot()
    (shown,) = axes.get_images()
    drawn = shown.to_rgba(depth, bytes=True)[..., :3].astype(int)
    assert np.abs(drawn - prediction.coloured()).max() <= 6  # a level, by rounding
    axes.figure.draw_without_rendering()
    (label,) = {axis.get_ylabel() for axis in axes.figure.axes} - {""}
    assert label == "depth in metres, larger is farther"
    pyplot.close(axes.figure)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda one: one.save("a.gif"), r"a.gif: unknown ending '.gif'; depth is saved as .png, .jpg"),
        (lambda one: one.save("a"), "a: unknown ending ''"),
        (lambda one: one.save("a.ply"), "a.ply: points need the camera; give fov=DEGREES"),
        (lambda one: one.save("file/a.png"), "file/a.png: its folder cannot be made"),
        (lambda one: one.save("folder.png"), "folder.png: is a folder"),
        (lambda one: one.save("a.png", colour=True, palette="no"), "there is no palette 'no'"),
        (
            lambda one: one.save("a.png", palette="turbo"),
            "a.png: has no colours for palette='turbo'; colour=True",
        ),
        (lambda one: one.save("a.npy", palette="turbo"), "a.npy: has no colours for palette='turbo'"),
        (lambda one: one.points(), "points need the camera"),
        (lambda one: one.points(fov=60, intrinsics=(1, 1, 1, 1)), "both say what the camera sees"),
        (lambda one: one.points(fov=180), "between 0 and 180, not 180"),
        (lambda one: one.points(intrinsics=(0, 1, 1, 1)), "fx and fy above 0"),
        (lambda one: one.points(intrinsics=(1, 1)), "intrinsics are fx, fy, cx, cy"),
        (lambda one: one.plot(palette="no"), "there is no palette 'no'"),
    ],
)
def test_what_cannot_be_done_is_said(prediction, tmp_path, monkeypatch, act, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match=message):
        act(prediction)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder.png"]
