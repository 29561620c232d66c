"""Depth that another sensor measured: in metres, with its stamps, dense or as points in the camera."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from vmdepth_runtime import InputError
from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.depth_kinds import DEPTH_KINDS
from vmdepth_runtime.encoding.points import PointCloud
from vmdepth_runtime.encoding.ros_messages import depth_image, header, point_cloud
from vmdepth_runtime.sources.recordings.open import recorded_depth
from vmdepth_runtime.sources.recordings.rosbag import open_recording

IMAGE = "sensor_msgs/msg/Image"
DEPTH = np.random.default_rng(0).uniform(0.5, 20, (28, 42)).astype(np.float32)
DEPTH[3, 4] = np.nan


def entries(record, messages, kind=IMAGE):
    return [("/depth", kind, record.begin + 9 + k, message) for k, message in enumerate(messages)]


def stamps(record, count=3):
    return [record.begin + k * record.interval for k in range(count)]


@pytest.mark.parametrize("encoding", ["32FC1", "16UC1"])
def test_depth_is_in_metres_and_as_it_was_stamped(record, tmp_path, encoding):
    messages = [
        depth_image(s, "left", DEPTH + k, DEPTH_KINDS["metric"], encoding) for k, s in enumerate(stamps(record))
    ]
    messages.insert(1, {**messages[0], "data": b"damaged"})
    path = record.mcap(tmp_path / "drive.mcap", entries(record, messages))
    reading = recorded_depth(path)
    read = list(reading)
    assert reading.damage().startswith(f"{path}: /depth: 1 message is left out, the first: damaged")
    assert [stamp for stamp, _ in read] == stamps(record)
    for k, (_, depth) in enumerate(read):
        assert depth.dtype == np.float32 and depth.shape == DEPTH.shape
        if encoding == "32FC1":
            assert np.array_equal(depth, DEPTH + k, equal_nan=True)
        else:
            assert np.nanmax(np.abs(depth - (DEPTH + k))) <= 0.0005 + 1e-6
            assert np.array_equal(np.isnan(depth), np.isnan(DEPTH))


def test_what_is_not_there_is_nan(record, tmp_path):
    depth = np.array([[0, -1, np.inf, np.nan, 2]], np.float32)
    message = depth_image(record.begin, "left", depth, DEPTH_KINDS["metric"])
    ((_, read),) = recorded_depth(record.bag(tmp_path / "drive", entries(record, [message])))
    assert np.array_equal(read, [[np.nan, np.nan, np.nan, np.nan, 2]], equal_nan=True)


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_compressed_depth(record, tmp_path, encoding):
    """As compressed_depth_image_transport writes it: a head, then a PNG."""
    scale, offset = 10 * 65.535, 0.5  # of inverse depth
    whole = np.rint(DEPTH * 1000 if encoding == "16UC1" else scale / DEPTH + offset)
    stored = np.nan_to_num(whole).astype(np.uint16)
    data = struct.pack("<iff", 0, scale, offset) + cv2.imencode(".png", stored)[1].tobytes()
    message = {"header": header(record.begin, "left"), "format": f"{encoding}; compressedDepth png", "data": data}
    path = record.mcap(tmp_path / "drive.mcap", entries(record, [message], "sensor_msgs/msg/CompressedImage"))
    ((_, depth),) = recorded_depth(path)
    assert np.array_equal(np.isnan(depth), np.isnan(DEPTH))
    truth = DEPTH if encoding == "16UC1" else scale / (whole - offset)
    assert np.nanmax(np.abs(depth - truth)) < 0.001


COMPRESSED = "sensor_msgs/msg/CompressedImage"


@pytest.mark.parametrize("named", ["16UC1; png compressed ", "16UC1; png compressed", "16UC1"])
def test_depth_in_plain_png(record, tmp_path, named):
    """As compressed_image_transport writes it."""
    stored = np.nan_to_num(np.rint(DEPTH * 1000)).astype(np.uint16)
    data = cv2.imencode(".png", stored)[1].tobytes()
    message = {"header": header(record.begin, "left"), "format": named, "data": data}
    messages = [message, {**message, "data": data[:50]}, {**message, "data": b""}]
    reading = recorded_depth(record.mcap(tmp_path / "drive.mcap", entries(record, messages, COMPRESSED)))
    ((_, depth),) = reading
    assert np.nanmax(np.abs(depth - DEPTH)) < 0.001
    assert reading.damage().endswith("drive.mcap: /depth: 2 messages are left out, the first: damaged")


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("16UC1; compressedDepth rvl", "which is not PNG"),
        ("16UC1; jpeg compressed ", "which loses depth or is not known"),
        ("32FC1; png compressed ", "and a PNG alone holds no such numbers"),
    ],
)
def test_compressed_depth_that_is_not_read_is_one_line(record, tmp_path, named, why):
    message = {"header": header(record.begin, "left"), "format": named, "data": bytes(100)}
    path = record.mcap(tmp_path / "drive.mcap", entries(record, [message], COMPRESSED))
    line = f"/depth is compressed as '{named.strip()}', {why}; compressedDepth as PNG is read"
    with pytest.raises(InputError, match=line):
        list(recorded_depth(path))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are looked at in /proc")
def test_closed_before_its_first_item_it_lets_go_of_the_file(record, tmp_path, monkeypatch):
    kept = []  # which the garbage collector leaves alone

    def keep(path):
        kept.append(open_recording(path))
        return kept[-1]

    monkeypatch.setattr("vmdepth_runtime.sources.recordings.depth.open_recording", keep)
    message = depth_image(record.begin, "left", DEPTH, DEPTH_KINDS["metric"])
    path = record.mcap(tmp_path / "drive.mcap", entries(record, [message])).resolve()
    reading = recorded_depth(path)
    assert path in opened()
    reading.close()
    assert path not in opened()


def opened():
    return [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]


@pytest.mark.parametrize("kind", ["relative", "scaled"])
def test_what_is_no_metres_is_refused(record, tmp_path, kind):
    message = depth_image(record.begin, "left", DEPTH, DEPTH_KINDS[kind])
    path = record.mcap(tmp_path / "drive.mcap", entries(record, [message]))
    for topic, line in [
        (None, "none of its topics has depth in metres .*; it has /depth "),
        ("/depth", r"the topic /depth holds no depth in metres \(sensor_msgs/msg/Image\); it has /depth "),
    ]:
        with pytest.raises(InputError, match=line):
            recorded_depth(path, topic)
    changing = [depth_image(record.begin, "left", DEPTH, DEPTH_KINDS["metric"]), message]
    path = record.mcap(tmp_path / "changing.mcap", entries(record, changing))
    with pytest.raises(InputError, match=r"/depth is no depth in metres \(its encoding is '32FC1; "):
        list(recorded_depth(path))


@pytest.mark.parametrize("topic", ["/vmdepth/points_relative", "/front/vmdepth/points_scaled"])
def test_points_of_depth_that_is_no_metres_are_refused(record, frames, tmp_path, topic):
    """As a run or the node makes them, which say so by their name alone."""
    told = lidar(record, frames, np.array([[0.0, 0, 2]]), "left")
    path = record.mcap(tmp_path / "drive.mcap", [*told[:-1], (topic, *told[-1][1:])])
    for named in (None, topic):
        with pytest.raises(InputError, match=f"{topic} has points of depth that is no metres, as its name says"):
            recorded_depth(path, named)


def test_depth_that_is_no_metres_is_neither_taken_nor_proposed_where_some_is(record, frames, tmp_path):
    told = lidar(record, frames, np.array([[0.0, 0, 2]]), "left")
    relative = depth_image(record.begin, "left", DEPTH, DEPTH_KINDS["relative"])
    made = ("/front/depth/inverse_depth_relative/image", IMAGE, record.begin + 5, relative)
    path = record.mcap(tmp_path / "drive.mcap", [*told, made])
    ((_, depth),) = recorded_depth(path)
    assert np.nanmax(depth) == 2
    with pytest.raises(InputError, match=r"those with depth in metres are /depth \(sensor_msgs/msg/PointCloud2, 1\)$"):
        recorded_depth(path, "/nope")
    with pytest.raises(InputError, match=f"{made[0]} holds no depth in metres"):
        list(recorded_depth(path, made[0]))


def test_a_topic_without_depth_is_one_line(record, frames, tmp_path):
    path = record.mcap(tmp_path / "drive.mcap", record.camera(frames))
    for topic, line in [
        (None, r"none of its topics has depth in metres \(16UC1, 32FC1 or PointCloud2\); it has /cam/camera_info"),
        ("/cam/image_raw", r"the topic /cam/image_raw holds no depth in metres \(sensor_msgs/msg/Image\); it has "),
        ("/nope", "the topic /nope is not in it; it has "),
    ]:
        with pytest.raises(InputError, match=line):
            recorded_depth(path, topic)


def lidar(record, frames, points, frame_id, *, transforms=(), **info):
    """A recording of a camera, of points in a frame of their own, and of where the sensors are."""
    cloud = PointCloud(points.astype(np.float32), np.zeros((len(points), 3), np.uint8))
    told = record.camera(frames[:1], **info)
    clouds = entries(record, [point_cloud(record.begin, frame_id, cloud)], "sensor_msgs/msg/PointCloud2")
    stamped = [
        {
            "header": header(record.begin, parent),
            "child_frame_id": child,
            "transform": {
                "translation": dict(zip("xyz", shift, strict=True)),
                "rotation": dict(zip("xyzw", turn, strict=True)),
            },
        }
        for parent, child, shift, turn in transforms
    ]
    static = [("/tf_static", "tf2_msgs/msg/TFMessage", record.begin, {"transforms": stamped})] if stamped else []
    return [*static, *told, *clouds]


def test_points_are_depth_where_the_camera_sees_them(record, frames, tmp_path):
    camera = record.pinhole
    pixels = np.array([[3, 5], [20, 14], [41, 27], [60, 5]])
    z = np.array([2.0, 5, 9, 4])
    points = np.column_stack([(pixels - (camera.cx, camera.cy)) / (camera.fx, camera.fy) * z[:, None], z])
    hidden = [points[1] * 1.5, [0, 0, -3], [np.nan, 0, 1]]
    path = record.mcap(tmp_path / "drive.mcap", lidar(record, frames, np.vstack([points, hidden]), "left"))
    ((stamp, depth),) = recorded_depth(path)
    assert stamp == record.begin and depth.shape == (28, 42)
    truth = np.full((28, 42), np.nan, np.float32)
    truth[[5, 14, 27], [3, 20, 41]] = z[:3]
    assert np.array_equal(depth, truth, equal_nan=True)


@pytest.mark.filterwarnings("error")
def test_points_that_no_sensor_measures_are_not_in_sight_and_nothing_is_printed(record, frames, tmp_path):
    told = lidar(record, frames, np.array([[0.0, 0, 2], [0, 0, 3], [1, 1, 1]]), "left")
    x, y, z = np.frombuffer(told[-1][3]["data"], "<u4").reshape(3, -1)[:, :3].copy().T
    x[2] = y[2] = z[2] = 0x7FA00000  # a signalling NaN
    fields = [{"name": axis, "offset": 8 * k, "datatype": 8, "count": 1} for k, axis in enumerate("xyz")]
    wild = np.array([[1e308, 1, 1e-5], [1, 1, 1e300], [np.nan, 1, 1]])  # of float64
    single = np.column_stack([x, y, z]).astype("<u4").tobytes()
    double = {"fields": fields, "point_step": 24, "row_step": 72, "data": wild.tobytes()}
    messages = [{**told[-1][3], "point_step": 12, "row_step": 36, "data": single}, {**told[-1][3], **double}]
    path = record.mcap(tmp_path / "drive.mcap", told[:-1] + [(*told[-1][:3], message) for message in messages])
    seen = [depth[np.isfinite(depth)].tolist() for _, depth in recorded_depth(path)]
    assert seen == [[2.0], []]


@pytest.mark.parametrize(("model", "count"), [("plumb_bob", 5), ("equidistant", 4)])
def test_points_go_through_the_lens(record, frames, tmp_path, model, count):
    numbers = [0.1, 0.02, 0.001, -0.001, 0.005][:count]
    points = np.array([[0.5, 0.2, 2.0], [-0.9, 0.4, 3.0]])
    matrix = np.array([[40, 0, 20], [0, 41, 14], [0, 0, 1]], np.float64)
    bend = cv2.projectPoints if model == "plumb_bob" else cv2.fisheye.projectPoints
    x, y = np.rint(bend(points[:, None], np.zeros(3), np.zeros(3), matrix, np.array(numbers))[0]).astype(int).T
    info = {"distortion_model": model, "d": numbers}
    ((_, depth),) = recorded_depth(record.mcap(tmp_path / "a.mcap", lidar(record, frames, points, "left", **info)))
    assert np.array_equal(depth[y.ravel(), x.ravel()], points[:, 2].astype(np.float32))
    assert np.isfinite(depth).sum() == 2


def test_static_transforms_lead_from_the_points_to_the_camera(record, frames, tmp_path):
    """A laser that looks along x, z up, on a base that the camera stands on, too, looking the same way."""
    transforms = [
        ("base", "laser", (0, 0, 1), (0, 0, 0, 1)),
        ("base", "left", (0, 0, 1), (-0.5, 0.5, -0.5, 0.5)),  # REP 103's optical frame
    ]
    points = np.array([[4.0, 0, 0], [4, -0.4, 0.3]])
    entries = lidar(record, frames, points, "laser", transforms=transforms)
    ((_, depth),) = recorded_depth(record.mcap(tmp_path / "drive.mcap", entries))
    y, x = np.nonzero(np.isfinite(depth))
    # 0.4 m to the right of the axis and 0.3 m above it, 4 m away.
    assert sorted(zip(x.tolist(), y.tolist(), strict=True)) == [(20, 14), (24, 11)]
    assert np.nanmax(np.abs(depth - 4)) < 1e-5
    lost = record.mcap(tmp_path / "lost.mcap", lidar(record, frames, points, "laser", transforms=transforms[:1]))
    with pytest.raises(InputError, match="in the frame 'laser', the camera in 'left', and no static transform"):
        list(recorded_depth(lost))


@pytest.mark.parametrize("names", [("/left", "left"), ("left", "/left"), ("/laser", "left")])
def test_a_slash_before_the_name_of_a_frame_counts_for_nothing(record, frames, tmp_path, names):
    points, seen = names
    told = lidar(record, frames, np.array([[0.0, 0, 2]]), points, transforms=[(seen, "laser", (0, 0, 1), (0, 0, 0, 1))])
    for _, _, _, message in told:
        if message.get("encoding"):
            message["header"]["frame_id"] = seen
    ((_, depth),) = recorded_depth(record.mcap(tmp_path / "drive.mcap", told))
    assert np.nanmax(depth) == (3 if "laser" in points else 2)


def test_a_camera_that_is_given_comes_before_that_of_the_recording(record, frames, tmp_path):
    """Numbers or a field of view; and where the recording knows none."""
    points = np.array([[0.5, 0.2, 2.0]])
    told = lidar(record, frames, points, "left")
    paths = [
        record.mcap(tmp_path / "known.mcap", told),
        record.mcap(tmp_path / "blind.mcap", [entry for entry in told if "camera_info" not in entry[0]]),
    ]
    for path in paths:
        for lens, place in ((Lens.of(intrinsics="20,20,21,13"), (15, 26)), (Lens.of(90), (16, 26))):
            ((_, depth),) = recorded_depth(path, lens=lens)
            assert depth.shape == (28, 42)
            assert [tuple(map(int, at)) for at in np.argwhere(np.isfinite(depth))] == [place]
    with pytest.raises(InputError, match="its principal point 320,240 is far from the middle"):
        recorded_depth(paths[0], lens=Lens.of(intrinsics="500,500,320,240"))


def test_points_without_a_camera_are_one_line(record, frames, tmp_path):
    entries = [e for e in lidar(record, frames, np.ones((1, 3)), "left") if "camera_info" not in e[0]]
    with pytest.raises(InputError, match=r"/depth has points, and nothing says what the camera of /cam/image_raw sees"):
        recorded_depth(record.mcap(tmp_path / "drive.mcap", entries))
