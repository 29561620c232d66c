"""What a run measures."""

from __future__ import annotations

from vmdepth_runtime import measures


def test_percentiles_are_of_the_latest_values(monkeypatch):
    monkeypatch.setattr(measures, "_KEPT", 10)
    statistics = measures.RunStatistics()
    assert statistics.latency(50, last=5) == 0.0
    for number in range(25):
        statistics.add_frame(0, latency=number / 1e3)
    assert statistics.latency(50, last=5) == 22.0
    assert statistics.as_dict()["latency_ms"]["p50"] == 19.5
