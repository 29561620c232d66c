"""What statistics cost, printed, and what a long video takes of memory: `pytest --slow -s` on a machine at rest."""

import subprocess
import sys
from time import process_time

import numpy as np
import pytest
import torch

from vmdepth.dynamics import capture
from vmdepth.dynamics.accumulators import raw_maps
from vmdepth.dynamics.first_pass import Statistic
from vmdepth.dynamics.statistics import frames_met

VIEWS, SHAPE = 32, (6, 432, 64)  # of Depth Anything 3 small at 252×336: heads, places, channels
TIMED = (3, 17)  # frames whose matrices are made; they all take as long


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def asked(reach):
    return [Statistic("QK", kind, (5,), reach) for kind in ("similarity", "variance")]


def global_by_matrices(queries, keys, frame):
    """In chunks of one frame's queries, which is what fits."""
    scores = queries[frame] @ keys.transpose(0, 1).flatten(1, 2).transpose(1, 2) / SHAPE[2] ** 0.5
    spread, mean = torch.var_mean(scores, dim=2)
    return mean.mean(0), spread.mean(0)


def published_by_matrices(queries, keys, frame):
    met = frames_met("window", frame, VIEWS)
    averaged = torch.stack([queries[frame] @ keys[other].transpose(1, 2) for other in met]).mean((0, 1))
    return averaged.mean(1), averaged.std(1)


@pytest.mark.slow
@torch.inference_mode()
@pytest.mark.parametrize(("reach", "matrices"), [("all", global_by_matrices), ("window", published_by_matrices)])
def test_closed_forms_beside_matrices(reach, matrices, one_thread):
    generator = torch.Generator().manual_seed(0)
    queries, keys = (2 + torch.randn(VIEWS, *SHAPE, generator=generator) for _ in range(2))
    ratios = []
    for _ in range(3):
        begun = process_time()
        raw = raw_maps(asked(reach), {5: queries}, {5: keys})
        between = process_time()
        expected = [matrices(queries, keys, frame) for frame in TIMED]
        whole = (process_time() - between) * VIEWS / len(TIMED)
        ratios.append(whole / (between - begun))
        print(f"{reach}: {between - begun:.2f} s, matrices {whole:.1f} s, {ratios[-1]:.0f} times")
    for number, frame in enumerate(TIMED):
        for one, other in zip(asked(reach), expected[number], strict=True):
            torch.testing.assert_close(raw[one][frame], other, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("reach", ["window", "near", "past", "all"])
def test_a_video_ten_times_longer(reach, small_views, one_thread, monkeypatch):
    """Statistics alone, and the whole pass, both in windows of 40; twice by turns."""
    spent = {"statistics": 0.0}
    for kind in (capture._Taking, capture._Adding):
        seen = kind._see

        def timed(self, one, seen=seen):
            begun = process_time()
            seen(self, one)
            spent["statistics"] += process_time() - begun

        monkeypatch.setattr(kind, "_see", timed)
    texture = np.random.default_rng(0).integers(0, 256, (56, 84 + 600, 3), dtype=np.uint8)
    images = np.stack([texture[:, frame : frame + 84] for frame in range(600)])
    took = {60: np.zeros(2), 600: np.zeros(2)}
    for count in (60, 600, 60, 600):
        spent["statistics"], begun = 0.0, process_time()
        capture.look(small_views("any-view"), images[:count], asked(reach), window=40)
        took[count] += spent["statistics"], process_time() - begun
    of_statistics, of_all = took[600] / took[60]
    print(f"{reach}: statistics {of_statistics:.1f} times, the whole pass {of_all:.1f} times")


LOOK = """
import sys, numpy, torch
from vmdepth.dynamics.capture import look
from vmdepth.dynamics.first_pass import Statistic
from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.presets import VIEW_PRESETS

torch.manual_seed(0)
frames, height, width, *budget = map(int, sys.argv[1:])
texture = numpy.random.default_rng(0).integers(0, 256, (height, width + 2 * frames, 3), dtype=numpy.uint8)
images = numpy.stack([texture[:, 2 * frame : 2 * frame + width] for frame in range(frames)])
asked = [Statistic(*one, reach) for reach in ("all", "window") for one in (
    ("KK", "similarity", (5,)), ("QK", "variance", (5,)), ("QQ", "similarity", (7,)), ("QQ", "variance", (9, 11)))]
found = look(AnyViewDepth(VIEW_PRESETS["small"]).eval(), images, asked, memory_budget=budget[0] if budget else None)
assert all(numpy.isfinite(raw).all() for raw in found.raw.values())
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:")) * 1024)
"""


def peak(*arguments):
    """Bytes that a process has taken at most, all of it, for frames of a size and within a budget."""
    command = [sys.executable, "-c", LOOK, *map(str, arguments)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_what_a_longer_video_takes_more_is_what_is_given_back():
    """Frames, features, depth and maps; within a budget nothing else is kept of frames."""
    size, patches = (84, 112), 48
    frame = size[0] * size[1] * (3 + 2 * 4) + patches * 4 * (2 * 384 + 8)  # some of it twice, when it is put together
    short, long = (peak(frames, *size, 500 * 2**20) for frames in (150, 750))
    print(f"150 frames {short / 2**20:.0f} MiB, 750 frames {long / 2**20:.0f} MiB")
    assert long - short <= 600 * frame + 20 * 2**20


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_five_hundred_frames_of_the_usual_size_stay_within_four_gibibytes():
    taken = peak(500, 252, 336)
    print(f"500 frames of 252×336: {taken / 2**20:.0f} MiB")
    assert taken <= 4 * 2**30
