"""Measured depth: where it lies in the colour image, and what is said of folders that are none."""

import json

import cv2
import numpy as np
import pytest

from vmdepth.data.rgbd import RgbdFolder, RgbdFrame, at_places, depth_in_image, rendered_rgbd_frames, splat
from vmdepth_runtime.errors import InputError

CAMERA = {"fx": 50.0, "fy": 50.0, "cx": 20.0, "cy": 15.0}
MATRIX = np.array([[50.0, 0, 20], [0, 50, 15], [0, 0, 1]])


def write_folder(path, camera, depths, size=(30, 40)):
    for name in ("rgb", "depth"):
        (path / name).mkdir(parents=True)
    for number, depth in enumerate(depths):
        cv2.imwrite(str(path / "depth" / f"{number}.png"), depth)
        cv2.imwrite(str(path / "rgb" / f"{number}.png"), np.full((*size, 3), (10, 20, 30), np.uint8))
    (path / "intrinsics.json").write_text(json.dumps(camera))
    return path


def test_without_a_mapping_depth_lies_at_the_same_place(tmp_path):
    depth = np.random.default_rng(0).integers(1, 5000, (30, 40), np.uint16)
    (frame,) = RgbdFolder(write_folder(tmp_path, {**CAMERA, "registration_px": 0}, [depth]))
    assert frame.image.shape == (30, 40, 3)
    assert tuple(frame.image[0, 0]) == (30, 20, 10)  # RGB
    np.testing.assert_allclose(frame.depth, depth / 1000, rtol=1e-6)
    np.testing.assert_array_equal(frame.places[4, 7], [7, 4])


def test_frame_10_comes_after_frame_9(tmp_path):
    depths = [np.full((30, 40), 1000 + number, np.uint16) for number in range(12)]
    folder = RgbdFolder(write_folder(tmp_path, CAMERA, depths))
    assert [round(1000 * float(frame.depth[0, 0])) for frame in folder] == list(range(1000, 1012))


def test_places_in_a_larger_image_are_those_of_the_same_centres(tmp_path):
    depth = np.full((15, 20), 1000, np.uint16)
    (frame,) = RgbdFolder(write_folder(tmp_path, {**CAMERA, "depth_scale_m": 0.002}, [depth]))
    assert frame.depth[0, 0] == pytest.approx(2)
    np.testing.assert_allclose(frame.places[3, 5], [10.5, 6.5])
    np.testing.assert_allclose(frame.intrinsics, [[100, 0, 40.5], [0, 100, 30.5], [0, 0, 1]])  # of the larger image


def test_depth_of_another_shape_than_its_picture_is_refused(tmp_path):
    for name, shape in {"far": (7, 40), "mild": (27, 40)}.items():
        folder = RgbdFolder(write_folder(tmp_path / name, CAMERA, [np.full(shape, 1000, np.uint16)]))
        with pytest.raises(InputError, match=f"0.png: depth of 40x{shape[0]} for a picture of 40x30, of another shape"):
            next(iter(folder))
    (frame,) = RgbdFolder(write_folder(tmp_path / "rounded", CAMERA, [np.full((8, 10), 1000, np.uint16)]))
    assert frame.depth.shape == (8, 10)


def test_a_mapping_moves_depth_into_the_colour_camera(tmp_path):
    """Against the pinhole formulas, point by point, with a colour camera turned, moved and of another focal length."""
    angle = 0.1
    rotation = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    colour = {"color_fx": 40.0, "color_fy": 45.0, "color_cx": 19.0, "color_cy": 14.0}
    mapping = {"R": rotation, "t_m": [0.1, -0.05, 0.02], **colour}
    depth = np.zeros((30, 40), np.uint16)
    depth[12, 25] = 2000
    (frame,) = RgbdFolder(write_folder(tmp_path, {**CAMERA, "depth_to_color": mapping}, [depth]))
    point = np.array([(25 - 20) / 50 * 2, (12 - 15) / 50 * 2, 2.0])
    x, y, z = np.array(rotation) @ point + [0.1, -0.05, 0.02]
    assert frame.depth[12, 25] == pytest.approx(z)
    np.testing.assert_allclose(frame.places[12, 25], [40 * x / z + 19, 45 * y / z + 14], rtol=1e-5)
    assert (frame.depth > 0).sum() == 1
    np.testing.assert_array_equal(frame.intrinsics, [[40, 0, 19], [0, 45, 14], [0, 0, 1]])
    drawn = depth_in_image(frame)
    assert drawn.dtype == np.float32
    assert drawn.shape == (30, 40)
    across, down = frame.places[12, 25].round().astype(int)
    assert drawn[down, across] == pytest.approx(z)
    assert (drawn > 0).sum() == 1


