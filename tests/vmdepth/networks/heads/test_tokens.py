"""Maps as sequences and back."""

import torch

from vmdepth.networks.heads.tokens import to_maps, to_sequences


def test_there_and_back():
    maps = torch.rand(2, 3, 4, 5, 6)
    sequences = to_sequences(maps)
    assert sequences.shape == (2 * 5 * 6, 3, 4)
    assert torch.equal(to_maps(sequences, 5, 6), maps)


def test_every_sequence_is_one_place_of_one_stream_over_time():
    maps = torch.rand(2, 3, 4, 5, 6)
    stream, row, column = 1, 3, 2
    assert torch.equal(to_sequences(maps)[(stream * 5 + row) * 6 + column], maps[stream, :, :, row, column])
