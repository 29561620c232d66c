"""The archive: every depth and time, on disk as they come."""

from __future__ import annotations

import numpy as np

from vmdepth_runtime import open_sink
from vmdepth_runtime.sinks.formats.npz_archive import npy_header


def test_npz_holds_every_depth_and_time(tmp_path, make, facts, fill):
    times = [0.0, 0.1, 0.7]
    with open_sink(tmp_path / "out.npz", facts(47, 63)) as sink:
        fill(sink, make.noise(3, 47, 63), times)
    with np.load(tmp_path / "out.npz") as data:
        assert sorted(data) == ["depth", "times"]
        assert (data["depth"].dtype, data["depth"].shape) == (np.float32, (3, 47, 63))
        np.testing.assert_array_equal(data["depth"][:, 5, 5], [0.5, 1.5, 2.5])
        assert data["times"].dtype == np.float64
        np.testing.assert_array_equal(data["times"], times)


def test_npz_writes_as_it_goes(tmp_path, make, facts, fill):
    sink = open_sink(tmp_path / "out.npz", facts())
    fill(sink, make.noise(20), [k / 30 for k in range(20)])
    written = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert written > 18 * 48 * 64 * 4
    sink.abort()


def test_the_npz_header_holds_its_place_at_any_count():
    # A day at 60 fps; the header is written over in place, so it must never outgrow what was reserved.
    assert {len(npy_header(frames, 2160, 4096)) for frames in (0, 1, 5_184_000, 10**12)} == {128}
