"""Temperatures, power and the power mode, from what a Jetson and a desktop have in their place."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from vmdepth_export.verify.sensors import after, cpu_governor, power_mode, read_sensors


def written(folder, **files):
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")


@pytest.fixture
def orin(tmp_path):
    """sysfs as on an Orin: zones that tell, one that sleeps; the rails of an INA3221, one without a label."""
    written(tmp_path / "class/thermal/thermal_zone0", type="cpu-thermal", temp="48531")
    written(tmp_path / "class/thermal/thermal_zone1", type="gpu-thermal", temp="46000")
    written(tmp_path / "class/thermal/thermal_zone2", type="cv0-thermal", temp="")
    rails = {"name": "ina3221", "in1_label": "VDD_GPU_SOC", "in1_input": "19048", "curr1_input": "168"}
    written(tmp_path / "class/hwmon/hwmon1", **rails, in2_input="5000", curr2_input="100")
    written(tmp_path / "devices/system/cpu/cpu0/cpufreq", scaling_governor="schedutil")
    return tmp_path


def test_a_jetson_tells_its_temperatures_and_the_power_of_its_rails(orin):
    readings = read_sensors(orin)
    assert readings["cpu-thermal °C"] == 48.531
    assert readings["gpu-thermal °C"] == 46.0
    assert readings["VDD_GPU_SOC W"] == pytest.approx(3.2, abs=1e-3)
    assert not any("cv0" in name for name in readings)
    assert sum(name.endswith(" W") for name in readings) == 1
    assert cpu_governor(orin) == "schedutil"
    assert after({"VDD_GPU_SOC W": 3.2}) == "; then VDD_GPU_SOC W 3.2"


def test_a_chip_that_gives_power_itself_is_read_in_microwatts(tmp_path):
    written(tmp_path / "class/hwmon/hwmon0", name="ina238", power1_input="12500000")
    assert read_sensors(tmp_path)["ina238 W"] == 12.5


def test_a_machine_that_tells_nothing_has_no_readings(tmp_path):
    assert not any(name.endswith("thermal °C") for name in read_sensors(tmp_path))
    assert cpu_governor(tmp_path) is None
    assert after({}) == ""


def test_the_power_mode_is_asked_of_nvpmodel(tmp_path, monkeypatch):
    tool = tmp_path / "nvpmodel"
    tool.write_text('#!/bin/sh\n[ "$1" = -q ] && printf "NV Power Mode: MAXN_SUPER\\n2\\n"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert power_mode() == "MAXN_SUPER (2)"
    tool.write_text("#!/bin/sh\nexit 1\n")
    assert power_mode() is None


NVML = """
#include <stdint.h>
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **gpu) { *gpu = (void *)1; return index ? 2 : 0; }
int nvmlDeviceGetTemperatureV(void *gpu, struct { unsigned version; int sensor; int celsius; } *asked) {
  asked->celsius = asked->sensor == 0 ? 61 : 0;
  return 0;
}
int nvmlDeviceGetPowerUsage(void *gpu, unsigned *milliwatts) { *milliwatts = 23400; return 0; }
int nvmlDeviceGetPowerManagementLimit(void *gpu, unsigned *milliwatts) { return 3; } /* NVML_ERROR_NOT_SUPPORTED */
const char *nvmlErrorString(int error) { return "stand-in"; }
"""


@pytest.mark.no_gpu
def test_a_desktop_gpu_tells_through_nvml_what_it_knows(tmp_path):
    """On a stand-in for NVIDIA's library below the real cuda-bindings."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("needs a C compiler")
    pytest.importorskip("cuda.bindings.nvml")
    (tmp_path / "nvml.c").write_text(NVML)
    words = [compiler, "-w", "-shared", "-fPIC", "-o", tmp_path / "libnvidia-ml.so.1", tmp_path / "nvml.c"]
    subprocess.run(words, check=True)
    code = "from pathlib import Path; from vmdepth_export.verify.sensors import read_sensors; "
    code += f"print(read_sensors(Path({str(tmp_path)!r})))"
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "{'GPU °C': 61.0, 'GPU W': 23.4}\n", done.stderr
