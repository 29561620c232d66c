"""Official checkpoints load as they are, and give the official numbers at every tap."""

import json
import re

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import vmdepth
from vmdepth.networks.presets import PRESETS, VDA_TAPS
from vmdepth.official import official_shapes, recognise
from vmdepth.official_da3 import build
from vmdepth.session import open_session
from vmdepth_runtime.errors import InputError

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


@pytest.mark.parametrize(
    ("table", "preset", "head"),
    [
        ("da2_vit" + letter, size, "none")
        for letter, size in zip("sblg", ("small", "base", "large", "giant"), strict=True)
    ]
    + [("vda_vit" + letter, size, "attention") for letter, size in zip("sbl", ("small", "base", "large"), strict=True)],
)
def test_names_and_shapes_are_those_of_the_official_file(table, preset, head, shared_reference, tmp_path):
    keys = json.loads((shared_reference / f"keys_{table}.json").read_text())["keys"]
    file = {name: torch.empty(entry["shape"], device="meta") for name, entry in keys.items()}
    _, config, name = recognise(tmp_path / "any.pth", file, None, None)
    assert official_shapes(config) == {name: tuple(entry["shape"]) for name, entry in keys.items()}
    assert (config.encoder, config.head, config.features) == (preset, head, PRESETS[preset].features)
    assert name.endswith(table[-4:])


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
    assert network.config.temporal == "streaming"
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
def test_the_transformers_library_gives_the_same_depth(tmp_path):
    torch.manual_seed(0)
    backbone = transformers.Dinov2Config(
        image_size=518,
        patch_size=14,
        hidden_size=384,
        num_attention_heads=6,
        num_hidden_layers=12,
        out_features=["stage3", "stage6", "stage9", "stage12"],
        reshape_hidden_states=False,
    )
    settings = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=384,
        neck_hidden_sizes=[48, 96, 192, 384],
        fusion_hidden_size=64,
    )
    theirs = transformers.DepthAnythingForDepthEstimation(settings).eval()
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


@torch.no_grad()
def test_depth_anything_3_loads_from_its_published_file(tmp_path, official_weights, shared_reference):
    keys = json.loads((shared_reference / "keys_da3_small.json").read_text())["keys"]
    published = {f"model.{k}": t for k, t in official_weights("da3_small").items() if "shared_with" not in keys[k]}
    save_file(published, tmp_path / "model.safetensors")
    views = vmdepth.load(tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="has no metric form"):
        vmdepth.load(tmp_path / "model.safetensors", metric=True)
    save_file(dict(published, **{"head.norm.weight": torch.zeros(768)}), tmp_path / "twice.safetensors")
    with pytest.raises(InputError, match=r"holds model\.head\.norm\.weight also without 'model\.'"):
        vmdepth.load(tmp_path / "twice.safetensors")
    io = np.load(shared_reference / "io_da3_small_n2.npz")
    out = views(torch.from_numpy(io["input"]), normalised=True)
    assert agrees(out.depth, io["depth"])
    assert agrees(out.confidence, io["depth_conf"])
    with pytest.raises(InputError, match="temporal, window and max_depth do not apply"):
        vmdepth.load(tmp_path / "model.safetensors", temporal="causal")
    with pytest.raises(InputError, match="no step to stream"):
        open_session(tmp_path / "model.safetensors")
    published.pop("model.head.norm.weight")
    save_file(published, tmp_path / "broken.safetensors")
    with pytest.raises(InputError, match=r"broken.safetensors: looks like Depth Anything 3 small.*head\.norm\.weight"):
        vmdepth.load(tmp_path / "broken.safetensors")


def test_the_metric_network_is_told_by_its_folder_or_by_word(tmp_path, shared_reference):
    keys = json.loads((shared_reference / "keys_da3_metric_large.json").read_text())["keys"]
    folder = tmp_path / "DA3METRIC-LARGE"
    folder.mkdir()
    save_file(
        {f"model.{k}": torch.zeros(v["shape"], dtype=torch.float16) for k, v in keys.items()},
        folder / "model.safetensors",
    )
    assert vmdepth.load(folder / "model.safetensors").config.metric
    assert not vmdepth.load(folder / "model.safetensors", metric=False).config.metric


def test_wrong_names_end_in_one_line(tmp_path, official_weights):
    weights = official_weights("vda_vits")
    path = tmp_path / "broken.pth"
    torch.save({k: v for k, v in weights.items() if "motion_modules.2" not in k}, path)
    with pytest.raises(
        InputError,
        match=r"broken.pth: looks like Video Depth Anything small, but head\.motion.* is missing, and 23 more",
    ):
        vmdepth.load(path)
    torch.save({**weights, "extra.weight": torch.zeros(1)}, path)
    with pytest.raises(InputError, match=r"extra\.weight does not belong to it"):
        vmdepth.load(path)
    torch.save({**weights, "pretrained.pos_embed": torch.zeros(1, 5, 384)}, path)
    with pytest.raises(InputError, match=r"pos_embed is \[1, 5, 384\] instead of \[1, 1370, 384\]"):
        vmdepth.load(path)
    torch.save({"module.a": torch.zeros(1)}, path)
    with pytest.raises(InputError, match=r"not a checkpoint of a network we know; it begins with module\.a"):
        vmdepth.load(path)


