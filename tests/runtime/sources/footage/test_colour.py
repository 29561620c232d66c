"""High dynamic range against the ordinary picture that it was made of; matrices and ranges."""

from __future__ import annotations

import json

import av
import numpy as np
import pytest

from vmdepth_runtime import open_source
from vmdepth_runtime.sources.colour_conversion import RgbConverter
from vmdepth_runtime.sources.footage.tone_mapping import ToneMapper

PQ, HLG, BT2020 = 16, 18, 9
WEIGHTS_2020 = (0.2627, 0.0593)
# Linear light of BT.709 in the primaries of BT.2020 (ITU-R BT.2087).
TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


def master():
    """An ordinary picture uint8 `[192, 256, 3]`: a ramp, bars at full, three quarters and less, soft gradients."""
    image = np.zeros((192, 256, 3))
    image[:48] = np.linspace(0, 255, 256)[None, :, None]
    colours = np.array([(r, g, b) for r in (0, 1) for g in (0, 1) for b in (0, 1)])
    image[48:72] = (colours * 255).repeat(32, 0)
    image[72:104] = (colours * 191).repeat(32, 0)
    image[104:128] = (colours * 110 + 40).repeat(32, 0)
    y, x = np.mgrid[0:64, 0:256] / 64
    image[128:] = np.stack([127 + 120 * np.sin(x + y), 127 + 120 * np.cos(2 * x), 200 - 40 * x], axis=-1)
    return np.rint(image).clip(0, 255).astype(np.uint8)


def pq(light):
    """Signal of cd/m² (SMPTE ST 2084)."""
    root = (light / 10_000) ** (2610 / 16_384)
    return ((3424 / 4096 + 2413 / 128 * root) / (1 + 2392 / 128 * root)) ** (2523 / 32)


def hlg(light):
    """Signal of cd/m² on a display of 1,000 (ITU-R BT.2100)."""
    luminance = light @ np.array([0.2627, 0.6780, 0.0593]) / 1000
    scene = light / 1000 * np.maximum(luminance, 1e-9)[..., None] ** (1 / 1.2 - 1)
    high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)


def as_hdr(yuv, image, transfer):
    """A 10-bit frame of an ordinary picture, its white at 203 cd/m² (ITU-R BT.2408)."""
    light = (image / 255) ** 2.4 * 203 @ TO_2020.T
    return yuv((pq if transfer == PQ else hlg)(light), *WEIGHTS_2020, bits=10)


@pytest.mark.parametrize(("transfer", "name"), [(PQ, "PQ"), (HLG, "HLG")])
@pytest.mark.parametrize(
    ("codec", "options", "layout"),
    [("ffv1", {}, "yuv444p10le"), ("libx265", {"x265-params": "qp=6:log-level=none"}, "yuv420p10le")],
)
def test_hdr_looks_as_the_picture_it_was_made_of(tmp_path, footage, yuv, read, transfer, name, codec, options, layout):
    frame = as_hdr(yuv, master(), transfer)
    frame.colorspace, frame.color_range = BT2020, 1
    frames = [frame.reformat(format=layout) for _ in range(3)]
    facts = {"color_trc": transfer, "color_primaries": BT2020, "colorspace": BT2020, "color_range": 1}
    path = footage(tmp_path / "hdr.mkv", frames, codec, options, **facts)
    source, images = read(path)
    assert source.notes == [f"HDR ({name}): tone-mapped"]
    assert len(images) == 3
    difference = np.abs(images[-1].image.astype(int) - master())
    assert difference.mean() <= 6
    assert difference[:48, :220].mean() <= 2  # what is darker than white by a fifth stays as it was
    with av.open(str(path)) as container:
        untouched = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(untouched.astype(int) - master()).mean() > 15


