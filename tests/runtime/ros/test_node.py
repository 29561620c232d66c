"""The node from outside: pictures in on topics, depth out, by a stand-in for rclpy."""

from contextlib import suppress
from threading import Event

import numpy as np
import pytest

from vmdepth_runtime import DepthStream
from vmdepth_runtime.camera.distortion import Distortion
from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.camera.pinhole import PinholeCamera
from vmdepth_runtime.camera.rectifier import Rectifier
from vmdepth_runtime.errors import InputError

SECOND = 10**9
START = 1_700_000_000 * SECOND + 123_456_789
STEP = SECOND // 30
RELATIVE = "/vmdepth/inverse_depth_relative/image"
RELATIVE_CAMERA = "/vmdepth/inverse_depth_relative/camera_info"


def shown(message):
    """The pixels of a depth image."""
    kind = "<f4" if message.encoding.startswith("32FC1") else "<u2"
    return np.frombuffer(message.data, kind).reshape(message.height, message.width)


def one_by_one(running, images, heard, stamps=None):
    """Publish pictures, each when there is depth of the one before; returns what was heard."""
    for index, image in enumerate(images):
        stamp = START + index * STEP if stamps is None else stamps[index]
        running.robot.says(running.robot.picture(image, stamp), "/image")
        running.robot.until(lambda wanted=index + 1: len(heard) >= wanted)
    return list(heard)


def streamed(model, images):
    with DepthStream(model) as stream:
        return [stream(image).depth.copy() for image in images]


def test_depth_is_that_of_a_stream_and_has_the_picture_s_header(start, luma_model, images):
    running = start()
    heard = running.robot.listens(running.robot.messages.Image, RELATIVE)
    depths = one_by_one(running, images, heard)
    for index, (message, depth) in enumerate(zip(depths, streamed(luma_model, images), strict=True)):
        np.testing.assert_array_equal(shown(message), depth)
        stamp = message.header.stamp
        assert (stamp.sec * SECOND + stamp.nanosec, message.header.frame_id) == (START + index * STEP, "front_optical")
        assert (message.encoding, message.is_bigendian, message.step) == ("32FC1; inverse relative", 0, 4 * 42)
    assert any(line.startswith(f"/image (42x28) → {RELATIVE}: relative inverse depth") for line in running.said)


def test_depth_comes_with_its_camera_and_points_where_they_are_heard(start, build_graph, images):
    running = start("--max-jump", "0", model=build_graph(depth_kind="metric"))
    messages = running.robot.messages
    heard = running.robot.listens(messages.Image, "/vmdepth/depth/image")
    cameras = running.robot.listens(messages.CameraInfo, "/vmdepth/depth/camera_info")
    running.robot.says(running.robot.camera(distortion_model="plumb_bob", d=[0.0] * 5), "/camera_info")
    one_by_one(running, images[:1], heard)
    clouds = running.robot.listens(messages.PointCloud2, "/vmdepth/points")
    one_by_one(running, images, heard, [START + index * STEP for index in range(1, 6)])
    running.robot.until(lambda: len(clouds) >= 4 and len(cameras) >= 5)
    assert cameras[0].header.stamp.nanosec == heard[0].header.stamp.nanosec == 123_456_789
    assert (list(cameras[0].k), cameras[0].width, cameras[0].height) == ([40.0, 0, 20.5, 0, 40, 13.5, 0, 0, 1], 42, 28)
    depth, cloud = shown(heard[1]), np.frombuffer(clouds[0].data, "<f4").reshape(-1, 4)
    assert [field.name for field in clouds[0].fields] == ["x", "y", "z", "rgb"]
    np.testing.assert_array_equal(cloud[:, 2], depth.ravel())
    np.testing.assert_allclose(cloud[:, 0], (depth * ((np.arange(42) - 20.5) / 40)).ravel(), rtol=1e-5, atol=1e-6)


