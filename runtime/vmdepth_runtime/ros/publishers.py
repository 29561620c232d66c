"""What the node sends: depth, its camera and its points, in the header of the picture that they are of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.depth_kinds import DepthKind
from vmdepth_runtime.encoding.points import PointCloud
from vmdepth_runtime.encoding.ros_messages import (
    camera_info,
    camera_info_topic,
    depth_image,
    depth_topic,
    point_cloud,
    points_topic,
    stamp_of,
)
from vmdepth_runtime.ros.messages import filled
from vmdepth_runtime.ros.settings import Reliability, RosSettings


class Publishers:
    """The topics that a node publishes.

    Args:
        node: of rclpy.
        kind: what depth means.
        settings: of the node.

    Attributes:
        depth_topic: where depth is, as ROS resolves it.
    """

    def __init__(self, node: Any, kind: DepthKind, settings: RosSettings) -> None:
        from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField

        self._kind, self._settings = kind, settings
        self._image, self._camera_info, self._cloud, self._field = Image, CameraInfo, PointCloud2, PointField
        quality = quality_of_service(settings.output_reliability, settings.queue)
        self.depth_topic = node.resolve_topic_name(_own(depth_topic(kind)))
        self._depths = node.create_publisher(Image, _own(depth_topic(kind)), quality)
        self._cameras = node.create_publisher(CameraInfo, _own(camera_info_topic(kind)), quality)
        self._clouds = node.create_publisher(PointCloud2, _own(points_topic(kind)), quality)

    @property
    def points_are_wanted(self) -> bool:
        """Whether anybody listens for points, which take long to make."""
        return bool(self._clouds.get_subscription_count())

    def depth(self, header: Any, depth: NDArray[np.float32]) -> None:
        """Send depth float32 `[H, W]`. header: of the picture."""
        stamp, frame_id = stamp_of(header), header.frame_id
        fields = depth_image(stamp, frame_id, depth, self._kind, self._settings.depth_encoding)
        self._depths.publish(filled(self._image, fields))

    def camera(self, header: Any, lens: Lens, width: int, height: int) -> None:
        """Send the camera of pictures of a size. header: of the picture."""
        camera = lens.camera(width, height)
        fields = camera_info(stamp_of(header), header.frame_id, camera, (width, height), lens.distortion)
        self._cameras.publish(filled(self._camera_info, fields))

    def points(self, header: Any, cloud: PointCloud) -> None:
        """Send points. header: of the picture."""
        fields = point_cloud(stamp_of(header), header.frame_id, cloud)
        self._clouds.publish(filled(self._cloud, fields, {"fields": self._field}))


def quality_of_service(reliability: Reliability, queue: int) -> Any:
    """A `QoSProfile` of rclpy that keeps so many messages, the newest."""
    from rclpy.qos import QoSProfile, ReliabilityPolicy

    return QoSProfile(depth=queue, reliability=ReliabilityPolicy[reliability.upper()])


def _own(topic: str) -> str:
    """A topic below the node's own name, which is the first part of all of ours where nobody gives it another."""
    return f"~/{topic.removeprefix('/').partition('/')[2]}"
