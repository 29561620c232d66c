"""Budgets: what is estimated, what is refused and advised, and what a process really takes."""

import re
import subprocess
import sys
from dataclasses import replace

import pytest

from vmdepth.networks.attention import use_attention
from vmdepth.networks.view_memory import Pass, Slices, parse_bytes, peak_bytes, slices_for
from vmdepth.networks.view_presets import VIEW_PRESETS

SMALL = Pass(VIEW_PRESETS["small"], 1, 32, 252, 336)
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
    one = replace(SMALL, config=VIEW_PRESETS[name], rays=True)
    with use_attention(form):
        last = Slices(1, 1)
        for budget in (1500 * MIB, 2000 * MIB, 4000 * MIB, 16_000 * MIB, 64_000 * MIB):
            slices = slices_for(one, budget, None)
            assert peak_bytes(one, slices) <= budget
            assert (slices.rows is None) == (form == "fused")
            assert slices.encoder >= last.encoder
            assert slices.decoder >= last.decoder
            last = slices


def test_without_a_budget_all_goes_at_once():
    assert slices_for(SMALL, None, None) == Slices(32, 32)
    assert slices_for(SMALL, None, 3) == Slices(3, 3)
    assert slices_for(SMALL, "1TB".replace("T", "000G"), None) == Slices(32, 32)


def test_too_little_names_what_works_and_what_would_fit():
    one = replace(SMALL, config=VIEW_PRESETS["large"])
    with pytest.raises(ValueError) as error:
        slices_for(one, "300MiB", None)
    text = str(error.value)
    least = re.search(r"300MiB is too little for 1x32 views of 252x336: the smallest that works is (\d+MiB)", text)[1]
    slices_for(one, least, None)
    with pytest.raises(ValueError, match="too little"):
        slices_for(one, (int(least[:-3]) - 1) * MIB, None)
    views = int(re.search(r"would fit: (\d+) views", text)[1])
    slices_for(replace(one, views=views), "300MiB", None)
    with pytest.raises(ValueError, match="too little"):
        slices_for(replace(one, views=views + 1), "300MiB", None)
    model = re.search(r"the (\w+) model", text)[1]
    slices_for(replace(one, config=VIEW_PRESETS[model]), "300MiB", None)
    height, width = map(int, re.search(r"views of (\d+)x(\d+)$", text).groups())
    assert height % 14 == width % 14 == 0
    slices_for(replace(one, height=height, width=width), "300MiB", None)


def test_where_nothing_fits_it_says_so():
    with pytest.raises(ValueError, match="Nothing fits in less"):
        slices_for(SMALL, "1KiB", None)


MEASURE = """
import sys, torch
from vmdepth.networks.any_view import AnyViewDepth
from vmdepth.networks.view_presets import VIEW_PRESETS
torch.set_num_threads(1)
torch.manual_seed(0)
network = AnyViewDepth(VIEW_PRESETS["small"]).eval()
clip = torch.rand(1, 32, 3, 252, 336)
budget = int(sys.argv[1]) or None

def resident(line):  # of this process alone: getrusage's peak is inherited from whoever started it
    return next(int(text.split()[1]) for text in open("/proc/self/status") if text.startswith(line)) * 1024

with torch.inference_mode():
    network(torch.rand(1, 1, 3, 28, 28))  # what libraries load at the first call is no activation
    before = resident("VmRSS:")
    depth = network(clip, memory_budget=budget).depth
print(resident("VmHWM:") - before, depth.double().mean().item())
"""


def measured(budget: int) -> tuple[int, float]:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(budget)], capture_output=True, text=True, check=True, timeout=1200
    )
    peak, mean = done.stdout.split()
    return int(peak), float(mean)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_process_stays_within_an_eighth_of_what_it_would_take():
    whole, mean = measured(0)
    budget = whole // 8
    peak, mean_within = measured(budget)
    print(f"unbounded {whole / MIB:.0f} MiB, budget {budget / MIB:.0f} MiB, peak {peak / MIB:.0f} MiB")
    assert peak <= budget
    assert mean_within == pytest.approx(mean, rel=1e-6)
