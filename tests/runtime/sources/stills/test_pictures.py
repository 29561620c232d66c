"""Pictures that have nothing to do with each other: each at its own size, upright, under a name of its own."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps, features

from vmdepth_runtime import InputError, ReadSettings, open_source
from vmdepth_runtime.sources.listing import distinct, list_files
from vmdepth_runtime.sources.stills.image_file import upright_size


def read(path, **settings):
    with open_source(path, read=ReadSettings(**settings)) as source:
        return source, list(source)


def exif(orientation, order=">"):
    """A TIFF structure that says nothing but an orientation."""
    mark = b"MM\0*" if order == ">" else b"II*\0"
    return mark + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def with_exif(path, orientation, order=">"):
    """Put an orientation into a JPEG, PNG or WebP, after something else of some length."""
    content, tiff = path.read_bytes(), exif(orientation, order)
    if path.suffix == ".jpg":
        comment = b"\xff\xfe" + struct.pack(">H", 70_00) + bytes(6998)
        content = (
            content[:2] + comment + b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff + content[2:]
        )
    elif path.suffix == ".png":
        chunk = b"eXIf" + tiff
        chunk = struct.pack(">I", len(tiff)) + chunk + struct.pack(">I", zlib.crc32(chunk))
        content = content[:33] + chunk + content[33:]
    else:
        chunks = content[12:] + b"EXIF" + struct.pack("<I", len(tiff)) + tiff
        width, height = cv2.imread(str(path)).shape[1::-1]
        sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        chunks = b"VP8X" + struct.pack("<I", 10) + b"\x08\0\0\0" + sizes + chunks
        content = b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks
    path.write_bytes(content)
    return path


# -- what is pictures ----------------------------------------------------------------------------------------------


def test_pictures_of_different_sizes_stand_each_on_its_own(tmp_path, make):
    sizes = [(48, 64), (60, 40), (48, 64), (20, 30)]
    images = [make.noise(1, *size, seed=k)[0] for k, size in enumerate(sizes)]
    for name, image in zip(("a1", "a2", "a10", "b"), images, strict=True):
        make.image(tmp_path / f"{name}.png", image)
    source, frames = read(tmp_path)
    assert source.pictures
    assert [frame.name for frame in frames] == ["a1", "a2", "a10", "b"]
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert all(frame.discontinuity for frame in frames)
    for frame, image in zip(frames, images, strict=True):
        np.testing.assert_array_equal(frame.image, image)
    assert source.sample(8) == source.skipped == source.warnings == []
    assert [frame.name for frame in read(tmp_path, start=1, every=2)[1]] == ["a2", "b"]


def test_images_of_one_size_are_a_video_unless_told_otherwise(tmp_path, make):
    for k, image in enumerate(make.noise(3)):
        make.image(tmp_path / f"{k}.png", image)
    source, frames = read(tmp_path)
    assert not source.pictures
    assert [(frame.name, frame.discontinuity) for frame in frames] == [("", False)] * 3
    source, frames = read(tmp_path, images=True)
    assert source.pictures
    assert [(frame.name, frame.discontinuity) for frame in frames] == [(name, True) for name in "012"]
    assert read(tmp_path / "1.png")[0].pictures
    assert read(tmp_path / "[1]*.png")[0].pictures


def test_a_late_odd_one_of_many_is_not_lost(tmp_path, make, monkeypatch):
    """Headers are looked at up to a number, spread evenly; whatever they did not show is scaled, and told."""
    monkeypatch.setattr("vmdepth_runtime.sources.folder._LOOKS", 4)
    for k, image in enumerate(make.noise(20)):
        make.image(tmp_path / f"{k}.png", image)
    make.image(tmp_path / "19.png", make.noise(1, 30, 30)[0])
    assert read(tmp_path)[0].pictures  # the last one is looked at
    make.image(tmp_path / "19.png", make.noise(1)[0])
    for k in (8, 9, 17):
        make.image(tmp_path / f"{k}.png", make.noise(1, 30, 30)[0])
    source, frames = read(tmp_path)
    assert not source.pictures
    assert len(frames) == 20
    assert [frame.index for frame in frames if frame.discontinuity] == [8, 10, 17, 18]
    assert "8.png is 30x30, the first image 64x48: scaled to it" in source.warnings[0]
    assert "--images takes each picture on its own" in source.warnings[0]
    assert source.warnings[1:] == [f"{tmp_path.name}: 3 images in all were scaled"]


# -- upright -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(tmp_path, make, ending, orientation):
    """As Pillow brings them up, mirrored ones too; OpenCV 4.11 heeds none of WebP."""
    path = with_exif(make.image(tmp_path / f"a{ending}", make.noise(1, 96, 128)[0]), orientation, "<>"[orientation % 2])
    (frame,) = read(path)[1]
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    assert frame.image.shape == upright.shape == ((96, 128, 3) if orientation < 5 else (128, 96, 3))
    assert np.abs(frame.image.astype(int) - upright).mean() < 3
    assert upright_size(path) == frame.image.shape[1::-1]


def test_pictures_that_differ_only_once_they_are_upright_are_pictures(tmp_path, make):
    for k, image in enumerate(make.noise(3)):
        make.image(tmp_path / f"{k}.jpg", image)
    assert not read(tmp_path)[0].pictures
    with_exif(tmp_path / "2.jpg", 6)
    source, frames = read(tmp_path)
    assert source.pictures
    assert [frame.image.shape[:2] for frame in frames] == [(48, 64), (48, 64), (64, 48)]


@pytest.mark.parametrize("ending", [".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".ppm", ".pgm"])
def test_headers_tell_the_size(tmp_path, make, ending):
    path = make.image(tmp_path / "a.ppm", make.noise(1, 50, 70)[0]).rename(tmp_path / f"a{ending}")
    cv2.imwrite(str(path), make.noise(1, 50, 70)[0][..., 0] if ending == ".pgm" else make.noise(1, 50, 70)[0])
    assert upright_size(path) == (70, 50)
    for cut in (20, 12, 3):
        path.write_bytes(path.read_bytes()[:cut])
        assert upright_size(path) in (None, (70, 50))
    assert upright_size(path) is None


@pytest.mark.parametrize(("ending", "mode"), [(".jfif", "RGB"), (".pnm", "RGB"), (".PBM", "1")])
def test_rarer_names_are_pictures_too(tmp_path, make, ending, mode):
    image = Image.fromarray(make.noise(1, 50, 70)[0]).convert(mode)
    image.save(tmp_path / f"a{ending}")
    for source, (frame,) in (read(tmp_path / f"a{ending}"), read(tmp_path)):
        assert source.pictures and frame.name == "a"
        assert np.abs(frame.image.astype(int) - np.asarray(image.convert("RGB"))).mean() < 12  # JPEG of noise
    assert upright_size(tmp_path / f"a{ending}") == (70, 50)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.skipif(not features.check("avif"), reason="this Pillow writes no AVIF")
def test_avif(tmp_path, make, orientation):
    image = make.noise(1, 96, 128)[0]
    Image.fromarray(image).save(tmp_path / "a.avif", exif=exif(orientation), quality=95)
    (frame,) = read(tmp_path / "a.avif")[1]
    upright = image if orientation == 1 else np.rot90(image, -1)
    assert frame.image.shape == upright.shape
    assert np.abs(frame.image.astype(int) - upright).mean() < 3
    make.image(tmp_path / "b.jpg", image)
    assert [frame.name for frame in read(tmp_path, images=True)[1]] == ["a", "b"]


def test_a_gif_is_a_picture_or_a_video_as_it_moves(tmp_path, make):
    images = [Image.fromarray(image).quantize(256) for image in make.noise(4)]
    images[0].save(tmp_path / "moves.gif", save_all=True, append_images=images[1:], duration=[40, 40, 120, 40])
    images[0].save(tmp_path / "still.GIF")
    source, (frame,) = read(tmp_path / "still.GIF")
    assert source.pictures
    assert frame.name == "still"
    np.testing.assert_array_equal(frame.image, np.asarray(images[0].convert("RGB")))
    source, frames = read(tmp_path / "moves.gif")
    assert not source.pictures
    assert [frame.time for frame in frames] == pytest.approx([0, 0.04, 0.08, 0.2])
    for frame, image in zip(frames, images, strict=True):
        assert np.abs(frame.image.astype(int) - np.asarray(image.convert("RGB"))).mean() < 4
    assert source.skipped == source.warnings == []
    listing = list_files(tmp_path)
    assert (listing.images, listing.videos) == ([tmp_path / "still.GIF"], [tmp_path / "moves.gif"])
    assert list_files(tmp_path / "*.*") == listing
    for content in (b"", b"GIF89a", (tmp_path / "still.GIF").read_bytes()[:50]):
        (tmp_path / "still.GIF").write_bytes(content)
        with pytest.raises(InputError, match=r"still.GIF: "):
            open_source(tmp_path / "still.GIF")


# -- names, and what is refused ------------------------------------------------------------------------------------


def test_no_two_have_the_same_name(tmp_path, make):
    for name in ("a.jpg", "A.png", "a%d.png", "b.png", "c.PNG"):
        make.image(tmp_path / name, make.noise(1)[0])
    assert [frame.name for frame in read(tmp_path, images=True)[1]] == ["A.png", "a_d", "a.jpg", "b", "c"]
    assert distinct([("x", "x.a"), ("x", "x.a"), ("y", "y.a"), ("x", "x.a-2")]) == ["x.a", "x.a-3", "y", "x.a-2"]
    assert distinct([]) == []


def test_files_of_earlier_runs_are_not_taken_again(tmp_path, make):
    for name in ("a.png", "a.depth.png"):
        make.image(tmp_path / name, make.noise(1)[0])
    make.video(tmp_path / "b.depth.mp4", make.noise(2))
    listing = list_files(tmp_path)
    assert ([file.name for file in listing.images], listing.videos, listing.outputs) == (["a.png"], [], 2)


def test_what_a_folder_holds_and_is_not_read_is_listed(tmp_path, make):
    for name in ("a.png", "b.depth.png"):
        make.image(tmp_path / name, make.noise(1)[0])
    for name in ("a10.cr2", "a2.CR2", "notes.txt", ".hidden", "b.depth.json"):
        (tmp_path / name).write_bytes(b"1")
    for name in ("more", ".cache"):
        (tmp_path / name).mkdir()
    assert list_files(tmp_path).unread == ("a2.CR2", "a10.cr2", "more/", "notes.txt")
    assert list_files(tmp_path / "*.png").unread == ()
    (tmp_path / "more" / "deeper").mkdir()
    with pytest.raises(InputError, match=r"more: there are only folders in it, which are not looked into, such as "):
        list_files(tmp_path / "more")


def test_pictures_that_cannot_be_read(tmp_path, make):
    for name, image in (("a", make.noise(1)[0]), ("b", make.noise(1, 8, 9)[0]), ("d", make.noise(1, 70, 70)[0])):
        make.image(tmp_path / f"{name}.png", image)
    (tmp_path / "c.png").write_bytes(b"garbage")
    source, frames = read(tmp_path)
    assert [frame.name for frame in frames] == ["a", "d"]
    assert [str(skipped) for skipped in source.skipped] == [
        "frame 1 (b.png): is 9x8, at least 14x14 is needed",
        "frame 2 (c.png): not a readable image (Invalid data found when processing input)",
    ]
    with pytest.raises(InputError, match=r"c.png: not a readable image \(.*\); give another picture"):
        open_source(tmp_path / "c.png")


def test_one_source_is_one_video(tmp_path, make):
    for name in "ab":
        make.video(tmp_path / f"{name}.mp4", make.noise(2))
    assert len(read(tmp_path / "a*.mp4")[1]) == 2
    with pytest.raises(
        InputError, match=r"holds 2 videos, and one source is one of them; name it, for example .*a.mp4"
    ):
        open_source(tmp_path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("side", "kind"), [(b"\xff\x3f", "gif"), (b"\xff\x3f", "webp"), (b"\xff\x29", "webp")])
def test_a_header_that_invents_a_size_is_one_line(tmp_path, make, side, kind):
    path = tmp_path / f"a.{kind}"
    Image.fromarray(make.noise(1)[0]).save(path, lossless=False)
    content = bytearray(path.read_bytes())
    place = 6 if kind == "gif" else content.index(b"\x9d\x01\x2a") + 3
    content[place : place + 4] = 2 * side
    path.write_bytes(content[:-40])
    with pytest.raises(InputError, match=f"a.{kind}: ") as refused:
        open_source(path)
    assert "\n" not in str(refused.value)


def test_a_webp_that_moves_is_not_called_broken(tmp_path):
    frames = [Image.new("RGB", (64, 48), (level, 0, 0)) for level in (10, 200)]
    frames[0].save(tmp_path / "moves.webp", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match=r"moves\.webp: moves, and is not read; give another picture"):
        open_source(tmp_path / "moves.webp")