def test_rectified_depth_camera_and_points_are_of_straight_pictures(start, build_graph, images):
    bent, k = [-0.2, 0.05, 0.0, 0.0, 0.0], (40.0, 40.0, 20.5, 13.5)
    lens = Lens("a camera", pinhole=PinholeCamera(*k), size=(42, 28), distortion=Distortion("plumb_bob", tuple(bent)))
    rectify = Rectifier(lens, 42, 28)
    straight = rectify.lens.camera(42, 28)
    model = build_graph(depth_kind="metric")
    running = start("--rectify", "--max-jump", "0", "--image", "/front/image_raw", model=model)
    messages = running.robot.messages
    heard = running.robot.listens(messages.Image, "/vmdepth/depth/image")
    cameras = running.robot.listens(messages.CameraInfo, "/vmdepth/depth/camera_info")
    clouds = running.robot.listens(messages.PointCloud2, "/vmdepth/points")
    running.robot.says(running.robot.camera(distortion_model="plumb_bob", d=bent), "/front/image_raw/camera_info")
    running.robot.until(lambda: not running.waiting("/front/image_raw/camera_info"))
    running.robot.says(running.robot.picture(images[0]), "/front/image_raw")
    running.robot.until(lambda: heard and cameras and clouds)
    depth = streamed(model, [rectify(images[0])])[0]
    np.testing.assert_array_equal(shown(heard[0]), depth)
    assert list(cameras[0].k) == [straight.fx, 0, straight.cx, 0, straight.fy, straight.cy, 0, 0, 1]
    assert list(cameras[0].d) == [0.0] * 5
    cloud = np.frombuffer(clouds[0].data, "<f4").reshape(-1, 4)
    wanted = depth * ((np.arange(42) - straight.cx) / straight.fx)
    np.testing.assert_allclose(cloud[:, 0], wanted.ravel(), rtol=1e-5, atol=1e-6)


def test_a_camera_that_bends_nothing_is_not_rectified(start, images):
    running = start("--rectify", "--ros-args", "-p", "intrinsics:=[40.0, 40.0, 20.5, 13.5]")
    failure = running.ends()
    assert isinstance(failure, InputError)
    assert "40,40,20.5,13.5: says nothing of distortion, so there is nothing to rectify" in str(failure)


def test_a_camera_info_that_bends_nothing_is_not_rectified_either(start, images):
    running = start("--rectify")
    running.robot.says(running.robot.camera(distortion_model="plumb_bob", d=[0.0] * 5), "/camera_info")
    running.robot.until(lambda: not running.waiting("/camera_info"))
    running.robot.says(running.robot.picture(images[0]), "/image")
    assert "CameraInfo of /image: says nothing of distortion, so there is nothing to rectify" in str(running.ends())


def test_millimetres_are_sent_of_metres(start, build_graph, images):
    running = start("--depth-encoding", "16UC1", model=build_graph(depth_kind="metric"))
    heard = running.robot.listens(running.robot.messages.Image, "/vmdepth/depth/image")
    (message,) = one_by_one(running, images[:1], heard)
    metres = images[0] @ np.array([0.25, 0.5, 0.25]) / 512
    assert (message.encoding, message.step) == ("16UC1", 84)
    assert np.abs(shown(message) / 1000 - metres).max() <= 0.0005 + 1e-12


def test_metres_are_made_of_relative_depth(start, images):
    running = start("--depth-encoding", "16UC1", "--ros-args", "-p", "metres:=[2.0, 0.1]")
    heard = running.robot.listens(running.robot.messages.Image, "/vmdepth/depth/image")
    (message,) = one_by_one(running, images[:1], heard)
    metres = 1 / (2.0 * (images[0] @ np.array([0.25, 0.5, 0.25])) / 512 + 0.1)
    np.testing.assert_allclose(shown(message) / 1000, metres, atol=0.0006)


@pytest.mark.parametrize(
    ("after", "told"),
    [(-1.5, "time went back by 1.5 s"), (3.0, "nothing came for 3 s")],
)
def test_states_begin_anew_where_time_jumps(start, luma_model, images, after, told):
    running = start()
    heard = running.robot.listens(running.robot.messages.Image, RELATIVE)
    jump = START + STEP + round(after * SECOND)
    stamps = [START, START + STEP, jump, jump + STEP, jump + STEP]  # one stamp twice is no jump
    depths = [shown(message) for message in one_by_one(running, images, heard, stamps)]
    for depth, wanted in zip(depths[2:], streamed(luma_model, images[2:]), strict=True):
        np.testing.assert_array_equal(depth, wanted)
    assert f"/image: {told}; the stream starts anew" in running.said


