"""Models by name: downloaded by the real client, from a hub on this machine; every ending is one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

VIDEO = "depth-anything/Video-Depth-Anything-Small"
LARGE = "depth-anything/Video-Depth-Anything-Large"
OTHER = "someone/depth:weights.pth"
CONTENT = os.urandom(300_000)
ASK = """
import sys
for name in sys.argv[2:]: sys.modules[name] = None
from vmdepth.official.hub import local_file
from vmdepth_runtime.errors import InputError
try:
    print(local_file(sys.argv[1]))
except InputError as error:
    sys.exit(f"InputError: {error}")
"""


@pytest.fixture
def ask(hub, tmp_path):
    """Asks for a name in a process of its own, as the library reads its settings only once: path or None, and what is
    said. missing: packages that are not there."""
    hub.files = {
        (VIDEO, "video_depth_anything_vits.pth"): CONTENT,
        (LARGE, "video_depth_anything_vitl.pth"): CONTENT,
        ("depth-anything/DA3-LARGE", "model.safetensors"): CONTENT,
        ("depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf", "model.safetensors"): CONTENT,
        ("someone/depth", "weights.pth"): CONTENT,
        ("someone/depth", "step.onnx"): CONTENT,
    }

    def run(name, missing=(), **settings):
        settings = {"PATH": "", "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub.url, **settings}
        words = [sys.executable, "-c", ASK, name, *missing]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=settings, cwd=tmp_path)
        assert done.returncode == 0 or done.stderr.splitlines()[-1].startswith("InputError: "), done.stderr
        return done.stdout.rstrip() or None, done.stderr

    return run


def whole(path):
    return Path(path).read_bytes() == CONTENT


def test_first_use_downloads_and_says_what_and_later_ones_are_silent(ask, hub):
    path, said = ask(VIDEO)
    assert whole(path) and path.endswith("/video_depth_anything_vits.pth")
    assert said == f"vmdepth: downloads {VIDEO}:video_depth_anything_vits.pth, 0 MB; Apache-2.0\n"
    assert len(hub.downloads()) == 1
    for where in ({}, {"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        assert ask(VIDEO, **where) == (path, "")
    assert len(hub.downloads()) == 1


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        (LARGE, "CC BY-NC 4.0: no commercial use, nor of what is made from it"),
        (OTHER, "its licence is not known here: see its card"),
        ("depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf", "its repository names no licence: ask its authors"),
        ("depth-anything/DA3-LARGE", "deprecated by its authors, who advise depth-anything/DA3-LARGE-1.1"),
    ],
)
def test_terms_are_said_in_one_line(name, terms, ask):
    path, said = ask(name)
    assert whole(path)
    assert terms in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "settings", "line"),
    [
        (f"{VIDEO}@v9", {}, "the repository has no such revision; leave it out, or choose one of http"),
        (f"{VIDEO}:other.pth", {}, "the repository has no such file; http"),
        ("depth-anything/DA3-BASE", {}, "has no such repository, or not for everybody; look at the name, or log in"),
        (VIDEO, {"HF_HUB_OFFLINE": "1"}, "and HF_HUB_OFFLINE is set; run it once without"),
        (VIDEO, {"HF_ENDPOINT": "http://127.0.0.1:9"}, "cannot be reached ([Errno 111] Connection refused); once"),
    ],
)
def test_what_cannot_be_had_is_told_in_one_line(name, settings, line, ask, hub):
    path, said = ask(name, **settings)
    assert path is None and said.count("\n") == 1
    assert said.startswith(f"InputError: {name}") and line in said
    assert hub.downloads() == []


def test_what_answers_and_is_no_hub_is_not_downloaded_from(ask, hub):
    hub.is_hub = False
    path, said = ask(VIDEO)
    assert path is None and hub.downloads() == []
    assert f"what answers at {hub.url} is no hub of Hugging Face; look at HF_ENDPOINT and your proxy" in said


def test_a_gated_repository_wants_a_token(ask, hub):
    hub.gated = {LARGE}
    path, said = ask(LARGE)
    assert path is None
    assert f"is gated: ask for access on {hub.url}/{LARGE}, then log in with 'hf auth login', or set HF_TOKEN" in said
    assert whole(ask(LARGE, HF_TOKEN="hf_secret")[0])


def test_a_download_that_breaks_goes_on_where_it_was(ask, hub):
    hub.breaks, chunk = 1, 10 << 20  # which the client writes at once
    content = hub.files[VIDEO, "video_depth_anything_vits.pth"] = os.urandom(2 * chunk + 1000)
    assert Path(ask(VIDEO)[0]).read_bytes() == content
    assert [line.rpartition(" ")[2] for line in hub.downloads()][1:] == [f"bytes={chunk}-"]


@pytest.mark.parametrize(
    ("served", "line"),
    [
        (CONTENT[:-1000], "less came than the repository has, and is not kept; try it again"),
        (CONTENT[:-1000] + bytes(1000), "is not what the repository has (its SHA-256 is another), and is not kept"),
    ],
    ids=["cut short", "of other bytes"],
)
def test_what_came_wrong_is_not_kept(served, line, ask, hub):
    hub.served = served
    path, said = ask(VIDEO)
    assert path is None and line in said
    assert ask(VIDEO, HF_HUB_OFFLINE="1")[0] is None
    hub.served = None
    assert whole(ask(VIDEO)[0])


def test_a_file_that_is_cut_short_in_the_cache_is_downloaded_anew(ask):
    path, _ = ask(VIDEO)
    os.truncate(path, 1000)
    again, said = ask(VIDEO)
    assert again == path and whole(path)
    assert "is cut short in the cache\nvmdepth: downloads" in said


def test_what_there_is_no_room_for_is_not_begun(ask, hub, tmp_path):
    hub.told_size = 10**15
    path, said = ask(VIDEO)
    assert path is None
    assert f"takes 1000000.0 GB, and {tmp_path / 'hf' / 'hub'} has room for " in said
    assert hub.downloads() == []


def test_what_is_missing_here_is_named_before_anything_is_downloaded(ask, hub):
    for missing, extras in {("torch",): "export", ("torch", "huggingface_hub"): "export,hub"}.items():
        path, said = ask(VIDEO, missing)
        assert path is None and said.endswith(f"pip install 'vmdepth[{extras}]'\n")
    assert hub.downloads() == []
    assert whole(ask("someone/depth:step.onnx", ["torch"])[0])  # which runs without
    path, _ = ask(VIDEO)
    assert ask(VIDEO, ["torch"]) == (path, "")  # a graph of it may have been kept
