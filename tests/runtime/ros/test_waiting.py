"""What the node tells while it waits, and whom it hears."""

import pytest


@pytest.mark.parametrize(
    ("published", "line"),
    [
        ({}, "nobody sends on /image; pictures are on no topic"),
        ({"/front": "Image", "/rear/compressed": "CompressedImage", "/cloud": "PointCloud2"},
         "nobody sends on /image; pictures are on /front, /rear/compressed"),
        ({"/image": "Image"}, "nothing comes on /image yet"),
        ({"/image": "CompressedImage"},
         "/image is sensor_msgs/msg/CompressedImage, and sensor_msgs/msg/Image is waited for"),
    ],
)  # fmt: skip
def test_what_is_waited_for_is_told(start, monkeypatch, published, line):
    monkeypatch.setattr("vmdepth_runtime.ros.depth_node._PATIENCE", 0.05)
    running = start()
    for topic, kind in published.items():
        running.robot.node.create_publisher(getattr(running.robot.messages, kind), topic, 10)
    running.robot.until(lambda: line in running.said)


def test_a_camera_that_metres_wait_for_is_told(start, build_graph, images, monkeypatch):
    monkeypatch.setattr("vmdepth_runtime.ros.depth_node._PATIENCE", 0.05)
    running = start(model=build_graph(depth_kind="metric", metric_focal=80.0))
    running.robot.says(running.robot.picture(images[0]), "/image")
    line = "/image comes, and no CameraInfo on /camera_info or /image/camera_info, which this model's metres take; "
    running.robot.until(lambda: any(line in said for said in running.said))


def test_a_camera_that_rectifying_waits_for_is_told(start, images, monkeypatch):
    monkeypatch.setattr("vmdepth_runtime.ros.depth_node._PATIENCE", 0.05)
    running = start("--rectify")
    running.robot.says(running.robot.picture(images[0]), "/image")
    line = "/image/camera_info, which rectify takes; camera_info names its topic, a calibration, as intrinsics, stands"
    running.robot.until(lambda: any(line in said for said in running.said))


@pytest.mark.parametrize(("asked", "heard"), [("best_effort", 1), ("reliable", 0)])
def test_a_camera_that_promises_nothing_is_heard_by_who_asks_for_nothing(start, asked, heard):
    running = start("--reliability", asked)
    from rclpy.qos import QoSProfile, ReliabilityPolicy

    robot = running.robot
    reliable = robot.node.create_publisher(robot.messages.Image, "/image", 10)
    robot.until(reliable.get_subscription_count)
    profile = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    assert robot.node.create_publisher(robot.messages.Image, "/image", profile).get_subscription_count() == heard
