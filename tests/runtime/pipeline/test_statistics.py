"""What a run measures of itself."""

from __future__ import annotations

from types import SimpleNamespace

from vmdepth_runtime.pipeline import statistics as pipeline_statistics
from vmdepth_runtime.pipeline.reporter import Reporter
from vmdepth_runtime.pipeline.statistics import RunStatistics


def test_percentiles_are_of_the_latest_values(monkeypatch):
    monkeypatch.setattr(pipeline_statistics, "_KEPT", 10)
    statistics = RunStatistics()
    assert statistics.latency(50, last=5) == 0.0
    for number in range(25):
        statistics.add_frame(0, latency=number / 1e3)
    assert statistics.latency(50, last=5) == 22.0
    assert statistics.as_dict()["latency_ms"]["p50"] == 19.5


def test_how_much_moves_is_told_of_networks_that_tell_it():
    statistics = RunStatistics(2)
    for share in (0.1, 0.5, 0.0):
        statistics.moving[0].add(share)
    assert [shares.as_dict() for shares in statistics.moving] == [{"mean": 0.2, "most": 0.5}, None]
    batch = SimpleNamespace(broken=[0], banks=[])
    assert "moving" not in Reporter([], RunStatistics(), (1, 1)).status([], batch)
    assert Reporter([], statistics, (1, 1)).status([], batch)["moving"] == "0%"  # of the latest frame