def test_pictures_of_another_size_begin_anew(start, luma_model, make, images):
    running = start()
    heard = running.robot.listens(running.robot.messages.Image, RELATIVE)
    small = make.noise(1, 20, 30)
    depths = one_by_one(running, [images[0], small[0]], heard)
    np.testing.assert_array_equal(shown(depths[1]), streamed(luma_model, small)[0])
    assert "/image: pictures are 30x20 from here on; the stream starts anew" in running.said


def test_metres_that_take_the_camera_wait_for_it(start, build_graph, images):
    running = start(model=build_graph(depth_kind="metric", metric_focal=80.0))
    heard = running.robot.listens(running.robot.messages.Image, "/vmdepth/depth/image")
    running.robot.says(running.robot.picture(images[0]), "/image")
    running.robot.says(running.robot.camera(), "/camera_info")

    def sent_until_heard():
        running.robot.says(running.robot.picture(images[0]), "/image")
        return heard

    running.robot.until(sent_until_heard)
    luma = images[0] @ np.array([0.25, 0.5, 0.25], np.float32) / 512
    np.testing.assert_allclose(shown(heard[0]), luma * 40 / 80, rtol=1e-6)


def test_pictures_of_other_encodings_are_read(start, luma_model, images):
    running = start()
    heard = running.robot.listens(running.robot.messages.Image, RELATIVE)
    grey = images[0, ..., 0]
    for number, (encoding, pixels) in enumerate({"bgr8": images[0][..., ::-1], "mono8": grey}.items()):
        earlier = START - number * SECOND  # which begins anew
        running.robot.says(running.robot.picture(pixels, earlier, encoding), "/image")
        running.robot.until(lambda wanted=number + 1: len(heard) >= wanted)
    for message, image in zip(heard, (images[0], np.dstack([grey] * 3)), strict=True):
        np.testing.assert_array_equal(shown(message), streamed(luma_model, image[None])[0])


