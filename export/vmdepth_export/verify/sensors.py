"""How warm this machine is and what it takes, where the system tells: Linux's sensors, NVML, and a Jetson's power mode.

On a Jetson power is measured by an INA3221 (Orin) or INA238 (Thor), whose rails Linux shows under /sys/class/hwmon; on
a desktop the GPU's own is asked of NVML (`cuda.bindings.nvml`).
"""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

Readings = dict[str, float]
"""What is measured, with its unit, as "gpu-thermal °C" or "VDD_IN W" → value."""

_SYS = Path("/sys")


def read_sensors(root: Path = _SYS) -> Readings:
    """All readings of this moment; those that nothing tells are not there. root: where sysfs is."""
    return {**_temperatures(root), **_rails(root), **_nvml()}


def after(readings: Readings) -> str:
    """Of what was just measured, "; then GPU °C 61.0": to be put behind it; empty where nothing is read."""
    told = ", ".join(f"{name} {value:.1f}" for name, value in readings.items())
    return f"; then {told}" if told else ""


def power_mode() -> str | None:
    """Power mode of a Jetson, "MAXN (0)", as `nvpmodel -q` tells it; None elsewhere and where it does not tell."""
    tool = shutil.which("nvpmodel")
    if tool is None:
        return None
    try:
        done = subprocess.run([tool, "-q"], capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    _, mode, rest = done.stdout.partition("NV Power Mode:")
    if not mode:
        return None
    name, *number = rest.split()
    return f"{name} ({number[0]})" if number else name


def cpu_governor(root: Path = _SYS) -> str | None:
    """How the first core's clock is chosen, "schedutil" or "performance"; None where the system does not tell."""
    return _text(root / "devices/system/cpu/cpu0/cpufreq/scaling_governor")


def _temperatures(root: Path) -> Readings:
    readings = {}
    for zone in sorted((root / "class/thermal").glob("thermal_zone*")):
        name, millidegrees = _text(zone / "type"), _number(zone / "temp")
        if name and millidegrees is not None:
            readings[f"{name} °C"] = millidegrees / 1e3
    return readings


def _rails(root: Path) -> Readings:
    """Watts of every rail that has a label: µW where the chip gives power, else mV × mA."""
    readings = {}
    for chip in sorted((root / "class/hwmon").glob("hwmon*")):
        for power in sorted(chip.glob("power*_input")):
            microwatts = _number(power)
            label = _text(power.with_name(power.name.replace("_input", "_label"))) or _text(chip / "name")
            if microwatts is not None and label:
                readings[f"{label} W"] = microwatts / 1e6
        for current in sorted(chip.glob("curr*_input")):
            voltage = current.with_name(current.name.replace("curr", "in"))
            label = _text(voltage.with_name(voltage.name.replace("_input", "_label")))
            milliamperes, millivolts = _number(current), _number(voltage)
            if label and milliamperes is not None and millivolts is not None:
                readings[f"{label} W"] = milliamperes * millivolts / 1e6
    return readings


def _nvml() -> Readings:
    """Of the GPU that NVML counts first."""
    try:
        from cuda.bindings import nvml

        nvml.init_v2()
    except Exception:  # no such package, no such library, a Jetson's that knows none of it: each raises its own
        return {}
    readings: Readings = {}
    asked = {
        "GPU °C": (nvml.device_get_temperature_v, (nvml.TemperatureSensors.TEMPERATURE_GPU,), 1.0),
        "GPU W": (nvml.device_get_power_usage, (), 1e3),
        "GPU limit W": (nvml.device_get_power_management_limit, (), 1e3),
    }
    with suppress(nvml.NvmlError):
        gpu = nvml.device_get_handle_by_index_v2(0)
        for name, (ask, more, parts) in asked.items():
            with suppress(nvml.NvmlError):  # not every GPU knows all of them
                readings[name] = float(ask(gpu, *more)) / parts
    nvml.shutdown()
    return readings


def _text(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError):  # a sensor that sleeps gives an error when it is read
        return None


def _number(file: Path) -> float | None:
    try:
        return float(_text(file) or "")
    except ValueError:
        return None
