"""Outputs of one file: under their name when they are whole, and what becomes of them when they cannot be."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from vmdepth_runtime import SinkFacts, SourceFrame, VideoInfo, WorkError, open_sink, open_source


@pytest.mark.parametrize("ending", [".mp4", ".npz"])
def test_nothing_has_the_final_name_before_it_is_complete(tmp_path, make, ending, facts, fill):
    target = tmp_path / f"out{ending}"
    target.write_bytes(b"an older result")
    sink = open_sink(target, facts())
    fill(sink, make.noise(4), [k / 30 for k in range(4)])
    assert target.read_bytes() == b"an older result"
    sink.close()
    assert target.read_bytes() != b"an older result"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("ending", [".mp4", ".npz"])
@pytest.mark.parametrize("count", [0, 3])
def test_an_error_leaves_nothing(tmp_path, make, ending, count, facts, fill):
    with pytest.raises(ZeroDivisionError), open_sink(tmp_path / f"out{ending}", facts()) as sink:
        fill(sink, make.noise(count), [k / 30 for k in range(count)])
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [".mp4", ".npz"])
def test_no_frame_leaves_no_file(tmp_path, ending, facts):
    with open_sink(tmp_path / f"out{ending}", facts()), open_sink(tmp_path / "new" / f"out{ending}", facts()):
        assert (tmp_path / "new").is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_name_without_a_number_takes_one_frame(tmp_path, make, facts, fill):
    with open_sink(tmp_path / "out.npy", facts()) as sink:
        fill(sink, make.noise(1), [0.0])
        with pytest.raises(WorkError, match=r"-o '.*/out/%06d.npy' is one per frame, --frames 1 takes one"):
            fill(sink, make.noise(1), [1.0])
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), np.full((48, 64), 0.5, np.float32))


def test_a_disk_that_gives_out_is_one_line_and_keeps_what_can_be_read(tmp_path):
    """The kernel's own limit on a file's size stands for the disk."""
    code = """
import resource, signal, sys
from fractions import Fraction
import numpy as np
from vmdepth_runtime import WorkError, open_sink
from vmdepth_runtime.sinks.base import SinkFacts
from vmdepth_runtime.sources.base import SourceFrame, VideoInfo
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
sink = open_sink(sys.argv[1], SinkFacts(VideoInfo(160, 120, None, 30.0, Fraction(1, 30))))
try:
    for k in range(1000):
        image = np.random.default_rng(k).integers(0, 256, (120, 160, 3), dtype=np.uint8)
        sink.write(SourceFrame(k, k / 30, image), np.full((120, 160), k, np.float32), image)
except WorkError as error:
    print(error)
try:
    sink.close()
except WorkError as error:
    print(error)
"""
    for name, kept in (("out.mp4", "out.partial.mp4"), ("out.npz", "out.partial.npy")):
        done = subprocess.run([sys.executable, "-c", code, name], cwd=tmp_path, capture_output=True, text=True)
        assert done.stderr == ""
        for line in done.stdout.splitlines():
            assert line.startswith(f"{name}: cannot be written (File too large); is the disk full?")
        assert done.stdout.endswith(f"; what was written before is in {kept}\n")
    assert {p.name for p in tmp_path.iterdir()} == {"out.partial.mp4", "out.partial.npy"}
    depth = np.load(tmp_path / "out.partial.npy")
    assert 10 < len(depth) <= 13
    np.testing.assert_array_equal(depth[:, 3, 3], np.arange(len(depth)))
    with open_source(tmp_path / "out.partial.mp4") as source:  # its last frame is cut through
        assert len(list(source)) > 10


def test_where_nothing_could_be_written_nothing_is_said_to_be_kept(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    sink = open_sink(folder / "out.mp4", SinkFacts(VideoInfo(64, 48, None, 30.0, Fraction(1, 30))))
    image = np.zeros((48, 64, 3), np.uint8)
    sink.write(SourceFrame(0, 0.0, image), np.zeros((48, 64), np.float32), image)  # it is in the encoder still
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    with pytest.raises(WorkError, match="is the disk full") as failure:
        sink.close()
    assert "was written before" not in str(failure.value)
    assert sink.frames == 0
