"""Masks of what moves beside footage: which pixels they are of, and what is said of masks of other frames."""

import cv2
import numpy as np
import pytest
import torch

from vmdepth.data.cutting import cut
from vmdepth.data.rgbd import RgbdFolder
from vmdepth.data.videos import FrameFolder, RgbdVideo, find_videos
from vmdepth_runtime.errors import InputError


def write(folder, images, suffix="", ending="png"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        cv2.imwrite(str(folder / f"{suffix}{number}.{ending}"), image)


def box(count=3, height=120, width=160):
    """A thing without texture that grows a little from frame to frame, as one does that comes nearer."""
    masks = np.zeros((count, height, width), np.uint8)
    for number, mask in enumerate(masks):
        mask[40 - number : 80 + number, 60 - number : 100 + number] = 255
    return masks


@pytest.fixture
def footage(tmp_path):
    ground = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (120, 160), np.uint8), (0, 0), 3)
    write(tmp_path / "rgb", np.where(box() > 0, np.uint8(90), ground))
    write(tmp_path / "moving", box(), "mask_", "png")
    write(tmp_path / "moving", [np.zeros((10, 10), np.uint8)], "depth_compare_")  # which vmdepth-masks puts beside them
    return tmp_path


def test_what_a_mask_says_moves_does_not_stand_still(footage):
    (video,) = find_videos(footage)
    assert isinstance(video, FrameFolder)
    assert len(video) == 3
    np.testing.assert_array_equal(video.read([0, 2]).moving, box()[[0, 2]] > 0)
    shares = []
    for masked in (True, False):
        if not masked:
            (footage / "moving").rename(footage / "elsewhere")
            video = FrameFolder(footage / "rgb")
        clip = cut(video, np.random.default_rng(1), 3, 1, 84, 112, with_still=True)
        thing = (clip.rgb[:, :-1] * 255).sub(90).abs().amax(2, keepdim=True) < 1
        shares.append(float(clip.still[:, :-1][thing].float().mean()))
        assert clip.still[:, :-1].float().mean() > 0.5
    assert shares[0] == 0
    assert shares[1] > 0.3  # by the flow alone much of it stood still


def test_masks_are_cut_with_their_pictures(footage):
    (video,) = find_videos(footage)
    for seed in range(6):
        clip = cut(video, np.random.default_rng(seed), 2, 1, 84, 112, with_still=True)
        middle = (clip.rgb[0, 0] * 255).sub(90).abs().amax(0) < 1
        assert middle.any()
        assert not clip.still[0, 0, 0][middle].any()
        far = torch.nn.functional.max_pool2d(middle[None].float(), 31, 1, 15)[0] == 0
        assert clip.still[0, 0, 0][far].float().mean() > 0.9


def test_an_rgbd_folder_has_them_at_the_size_of_its_pictures(footage):
    write(footage / "depth", np.full((3, 60, 80), 1000, np.uint16))
    (video,) = find_videos(footage)
    assert isinstance(video, RgbdVideo)
    write(footage / "moving", [mask[::2, ::2] for mask in box()], "mask_")  # as a network saw the pictures
    moving = next(iter(RgbdFolder(footage))).moving
    assert (moving.shape, moving.dtype) == ((120, 160), bool)
    np.testing.assert_array_equal(moving, box()[0] > 0)
    np.testing.assert_array_equal(video.read([0]).moving, moving[None])


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / "mask_2.png").unlink(), r"moving: 2 masks for 3 pictures; each needs one"),
        (lambda folder: (folder / "mask_1.png").write_bytes(b"no image"), "mask_1.png: cannot be read as an image"),
        (
            lambda folder: cv2.imwrite(str(folder / "mask_1.png"), np.zeros((120, 120), np.uint8)),
            "mask_1.png: is 120x120 and its picture 160x120: a mask of other frames",
        ),
    ],
)
def test_masks_of_other_frames_are_refused(footage, harm, said):
    harm(footage / "moving")
    with pytest.raises(InputError, match=said):
        find_videos(footage)[0].read([0, 1])