def test_the_colour_cameras_pose_is_that_of_the_depth_camera_less_the_mapping(tmp_path):
    """A point of the depth image, taken into the world by either camera, is the same point."""
    angle = 0.1
    rotation = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    mapping = {"R": rotation.tolist(), "t_m": [0.1, -0.05, 0.02]}
    mapping |= {"color_fx": 40.0, "color_fy": 45.0, "color_cx": 19.0, "color_cy": 14.0}
    folder = write_folder(tmp_path, {**CAMERA, "depth_to_color": mapping}, [np.ones((30, 40), np.uint16)])
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation @ rotation, (1, 2, 3)
    (folder / "poses.txt").write_text(" ".join(map(str, pose.ravel())) + "\n\n")
    (frame,) = RgbdFolder(folder)
    point = np.array([0.3, -0.2, 2.0])
    in_colour = rotation @ point + [0.1, -0.05, 0.02]
    np.testing.assert_allclose((frame.pose @ [*in_colour, 1])[:3], pose[:3, :3] @ point + pose[:3, 3], atol=1e-9)


def test_without_poses_there_is_none(tmp_path):
    (frame,) = RgbdFolder(write_folder(tmp_path, CAMERA, [np.ones((30, 40), np.uint16)]))
    assert frame.pose is frame.flow is frame.moving is None
    np.testing.assert_array_equal(frame.intrinsics, MATRIX)


IDENTITY = "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([IDENTITY], "1 poses for 2 frames; write one line per frame"),
        ([IDENTITY, IDENTITY[:-2]], "line 2 is not 16 numbers"),
        (["one" + IDENTITY[1:], IDENTITY], "line 1 is not 16 numbers"),
        ([IDENTITY, IDENTITY.replace("1", "-inf")], "line 2 is not finite"),
        ([IDENTITY, "2" + IDENTITY[1:]], "line 2 is no rotation and shift"),
        ([IDENTITY, "-1" + IDENTITY[1:]], "line 2 is no rotation and shift"),
        ([IDENTITY[:-1] + "2", IDENTITY], "line 1 is no rotation and shift"),
    ],
)
def test_poses_that_are_none_are_said(tmp_path, lines, said):
    folder = write_folder(tmp_path, CAMERA, [np.ones((30, 40), np.uint16)] * 2)
    (folder / "poses.txt").write_text("\n".join(lines))
    with pytest.raises(InputError, match=rf"poses\.txt: {said}"):
        RgbdFolder(folder)


def test_almost_orthonormal_rotations_are_made_orthonormal(tmp_path):
    folder = write_folder(tmp_path, CAMERA, [np.ones((30, 40), np.uint16)])
    (folder / "poses.txt").write_text("1.0005 0.0003" + IDENTITY[3:])
    (frame,) = RgbdFolder(folder)
    np.testing.assert_allclose(frame.pose[:3, :3] @ frame.pose[:3, :3].T, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(frame.pose, np.eye(4), atol=1e-3)


def test_the_nearer_surface_is_drawn():
    depth = np.array([[3, 2, np.inf, np.inf], [0, 5, 4, -1]], np.float32)
    places = np.array([[[1.4, 0], [0.6, 0.4], [1, 0], [3, 1]], [[0, 0], [3.6, 1], [2, 1.49], [2, 1]]], np.float32)
    np.testing.assert_array_equal(splat(depth, places, 2, 4), [[0, 2, 0, 0], [0, 0, 4, np.inf]])


def test_coarse_depth_leaves_pixels_between_unknown(tmp_path):
    (frame,) = RgbdFolder(write_folder(tmp_path, CAMERA, [np.full((15, 20), 1500, np.uint16)]))
    drawn = depth_in_image(frame)
    assert (drawn > 0).sum() == 300
    np.testing.assert_allclose(drawn[drawn > 0], 1.5, rtol=1e-6)


def test_predictions_are_read_where_depth_was_measured():
    ramp = np.add.outer(10 * np.arange(6, dtype=np.float32), np.arange(8, dtype=np.float32))
    depth = np.array([[1, 2, 0, 4]], np.float32)
    places = np.array([[[2.5, 1.0], [0, 4.25], [-1, -1], [7.5, 0]]], np.float32)
    predicted, true = at_places(ramp, RgbdFrame(np.zeros((6, 8, 3), np.uint8), depth, places, MATRIX))
    np.testing.assert_allclose(predicted[0, :2], [12.5, 42.5])
    np.testing.assert_array_equal(true, [[1, 2, 0, 0]])  # unknown, and outside of the image


def test_rendered_clips_lie_pixel_on_pixel():
    for frame in rendered_rgbd_frames(3, 2, 28, 42):
        predicted, true = at_places(frame.depth.clip(0, 100), frame)
        np.testing.assert_array_equal(true, frame.depth)
        np.testing.assert_array_equal(predicted, frame.depth.clip(0, 100))
        np.testing.assert_array_equal(depth_in_image(frame), frame.depth)  # sky is sky
        assert frame.flow.shape == (28, 42, 2)
        assert frame.moving.shape == (28, 42)
        assert tuple(frame.intrinsics[:2, 2]) == (20.5, 13.5)  # the middle, by the centres of pixels


def test_the_mapping_of_a_real_sequence_puts_edges_on_edges(shared_data):
    """Colours differ more across the edges of depth when these are put where the mapping says than without it."""

    def edge_share(folder):
        steps = []
        for number, frame in enumerate(folder):
            if number == 5:
                break
            grey = cv2.GaussianBlur(cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY), (0, 0), 1).astype(np.float32)
            gradient = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
            known = cv2.erode((frame.depth > 0).astype(np.uint8), np.ones((5, 5))) > 0
            jump = cv2.dilate(frame.depth, np.ones((3, 3))) - cv2.erode(frame.depth, np.ones((3, 3))) > 0.1
            x, y = (frame.places[..., axis].round().astype(int) for axis in (0, 1))
            inside = known & jump & (x >= 0) & (x < grey.shape[1]) & (y >= 0) & (y < grey.shape[0])
            steps.append(gradient[y[inside], x[inside]].mean())
        return np.mean(steps)

    mapped = RgbdFolder(shared_data / "rgbd_office_a")
    unmapped = RgbdFolder(shared_data / "rgbd_office_a")
    unmapped._mapping = None
    assert depth_in_image(next(iter(mapped))).astype(bool).mean() > 0.6
    assert len(mapped) == 500
    assert edge_share(mapped) > 1.3 * edge_share(unmapped)


