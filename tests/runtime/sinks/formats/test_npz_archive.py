"""The archive: every depth and time, on disk as they come."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from vmdepth_runtime import InputError, SourceFrame, open_sink
from vmdepth_runtime.sinks.formats.npz_archive import npy_header
from vmdepth_runtime.sinks.open import foretell


def test_npz_holds_every_depth_and_time(tmp_path, make, facts, fill):
    times = [0.0, 0.1, 0.7]
    with open_sink(tmp_path / "out.npz", facts(47, 63)) as sink:
        fill(sink, make.noise(3, 47, 63), times)
    with np.load(tmp_path / "out.npz") as data:
        assert sorted(data) == ["depth", "depth_kind", "times"]
        assert data["depth_kind"] == "relative"
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


def test_a_compressed_npz_holds_the_same_in_less(tmp_path, facts, make):
    depths = make.noise(20, 120, 160)[..., 0].astype(np.float32)
    for name, compress in (("plain", False), ("small", True)):
        moves = []
        with open_sink(tmp_path / f"{name}.npz", facts(120, 160, compress=compress)) as sink:
            sink.moves = lambda moves=moves: moves.append(1)
            for k, depth in enumerate(depths):
                sink.write(SourceFrame(k, k / 30, np.zeros((120, 160, 3), np.uint8)), depth, None)
        assert len(moves) >= depths.nbytes // 2**20
        with np.load(tmp_path / f"{name}.npz") as data:
            np.testing.assert_array_equal(data["depth"], depths)
            assert data["times"].shape == (20,)
    assert (tmp_path / "small.npz").stat().st_size < 0.5 * (tmp_path / "plain.npz").stat().st_size


def long_facts(facts, frames, **other):
    return replace(facts(480, 640, **other), info=replace(facts(480, 640).info, frames=frames))


def test_a_large_npz_is_foretold_and_one_without_room_refused(tmp_path, facts, monkeypatch):
    target = str(tmp_path / "not" / "yet" / "out.npz")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=5 * 2**30))
    assert foretell(target, long_facts(facts, None)) is None
    assert foretell(target, long_facts(facts, 1700)) is None
    line = foretell(target, long_facts(facts, 2000))
    assert line == (
        f"{target}: 2000 frames of 640x480 are 2.3 GiB; --compress saves about a sixth, 16-bit images are smaller"
    )
    with pytest.raises(InputError, match=r"out.npz: 3000 .* 3.4 GiB, twice that .* the disk has 5.0 GiB; take fewer"):
        foretell(target, long_facts(facts, 3000))
    assert "compressed about a sixth less" in foretell(target, long_facts(facts, 3000, compress=True))
    with pytest.raises(InputError, match="the disk has"):
        foretell(target, long_facts(facts, 6000, compress=True))
    assert foretell("out.mp4", long_facts(facts, 10**9)) is None


def test_the_command_compresses_and_refuses_before_anything_is_written(vmdepth_run, make, tmp_path, monkeypatch):
    path = make.video(tmp_path / "in.mp4", make.noise(5))
    assert vmdepth_run(path, "-o", "a.npz").code == vmdepth_run(path, "-o", "b.npz", "--compress").code == 0
    with np.load(tmp_path / "a.npz") as plain, np.load(tmp_path / "b.npz") as small:
        np.testing.assert_array_equal(plain["depth"], small["depth"])
    assert (tmp_path / "b.npz").stat().st_size < (tmp_path / "a.npz").stat().st_size
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    outcome = vmdepth_run(path, "-o", "c.npz", "-o", "c.mp4")
    assert (outcome.code, len(outcome.lines)) == (2, 1)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.npz", "b.npz", "in.mp4"]
