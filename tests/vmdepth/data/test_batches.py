"""Training batches: what is in one, and the processes that make them."""

import gc

import av
import torch

from vmdepth.data.batches import BatchPlan, batches
from vmdepth.data.mixture import ClipSource, parse_mixture
from vmdepth_runtime import bundled


def plan(sources, **changes):
    return BatchPlan(**{"sources": sources, "seed": 1, "clips": 4, "length": 3, "height": 28, "width": 42, **changes})


def test_a_batch_holds_clips_of_all_sources_in_any_order(frames):
    mixed = plan(parse_mixture(f"rendered,{frames}", 3), clips=12, with_clean=True)
    batch = mixed.batch(0, torch.device("cpu"))
    rendered = torch.tensor([video.startswith("rendered") for video in batch.videos])
    assert 2 < rendered.sum() < 10
    assert torch.equal(batch.labelled, rendered)
    assert torch.equal(batch.known.flatten(1).all(1), rendered)
    assert not torch.equal(batch.rgb, batch.clean)  # the student's pictures are varied, the teacher's are not


def test_processes_share_one_batch_and_a_resumed_run_sees_the_rest(frames):
    sources = parse_mixture(f"rendered,{frames}", 3)
    whole = plan(sources).batch(5, torch.device("cpu"))
    parts = [plan(sources, process=n, processes=2).batch(5, torch.device("cpu")) for n in range(2)]
    for n, part in enumerate(parts):
        assert part.videos == whole.videos[n::2]
        assert torch.equal(part.rgb, whole.rgb[n::2])
    streamed = list(batches(plan(sources), 4, 6, torch.device("cpu")))
    assert len(streamed) == 2
    assert torch.equal(streamed[1].rgb, whole.rgb)


def test_they_come_in_order_however_many_processes_make_them(monkeypatch):
    def streamed(count):
        monkeypatch.setattr("vmdepth.data.batches.worker_count", lambda device: count)
        return list(batches(plan([ClipSource("rendered", 1.0)], clips=1), 2, 7, torch.device("cpu")))

    alone, many = streamed(1), streamed(2)
    assert [batch.videos for batch in many] == [batch.videos for batch in alone]
    assert all(torch.equal(a.rgb, b.rgb) for a, b in zip(alone, many, strict=True))


def test_processes_that_are_in_the_midst_of_handing_over_end_without_a_word(monkeypatch, capfd):
    monkeypatch.setattr("vmdepth.data.batches.worker_count", lambda device: 2)
    for _ in range(3):
        many = plan([ClipSource("rendered", 1.0)], clips=24, length=1, height=96, width=136)
        stream = batches(many, 0, 9, torch.device("cpu"))
        next(stream)
        stream.close()
    assert "terminate" not in capfd.readouterr().err


class Tidying(BatchPlan):
    """Has a fork of this process free all that nobody uses any more. Another process gets a plain plan."""

    def batch(self, number, device):
        gc.collect()
        return super().batch(number, device)

    def __reduce__(self):
        return BatchPlan, tuple(vars(self).values())


def test_decoders_left_over_here_do_not_hold_up_the_process_that_makes_batches():
    """Freeing a decoder waits for its threads, which a fork of this process would not have."""
    container = av.open(str(bundled.CLIP))
    container.streams.video[0].thread_type = "AUTO"
    next(container.decode(video=0))
    circle = [container, *container.streams.video]
    circle.append(circle)
    gc.disable()
    try:
        del container, circle
        (batch,) = batches(Tidying([ClipSource("rendered", 1.0)], 1, 1, 2, 28, 42), 0, 1, torch.device("cpu"))
    finally:
        gc.enable()
    assert batch.rgb.shape[:2] == (1, 2)


def test_no_two_batches_hold_the_same_world():
    sources = [ClipSource("rendered", 1.0)]
    seen = [plan(sources, single_frames=0.5).batch(n, torch.device("cpu")).videos for n in range(6)]
    worlds = [video for videos in seen for video in videos]
    assert len(set(worlds)) == len(worlds)
    assert {len(videos) for videos in seen} == {4, 12}
