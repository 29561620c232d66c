"""The live view for Foxglove, as a client of its protocol sees it that knows no more than what the server tells."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import struct
import sys
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import replace
from queue import Queue
from threading import Thread
from time import sleep

import cv2
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # which onnx brings
from tornado.websocket import websocket_connect  # which ipykernel brings

from vmdepth_runtime import InputError, RunSettings, SourceFrame, open_sink, run
from vmdepth_runtime.camera.distortion import Distortion
from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.camera.pinhole import PinholeCamera
from vmdepth_runtime.encoding.cloud_settings import CloudSettings
from vmdepth_runtime.encoding.points import back_project
from vmdepth_runtime.sinks.open import check_output

DEPTH, CAMERA, COLOUR, POINTS = (
    f"/vmdepth/{name}" for name in ("depth/image", "depth/camera_info", "colour/compressed", "points")
)
COLOURED, FIGURES, TRANSFORM = "/vmdepth/depth/colours/compressed", "/vmdepth/figures", "/tf"
STAMP = 1_700_000_000_123_456_789


class Viewer:
    """A client that wants some topics; `next` waits for a message. reads: whether it ever takes any."""

    def __init__(self, port, topics, *, reads=True):
        self.channels, self._got, self._ready = {}, defaultdict(Queue), Queue()
        self._loop, self._reads = asyncio.new_event_loop(), reads
        Thread(target=self._loop.run_until_complete, args=(self._run(port, topics),), daemon=True).start()
        error = self._ready.get(timeout=30)
        if error:
            raise error

    def next(self, topic):
        stamp, content = self._got[topic].get(timeout=30)
        return stamp, decoded(self.channels[topic], content)

    def leave(self):
        self._loop.call_soon_threadsafe(self._connection.close)

    async def _run(self, port, topics):
        try:
            address = f"ws://127.0.0.1:{port}"
            for _ in range(300):
                try:
                    opened = await websocket_connect(address, subprotocols=["foxglove.sdk.v1"], max_message_size=2**30)
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0.1)
            self._connection = opened
            while len(self.channels) == 0:
                told = json.loads(await opened.read_message())
                self.channels |= {channel["topic"]: channel for channel in told.get("channels", [])}
            wanted = [{"id": k, "channelId": self.channels[topic]["id"]} for k, topic in enumerate(topics)]
            await opened.write_message(json.dumps({"op": "subscribe", "subscriptions": wanted}))
            self._ready.put(None)
        except Exception as error:
            self._ready.put(error)
            raise
        while not self._reads:
            await asyncio.sleep(1)
        while (message := await opened.read_message()) is not None:
            if isinstance(message, bytes):
                kind, number, stamp = struct.unpack_from("<BIQ", message)
                assert kind == 1
                self._got[topics[number]].put((stamp, message[13:]))


def decoded(channel, content):
    """A message by the schema that its channel came with."""
    if channel["encoding"] == "json":
        return json.loads(content)
    files = descriptor_pb2.FileDescriptorSet.FromString(base64.b64decode(channel["schema"]))
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(channel["schemaName"])).FromString(content)


@contextmanager
def view(port, facts, topics, **known):
    """A sink at a port, and a viewer of it that the server knows to want something."""
    with open_sink(f"foxglove://127.0.0.1:{port}", facts(**known)) as sink:
        viewer = Viewer(port, topics)
        wait_until(lambda: sink.watched)
        try:
            yield sink, viewer
        finally:
            viewer.leave()


def wait_until(condition):
    """For half a minute."""
    for _ in range(3000):
        if condition():
            return
        sleep(0.01)
    raise AssertionError("never came to be")


def frame_of(make, index=0, height=48, width=64):
    (image,) = make.noise(1, height, width, seed=index)
    depth = 1 + image[..., 0].astype(np.float32) / 77
    return SourceFrame(index, index / 30, image, stamp=STAMP + index), depth


def test_metric_depth_is_seen_bit_by_bit_with_its_camera_and_its_points(facts, make, free_port):
    lens = Lens.of(intrinsics=(50, 51, 31, 24))
    topics = [DEPTH, CAMERA, POINTS, TRANSFORM, COLOUR, COLOURED, FIGURES]
    known = {"depth_kind": "metric", "lens": lens, "frame_id": "front", "status": lambda: {"frames/s": 9.5}}
    frame, depth = frame_of(make)
    depth[3, 5] = np.nan
    painted = np.full((48, 64, 3), (10, 200, 90), np.uint8)
    with view(free_port, facts, topics, **known) as (sink, viewer):
        sink.write(frame, depth, painted, {"state_change": np.float32(0.25)})
        seen = {topic: viewer.next(topic) for topic in topics}
        sink.write(frame_of(make, 1)[0], depth, painted, {"state_change": np.float32(0.25)})
        later = viewer.next(FIGURES)[1]
    assert {stamp for stamp, _ in seen.values()} == {STAMP}
    image, camera, cloud = (seen[topic][1] for topic in (DEPTH, CAMERA, POINTS))
    for message in (image, camera, cloud):
        assert message.timestamp.seconds * 10**9 + message.timestamp.nanos == STAMP
        assert message.frame_id == "front"
    assert (image.encoding, image.width, image.height, image.step) == ("32FC1", 64, 48, 256)
    assert image.data == depth.tobytes()
    assert (camera.width, camera.height, list(camera.K)) == (64, 48, [50, 0, 31, 0, 51, 24, 0, 0, 1])
    assert (camera.distortion_model, list(camera.D)) == ("plumb_bob", [0] * 5)

    expected = back_project(depth, frame.image, lens.camera(64, 48), None, CloudSettings())
    names = ["x", "y", "z", "red", "green", "blue", "alpha"]
    assert [field.name for field in cloud.fields] == names
    assert [(field.offset, field.type) for field in cloud.fields[:4]] == [(0, 7), (4, 7), (8, 7), (12, 1)]
    rows = np.frombuffer(cloud.data, np.uint8).reshape(-1, cloud.point_stride)
    assert len(rows) > 0
    np.testing.assert_array_equal(rows[:, :12].copy().view("<f4"), expected.points)
    np.testing.assert_array_equal(rows[:, 12:15], expected.colours)
    assert (rows[:, 15] == 255).all()
    assert (cloud.pose.orientation.w, cloud.pose.position.z) == (1, 0)

    coloured = cv2.imdecode(np.frombuffer(seen[COLOURED][1].data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(coloured.astype(int) - painted).max() <= 3
    assert cv2.imdecode(np.frombuffer(seen[COLOUR][1].data, np.uint8), cv2.IMREAD_COLOR).shape == (48, 64, 3)
    turned = seen[TRANSFORM][1]
    assert (turned.parent_frame_id, turned.child_frame_id) == ("vmdepth", "front")
    q = turned.rotation
    forward = (2 * (q.x * q.z + q.w * q.y), 2 * (q.y * q.z - q.w * q.x), 1 - 2 * (q.x**2 + q.y**2))
    assert forward == (1, 0, 0)  # where the camera looks is x
    assert seen[FIGURES][1] == {"frames_per_s": 9.5, "frame": 0, "state_change": None, "discontinuity": False}
    assert later == {"frames_per_s": 9.5, "frame": 1, "state_change": 0.25, "discontinuity": False}
    assert "frames_per_s" in json.loads(viewer.channels[FIGURES]["schema"])["properties"]


@pytest.mark.parametrize(("kind", "name"), [("relative", "inverse_depth_relative"), ("scaled", "depth_scaled")])
def test_what_is_no_metres_is_shown_in_colours_alone(facts, kind, name, free_port):
    coloured = f"/vmdepth/{name}/colours/compressed"
    with view(free_port, facts, [coloured], depth_kind=kind) as (sink, viewer):
        assert viewer.channels.keys() == {coloured, COLOUR, FIGURES}
        assert not sink.wants_depth


def test_a_fisheye_has_the_name_that_foxglove_knows(facts, make, free_port):
    fisheye = Distortion("equidistant", (0.1, 0.01, 0.0, 0.0))
    frame, depth = frame_of(make)
    lens = Lens("x", pinhole=PinholeCamera(50, 51, 31, 24), distortion=fisheye)
    with view(free_port, facts, [CAMERA], depth_kind="metric", lens=lens) as (sink, viewer):
        sink.write(frame, depth, frame.image, {"state_change": np.float32(0)})
        camera = viewer.next(CAMERA)[1]
    assert (camera.distortion_model, list(camera.D)) == ("kannala_brandt", [0.1, 0.01, 0, 0])


def test_the_next_source_is_seen_at_the_same_address(facts, make, free_port):
    frame, depth = frame_of(make)
    port = free_port
    for number in range(2):
        with open_sink(f"foxglove://127.0.0.1:{port}", facts(depth_kind="metric")) as sink:
            viewer = Viewer(port, [DEPTH])
            wait_until(lambda sink=sink: sink.watched)
            sink.write(frame, depth + number, frame.image, {"state_change": np.float32(0)})
            assert viewer.next(DEPTH)[1].data == (depth + number).tobytes()


def test_nothing_is_made_for_nobody(facts, make, free_port):
    frame, depth = frame_of(make)
    frame = replace(frame, image=frame.image[:0])  # neither its colours nor its points can be made
    port = free_port
    with open_sink(f"foxglove://127.0.0.1:{port}", facts(depth_kind="metric", lens=Lens.of(60.0))) as sink:
        assert not sink.watched
        viewer = Viewer(port, [DEPTH])
        wait_until(lambda: sink.watched)
        sink.write(frame, depth, frame.image, {"state_change": np.float32(0)})
        assert viewer.next(DEPTH)[1].data == depth.tobytes()
        viewer.leave()
        wait_until(lambda: not sink.watched)
    # Whatever else had been made would have failed, which `close` raises.


def test_points_of_a_scene_that_began_unseen_have_its_own_unit(facts, make, free_port):
    frame, _ = frame_of(make)
    port, seen, points = free_port, [], "/vmdepth/points_relative"
    with open_sink(f"foxglove://127.0.0.1:{port}", facts(lens=Lens.of(60.0))) as sink:
        for depth in (50, 25):
            viewer = Viewer(port, [points])
            wait_until(lambda: sink.watched)
            sink.write(frame, np.full((48, 64), depth, np.float32), frame.image, {"state_change": np.float32(0)})
            seen.append(np.frombuffer(viewer.next(points)[1].data[8:12], "<f4")[0])
            viewer.leave()
            wait_until(lambda: not sink.watched)
            sink.pass_by(replace(frame, discontinuity=True))
    assert seen == [1, 1]


def test_a_viewer_that_takes_nothing_holds_nobody_up(facts, make, free_port):
    with view(free_port, facts, [DEPTH], depth_kind="metric") as (sink, viewer):
        slow = Viewer(int(sink.name.rpartition(":")[2]), [DEPTH], reads=False)
        frame, depth = frame_of(make, 0, 480, 640)
        for index in range(30):  # 37 MB: no socket holds as much
            later = replace(frame, index=index, stamp=STAMP + index)
            sink.write(later, depth, frame.image, {"state_change": np.float32(0)})
            assert viewer.next(DEPTH)[0] == STAMP + index
        assert sink.frames == 30
    slow.leave()


def test_the_newest_frame_is_shown_and_what_starts_anew_is_told_though_it_is_missed(facts, make, free_port):
    frame, depth = frame_of(make, 0, 480, 640)
    known = {"depth_kind": "metric", "lens": Lens.of(60.0)}
    with view(free_port, facts, [FIGURES, POINTS, COLOURED], height=480, width=640, **known) as (sink, viewer):
        for index in range(60):
            later = replace(frame, index=index, stamp=STAMP + index, discontinuity=index == 20)
            sink.write(later, depth, frame.image, {"state_change": np.float32(0)})
        shown = []
        while not shown or shown[-1]["frame"] < 59:
            shown.append(viewer.next(FIGURES)[1])
    assert shown == sorted(shown, key=lambda figures: figures["frame"])
    (anew,) = [figures["frame"] for figures in shown if figures["discontinuity"]]
    assert anew == min(figures["frame"] for figures in shown if figures["frame"] >= 20)


def test_a_run_is_watched_as_it_is_written(build_graph, make, tmp_path, free_port):
    """The end of the video comes when the viewer is there: all that he sees is in the archive."""
    content = make.video(tmp_path / "in.ts", make.noise(240, 28, 42), codec="mpeg2video").read_bytes()
    most = len(content) * 5 // 6  # FFmpeg looks at five seconds before it begins
    os.mkfifo(tmp_path / "pipe")
    port, seen = free_port, []

    def feed():
        with (tmp_path / "pipe").open("wb", buffering=0) as pipe:
            pipe.write(content[:most])
            viewer = Viewer(port, [DEPTH, FIGURES])
            pipe.write(content[most:])
            seen.extend(viewer.next(topic) for _ in range(5) for topic in (DEPTH, FIGURES))

    feeder = Thread(target=feed)
    feeder.start()
    outputs = (f"foxglove://127.0.0.1:{port}", str(tmp_path / "out.npz"))
    model = build_graph(depth_kind="metric")
    report = run(RunSettings(sources=(str(tmp_path / "pipe"),), outputs=outputs, model=model))
    feeder.join()
    assert report["outputs"] == list(outputs)
    with np.load(tmp_path / "out.npz") as archive:
        depths = archive["depth"]
    for (stamp, image), (figures_stamp, figures) in zip(seen[::2], seen[1::2], strict=True):
        assert stamp == figures_stamp
        assert image.data == depths[figures["frame"]].tobytes()
        assert {"frames", "latency_p50_ms", "key_frames", "state_change"} <= figures.keys()


@pytest.mark.parametrize("uri", ["foxglove://127.0.0.1", "foxglove://:80", "foxglove://h:99999", "foxglove://h:1/x"])
def test_addresses_that_are_none(uri):
    with pytest.raises(InputError, match="a live view is foxglove://HOST:PORT, for example foxglove://"):
        check_output(uri)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "robot.local", "[::]"])
def test_beyond_this_machine_it_goes_through_ssh(host):
    with pytest.raises(InputError, match=r"would be open to the network.*ssh -L 8765:127.0.0.1:8765"):
        check_output(f"foxglove://{host}:8765")


def test_a_port_that_is_taken(facts):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        target = f"foxglove://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InputError, match=r"cannot be served .*in use.*; choose another port"):
            open_sink(target, facts())


def test_without_its_library_a_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "foxglove", None)
    with pytest.raises(InputError, match=r"needs foxglove-sdk: pip install 'vmdepth\[robots\]'"):
        check_output("foxglove://127.0.0.1:8765")
