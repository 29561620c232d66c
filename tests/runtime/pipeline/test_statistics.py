"""What a run measures of itself."""

from __future__ import annotations

from vmdepth_runtime.pipeline import statistics as pipeline_statistics
from vmdepth_runtime.pipeline.statistics import RunStatistics


def test_percentiles_are_of_the_latest_values(monkeypatch):
    monkeypatch.setattr(pipeline_statistics, "_KEPT", 10)
    statistics = RunStatistics()
    assert statistics.latency(50, last=5) == 0.0
    for number in range(25):
        statistics.add_frame(0, latency=number / 1e3)
    assert statistics.latency(50, last=5) == 22.0
    assert statistics.as_dict()["latency_ms"]["p50"] == 19.5
