"""What moves by itself: in results and predictions, in the fit to key frames, and marked in pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vmdepth_runtime import DepthStream, KeyframeSettings, OnnxSession, predict
from vmdepth_runtime.depth.colour_map import colourise
from vmdepth_runtime.depth.keyframes import KeyframeBank
from vmdepth_runtime.depth.moving_marks import MovingMarks
from vmdepth_runtime.depth.stream_batch import StreamBatch
from vmdepth_runtime.palettes import PALETTES

HERE, THERE = np.float32([1, 0, 0]), np.float32([0, 1, 0])
SETTINGS = KeyframeSettings(capacity=2, interval=10, min_gap=20, similarity=0.99, max_state_change=0.5, drift=0.02)


@pytest.fixture(scope="module")
def model(build_graph):
    return build_graph(extra_outputs=("dynamic",))


def box_at(column):
    """A bright box on dark ground, at twice the model's size."""
    picture = np.full((56, 84, 3), 40, np.uint8)
    picture[20:40, column : column + 20] = 220
    return picture


def test_a_result_says_what_has_moved_since_the_frame_before_and_nothing_of_the_first(model):
    with DepthStream(model) as stream:
        assert not stream(box_at(10)).dynamic.any()
        result = stream(box_at(20))
        dynamic = result.dynamic
        assert (dynamic.shape, dynamic.dtype) == ((56, 84), np.float32)
        moved = (box_at(10) != box_at(20)).any(axis=-1)
        np.testing.assert_array_equal(dynamic >= 0.5, moved)
        np.testing.assert_array_equal(result.outputs["dynamic"] >= 0.5, moved[::2, ::2])
        assert not stream.predict(box_at(40)).dynamic.any()  # a picture has nothing before it
        assert not stream(box_at(20)).dynamic.any()  # and the stream goes on where it was
    with DepthStream() as stream:
        assert stream(box_at(10)).dynamic is None
        assert predict(box_at(10)).dynamic is None


def test_streams_have_each_their_own(build_graph):
    with OnnxSession(build_graph(streams=2, extra_outputs=("dynamic",))) as session:
        batch = StreamBatch(session)
        batch.step([box_at(10), box_at(30)])
        first, second = batch.step([box_at(20), box_at(30)])
        np.testing.assert_array_equal(first.moves, (box_at(10) != box_at(20)).any(axis=-1)[::2, ::2])
        assert not second.moves.any()
        batch.restart(0)
        first, second = batch.step([box_at(30), None])
        assert not first.moves.any()
        assert second is None


def test_a_map_that_is_not_finite_costs_the_frame_unless_no_notice_is_taken_of_it(build_graph):
    from onnx import numpy_helper

    def break_it(graph):
        eight = next(one for one in graph.graph.initializer if one.name == "eight")
        eight.CopyFrom(numpy_helper.from_array(np.array([np.inf], np.float32), "eight"))  # infinity times no change

    broken = build_graph(extra_outputs=("dynamic",), touch=break_it)
    with DepthStream(broken) as stream:
        result = stream(box_at(10))
        assert not result.finite
        assert np.isnan(result.depth).all()
    with OnnxSession(broken) as session:
        (result,) = StreamBatch(session, heed_moving=False).step([box_at(10)])
        assert np.isnan(result.outputs["dynamic"]).any()
        assert result.finite and result.moves is None and np.isfinite(result.depth).all()


def relief(seed=0):
    return 5 + np.random.default_rng(seed).random((28, 42), np.float32)


@pytest.mark.parametrize("kind", ["relative", "scaled"])
def test_what_moves_has_no_part_in_the_fit_to_a_key_frame(build_graph, kind):
    """A thing as high as the picture was at its left when the key frame was kept, and is at its right now."""
    then, later = np.zeros((2, 28, 42), bool)
    then[:, :9] = later[:, 33:] = True
    kept, now = np.where(then, np.float32(9), relief()), np.where(later, np.float32(2), 0.5 * relief())

    def anchored(moves_then, moves_later):
        with OnnxSession(build_graph(depth_kind=kind, extra_outputs=("dynamic",))) as session:
            bank = KeyframeBank(SETTINGS, session)
            for count, descriptor, depth, moves in (
                (15, HERE, kept, moves_then),
                (15, THERE, relief(1), None),
                (80, HERE, now, moves_later),
            ):
                for _ in range(count):
                    bank.update(depth.copy(), descriptor, 0.1, moves)
        return bank.scale, bank.visits[-1].skipped

    assert anchored(None, None)[0] == 1
    scale, skipped = anchored(then, later)
    assert (scale, skipped) == (pytest.approx(2, rel=5e-3), 0)
    later[:, 20:] = True  # less than half stands still in both
    assert anchored(then, later) == (1, 80)


