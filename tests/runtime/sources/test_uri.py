"""What a source is called."""

from __future__ import annotations

from vmdepth_runtime.sources.uri import camera_of, is_unclear, redacted, sendable, short_name


def test_names_without_secrets():
    assert redacted("rtsp://u:p@w/#@cam/1?token=x&y=2") == "rtsp://***@cam/1?***"
    assert redacted("rtsp://cam/1") == "rtsp://cam/1"
    assert redacted("udp://@:5000") == "udp://@:5000"
    for uri in ("a/b@c?d=e.mp4", "file:///a/b@c?d=e.mp4", "v4l2:///dev/video0?fps=30"):
        assert redacted(uri) == uri
    assert short_name("rtsp://u:p@cam.local:554/front") == "front"
    assert short_name("rtsp://u:p@cam.local") == "cam.local"
    assert short_name("rtsp://u:p@[cam/front") == "rtsp_cam_front"
    assert short_name("frames/%06d.png") == "frames"
    assert [short_name(f"{uri}?fps=30") for uri in ("0", "/dev/video3", "v4l2:///dev/video3")] == ["0", *["video3"] * 2]


def test_cameras_are_told_from_files_and_addresses():
    for uri, device in [
        ("0", "/dev/video0"),
        ("v4l2://1", "/dev/video1"),
        ("v4l2://1?fps=30", "/dev/video1"),
        ("v4l2:///dev/video2", "/dev/video2"),
        ("v4l2:///dev/v4l/by-path/pci-0?size=64x48&fps=30", "/dev/v4l/by-path/pci-0"),
        ("/dev/video3", "/dev/video3"),
        ("/dev/video3?size=64x48", "/dev/video3"),
        ("0?fps=30", "/dev/video0"),
        ("/dev/video?", None),
        ("/dev/v4l/by-id/usb-046d_C920-video-index0", "/dev/v4l/by-id/usb-046d_C920-video-index0"),
        ("12.mp4", None),
        ("rtsp://0", None),
    ]:
        assert camera_of(uri) == device


def test_passwords_are_told_from_hosts_and_paths_where_they_can_be():
    for uri, sent in [
        ("rtsp://me:a/b@cam/1", "rtsp://me:a%2Fb@cam/1"),
        ("rtsp://me:a#b?c@cam:554/1?x=@y", "rtsp://me:a%23b%3Fc@cam:554/1?x=@y"),
        ("rtsp://me:a/b@c@cam/1@2", "rtsp://me:a%2Fb%40c@cam/1@2"),
    ]:
        assert sendable(uri) == sent
        assert is_unclear(uri)
    for uri in (
        "rtsp://me:a@b@cam/1",
        "http://cam/@me",
        "http://cam:80/@me",
        "http://[::1]:80/@me",
        "rtsp://me:1/b@cam",
    ):
        assert sendable(uri) == uri
        assert is_unclear(uri)
    for uri in ("rtsp://me:a%2Fb@cam/1", "rtsp://me@cam/1", "udp://@:5000", "rtsp://cam:554/1"):
        assert sendable(uri) == uri
        assert not is_unclear(uri)
