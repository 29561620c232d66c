"""The frames of a proof: which, and how many."""

import math
from dataclasses import replace

import numpy as np

from vmdepth_export.conversion.proven_graph import ProofLength
from vmdepth_export.parity.comparison import least_frames
from vmdepth_export.parity.frames import clip_frames, until
from vmdepth_export.parity.settings import PARITY_FRAMES
from vmdepth_runtime import bundled
from vmdepth_runtime.contract import Ring, StateSpec
from vmdepth_runtime.sessions.onnx import OnnxSession


def test_the_clip_goes_on_without_an_end_and_streams_see_different_places_of_it():
    first, *rest = list(clip_frames(310, 28, 42, 2))
    assert len(rest) == 309 and first.shape == (2, 28, 42, 3) and first.dtype == np.uint8
    period = next(number for number, frame in enumerate(rest, 1) if np.array_equal(frame[0], first[0]))
    assert period >= 120
    assert not np.array_equal(first[0], first[1])
    assert any(np.array_equal(frame[0], first[1]) for frame in rest[:100])  # which is further on in the same clip


def test_a_proof_ends_when_its_time_is_up_but_not_before_the_least():
    told = []
    frames = [np.zeros(1, np.uint8)] * 50
    assert len(list(until(frames, 0.0, 32, 50, lambda *moved: told.append(moved)))) == 32
    assert told[-1] == (31, 32)
    assert len(list(until(frames, math.inf, 32, 50, lambda *moved: told.append(moved)))) == 50
    assert told[-1] == (49, 50)


def test_a_number_of_frames_that_was_asked_for_is_kept_to_and_else_200_are_aimed_at():
    contract = OnnxSession(bundled.MODEL).contract
    assert ProofLength(7, 0.0).limits(contract) == (math.inf, 7, 7)
    seconds, least, most = ProofLength(None, -math.inf).limits(contract)  # an export that has taken for ever
    assert (seconds, least, most) == (math.inf, 32, PARITY_FRAMES)
    half = {**contract.precision, "encoder": "float16"}
    assert least_frames(replace(contract, precision=half)) == 60  # growth is judged from there on


def test_a_proof_lasts_until_a_long_ring_has_been_written_twice():
    contract = OnnxSession(bundled.MODEL).contract

    def with_ring(slots):
        return replace(contract, states=(StateSpec("keys", (1, slots, 8), ring=Ring(slots, 1, 1)), *contract.states))

    assert [least_frames(with_ring(slots)) for slots in (8, 32, 33, 64, 500)] == [32, 32, 66, 128, PARITY_FRAMES]