def test_a_key_frame_of_what_stands_still_is_as_without_a_mask(model, luma_model):
    scales = []
    for path, mask in ((model, np.zeros((28, 42), bool)), (luma_model, None)):
        with OnnxSession(path) as session:
            bank = KeyframeBank(SETTINGS, session)
            for count, descriptor, depth in ((15, HERE, relief()), (15, THERE, relief(1)), (40, HERE, 0.5 * relief())):
                for _ in range(count):
                    bank.update(depth.copy(), descriptor, 0.1, mask)
            scales.append((bank.scale, bank.shift))
    assert scales[0] == scales[1] != (1.0, 0.0)


def test_a_stream_that_goes_back_to_a_key_frame_judges_what_moves_by_the_frame_before(model):
    """The box was at the left when the key frame was kept, and has stood at the right for long now."""
    with OnnxSession(model) as session:
        bank = KeyframeBank(SETTINGS, session)
        marked = []
        for count, descriptor, column, depth in (
            (15, HERE, 10, relief()),
            (15, THERE, 50, relief(1)),
            (40, HERE, 50, 0.5 * relief()),
        ):
            for _ in range(count):
                session.frame[0] = box_at(column)[::2, ::2]
                marked.append((session.step()["dynamic"] >= 0.5).any())
                bank.update(depth.copy(), descriptor, 0.1, np.zeros((28, 42), bool))
        assert bank.resets > 0
    assert [number for number, any_moves in enumerate(marked) if any_moves] == [15]


def dynamic_with(rows, columns, height=96, width=136):
    dynamic = np.zeros((height, width), np.float32)
    dynamic[rows, columns] = 1
    return dynamic


@pytest.mark.parametrize("palette", PALETTES)
def test_marks_are_seen_on_any_depth_in_any_palette_and_leave_most_of_it_in_sight(palette):
    depth = np.linspace(0, 1, 360 * 480, dtype=np.float32).reshape(360, 480)
    plain = colourise(depth, 0, 1, palette=palette)
    marked = plain.copy()
    dynamic = dynamic_with(slice(20, 80), slice(30, 100))
    MovingMarks(360, 480).draw(marked, dynamic)
    moves = cv2.resize(dynamic, (480, 360), interpolation=cv2.INTER_LINEAR) >= 0.5
    changed = (marked != plain).any(axis=-1)
    around = cv2.dilate(moves.view(np.uint8), np.ones((3, 3), np.uint8)).view(bool)
    assert not changed[~around].any()
    assert np.count_nonzero(changed & moves) < 0.15 * np.count_nonzero(moves)
    rows, columns = np.nonzero(moves)
    line = marked[rows.min() : rows.min() + 3, columns.min() + 5 : columns.max() - 5].astype(int)
    beside = plain[rows.min() : rows.min() + 3, columns.min() + 5 : columns.max() - 5]
    contrast = np.abs(line - beside).max(axis=(0, 2))
    assert contrast.min() > 100


def test_the_line_is_closed_at_the_edge_of_the_picture_and_nothing_is_drawn_where_nothing_moves():
    marks, plain = MovingMarks(96, 136), np.full((96, 136, 3), 100, np.uint8)
    both = np.hstack([plain, plain])
    right = both[:, 136:]  # half of a wider picture, whose rows are not one after the other
    marks.draw(right, dynamic_with(slice(None), slice(None)))
    assert (right[0] == 255).all()
    assert (right[:, -1] == 255).all()
    np.testing.assert_array_equal(both[:, :136], plain)
    untouched = plain.copy()
    marks.draw(untouched, np.full((96, 136), 0.49, np.float32))
    np.testing.assert_array_equal(untouched, plain)