def test_so_do_pictures(tmp_path, footage, yuv, read):
    frame = as_hdr(yuv, master(), HLG).reformat(format="yuv420p10le")
    facts = {"color_trc": HLG, "color_primaries": BT2020, "colorspace": BT2020, "color_range": 1}
    path = footage(tmp_path / "phone.avif", [frame], "libsvtav1", {"crf": "6", "preset": "8"}, **facts)
    source, images = read(path)
    assert (source.pictures, source.notes) == (True, ["HDR (HLG): tone-mapped"])
    assert np.abs(images[0].image.astype(int) - master()).mean() <= 6


@pytest.mark.parametrize(("transfer", "signal_of"), [(PQ, pq), (HLG, hlg)])
def test_light_brighter_than_white_is_not_clipped(yuv, transfer, signal_of):
    light = np.linspace(100, 1000, 64)[None, :, None] * np.ones((16, 1, 3))
    frame = yuv(signal_of(light), *WEIGHTS_2020, bits=10)
    frame.colorspace, frame.color_range, frame.color_trc, frame.color_primaries = BT2020, 1, transfer, BT2020
    row = RgbConverter()(frame)[8, :, 1].astype(int)
    assert (np.diff(row) >= 0).all()
    assert row[0] == pytest.approx(255 * (100 / 203) ** (1 / 2.4), abs=2)
    white = row[np.abs(light[8, :, 1] - 203).argmin()]
    assert 244 <= white <= 250
    assert row[-1] == pytest.approx(255, abs=1)


def test_ordinary_and_hdr_frames_and_sizes_may_alternate(yuv):
    def frame(size, transfer):
        made = as_hdr(yuv, master()[:size, :size], transfer)
        made.colorspace, made.color_range, made.color_primaries, made.color_trc = BT2020, 1, BT2020, transfer
        return made

    to_rgb = RgbConverter()
    plain = yuv(master() / 255, 0.2126, 0.0722)
    plain.colorspace, plain.color_range = 1, 1
    for size, transfer in ((64, PQ), (64, HLG), (96, HLG), (64, PQ)):
        assert np.abs(to_rgb(frame(size, transfer)).astype(int) - master()[:size, :size]).mean() <= 6
        assert np.abs(to_rgb(plain).astype(int) - master()).mean() < 1.5


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("matrix", "weights"),
    [(5, (0.299, 0.114)), (6, (0.299, 0.114)), (1, (0.2126, 0.0722)), (9, WEIGHTS_2020)],
)
def test_the_matrix_and_range_that_a_file_says_are_used(tmp_path, footage, yuv, read, matrix, weights, full, bits):
    image = master()[48:128]
    facts = {"colorspace": matrix, "color_range": 2 if full else 1}
    path = footage(tmp_path / "a.mkv", [yuv(image / 255, *weights, bits=bits, full=full)], **facts)
    source, frames = read(path)
    assert np.abs(frames[0].image.astype(int) - image).max() <= 4
    assert source.notes == []


def test_a_run_tells_once_what_was_done_to_frames(tmp_path, footage, yuv, vmdepth_run):
    frames = [as_hdr(yuv, master(), PQ) for _ in range(3)]
    facts = {"color_trc": PQ, "color_primaries": BT2020, "colorspace": BT2020, "color_range": 1}
    footage(tmp_path / "walk.mkv", frames, **facts)
    outcome = vmdepth_run("walk.mkv", "-o", "walk.npz", "--report", "run.json")
    assert outcome.code == 0
    assert [line for line in outcome.lines if "HDR" in line] == ["vmdepth-run: walk.mkv: HDR (PQ): tone-mapped"]
    report = json.loads((tmp_path / "run.json").read_text())
    assert report["sources"][0]["notes"] == ["HDR (PQ): tone-mapped"]
    assert report["notes"] == []


def test_plain_video_costs_no_tone_mapper(tmp_path, make, monkeypatch):
    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr(ToneMapper, "__call__", refuse)
    with open_source(make.video(tmp_path / "plain.mp4", make.noise(3))) as source:
        assert len(list(source)) == 3
        assert source.notes == []
