"""How far a command is: one line on any terminal, lines now and then elsewhere."""

import io
import os
import pty
import time
from contextlib import suppress

import pytest
from rich.cells import cell_len
from rich.console import Console

from vmdepth_runtime.progress import ProgressLine, duration, fit

PARTS = ["120/300", "34.2 fps", "0:05 left", "p50 20.1 ms", "p99 31.0 ms", "3 key frames"]
NAMES = ["walk.mp4", "a_very_long_name_of_a_video_from_a_phone_2024.mp4", "深度深度深度深度深度深度.mp4", ""]


@pytest.mark.parametrize("name", NAMES)
def test_what_matters_fits_any_terminal(name):
    lost = 0
    for width in (200, 120, 80, 60, 40, 20):
        shown, bar, text = fit(name, PARTS, width)
        assert cell_len(shown) + (bar + 1 if bar else 0) + cell_len(text) + (1 if shown else 0) <= width
        kept = text.split(", ")
        assert kept == PARTS[: len(kept)]  # figures go from the last one on
        assert shown == name or shown.endswith("…") or not shown
        assert len(PARTS) - len(kept) >= lost
        lost = len(PARTS) - len(kept)
        if width >= 60:
            assert kept[:3] == PARTS[:3] and bar >= 8
            assert cell_len(shown) >= min(cell_len(name), 11)
        assert len(kept) >= (3 if width >= 40 else 1)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("total", [300, None])
def test_it_is_drawn_as_one_line(width, total):
    line = ProgressLine("a_very_long_name_of_a_video.mp4", total, "frames")
    line.update(120, PARTS[1:2] + PARTS[3:])
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(line.draw(width))
    drawn = console.file.getvalue().splitlines()
    assert len(drawn) == 1 and cell_len(drawn[0]) <= width
    assert ("120/300, 34.2 fps, " if total else "120 frames, 34.2 fps, ") in drawn[0]


def test_on_a_terminal_it_is_gone_at_the_end_and_what_was_said_stays():
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        console = Console(file=terminal, width=80)
        with ProgressLine("walk.mp4", 300, "frames", prefix="vmdepth-run: ", console=console) as line:
            line.update(120, PARTS[1:2])
            line.say("[b]said :smile:[/b] %s")
            assert line.drawn
    written = b""
    with suppress(OSError):  # which is the end of a terminal; it gives what is there in parts
        while part := os.read(ours, 100_000):
            written += part
    os.close(ours)
    written = written.decode()
    assert "vmdepth-run: [b]said :smile:[/b] %s\r\n" in written
    assert written.endswith("\x1b[2K")  # the line is cleared


def test_in_a_log_lines_come_now_and_then():
    log = io.StringIO()
    console = Console(file=log)
    with ProgressLine("walk.mp4", 300, "frames", prefix="vmdepth-run: ", console=console) as line:
        line.update(120, ["34.2 fps"])
    assert log.getvalue() == ""  # a short run stays quiet
    with ProgressLine("walk.mp4", 300, "frames", prefix="vmdepth-run: ", every=0.05, console=console) as line:
        line.update(120, ["34.2 fps"])
        while log.getvalue().count("\n") < 2:
            time.sleep(0.01)
        line.stage("writing")
        while "writing" not in log.getvalue():
            time.sleep(0.01)
    lines = log.getvalue().splitlines()
    assert lines[0].startswith("vmdepth-run: walk.mp4: 120 of 300 frames, 34.2 fps, 0:0")
    assert lines[0].endswith(" left")
    assert lines[-1] == "vmdepth-run: writing: 0:00 so far"


def test_the_rate_leaves_out_what_was_done_before():
    line = ProgressLine("training", unit="steps")
    line.stage("training", 20_000, "steps", done=10_000)
    assert line.rate == 0.0
    time.sleep(0.01)
    line.update(10_001)
    assert 0 < line.rate <= 100


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0:00"), (59.6, "1:00"), (754, "12:34"), (11_045, "3:04:05"), (172_800, "2 days"), (6e5, "6 days")],
)
def test_durations_are_told_as_people_do(seconds, told):
    assert duration(seconds) == told
