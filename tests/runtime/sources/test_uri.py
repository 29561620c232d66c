"""What a source is called."""

from __future__ import annotations

from vmdepth_runtime.sources.uri import camera_of, redacted, short_name


def test_names_without_secrets():
    assert redacted("rtsp://u:p@w/#@cam/1?token=x&y=2") == "rtsp://***@cam/1?***"
    assert redacted("rtsp://cam/1") == "rtsp://cam/1"
    assert redacted("a/b@c?d=e.mp4") == "a/b@c?d=e.mp4"
    assert short_name("rtsp://u:p@cam.local:554/front") == "front"
    assert short_name("rtsp://u:p@cam.local") == "cam.local"
    assert short_name("frames/%06d.png") == "frames"
    assert [camera_of(uri) for uri in ("0", "v4l2://1", "v4l2:///dev/video2", "/dev/video3", "12.mp4", "rtsp://0")] == [
        "/dev/video0",
        "/dev/video1",
        "/dev/video2",
        "/dev/video3",
        None,
        None,
    ]
