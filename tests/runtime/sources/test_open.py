"""Sources by what they are called: what is opened, what is refused, and that nothing secret is told."""

from __future__ import annotations

import pytest

from vmdepth_runtime import InputError, LiveSettings, open_source

QUICK = LiveSettings(max_gap=1.0, stall=1.5)


def test_what_cannot_be_opened_is_one_line_without_secrets():
    for uri, message in [
        ("rtsp://admin:hunter2@127.0.0.1:9/cam?key=hunter2", "cannot be opened (Connection refused)"),
        ("rtsp://admin:hunter/2@127.0.0.1:9/cam", "cannot be opened"),
        ("rtsp://admin:hunter#2@127.0.0.1:9/cam", "cannot be opened"),
        ("http://127.0.0.1:9/cam?hunter2", "cannot be opened (Connection refused)"),
        ("http://admin:hun@ter2@127.0.0.1:9/a.m3u8?token=hunter2&x=1", "cannot be opened (Connection refused)"),
        ("gopher://x/y?a=hunter2", "unknown scheme 'gopher://'; there are rtsp://"),
        ("csi://0", "built without GStreamer"),
        ("csi://front", "a CSI camera is csi:// and its number"),
        ("/dev/video97", "no such camera; "),
        ("97", "no such camera; "),
        ("v4l2:///dev/video97", "no such camera; "),
        ("nothing/%06d.png", "there is no such file"),
        ("nothing-*.png", "there is no such file"),
    ]:
        with pytest.raises(InputError) as error:
            open_source(uri, QUICK)
        assert message in str(error.value)
        assert "hunter" not in str(error.value)
        assert "\n" not in str(error.value)


def test_patterns_name_files_in_natural_order(tmp_path, make):
    for k, image in enumerate(make.noise(12)):
        make.image(tmp_path / f"f{k:06d}.png", image)
    make.image(tmp_path / "f12.png", make.noise(1)[0])
    make.image(tmp_path / "g000000.png", make.noise(1)[0])
    for pattern, count in (("f%06d.png", 12), ("f%d.png", 13), ("f0*.png", 12), ("[fg]*.png", 14)):
        with open_source(str(tmp_path / pattern)) as source:
            assert len(list(source)) == count
