"""How Mamba heads go over clips, as the settings of a run have it."""

import sys

import pytest
import torch

from vmdepth.networks.heads import chunked_scan
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.training.settings.train_settings import TrainSettings
from vmdepth.training.setup import choose_scan
from vmdepth.training.trainer import Trainer
from vmdepth_runtime.errors import InputError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            TrainSettings(preset="edge", scan="chunked"),
            "scan=chunked: its kernels run on a CUDA device, and this is cpu",
        ),
        (
            TrainSettings(preset="edge", head="none", scan="quadratic"),
            "^head=none has no Mamba-2 heads; leave scan out",
        ),
        (TrainSettings(preset="da3-small-causal", scan="chunked"), "has no Mamba-2 heads; leave scan out"),
    ],
)
def test_a_scan_that_cannot_be_is_refused_before_there_is_a_folder(tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        Trainer(TrainSettings(**{**vars(settings), "device": "cpu"}), tmp_path / "run", resume=False)
    assert not (tmp_path / "run").exists()


def test_on_cuda_the_run_says_which_form_was_chosen_and_why_not_the_faster(monkeypatch):
    chunked_scan.kernels.cache_clear()
    monkeypatch.setitem(sys.modules, "mamba_ssm", None)  # as where it is not installed
    monkeypatch.setenv("TRITON_F32_DEFAULT", "ieee")
    network, cuda = VideoDepth(PRESETS["edge"]), torch.device("cuda")
    said = choose_scan(network, TrainSettings(preset="edge"), cuda)
    assert said.startswith("scan=quadratic (mamba-ssm cannot be used: ")
    assert choose_scan(network, TrainSettings(preset="edge", scan="quadratic"), cuda) == "scan=quadratic"
    assert choose_scan(network, TrainSettings(preset="edge"), torch.device("cpu")) == ""
