"""What a run will take is said from its first steps, before anyone waits for it."""

import pytest
import torch

from vmdepth.training.watch.forecast import FirstSteps, about, speed

CPU = torch.device("cpu")


def test_twenty_thousand_steps_of_half_a_minute_are_a_week():
    first = FirstSteps(CPU)
    forecast = first.add(30.0, left=19_999)  # one step tells enough
    assert str(forecast).startswith("19999 steps take about 7 days here: 30.0 s/step, ")
    assert first.add(30.0, left=19_998) is None  # and it is said once


def test_fast_steps_are_told_after_ten_of_them():
    first = FirstSteps(CPU)
    told = [first.add(0.05, left=100 - step) for step in range(1, 12)]
    assert [step for step, forecast in enumerate(told, 1) if forecast] == [10]
    assert told[9].steps_per_second == pytest.approx(20)
    assert told[9].seconds == pytest.approx(90 / 20)


def test_a_run_that_is_over_is_not_forecast():
    assert FirstSteps(CPU).add(30.0, left=0) is None


def test_memory_is_what_this_process_has_taken():
    first = FirstSteps(CPU)
    before = first.add(60.0, left=1).memory
    taken = torch.ones(2**26)  # 256 MiB, every page of them
    after = FirstSteps(CPU).add(60.0, left=1).memory
    assert after >= before
    assert after > taken.nbytes


@pytest.mark.parametrize(
    ("seconds", "text"), [(42, "42 seconds"), (630, "10 minutes"), (10_800, "3 hours"), (605_000, "7 days")]
)
def test_times_are_round(seconds, text):
    assert about(seconds) == f"about {text}"


def test_slow_steps_are_told_by_their_seconds():
    assert (speed(2.5), speed(0.04)) == ("2.5 steps/s", "25.0 s/step")
