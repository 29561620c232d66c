"""Outputs by their names: what there is, what is refused, and that a new kind takes one file."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from vmdepth_runtime import InputError
from vmdepth_runtime.depth_kinds import DEPTH_KINDS
from vmdepth_runtime.sinks.open import KINDS, camera_endings, check_output, needs_range, output_help

EXAMPLES = {
    "out.mcap": True,
    "out.mp4": True,
    "out.npz": False,
    "out/%06d.exr": False,
    "out/%06d.jpg": True,
    "out/%06d.JPEG": True,
    "out/%06d.npy": False,
    "out/%06d.ply": True,
    "out/%06d.png": True,
    "-": False,
    "display": True,
    "http://127.0.0.1:8080": True,
    "foxglove://127.0.0.1:8765": True,
}  # target -> whether it is shown on a scale of its own, of depth that has none


def test_targets_that_cannot_be_are_refused_before_any_work(tmp_path):
    source = tmp_path / "source.mp4"
    source.write_bytes(b"x")
    (tmp_path / "link.mp4").symlink_to(source)
    (tmp_path / "folder.mp4").mkdir()
    for name, message in [
        ("out.avi", "unknown output ending '.avi'; there are .mcap, .mp4, .npz, one file per frame"),
        (
            "out",
            "has no ending, which says what is written; into a folder: '{out}/{{name}}.mp4' or .png; there are .mcap, "
            ".mp4",
        ),
        ("out/", "out/{{name}}.mp4' or .png; there are .mcap, .mp4"),
        ("folder.mp4", "is a folder; name a file in it"),
        ("nowhere/nor/here/out.mp4", "nor is not there; make it first"),
        ("source.mp4", "is the source itself"),
        ("link.mp4", "is the source itself"),
    ]:
        with pytest.raises(InputError) as error:
            check_output(f"{tmp_path}/{name}", [source])
        assert str(error.value).startswith(f"{tmp_path}/{name}: ")
        assert message.format(out=tmp_path / "out") in str(error.value)
    check_output(str(tmp_path / "out.MP4"), [source])
    check_output(str(tmp_path / "new" / "out.mp4"), [source])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("source", "target", "fine"),
    [
        ("walk.mp4", "out_%06d.png", True),
        ("walk.mp4", "%06d.png", True),
        ("1.png", "%d.png", False),
        ("1.png", "out_%d.png", True),
        (".", "%d.png", False),
        (".", "%d.npy", True),
        (".", "{name}.depth.png", True),
        ("f%06d.png", "%06d.png", True),
        ("f%06d.png", "f%d.png", False),
        ("f*.png", "f_%d.png", False),
        ("f*.png", "d_%d.png", True),
        ("f*.png", "../d_%d.png", True),
    ],
)
def test_files_may_lie_beside_the_source_unless_it_would_read_them(tmp_path, make, source, target, fine):
    for name in ("1.png", "f000001.png", "walk.mp4"):
        (tmp_path / name).write_bytes(b"x")
    if fine:
        check_output(str(tmp_path / target), [tmp_path / source])
        return
    with pytest.raises(InputError, match="among the source's own files"):
        check_output(str(tmp_path / target), [tmp_path / source])


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)  # tests may run as root, whom nothing is forbidden
    with pytest.raises(InputError, match="cannot be written to"):
        check_output(str(tmp_path / "out.mp4"))


def test_a_folder_that_takes_no_file_whoever_asks_is_refused():
    with pytest.raises(InputError, match=r"no file can be there|cannot be written to"):
        check_output("/proc/out.mp4")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a/b/%06d.png", "is not there; make it first"),
        ("%06d.mp4", ".mp4 is one file for all frames"),
        ("%06d.ply", "points need the camera; give --fov DEGREES or --intrinsics FX,FY,CX,CY"),
        ("%06d_%06d.npy", "has more than one place for the frame's number"),
    ],
)
def test_names_that_cannot_be_are_refused(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        check_output(name)
    assert str(error.value).startswith(f"{name}: ")
    assert message in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", EXAMPLES)
def test_one_kind_is_meant_by_each_target_and_says_what_it_needs(target):
    assert [kind.accepts(target) for kind in KINDS].count(True) == 1
    assert needs_range(target, DEPTH_KINDS["relative"]) == EXAMPLES[target]
    assert needs_range(target, DEPTH_KINDS["metric"]) == (EXAMPLES[target] and not target.endswith((".mcap", ".ply")))


def test_help_and_errors_name_what_there_is():
    assert output_help() == (
        "OUT.mcap (ROS 2); OUT.mp4 (side by side); OUT.npz; one file per frame as DIR/%06d.exr, .jpg (coloured), .npy, "
        ".ply or .png (16 bit); '-' (raw float32); 'display'; foxglove://127.0.0.1:8765 (live, for "
        "Foxglove); http://127.0.0.1:8080 (a page)"
    )
    assert camera_endings() == ".mcap and .ply"
    with pytest.raises(InputError) as error:
        check_output("out.avi")
    assert str(error.value) == (
        "out.avi: unknown output ending '.avi'; there are .mcap, .mp4, .npz, one file per frame as DIR/%06d.exr, .jpg, "
        ".npy, .ply or .png, '-', 'display', foxglove://127.0.0.1:8765 and http://127.0.0.1:8080"
    )


PFM = """
import numpy as np
from vmdepth_runtime.sinks.files import PerFrameSink

class PfmSink(PerFrameSink):
    ending = ".pfm"
    remark = "portable float map"

    def _encoded(self, frame, depth, colour):
        height, width = depth.shape
        return f"Pf\\n{width} {height}\\n-1\\n".encode() + np.ascontiguousarray(depth[::-1], "<f4").tobytes()
"""
MAIN = """
import sys
from vmdepth_runtime.pipeline.cli import main
from vmdepth_runtime.sinks import formats
formats.__path__.append(sys.argv.pop(1))
main()
"""


def test_a_new_kind_of_output_takes_one_file(luma_model, make, tmp_path):
    """A module beside the others is all that the command, its help and its errors have to be told."""
    (tmp_path / "formats").mkdir()
    (tmp_path / "formats" / "pfm_images.py").write_text(PFM)
    make.video(tmp_path / "in.mp4", make.noise(3))

    def run(*words):
        code = [sys.executable, "-c", MAIN, tmp_path / "formats", "in.mp4", "--model", luma_model]
        return subprocess.run([*code, *words], cwd=tmp_path, capture_output=True, text=True)

    assert "DIR/%06d.exr, .jpg (coloured), .npy, .pfm (portable float map), .ply" in " ".join(
        run("--help").stdout.split()
    )
    assert "as DIR/%06d.exr, .jpg, .npy, .pfm, .ply or .png" in run("-o", "out.avi").stderr
    assert "-o 'out/%06d.pfm' is one per frame, --frames 1 takes one" in run("-o", "out.pfm").stderr
    done = run("-o", "pfm/%d.pfm", "-o", "out.npz")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "out.npz") as data:
        for number, depth in enumerate(data["depth"]):
            content = (tmp_path / "pfm" / f"{number}.pfm").read_bytes().removeprefix(b"Pf\n64 48\n-1\n")
            np.testing.assert_array_equal(np.frombuffer(content, "<f4").reshape(48, 64)[::-1], depth)
