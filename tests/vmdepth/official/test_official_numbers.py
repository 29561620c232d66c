"""Official checkpoints of Depth Anything V2 and Video Depth Anything give the official numbers at every tap."""

import numpy as np
import pytest
import torch

import vmdepth
from vmdepth.networks.presets import VDA_TAPS

TOLERANCE = 2e-5  # of the largest reference value; float32 rounding alone moves the outputs by up to 5e-6 of it


@pytest.fixture(scope="module")
def load_official(tmp_path_factory, official_weights):
    """An official checkpoint as a `.pth` file, loaded by the public function."""
    folder = tmp_path_factory.mktemp("official")

    def load(model, file="weights.pth", scale=None, **options):
        weights = official_weights(model)
        path = folder / file
        torch.save(scale(weights) if scale else weights, path)
        return vmdepth.load(path, **options)

    return load


# Filling the large networks takes most of a minute; their names and shapes are checked every time.
LARGE_STILL = pytest.param("da2_vitl", "io_da2_vitl", marks=pytest.mark.slow)
LARGE_VIDEO = pytest.param("vda_vitl", "vda_vitl", marks=pytest.mark.slow)


def denormalised(model, images):
    """Images as the network takes them, from what it makes of them inside."""
    images = torch.from_numpy(images)
    return images * model.std + model.mean


def agrees(got, expected, tolerance=TOLERANCE):
    got = torch.as_tensor(got)
    expected = torch.as_tensor(expected)
    return got.shape == expected.shape and float((got - expected).abs().max()) <= tolerance * float(
        expected.abs().max()
    )


def watch(model):
    """Everything that passes a tap, by the fixtures' names."""
    seen = {}

    def keep(name, first=False):
        def hook(module, inputs, output):
            seen[name] = (inputs[0] if first else output[0] if isinstance(output, tuple) else output).flatten(0, -4)

        return hook

    model.encoder.register_forward_hook(
        lambda m, i, output: seen.update({f"feat_{n}": tokens for n, tokens in enumerate(output)})
    )
    model.encoder.blocks[0].register_forward_pre_hook(lambda m, inputs: seen.update(tokens=inputs[0]))
    count = iter(range(1000))
    model.encoder.norm.register_forward_hook(lambda m, i, out: seen.update({f"cls_{next(count) % 4}": out[:, 0]}))
    for number in (1, 2, 3, 4):
        fusion = getattr(model.decoder.scratch, f"refinenet{number}")
        fusion.register_forward_hook(keep(f"path_{number}"))
    for number, tap in enumerate(VDA_TAPS):
        if tap in model.heads:
            model.heads[tap].register_forward_hook(keep(f"mm{number}_in", first=True))
            model.heads[tap].register_forward_hook(keep(f"mm{number}_out"))
    return seen


def check_taps(seen, io, path_frames):
    """Whatever is both seen and stored; of the last two maps only some frames are stored."""
    common = sorted(seen.keys() & set(io.files))
    assert common
    for name in common:
        got = seen[name][path_frames] if name in ("path_1", "path_2") else seen[name]
        assert agrees(got, io[name]), name


@torch.no_grad()
@pytest.mark.parametrize(("model", "io"), [("da2_vits", "io_da2_vits"), ("da2_vitb", "io_da2_vitb"), LARGE_STILL])
def test_depth_anything_v2(model, io, load_official, shared_reference):
    io = np.load(shared_reference / f"{io}.npz")
    network = load_official(model)
    seen = watch(network)
    depth, states = network.step(denormalised(network, io["input"]))
    assert states == {}
    assert agrees(depth[:, 0], io["depth"])
    check_taps(seen, io, [0])
    clip_depth, _ = network(denormalised(network, io["input"])[None])
    assert agrees(clip_depth[0, :, 0], io["depth"])


@torch.no_grad()
def test_depth_anything_v2_at_its_own_size(load_official, shared_reference, recipe):
    io = np.load(shared_reference / "io_da2_vits_native.npz")
    network = load_official("da2_vits")
    image = recipe.noise_input("da2_vits_native", (1, 3, 518, 518))
    depth, _ = network.step(denormalised(network, image))
    assert agrees(depth[:, 0, ::7, ::7], io["depth_s7"])


@torch.no_grad()
@pytest.mark.parametrize(
    ("file", "options", "key"),
    [
        ("depth_anything_v2_metric_hypersim_vits.pth", {}, "depth"),
        ("depth_anything_v2_metric_vkitti_vits.pth", {}, "depth_max80"),
        ("mine.pth", {"max_depth": 20.0}, "depth"),
    ],
)
def test_metric_depth_anything_v2(file, options, key, load_official, shared_reference):
    io = np.load(shared_reference / "io_da2_vits_metric.npz")
    network = load_official("da2_vits", file, **options)
    assert network.config.depth == "metric"
    depth, _ = network.step(denormalised(network, io["input"]))
    assert agrees(depth[:, 0], io[key])


