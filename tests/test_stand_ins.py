"""What `pytest --stand-ins` makes of a machine: a GPU and TensorRT for vmdepth and its commands, none for PyTorch."""

import subprocess
import sys
from pathlib import Path

import pytest

from vmdepth_runtime.errors import WorkError
from vmdepth_runtime.sessions.cuda_memory import CudaMemory

FOLDER = Path(__file__).with_name("stand_ins")
TOLD = """
import subprocess, sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from gpu import stand_in_everywhere

stand_in_everywhere(Path(sys.argv[2]))
import torch
from vmdepth_runtime.sessions.gpu import find_gpu

print(find_gpu(), torch.cuda.is_available())
subprocess.run([sys.executable, "-m", "vmdepth_export.info.cli"], check=True)
"""


def test_a_process_and_those_it_starts_have_a_gpu_and_tensorrt(stand_in_driver, tmp_path):
    words = [sys.executable, "-c", TOLD, FOLDER, tmp_path]
    told = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True).stdout
    here, *facts = told.splitlines()
    assert here.startswith("Gpu(name='Stand-in 0'")
    assert here.endswith(" False")
    lines = {line.split()[0]: line for line in facts if line.strip()}
    assert "Stand-in 0, compute capability 8.9" in lines["GPU"]
    assert "10." in lines["TensorRT"]


def test_what_an_earlier_test_did_not_free_takes_no_room_of_the_next(standing_in):
    with standing_in():
        earlier = CudaMemory()
        earlier.allocate(20_000)
    with standing_in(memory="30000"):
        later = CudaMemory()
        later.allocate(20_000)
        for _ in range(2):
            with pytest.raises(WorkError, match="CUDA_ERROR_OUT_OF_MEMORY"):
                later.allocate(20_000)
            earlier.close()  # which makes no more room than there was
        later.close()
