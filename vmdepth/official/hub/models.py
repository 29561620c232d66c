"""The official repositories of Hugging Face whose checkpoints can be had by name, as their cards give them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

OWNER = "depth-anything"

V2, VIDEO, V3 = "Depth Anything V2", "Video Depth Anything", "Depth Anything 3"
FREE, NC = "Apache-2.0", "CC BY-NC 4.0"


@dataclass(frozen=True)
class HubModel:
    """A repository, and the checkpoint in it.

    repository: `owner/name`. file: its checkpoint. family: as `checkpoint.FAMILIES` calls it. licence: None where the
    repository names none. metric: whether depth is in metres. instead: the repository that its authors advise.
    """

    repository: str
    file: str
    family: str
    licence: str | None
    metric: bool = False
    instead: str | None = None

    @property
    def terms(self) -> str:
        """What the licence comes to, in a few words."""
        if self.licence is None:
            return "its repository names no licence: ask its authors before you build on it"
        free = self.licence == FREE
        return self.licence if free else f"{self.licence}: no commercial use, nor of what is made from it"


_SAFE = "model.safetensors"

# Repository and file, of which there are three sizes; the licences of small, base and large; whether metres.
_OF_THREE_SIZES = (
    ("Depth-Anything-V2-{size}", "depth_anything_v2_vit{letter}.pth", V2, (FREE, NC, NC), False),
    ("Depth-Anything-V2-{size}-hf", _SAFE, V2, (FREE, NC, NC), False),
    ("Depth-Anything-V2-Metric-Hypersim-{size}", "depth_anything_v2_metric_hypersim_vit{letter}.pth", V2,
     (FREE, FREE, FREE), True),
    ("Depth-Anything-V2-Metric-VKITTI-{size}", "depth_anything_v2_metric_vkitti_vit{letter}.pth", V2,
     (FREE, FREE, FREE), True),
    ("Depth-Anything-V2-Metric-Indoor-{size}-hf", _SAFE, V2, (None, None, None), True),
    ("Depth-Anything-V2-Metric-Outdoor-{size}-hf", _SAFE, V2, (None, None, None), True),
    ("Video-Depth-Anything-{size}", "video_depth_anything_vit{letter}.pth", VIDEO, (FREE, NC, NC), False),
    ("Metric-Video-Depth-Anything-{size}", "metric_video_depth_anything_vit{letter}.pth", VIDEO, (FREE, NC, NC), True),
)  # fmt: skip

# Of Depth Anything 3, whose file is called the same everywhere: licence, whether metres, and what to take instead.
_DEPTH_ANYTHING_3 = (
    ("DA3-SMALL", FREE, False, None),
    ("DA3-BASE", FREE, False, None),
    ("DA3-LARGE-1.1", NC, False, None),
    ("DA3-GIANT-1.1", NC, False, None),
    ("DA3NESTED-GIANT-LARGE-1.1", NC, True, None),
    ("DA3MONO-LARGE", FREE, False, None),
    ("DA3METRIC-LARGE", FREE, True, None),
    ("DA3-LARGE", NC, False, "DA3-LARGE-1.1"),
    ("DA3-GIANT", NC, False, "DA3-GIANT-1.1"),
    ("DA3NESTED-GIANT-LARGE", NC, True, "DA3NESTED-GIANT-LARGE-1.1"),
)


def _models() -> Iterator[HubModel]:
    for name, file, family, licences, metric in _OF_THREE_SIZES:
        for size, licence in zip(("Small", "Base", "Large"), licences, strict=True):
            letter = size[0].lower()
            repository = f"{OWNER}/{name.format(size=size)}"
            yield HubModel(repository, file.format(letter=letter), family, licence, metric)
    for name, licence, metric, instead in _DEPTH_ANYTHING_3:
        yield HubModel(f"{OWNER}/{name}", _SAFE, V3, licence, metric, f"{OWNER}/{instead}" if instead else None)


MODELS = tuple(_models())
