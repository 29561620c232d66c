"""What outputs know of a run."""

from fractions import Fraction

import numpy as np

from vmdepth_runtime import SinkFacts, SourceFrame, VideoInfo


def test_a_frame_has_the_stamp_that_its_source_says_or_one_by_its_time():
    facts = SinkFacts(VideoInfo(16, 14, None, 30.0, Fraction(1, 30)), began=5_000_000_000)
    image = np.zeros((14, 16, 3), np.uint8)
    assert facts.stamp(SourceFrame(3, 0.1, image)) == 5_100_000_000
    assert facts.stamp(SourceFrame(3, 0.1, image, stamp=17)) == 17
