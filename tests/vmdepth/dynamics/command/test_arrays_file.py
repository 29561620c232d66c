"""The file of arrays: what was seen comes back whole, and what does not fit together is refused."""

import numpy as np
import pytest

from vmdepth.dynamics.command.arrays_file import SecondCameras, Seen, read_arrays, write_arrays
from vmdepth.dynamics.command.reading import Frames
from vmdepth.dynamics.first_pass import FirstPass, Statistic, Sums
from vmdepth.dynamics.layers import Blocks
from vmdepth_runtime.errors import InputError

WINDOW = Statistic("QK", "variance", (5, 7), "window")
ALL = Statistic("QQ", "similarity", (3,), "all")


@pytest.fixture
def seen():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 28, 42, 3), np.uint8)
    frames = Frames(images, [f"{number}.png" for number in range(4)], 84, 56, np.diag([0.5, 0.5, 1.0]), 12.5, False)
    values = rng.random((4, 2, 3, 8), np.float32)
    depth, cameras = rng.random((4, 28, 42), np.float32), rng.random((4, 3, 4))
    raw = {WINDOW: values[..., 0], ALL: values[..., 1]}
    sums = {(3, "Q"): Sums(4 * 6, rng.random((2, 4)), rng.random((2, 4, 4)))}
    first = FirstPass(images, raw, values, depth, False, cameras, rng.random((4, 3, 3)), 2, sums)
    return Seen(frames, Blocks(12, (5, 7, 9, 11)), first, SecondCameras(cameras + 1, depth * 2))


def test_what_was_seen_comes_back(seen, tmp_path):
    write_arrays(tmp_path / "a.npz", seen, mask=np.ones((4, 28, 42), bool))
    back = read_arrays(tmp_path / "a.npz")
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]
    assert back.blocks == seen.blocks
    assert (back.frames.names, back.frames.width, back.frames.height) == (seen.frames.names, 84, 56)
    assert not back.frames.of_files
    assert (back.frames.fps, back.first.inverse, back.first.reference) == (12.5, False, 2)
    assert set(back.first.raw) == {WINDOW, ALL}
    for statistic in (WINDOW, ALL):
        assert np.array_equal(back.first.raw[statistic], seen.first.raw[statistic])
    assert set(back.first.sums) == {(3, "Q")}
    assert back.first.sums[3, "Q"].count == 24
    for name in ("mean", "scatter"):
        assert np.array_equal(getattr(back.first.sums[3, "Q"], name), getattr(seen.first.sums[3, "Q"], name))
    for name in ("images", "features", "depth", "extrinsics", "intrinsics"):
        assert np.array_equal(getattr(back.first, name), getattr(seen.first, name))
    assert np.array_equal(back.second.extrinsics, seen.second.extrinsics)
    assert np.array_equal(back.second.depth, seen.second.depth)
    assert np.array_equal(back.frames.to_network, seen.frames.to_network)


SPOILT = {
    "depth": (lambda arrays: arrays["depth"][1:], "has depth of other frames .3x28x42, and its images need 4x28x42"),
    "features": (lambda arrays: arrays["features"][:, :1], "has features of other frames"),
    "raw/window/variance/QK/5+7": (lambda arrays: np.zeros((4, 3, 2), np.float32), "variance/QK/5.7 of other frames"),
    "second_extrinsics": (lambda arrays: arrays["second_extrinsics"][:2], "second_extrinsics of other frames"),
    "names": (lambda arrays: arrays["names"][:1], "has names of other frames"),
    "images": (lambda arrays: arrays["images"][..., 0], "is no file of --out-arrays"),
    "raw/sometimes/variance/QK/5": (lambda arrays: arrays["depth"], "is no file of --out-arrays"),
    "raw/window/variance/QK/5+5": (lambda arrays: arrays["features"][..., 0], "is no file of --out-arrays"),
    "sums/3/Q/count": (lambda arrays: np.array(18), "has sums of block 3, Q, of other frames .18, and .* need 24"),
    "sums/3/Q/mean": (lambda arrays: np.zeros((3, 4)), "is no file of --out-arrays"),
    "sums/3/V/mean": (lambda arrays: np.zeros((2, 4)), "is no file of --out-arrays"),
    "form": (lambda arrays: np.array(2), "is no file of --out-arrays"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_arrays_that_do_not_fit_each_other_are_refused(name, seen, tmp_path):
    spoil, line = SPOILT[name]
    write_arrays(tmp_path / "a.npz", seen)
    with np.load(tmp_path / "a.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "b.npz", **(arrays | {name: spoil(arrays)}))
    with pytest.raises(InputError, match=f"b.npz: .*{line}|b.npz: {line}"):
        read_arrays(tmp_path / "b.npz")


def test_half_a_file_is_refused(seen, tmp_path):
    write_arrays(tmp_path / "a.npz", seen)
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="is no file of --out-arrays, or a damaged one"):
        read_arrays(tmp_path / "a.npz")