def test_pictures_of_a_camera_that_nobody_knows_have_depth_at_the_same_place(tmp_path):
    folder = write_folder(tmp_path, CAMERA, [np.full((30, 40), 1500, np.uint16)])
    (folder / "intrinsics.json").unlink()
    (frame,) = RgbdFolder(folder)
    assert frame.intrinsics is None
    np.testing.assert_allclose(frame.depth, 1.5)
    np.testing.assert_array_equal(frame.places[3, 7], (7, 3))


def test_depth_near_an_edge_is_unknown_unless_colour_and_depth_are_exactly_registered(tmp_path):
    depth = np.full((30, 40), 1000, np.uint16)
    depth[:, 20:] = 1090  # no edge
    depth[:, 30:] = 2000  # one
    (frame,) = RgbdFolder(write_folder(tmp_path / "usual", CAMERA, [depth]))
    assert (frame.depth[:, :25] > 0).all()
    assert not frame.depth[:, 25:35].any()  # 4 pixels either side of the two at the edge
    assert (frame.depth[:, 35:] == 2).all()
    (frame,) = RgbdFolder(write_folder(tmp_path / "exact", {**CAMERA, "registration_px": 0}, [depth]))
    assert (frame.depth > 0).all()
    beams = np.where(np.indices(depth.shape).sum(axis=0) % 5 == 0, depth, 0).astype(np.uint16)  # a LiDAR's
    (frame,) = RgbdFolder(write_folder(tmp_path / "sparse", CAMERA, [beams]))
    assert ((frame.depth > 0) == (beams > 0)).all()


def test_what_is_no_such_folder_is_said(tmp_path):
    depth = np.ones((30, 40), np.uint16)
    with pytest.raises(InputError, match="rgb: no image"):
        RgbdFolder(tmp_path)
    folder = write_folder(tmp_path, CAMERA, [depth, depth])
    (folder / "intrinsics.json").write_text("{")
    with pytest.raises(InputError, match=r"intrinsics\.json: not the cameras"):
        RgbdFolder(folder)
    (folder / "intrinsics.json").write_text(json.dumps({"depth_to_color": {"R": 1}}))
    with pytest.raises(InputError, match=r"intrinsics\.json: not the cameras"):
        RgbdFolder(folder)
    (folder / "intrinsics.json").write_text(json.dumps({**CAMERA, "fx": 0}))
    with pytest.raises(InputError, match=r"intrinsics\.json: not the cameras.*fx and fy should be positive"):
        RgbdFolder(folder)
    (folder / "intrinsics.json").unlink()
    (folder / "poses.txt").write_text("")
    with pytest.raises(InputError, match=r"intrinsics\.json: cannot be read"):
        RgbdFolder(folder)
    (folder / "poses.txt").unlink()
    (folder / "intrinsics.json").write_text(json.dumps(CAMERA))
    cv2.imwrite(str(folder / "depth" / "1.png"), np.ones((30, 40), np.uint8))
    with pytest.raises(InputError, match=r"1\.png: should be a 16-bit image"):
        list(RgbdFolder(folder))
    (folder / "depth" / "1.png").write_text("none")
    with pytest.raises(InputError, match=r"1\.png: cannot be read as an image"):
        list(RgbdFolder(folder))
    (folder / "depth" / "1.png").unlink()
    with pytest.raises(InputError, match="2 images in rgb, 1 in depth"):
        RgbdFolder(folder)
