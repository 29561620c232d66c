"""What sinks get is of the frame that they write, however far the network has gone on meanwhile."""

from __future__ import annotations

from threading import Event

import numpy as np

from vmdepth_runtime import OnnxSession, SinkFacts, SourceFrame, open_source
from vmdepth_runtime.depth.stream_batch import StreamBatch
from vmdepth_runtime.pipeline.interrupt import Interruptible
from vmdepth_runtime.pipeline.writer import Writer
from vmdepth_runtime.sinks.base import Sink

COUNT = 4  # as many as may wait for the outputs


class PlainSink(Sink):
    """Draws nothing; keeps what it finds in `outputs`, once it may write."""

    def __init__(self, facts):
        super().__init__("plain", facts)
        self.may_write = Event()
        self.drawn = []

    @classmethod
    def accepts(cls, target):
        return False

    def _write(self, frame, depth, colour):
        assert self.may_write.wait(60)
        self.drawn.append((frame.index, {name: np.copy(array) for name, array in self.outputs.items()}))

    def close(self):
        return


class DrawingSink(PlainSink):
    draws = ("state_change", "descriptor")


def test_sinks_get_what_they_draw_of_each_frame_although_the_network_has_gone_on(luma_model, make, tmp_path):
    images = make.noise(COUNT, 28, 42)
    with (
        open_source(make.video(tmp_path / "in.mp4", images)) as source,
        OnnxSession(luma_model) as session,
        Interruptible() as interrupt,
    ):
        facts = SinkFacts(source.info)
        drawing, plain = DrawingSink(facts), PlainSink(facts)
        batch = StreamBatch(session)
        writer = Writer("x", source.info, [drawing, plain], None, "area", (28, 42), "inferno")
        given = []
        for index, image in enumerate(images):
            (result,) = batch.step([image])
            given.append({name: np.copy(result.outputs[name]) for name in DrawingSink.draws})
            writer.put(SourceFrame(index, index / 30, image), result, interrupt)
        drawing.may_write.set()
        plain.may_write.set()
        writer.finish(interrupt)
    assert len({float(outputs["state_change"]) for outputs in given}) == COUNT
    assert [index for index, _ in drawing.drawn] == list(range(COUNT))
    for (_, drawn), outputs in zip(drawing.drawn, given, strict=True):
        assert drawn.keys() == outputs.keys()
        for name, array in outputs.items():
            np.testing.assert_array_equal(drawn[name], array)
    assert plain.drawn == [(index, {}) for index in range(COUNT)]
