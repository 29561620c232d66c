"""What machine this is, beside what `vmdepth-info` says of it."""

from __future__ import annotations

import os
from pathlib import Path

from vmdepth_export.info.environment import environment_facts
from vmdepth_export.info.facts import Facts
from vmdepth_export.verify.outcome import Seen
from vmdepth_export.verify.sensors import cpu_governor, power_mode, read_sensors


def machine() -> Seen:
    """Name and value of everything that figures depend on, under "facts", and what sensors say, under "sensors"."""
    facts = [*_hardware(), *environment_facts()]
    sensors = read_sensors()
    if sensors:
        facts.append(("sensors", ", ".join(f"{name} {value:.1f}" for name, value in sensors.items())))
    return Seen(f"{len(facts)} facts", figures={"facts": facts, "sensors": sensors})


def _hardware() -> Facts:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    told = [
        ("board", _board()),
        ("CPU", f"{_cpu()}, {os.cpu_count()} cores"),
        ("memory", f"{memory:.1f} GiB"),
        ("power mode", power_mode()),
        ("CPU governor", cpu_governor()),
    ]
    return [(name, value) for name, value in told if value]


def _board() -> str | None:
    """As the device tree of a board names it; None where there is none."""
    model = Path("/proc/device-tree/model")
    return model.read_bytes().rstrip(b"\0").decode(errors="replace") if model.is_file() else None


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return os.uname().machine  # of Arm, whose kernel names no model
