"""What `vmdepth-masks` makes: files, their contents, and the same again without the network."""

import json
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest

from vmdepth.dynamics.command.arrays_file import read_arrays
from vmdepth.dynamics.command.drawing import film
from vmdepth.dynamics.command.reading import read_frames
from vmdepth.dynamics.command.run import make_masks
from vmdepth.dynamics.command.settings import MasksSettings
from vmdepth.dynamics.mask_stages import METHODS, MaskStages
from vmdepth_runtime.errors import InputError


@pytest.fixture(scope="module")
def made(frames, model, tmp_path_factory):
    """One run of everything, whose arrays are kept: what the run said, and its settings."""
    place = tmp_path_factory.mktemp("full")
    settings = MasksSettings(
        place / "masks", str(frames), model, out_arrays=place / "seen.npz", method="full", process_res=84
    )
    return make_masks(settings), settings


def masks_in(folder):
    return np.stack([cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in sorted(folder.glob("mask_*.png"))])


def test_a_folder_of_masks_maps_and_cameras(made):
    done, settings = made
    folder = done.folder
    names = {file.name for file in folder.iterdir()}
    pictures = {f"{kind}_{number:03d}.png" for kind in ("mask", "depth_compare") for number in range(7)}
    assert names == pictures | {"cameras.json", "maps", "masks.mp4", "sheet.png"}
    masks = masks_in(folder)
    assert masks.shape == (7, 60, 84)
    assert set(np.unique(masks)) == {0, 255}
    assert (done.frames, done.size) == (7, (60, 84))
    assert done.share == pytest.approx((masks > 0).mean(), abs=0.01)  # that of the network's size, which is another
    with np.load(settings.out_arrays) as arrays:
        maps = {name.removeprefix("map/") for name in arrays if name.startswith("map/")}
        # The last map of patches is what "soft" has at the size of pixels.
        assert {file.stem for file in (folder / "maps").iterdir()} == maps - {"clustered"}
        assert (done.share, done.unrefined) == (arrays["mask"].mean(), arrays["mask_unrefined"].mean())
        assert ((arrays["map/soft"] > done.threshold) == arrays["mask_unrefined"]).all()
        assert arrays["mask"].shape == arrays["mask_unrefined"].shape == arrays["depth"].shape == (7, 56, 84)
    for video, pictures_across in ((folder / "masks.mp4", 1), (folder / "maps" / "soft.mp4", 2)):
        with av.open(str(video)) as film:
            shown = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        assert len(shown) == 7
        assert shown[0].shape == (5 * 56, pictures_across * 5 * 84, 3)
    assert cv2.imread(str(folder / "sheet.png")).std() > 20


def test_cameras_are_those_of_the_second_pass_and_begin_at_the_first_frame(made):
    done, settings = made
    cameras = json.loads((done.folder / "cameras.json").read_text())
    assert cameras["depth"] == {"width": 84, "height": 56, "poses_of_pass": 2}
    poses = np.array([view["extrinsics"] for view in cameras["views"]])
    assert np.abs(poses - read_arrays(settings.out_arrays).second.extrinsics).max() < 1e-12
    assert np.abs(poses[0] - np.eye(4)[:3]).max() < 1e-6
    assert [view["name"] for view in cameras["views"]] == [f"{number}.png" for number in range(7)]
    assert {(view["width"], view["height"]) for view in cameras["views"]} == {(84, 60)}


def test_the_same_again_from_the_arrays_and_other_thresholds_without_the_network(made, tmp_path):
    done, settings = made
    again = MasksSettings(
        tmp_path / "again", arrays=settings.out_arrays, method="full", out_arrays=tmp_path / "again.npz"
    )
    make_masks(again)
    assert (masks_in(again.output) == masks_in(done.folder)).all()
    assert {file.name for file in again.output.iterdir()} == {file.name for file in done.folder.iterdir()}
    with np.load(settings.out_arrays) as one, np.load(again.out_arrays) as other:
        assert set(one.files) == set(other.files)
        assert all(np.array_equal(one[name], other[name], equal_nan=one[name].dtype.kind == "f") for name in one.files)
        moves = one["map/soft"] > 0.9
    other = replace(
        again, output=tmp_path / "other", method="published", stages=MaskStages(threshold=0.9), out_arrays=None
    )
    assert make_masks(other).share == moves.mean()


