"""Encodings of ROS 2's pictures, against the same pictures in RGB."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from vmdepth_runtime import InputError, open_source
from vmdepth_runtime.sources.colour_conversion import RgbConverter
from vmdepth_runtime.sources.recordings.images import ImageReader
from vmdepth_runtime.sources.stills.image_file import load_image

EXACT = {
    "rgb8": lambda rgb: rgb,
    "bgr8": lambda rgb: rgb[..., ::-1],
    "rgba8": lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA),
    "bgra8": lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA),
    "rgb16": lambda rgb: rgb.astype(np.uint16) << 8 | 255,
    "bgr16": lambda rgb: rgb[..., ::-1].astype(np.uint16) << 8 | 255,
}
GREY = {
    "mono8": lambda grey: grey,
    "8UC1": lambda grey: grey,
    "mono16": lambda grey: grey.astype(np.uint16) * 257,
}


def packed(pixels):
    return np.ascontiguousarray(pixels)


def read_one(record, tmp_path, *entries):
    with open_source(record.mcap(tmp_path / "drive.mcap", entries)) as source:
        return next(iter(source)).image


@pytest.mark.parametrize("encoding", EXACT)
def test_orders_and_depths_of_channels(record, frames, tmp_path, encoding):
    read = read_one(record, tmp_path, record.image(packed(EXACT[encoding](frames[0])), record.begin, encoding))
    assert np.array_equal(read, frames[0])
    assert read.flags.writeable


@pytest.mark.parametrize("encoding", GREY)
def test_grey_is_three_equal_channels(record, frames, tmp_path, encoding):
    grey = packed(frames[0][..., 1])
    grey[0, 0] = 255
    read = read_one(record, tmp_path, record.image(GREY[encoding](grey), record.begin, encoding))
    assert np.array_equal(read, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("big", [0, 1])
def test_order_of_bytes_and_padding_of_rows(record, tmp_path, big):
    values = np.arange(28 * 42, dtype=np.uint16).reshape(28, 42) * 55
    padded = np.zeros((28, 50), ">u2" if big else "<u2")
    padded[:, :42] = values
    entry = record.image(values, record.begin, "mono16", is_bigendian=big, step=100, data=padded.tobytes())
    assert np.array_equal(read_one(record, tmp_path, entry)[..., 0], np.rint(values / 257))


@pytest.mark.parametrize("encoding", ["uyvy", "yuv422", "yuyv", "yuv422_yuy2", "nv12", "nv21"])
def test_luma_and_colour_apart(record, tmp_path, encoding):
    """A picture of a few flat colours, whose colour at half the size is the same."""
    blocks = np.random.default_rng(0).integers(30, 220, (7, 7, 3)).astype(np.uint8)
    rgb = blocks.repeat(4, axis=0).repeat(6, axis=1)
    planes = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
    y = planes[:28]
    u, v = planes[28:35].reshape(14, 21), planes[35:].reshape(14, 21)
    if encoding.startswith("nv"):
        both = np.stack([u, v] if encoding == "nv12" else [v, u], axis=2).reshape(14, 42)
        data = np.vstack([y, both])
    else:
        chroma = np.stack([u, v], axis=2).repeat(2, axis=0).reshape(28, 42)
        order = [chroma, y] if encoding in ("uyvy", "yuv422") else [y, chroma]
        data = np.stack(order, axis=2).reshape(28, 84)
    entry = record.image(rgb, record.begin, encoding, step=data.shape[1], data=packed(data).tobytes())
    read = read_one(record, tmp_path, entry)
    assert np.abs(read.astype(int) - rgb).max() <= 6  # rounded twice


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("bits", [8, 16])
def test_bayer_patterns_are_named_by_their_first_rows(record, tmp_path, pattern, bits):
    colour = np.array([200, 120, 40], np.uint8)
    mosaic = np.zeros((28, 42), np.uint8)
    for place, channel in enumerate(pattern):
        mosaic[place // 2 :: 2, place % 2 :: 2] = colour["rgb".index(channel)]
    stored = mosaic if bits == 8 else mosaic.astype(np.uint16) << 8
    read = read_one(record, tmp_path, record.image(stored, record.begin, f"bayer_{pattern}{bits}"))
    assert np.array_equal(read[4:-4, 4:-4], np.broadcast_to(colour, (20, 34, 3)))


def compressed(record, data, stamp, named="rgb8; jpeg compressed bgr8"):
    fields = {"header": record.image(np.zeros((2, 2)), stamp)[3]["header"], "format": named, "data": data}
    return "/cam/image_raw/compressed", "sensor_msgs/msg/CompressedImage", stamp, fields


@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_compressed_pictures_are_as_their_files(record, frames, make, tmp_path, ending):
    files = [make.image(tmp_path / f"{k}{ending}", frame) for k, frame in enumerate(frames)]
    told = [e for e in record.camera(frames) if "camera_info" in e[0]]
    entries = [compressed(record, f.read_bytes(), record.begin + k * record.interval) for k, f in enumerate(files)]
    entries[3] = compressed(record, entries[3][3]["data"][:400], record.begin + 3 * record.interval)
    entries[5] = compressed(record, b"no picture", record.begin + 5 * record.interval, "h264")
    with open_source(record.mcap(tmp_path / "drive.mcap", [*entries, *told])) as source:
        read = list(source)
    assert [frame.index for frame in read] == [0, 1, 2, 4, 6, 7]
    assert all(np.array_equal(frame.image, load_image(files[frame.index], RgbConverter())) for frame in read)
    assert [skipped.index for skipped in source.skipped] == [3, 5]
    assert source.skipped[1].reason == "is neither JPEG nor PNG (its format is 'h264')"
    assert source.lens.pinhole == record.pinhole  # the CameraInfo of the picture that was compressed


def ramp(black, white):
    return np.linspace(black, white, 28 * 42).reshape(28, 42).astype(np.uint16)


@pytest.mark.parametrize("levels", [(28_000, 30_000), (0, 4095), (0, 65_535)])
def test_16_bits_of_grey_are_seen_as_those_of_files(record, tmp_path, levels):
    deep = ramp(*levels)
    file = tmp_path / "grey.png"
    cv2.imwrite(str(file), deep)
    expected = load_image(file, RgbConverter())
    for name, entry in [
        ("plain", record.image(deep, record.begin, "mono16")),
        ("compressed", compressed(record, file.read_bytes(), record.begin, "mono16; png compressed ")),
    ]:
        with open_source(record.mcap(tmp_path / f"{name}.mcap", [entry])) as source:
            assert np.array_equal(next(iter(source)).image, expected)
        assert len(source.notes) == (levels != (0, 65_535))
        assert not source.notes or source.notes[0].startswith("16 bits of grey: ")


@pytest.mark.parametrize("encoding", ["mono16", "png", "bayer_rggb16", "rgb16"])
def test_16_bits_of_a_topic_are_seen_alike_from_its_first_picture_on(record, tmp_path, encoding):
    """A camera of 12 bits that begins in the dark."""
    entries = []
    for number in range(8):
        stamp = record.begin + number * record.interval
        deep = ramp(0, 120 if number < 2 else 500 * number)
        if encoding == "png":
            cv2.imwrite(str(tmp_path / "grey.png"), deep)
            entries.append(compressed(record, (tmp_path / "grey.png").read_bytes(), stamp, "mono16; png compressed "))
        else:
            stored = np.repeat(deep[..., None], 3, axis=2) if encoding == "rgb16" else deep
            entries.append(record.image(packed(stored), stamp, encoding))
    with open_source(record.mcap(tmp_path / "drive.mcap", entries)) as source:
        samples, images = source.sample(8), [frame.image for frame in source]
    brightest = [int(image[..., 1].max()) for image in images]
    assert brightest[0] == brightest[1] < 12
    assert np.allclose(np.diff(brightest[2:]), 31 if encoding in ("rgb16", "bayer_rggb16") else 36.4, atol=1.7)
    assert all(any(np.array_equal(sample, image) for image in images) for sample in samples)


def test_what_a_running_camera_shows_only_widens_what_is_seen(record):
    """Of which nothing but what came is known."""
    reader = ImageReader()
    for values, brightest in [((0, 0), 0), ((0, 100), 255), ((0, 4000), 255), ((0, 2000), 128)]:
        message = SimpleNamespace(**record.image(ramp(*values), 0, "mono16")[3])
        message.data = np.frombuffer(message.data, np.uint8)
        assert abs(int(reader(message).max()) - brightest) <= 1


def test_an_encoding_that_is_not_read_is_one_line_at_once(record, frames, tmp_path):
    path = record.mcap(tmp_path / "drive.mcap", [record.image(frames[0], record.begin, "cmyk8")])
    with pytest.raises(InputError) as error:
        open_source(path)
    assert f"{path}: /cam/image_raw has the encoding 'cmyk8', which is not read; those are rgb8, " in str(error.value)
    assert "\n" not in str(error.value)
    path = record.mcap(tmp_path / "video.mcap", [compressed(record, b"no picture", record.begin, "h264")])
    with pytest.raises(InputError, match="/cam/image_raw/compressed is neither JPEG nor PNG"):
        open_source(path)


def test_a_topic_of_which_nothing_can_be_read_is_one_line(record, frames, tmp_path):
    path = record.mcap(tmp_path / "drive.mcap", [record.image(frames[0], record.begin, data=b"")])
    with pytest.raises(InputError, match="none of the frames of /cam/image_raw can be read; the first: damaged"):
        open_source(path)
