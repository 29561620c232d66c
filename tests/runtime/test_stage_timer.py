from __future__ import annotations

from vmdepth_runtime import stage_timer
from vmdepth_runtime.stage_timer import StageTimer


def test_a_lap_is_a_sign_of_life_within_one_piece_of_work(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(stage_timer, "perf_counter", lambda: now[0])
    timer = StageTimer("writing")
    with timer:
        now[0] = 4.0
        assert timer.busy == 4
        timer.lap()
        now[0] = 7.0
        assert (timer.busy, timer.seconds) == (3, 4)
    assert (timer.busy, timer.seconds) == (0, 7)


def test_between_two_pieces_of_work_a_lap_begins_none():
    timer = StageTimer("writing")
    timer.lap()
    assert timer.busy == 0