@pytest.mark.parametrize("method", [method for method in METHODS if method != "full"])
def test_every_method_makes_masks(method, settings):
    done = make_masks(replace(settings, method=method, leave_out="none"))
    names = {file.name for file in done.folder.iterdir()}
    assert {f"mask_{number:03d}.png" for number in range(7)} < names
    assert not any(name.startswith("depth_compare") for name in names)
    assert json.loads((done.folder / "cameras.json").read_text())["depth"]["poses_of_pass"] == 1
    assert masks_in(done.folder).shape == (7, 60, 84)


def test_frames_may_be_a_part_of_them_and_cropped(settings):
    part = replace(settings, process_res=63, process_res_method="upper_bound_crop", leave_out="none")
    done = make_masks(replace(part, read=replace(part.read, start=1, frames=5)))
    masks = masks_in(done.folder)
    assert masks.shape == (5, 60, 84)
    assert not masks[:, :, :4].any()  # of 63 columns 3 are cut off on the left and 4 on the right
    views = json.loads((done.folder / "cameras.json").read_text())["views"]
    assert [view["name"] for view in views] == [f"{number}.png" for number in range(1, 6)]


def test_arrays_of_other_frames_are_refused(made, tmp_path):
    _, settings = made
    again = replace(settings, output=tmp_path / "again", model=None, arrays=settings.out_arrays, out_arrays=None)
    make_masks(again)  # with its own source
    other = replace(again, output=tmp_path / "other", read=replace(again.read, start=1))
    with pytest.raises(InputError, match=r"seen.npz: is of other frames than .*video"):
        make_masks(other)
    assert not other.output.exists()


def test_networks_that_see_each_frame_alone_have_masks_without_cameras(settings, each_alone):
    done = make_masks(replace(settings, model=each_alone))
    assert done.notes == [f"no second pass: {each_alone} tells no cameras, which it is for"]
    pictures = {f"mask_{number:03d}.png" for number in range(7)}
    assert {file.name for file in done.folder.iterdir()} == pictures | {"maps", "masks.mp4", "sheet.png"}
    with pytest.raises(
        InputError, match=r"tiny.safetensors: tells no cameras, .* residual checks masks; --method published"
    ):
        make_masks(replace(settings, model=each_alone, method="full", output=settings.output.with_name("full")))


def test_a_video_in_which_nothing_moves_may_come_out_empty(settings, tmp_path):
    (tmp_path / "still").mkdir()
    for number in range(5):
        cv2.imwrite(str(tmp_path / "still" / f"{number}.png"), np.tile(np.arange(84, dtype=np.uint8), (60, 1)))
    still = replace(settings, source=str(tmp_path / "still"), method="full")
    done = make_masks(replace(still, stages=MaskStages(allow_empty=True)))
    assert done.share == 0
    assert "nothing moves, as far as these maps tell" in done.notes
    assert not masks_in(done.folder).any()


def test_another_method_of_arrays_says_which_runs_it_takes(made, tmp_path):
    _, settings = made
    again = MasksSettings(tmp_path / "again", arrays=settings.out_arrays, method="fused")
    line = "seen.npz: the first pass was made for published or full, and the method 'fused' takes .* fused or guided$"
    with pytest.raises(InputError, match=line):
        make_masks(again)
    with pytest.raises(InputError, match="asked other blocks than 'published' needs with these layers; choose"):
        make_masks(replace(again, method="published", layers="3"))


def test_frames_of_a_video_are_called_by_number_and_pictures_by_file(frames, settings, tmp_path):
    pictures = [np.full((60, 84, 3), 30 * number, np.uint8) for number in range(5)]
    film(tmp_path / "walk.mp4", pictures, 10.0)
    of_video = replace(settings, source=str(tmp_path / "walk.mp4"))
    seen, _ = read_frames(replace(of_video, read=replace(of_video.read, every=2)), lambda done: None)
    assert seen.titles == ["frame 0", "frame 2", "frame 4"]
    assert read_frames(settings, lambda done: None)[0].titles == [f"{number}.png" for number in range(7)]