@torch.no_grad()
@pytest.mark.parametrize(
    ("model", "io"),
    [("vda_vits", "vda_vits"), ("vda_vits", "vda_vits_b2"), ("vda_vitb", "vda_vitb"), LARGE_VIDEO],
)
def test_video_depth_anything_over_a_clip(model, io, load_official, shared_reference):
    io = np.load(shared_reference / f"io_{io}.npz")
    network = load_official(model, temporal="bidirectional")
    seen = watch(network)
    depth, states = network(denormalised(network, io["input"]))
    assert states == {}
    check_taps(seen, io, [0, -1][: len(io["path_1"])])
    assert agrees(depth[:, :, 0], io["depth"])


@torch.no_grad()
def test_a_full_window_and_a_single_frame(load_official, shared_reference):
    io = np.load(shared_reference / "io_vda_vits_t32.npz")
    network = load_official("vda_vits", temporal="bidirectional")
    clip = denormalised(network, io["input"])
    assert agrees(network(clip)[0][:, :, 0], io["depth"])
    assert agrees(network(clip[:, 5:6])[0][:, :, 0], io["depth_single_frame_5"])
    with pytest.raises(ValueError, match="32 at most"):
        network(torch.cat([clip, clip[:, :1]], dim=1))


@torch.no_grad()
@pytest.mark.parametrize(
    ("model", "probe", "io"), [("da2_vits", "da2", "io_eps_da2_vits"), ("vda_vits", "vda", "io_eps_vda_vits")]
)
def test_epsilons_are_the_official_ones(model, probe, io, load_official, shared_reference, recipe):
    io = np.load(shared_reference / f"{io}.npz")
    video = {"temporal": "bidirectional"} if probe == "vda" else {}
    network = load_official(model, scale=lambda weights: recipe.scaled(weights, recipe.EPS_PROBE[probe]), **video)
    seen = watch(network)
    images = denormalised(network, io["input"])
    depth = network(images)[0][:, :, 0] if images.ndim == 5 else network.step(images)[0][:, 0]
    check_taps(seen, io, [0])
    assert agrees(depth, io["depth"])


@torch.no_grad()
def test_causal_attention_over_a_clip_and_step_by_step(load_official, shared_reference):
    io = np.load(shared_reference / "io_vda_vits_causal.npz")
    network = load_official("vda_vits", temporal="causal")
    seen = watch(network)
    clip = denormalised(network, io["input"])
    depth, after = network(clip)
    assert agrees(depth[:, :, 0], io["depth"])
    check_taps(seen, io, [7])
    states, steps = None, []
    for frame in clip.unbind(1):
        one, states = network.step(frame, states)
        steps.append(one)
    assert agrees(torch.stack(steps, 1)[:, :, 0], io["depth"])
    assert agrees(torch.stack(steps, 1)[:, :, 0], io["depth_growing_cache"])
    assert states.keys() == after.keys()
    for name in states:
        assert agrees(after[name], states[name]), name
    for module, tap in enumerate(VDA_TAPS):
        for block in (0, 1):  # frame t lies in slot t while the window is not full
            expected = torch.from_numpy(io[f"cache_{2 * module + block}"])
            assert agrees(states[f"{tap}.{block}.inputs"][0, :, :8], expected)


@torch.no_grad()
def test_the_official_streaming_rule(load_official, shared_reference):
    io = np.load(shared_reference / "io_vda_vits_stream.npz")
    network = load_official("vda_vits")
    assert network.config.head.temporal == "streaming"
    frames = torch.from_numpy(io["frames"]).permute(0, 3, 1, 2).float() / 255
    states, depths = None, []
    for number, frame in enumerate(frames):
        depth, states = network.step(frame[None], states)
        depths.append(depth[0, 0])
        if f"cache_{number}_0" in io.files:
            slot = network.ring.slot(number) or 0
            for module, tap in enumerate(VDA_TAPS):
                for block in (0, 1):
                    entry = states[f"{tap}.{block}.inputs"][0, :, slot]
                    assert agrees(entry, io[f"cache_{number}_{2 * module + block}"][:, 0]), (number, tap)
    assert agrees(torch.stack(depths), io["depth"])
    clip_depth, after = network(frames[None])
    assert agrees(clip_depth[0, :, 0], io["depth"])
    assert all(agrees(after[name], states[name]) for name in states)


@torch.no_grad()
def test_the_transformers_library_gives_the_same_depth(transformers_network, tmp_path):
    torch.manual_seed(0)
    theirs = transformers_network()
    for parameter in theirs.parameters():  # as they start, biases are 0, gains 1 and the layers' scales all alike
        parameter.add_(torch.randn_like(parameter) * 0.05)
    theirs.save_pretrained(tmp_path)
    ours = vmdepth.load(tmp_path / "model.safetensors")
    settings_file = tmp_path / "config.json"  # what it says of metres is believed
    settings_file.write_text(settings_file.read_text().replace('"relative"', '"metric"'))
    assert vmdepth.load(tmp_path / "model.safetensors").config.depth == "metric"
    assert ours.name == "depth_anything_v2_vits"
    image = torch.rand(1, 3, 518, 518)  # on other grids the library resizes the position table in its own way
    expected = theirs((image - ours.mean) / ours.std).predicted_depth
    assert expected.std() > 0
    assert agrees(ours.step(image)[0][:, 0], expected)
