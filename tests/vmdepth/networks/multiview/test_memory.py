"""Budgets: what is estimated, what is refused and advised, and what a process really takes."""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from vmdepth.byte_amounts import parse_bytes
from vmdepth.networks.attention import use_attention
from vmdepth.networks.multiview.memory import ForwardPass, Slices, peak_bytes, slices_for
from vmdepth.networks.multiview.presets import VIEW_PRESETS, MonoConfig

SMALL = ForwardPass(VIEW_PRESETS["small"], 1, 32, 252, 336)
MIB = 2**20


@pytest.mark.parametrize(
    ("amount", "size"), [(4096, 4096), ("4GiB", 4 * 2**30), ("1.5 GB", 1_500_000_000), ("512mib", 2**29), ("7B", 7)]
)
def test_amounts(amount, size):
    assert parse_bytes(amount) == size


@pytest.mark.parametrize("amount", ["", "4 apples", "-1GiB", "GiB", 0, "0.1B"])
def test_what_is_no_amount(amount):
    with pytest.raises(ValueError, match="memory budget"):
        parse_bytes(amount)


@pytest.mark.parametrize("form", ["fused", "explicit"])
@pytest.mark.parametrize("name", VIEW_PRESETS)
def test_the_estimate_of_what_is_chosen_stays_within_the_budget(name, form):
    forward = replace(SMALL, config=VIEW_PRESETS[name], rays=True)
    with use_attention(form):
        last = Slices(1, 1)
        for budget in (1500 * MIB, 2000 * MIB, 4000 * MIB, 16_000 * MIB, 64_000 * MIB):
            slices = slices_for(forward, budget, None)
            assert peak_bytes(forward, slices) <= budget
            assert (slices.rows is None) == (form == "fused")
            assert slices.encoder >= last.encoder
            assert slices.decoder >= last.decoder
            last = slices


def test_without_a_budget_all_goes_at_once():
    assert slices_for(SMALL, None, None) == Slices(32, 32)
    assert slices_for(SMALL, None, 3) == Slices(3, 3)
    assert slices_for(SMALL, "1000GB", None) == Slices(32, 32)


def test_too_little_names_what_works_and_what_would_fit():
    forward = replace(SMALL, config=VIEW_PRESETS["large"])
    with pytest.raises(ValueError) as error:
        slices_for(forward, "300MiB", None)
    text = str(error.value)
    least = re.search(r"300MiB is too little for 1x32 views of 252x336: the smallest that works is (\d+MiB)", text)[1]
    slices_for(forward, least, None)
    with pytest.raises(ValueError, match="too little"):
        slices_for(forward, (int(least[:-3]) - 1) * MIB, None)
    views = int(re.search(r"would fit: (\d+) views", text)[1])
    slices_for(replace(forward, views=views), "300MiB", None)
    with pytest.raises(ValueError, match="too little"):
        slices_for(replace(forward, views=views + 1), "300MiB", None)
    model = re.search(r"the (\w+) model", text)[1]
    slices_for(replace(forward, config=VIEW_PRESETS[model]), "300MiB", None)
    height, width = map(int, re.search(r"views of (\d+)x(\d+)$", text).groups())
    assert height % 14 == width % 14 == 0
    slices_for(replace(forward, height=height, width=width), "300MiB", None)


def test_where_nothing_fits_it_says_so():
    with pytest.raises(ValueError, match="Nothing fits in less"):
        slices_for(SMALL, "1KiB", None)


MEASURE = """
import sys, numpy, torch
from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.mono_depth import MonoDepth
from vmdepth.networks.multiview.presets import VIEW_PRESETS, MonoConfig

def resident(line):  # of this process alone: getrusage's peak is inherited from whoever started it
    return next(int(text.split()[1]) for text in open("/proc/self/status") if text.startswith(line)) * 1024

torch.set_num_threads(1)
torch.manual_seed(0)
name, views, height, width, budget, out = sys.argv[1:]
small = VIEW_PRESETS["small"]
network = AnyViewDepth(small) if name == "any-view" else MonoDepth(MonoConfig("small", 64, small.out_channels))
clip = torch.rand(1, int(views), 3, int(height), int(width))
with torch.inference_mode():
    network(torch.rand(1, 1, 3, 28, 28))  # what libraries load at the first call is no activation
open("/proc/self/clear_refs", "w").write("5")  # the peak counts from here on
before = resident("RssAnon:")
result = network.eval()(clip, memory_budget=int(budget))
# Pages of the libraries' files come and go as the system pleases: they are taken off the peak.
print(resident("VmHWM:") - resident("RssFile:") - before)
numpy.save(out, result.depth.detach().numpy())
"""


def measured(folder, network, size, budget):
    """Peak beyond weights and input, bytes, of a process that takes views within a budget; and the depth."""
    command = [sys.executable, "-c", MEASURE, network, *map(str, size), str(budget), str(folder / "depth.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=1200)
    return int(done.stdout), np.load(folder / "depth.npy")


SINGLE = MonoConfig("small", 64, VIEW_PRESETS["small"].out_channels)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(("network", "config"), [("any-view", VIEW_PRESETS["small"]), ("mono", SINGLE)])
def test_a_process_stays_within_the_smallest_budget(network, config, tmp_path):
    size = (8, 126, 168)
    with pytest.raises(ValueError) as error:
        slices_for(ForwardPass(config, 1, *size), "1KiB", None)
    least = int(re.search(r"smallest that works is (\d+)MiB", str(error.value))[1]) * MIB
    whole, depth = measured(tmp_path, network, size, 100 * 2**30)
    peak, within = measured(tmp_path, network, size, least)
    assert peak <= least < whole / 2
    assert np.abs(within - depth).max() <= 1e-5 * np.abs(depth).max()


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_process_stays_within_an_eighth_of_what_it_would_take(tmp_path):
    size = (32, 252, 336)
    whole, depth = measured(tmp_path, "any-view", size, 100 * 2**30)
    budget = whole // 8
    peak, within = measured(tmp_path, "any-view", size, budget)
    print(f"all at once {whole / MIB:.0f} MiB, budget {budget / MIB:.0f} MiB, peak {peak / MIB:.0f} MiB")
    assert peak <= budget
    assert np.abs(within - depth).max() <= 1e-5 * np.abs(depth).max()
