"""What windows save: a process that takes sixty views in windows of sixteen, against one that takes them at once."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from safetensors.torch import save_file

MEASURE = """
import sys, torch
from pathlib import Path
from vmdepth.checkpoint import load
from vmdepth.views.reconstruct import reconstruct
from vmdepth.views.settings import ViewsSettings

def resident(line):  # of this process alone: getrusage's peak is inherited from whoever started it
    return next(int(text.split()[1]) for text in open("/proc/self/status") if text.startswith(line)) * 1024

torch.set_num_threads(1)
model, source, out, window = sys.argv[1:]
network = load(model)
with torch.inference_mode():
    network(torch.rand(1, 2, 3, 28, 28))  # what libraries load at the first call is no activation
before = resident("VmRSS:")  # with the weights
del network
reconstruct(ViewsSettings((source,), Path(model), Path(out), process_res=336, window=int(window)))
print(resident("VmHWM:") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_windows_of_sixteen_take_a_third_of_what_sixty_views_take(walk, official_weights, tmp_path):
    save_file({name: t.clone() for name, t in official_weights("da3_small").items()}, tmp_path / "da3.safetensors")
    (tmp_path / "frames").mkdir()
    for number, image in enumerate(walk.images):
        larger = cv2.resize(image, (336, 252), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(tmp_path / "frames" / f"{number:02}.png"), larger[..., ::-1])
    peaks, made = {}, {}
    for window in (0, 16):
        out = tmp_path / f"window{window}"
        words = [tmp_path / "da3.safetensors", tmp_path / "frames", out, window]
        command = [sys.executable, "-c", MEASURE, *map(str, words)]
        peaks[window] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        made[window] = dict(np.load(out / "depth.npz"))
    assert made[16]["depth"].shape == made[0]["depth"].shape == (60, 252, 336)
    cosine = (np.einsum("nij,nij->n", made[16]["extrinsics"][:, :, :3], made[0]["extrinsics"][:, :, :3]) - 1) / 2
    apart = np.median(np.abs(made[16]["depth"] / made[0]["depth"] - 1))
    turned = np.median(np.degrees(np.arccos(np.clip(cosine, -1, 1))))  # with these weights a reference view is far off
    print(f"all at once {peaks[0] / 2**20:.0f} MiB, in windows {peaks[16] / 2**20:.0f} MiB, {peaks[16] / peaks[0]:.3f}")
    print(f"depth {apart:.3f} apart, cameras {turned:.1f}° by the median")
    assert peaks[16] <= peaks[0] / 3
