"""Which encoder a video gets."""

from __future__ import annotations

from vmdepth_runtime.sinks.encoder import SOFTWARE, choose_encoder


def test_an_encoder_that_is_not_there_or_does_not_open_is_passed_over():
    for candidates in (("no_such_encoder",), ("h264_cuvid",), ()):  # the second is a decoder
        chosen = choose_encoder(64, 48, 30.0, shrunk=False, candidates=candidates)
        assert chosen.name == SOFTWARE
        assert chosen.options["threads"] == "1"
    assert choose_encoder(64, 48, 30.0, shrunk=False, candidates=("no_such_encoder", "mpeg4")).name == "mpeg4"