@pytest.mark.parametrize("model", ["da2_vits", "vda_vits", "da3_small", "da3_mono_large"])
@pytest.mark.parametrize("change", ["missing", "of another shape"])
def test_any_one_key_may_be_wrong_and_the_family_is_still_told(model, change, shared_reference, tmp_path):
    keys = json.loads((shared_reference / f"keys_{model}.json").read_text())["keys"]
    file = {name: torch.empty(entry["shape"], device="meta") for name, entry in keys.items()}
    top = [name for name in file if not re.search(r"blocks\.\d+|auxiliary|_aux\.", name)]
    for name in top:
        wrong = {key: tensor for key, tensor in file.items() if key != name}
        if change != "missing":
            wrong[name] = torch.empty(7, 3, device="meta")
        with pytest.raises((InputError, ValueError)) as error:
            build(wrong) if model.startswith("da3") else recognise(tmp_path / "any.pth", wrong, None, None)
        assert re.search(r"looks like (Depth|Video Depth) Anything", str(error.value)), name
        assert name in str(error.value)


def test_hugging_face_names_are_checked_as_they_are(tmp_path):
    backbone = transformers.Dinov2Config(
        hidden_size=384, num_attention_heads=6, num_hidden_layers=12, image_size=518, patch_size=14,
        out_features=["stage3", "stage6", "stage9", "stage12"], reshape_hidden_states=False,
    )  # fmt: skip
    theirs = transformers.DepthAnythingForDepthEstimation(
        transformers.DepthAnythingConfig(
            backbone_config=backbone,
            reassemble_hidden_size=384,
            neck_hidden_sizes=[48, 96, 192, 384],
            fusion_hidden_size=64,
        )
    )
    theirs.save_pretrained(tmp_path)  # in memory the library has other names than in its files
    names = load_file(tmp_path / "model.safetensors")
    path = tmp_path / "model.safetensors"
    recognise(path, names, None, None)
    key = "backbone.encoder.layer.3.attention.attention.key.weight"

    def complaint(**changed):
        with pytest.raises(InputError) as error:
            recognise(path, {k: v for k, v in {**names, **changed}.items() if v is not None}, None, None)
        return str(error.value)

    assert f"{key} is missing" in complaint(**{key: None})
    assert f"{key} is [5, 384] instead of [384, 384]" in complaint(**{key: torch.empty(5, 384, device="meta")})
    assert "cls_token is missing" in complaint(**{"backbone.embeddings.cls_token": None})
    assert "holds pretrained.norm.weight twice" in complaint(**{"pretrained.norm.weight": torch.empty(384)})


@pytest.mark.parametrize(
    ("place", "metres"),
    [
        ("depth_anything_v2_vits.pth", None),
        ("depth_anything_v2_metric_hypersim_vits.pth", 20),
        ("Depth-Anything-V2-Metric-Outdoor-Small-hf/model.safetensors", 80),
        ("models--depth-anything--Depth-Anything-V2-Metric-Indoor-Small-hf/snapshots/ab12/model.safetensors", 20),
        ("models--depth-anything--Depth-Anything-V2-Small-hf/snapshots/ab12/model.safetensors", None),
    ],
)
def test_metric_files_are_told_by_their_official_places(place, metres, shared_reference, tmp_path):
    keys = json.loads((shared_reference / "keys_da2_vits.json").read_text())["keys"]
    file = {name: torch.empty(entry["shape"], device="meta") for name, entry in keys.items()}
    config = recognise(tmp_path / place, file, None, None)[1]
    assert (config.depth == "metric") == (metres is not None)
    assert config.max_depth == (metres or 1)


class Harmful:
    def __reduce__(self):
        return (print, ("ran",))


def test_a_pickle_that_would_run_code_is_refused(tmp_path, capsys):
    path = tmp_path / "evil.pth"
    torch.save({"a": Harmful()}, path)
    with pytest.raises(InputError, match="not a readable checkpoint of plain weights"):
        vmdepth.load(path)
    assert capsys.readouterr().out == ""


def test_forms_that_cannot_be_are_refused(tmp_path, official_weights):
    still, video = tmp_path / "still.pth", tmp_path / "video.pth"
    torch.save(official_weights("da2_vits"), still)
    torch.save(official_weights("vda_vits"), video)
    with pytest.raises(InputError, match="no attention over time"):
        vmdepth.load(still, temporal="causal")
    with pytest.raises(InputError, match="window belongs to temporal='causal'"):
        vmdepth.load(video, window=8)
    for wrong in ({"temporal": "casual"}, {"temporal": "causal", "window": 0}, {"temporal": "causal", "window": 33}):
        with pytest.raises(InputError, match=r"video\.pth: (temporal form 'casual'|window \d+): "):
            vmdepth.load(video, **wrong)
    with pytest.raises(InputError, match="contradict"):
        vmdepth.load(still, metric=False, max_depth=20)
    with pytest.raises(InputError, match="needs no max_depth"):
        vmdepth.load(video, max_depth=20)
    with pytest.raises(ValueError, match="no step"):
        vmdepth.load(video, temporal="bidirectional").step(torch.zeros(1, 3, 28, 28))