def test_compressed_pictures_are_read_and_damaged_ones_left_out(start, luma_model, images):
    from array import array

    import cv2

    running = start("--image", "/front/image_raw/compressed", "--camera-info", "/front/calibration")
    messages = running.robot.messages
    heard = running.robot.listens(messages.Image, RELATIVE)
    cameras = running.robot.listens(messages.CameraInfo, RELATIVE_CAMERA)
    running.robot.says(running.robot.camera(), "/front/calibration")
    png = cv2.imencode(".png", images[0][..., ::-1])[1].tobytes()
    for data in (png[: len(png) // 2], png):
        message = messages.CompressedImage(format="png", data=array("B", data))
        running.robot.says(message, "/front/image_raw/compressed")
        running.robot.until(lambda: heard or any("damaged" in line for line in running.said))
    running.robot.until(lambda: heard and cameras)
    np.testing.assert_array_equal(shown(heard[0]), streamed(luma_model, images[:1])[0])


def test_an_encoding_that_is_not_read_ends_the_node_with_one_line(start, images):
    running = start()
    running.robot.says(running.robot.picture(images[0], encoding="lab8"), "/image")
    failure = running.ends()
    assert isinstance(failure, InputError)
    assert str(failure).startswith("/image: has the encoding 'lab8', which is not read; those are rgb8, bgr8, ")


def test_a_camera_that_changes_its_size_is_waited_for(start, make, images):
    running = start()
    messages = running.robot.messages
    heard = running.robot.listens(messages.Image, RELATIVE)
    cameras = running.robot.listens(messages.CameraInfo, RELATIVE_CAMERA)
    running.robot.says(running.robot.camera(), "/camera_info")
    running.robot.until(lambda: not running.waiting("/camera_info"))
    one_by_one(running, images[:2], heard)
    running.robot.until(lambda: cameras)
    heard.clear()
    one_by_one(running, make.noise(2, 40, 40), heard, [START + 2 * STEP, START + 3 * STEP])
    running.robot.until(lambda: any("is of 42x28 frames, and /image is 40x40" in line for line in running.said))
    assert {(camera.width, camera.height) for camera in cameras} == {(42, 28)}


def test_a_camera_of_another_shape_ends_the_node_with_one_line(start, images):
    running = start()
    running.robot.says(
        running.robot.camera(640, 480, [500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0]), "/camera_info"
    )
    running.robot.says(running.robot.picture(images[0]), "/image")  # which may come before the camera
    running.robot.until(lambda: any("inverse depth" in line for line in running.said) or running.failure)
    with suppress(RuntimeError):  # it has ended already
        running.robot.says(running.robot.picture(images[0]), "/image")
    assert "CameraInfo of /image: is of 640x480 frames, and /image is 42x28" in str(running.ends())


def test_of_pictures_that_come_while_the_network_is_busy_the_last_is_taken(start, luma_model, images, monkeypatch):
    from vmdepth_runtime.ros.arrivals import Arrivals
    from vmdepth_runtime.ros.camera_stream import CameraStream

    begun, go_on, step = Event(), Event(), CameraStream.step
    arrived, put = [], Arrivals.put

    def step_when_told(self, *arguments):
        begun.set()
        assert go_on.wait(60)
        return step(self, *arguments)

    def put_and_count(self, message):
        put(self, message)
        arrived.append(message)

    monkeypatch.setattr(CameraStream, "step", step_when_told)
    monkeypatch.setattr(Arrivals, "put", put_and_count)
    running = start()
    heard = running.robot.listens(running.robot.messages.Image, RELATIVE)
    running.robot.says(running.robot.picture(images[0]), "/image")
    assert begun.wait(60)
    for index, image in enumerate(images[1:], 1):  # four seconds go by, which are no gap: pictures came
        running.robot.says(running.robot.picture(image, START + index * SECOND), "/image")
    running.robot.until(lambda: len(arrived) == 5)
    go_on.set()
    running.robot.until(lambda: len(heard) == 2)
    for message, depth in zip(heard, streamed(luma_model, images[[0, 4]]), strict=True):
        np.testing.assert_array_equal(shown(message), depth)
    assert not any("anew" in line for line in running.said)


def test_a_jump_is_heeded_though_its_picture_cannot_be_read(start, luma_model, images):
    running = start()
    heard = running.robot.listens(running.robot.messages.Image, RELATIVE)
    one_by_one(running, images[:2], heard)
    damaged = running.robot.picture(images[2], START + 9 * SECOND)
    damaged.data = damaged.data[:100]
    running.robot.says(damaged, "/image")
    running.robot.until(lambda: any("damaged" in line for line in running.said))
    running.robot.says(running.robot.picture(images[3], START + 9 * SECOND + STEP), "/image")
    running.robot.until(lambda: len(heard) == 3)
    np.testing.assert_array_equal(shown(heard[2]), streamed(luma_model, images[3:4])[0])


def test_a_network_that_fails_is_told_and_counted(start, build_graph, nan_on_white, images, capsys):
    running = start(model=build_graph(touch=nan_on_white))
    heard = running.robot.listens(running.robot.messages.Image, RELATIVE)
    white = np.full_like(images[0], 255)
    one_by_one(running, [images[0], white, white, white, images[1]], heard)
    assert [bool(np.isnan(shown(message)).all()) for message in heard] == [False, True, True, True, False]
    told = [line for line in running.said if "nothing finite" in line]
    line = "/image: the network gave nothing finite for a picture, whose depth is NaN"
    assert told == [f"{line}; 1 by now", f"{line}; 2 by now"]
    running.stop()
    end = capsys.readouterr().err
    assert "vmdepth-ros: 5 pictures of /image; 3 for which the network gave nothing finite" in end


def test_a_picture_on_its_way_when_ros_goes_down_is_no_failure(start, images, monkeypatch):
    from vmdepth_runtime.ros.camera_stream import CameraStream

    step = CameraStream.step

    def step_and_shut_down(self, *arguments):
        running.rclpy.try_shutdown()  # as SIGTERM does, wherever it comes
        return step(self, *arguments)

    running = start()
    monkeypatch.setattr(CameraStream, "step", step_and_shut_down)
    running.robot.says(running.robot.picture(images[0]), "/image")
    assert running.ends() is None


def test_an_uncalibrated_camera_is_told_once(start, images):
    running = start()
    heard = running.robot.listens(running.robot.messages.Image, RELATIVE)
    running.robot.says(running.robot.camera(k=[0.0] * 9), "/camera_info")
    one_by_one(running, images, heard)
    assert sum("the camera is not calibrated" in line for line in running.said) == 1
