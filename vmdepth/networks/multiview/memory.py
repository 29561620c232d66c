"""How much memory a pass over many views takes beyond its weights, and how to cut it into slices that fit.

The estimate counts the numbers that are alive at the fullest moment of the two halves of a pass. n = B·N images of
P patches, T = P + 1 tokens, C channels, F decoder features, O = the sum of the four projected widths:

    encoder   n·T·C (tokens) + 2·N·T·C (keys and values of one scene) + n·(P·O + 2C) (projected taps, camera token)
              + per image of a slice 12·T·C (14·T·C with SwiGLU): queries, keys, values, their rotation, the MLP
    decoder   n·(P·O + 2C) + n·(392·P, with rays 840·P) (results) + 9·O₄² (the largest kernel, which convolution
              libraries reorder; O₄ is the last projected width)
              + per image of a slice P·(2·(98·F + 6272) + 21·F + 600): the last 3×3 convolution at full size, its input
              and output twice because convolution libraries reorder them, and the four skips

Attention in the explicit form also holds scores and their softmax: 2·heads·T² per image of a slice, and 2·heads·N·T
per query. An observer adds what it says that it keeps, in shares of n·T·C. On top come three tenths, and 6 MiB, for
what allocators waste. Networks for single images keep no keys and projected taps of all, and are counted as if they
did. Measured on CPUs; libraries for GPUs may take more workspace for convolutions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from vmdepth.byte_amounts import parse_bytes
from vmdepth.networks.attention import attention_form
from vmdepth.networks.encoder import ENCODERS, PATCH
from vmdepth.networks.multiview.presets import VIEW_PRESETS, AnyViewConfig, MonoConfig

_OVERHEAD = 1.3
_OVERHEAD_BYTES = 6 * 2**20


@dataclass(frozen=True)
class Slices:
    """encoder, decoder: images at a time; rows: queries at a time in attention over all views (None: a slice's)."""

    encoder: int
    decoder: int
    rows: int | None = None


@dataclass(frozen=True)
class ForwardPass:
    """One call of a network. rays: whether asked for; kept: by an observer, in shares of all tokens; bytes: of one
    number."""

    config: AnyViewConfig | MonoConfig
    batch: int
    views: int
    height: int
    width: int
    rays: bool = False
    kept: float = 0.0
    bytes: int = 4


@dataclass(frozen=True)
class _Bytes:
    """Bytes of a pass that do not depend on the slices, and those of one image of a slice, or one row of queries."""

    encoder: float
    encoder_image: float
    row: float
    decoder: float
    decoder_image: float

    def least(self) -> float:
        return max(self.encoder + self.encoder_image + self.row, self.decoder + self.decoder_image)


def _bytes(forward: ForwardPass) -> _Bytes:
    size = ENCODERS[forward.config.encoder]
    images, patches = forward.batch * forward.views, (forward.height // PATCH) * (forward.width // PATCH)
    tokens, features = patches + 1, forward.config.features
    map_of_tokens = tokens * size.width
    kept = images * (patches * sum(forward.config.out_channels) + 2 * size.width)
    explicit = attention_form() == "explicit"
    encoder = images * map_of_tokens * (1 + forward.kept) + 2 * forward.views * map_of_tokens + kept
    encoder_image = map_of_tokens * (14 if size.swiglu else 12) + explicit * 2 * size.heads * tokens**2
    decoder_image = patches * (2 * (98 * features + 6272) + 21 * features + 600)
    decoder = kept + images * patches * (840 if forward.rays else 392) + 9 * forward.config.out_channels[3] ** 2
    row = explicit * 2 * size.heads * forward.views * tokens
    unit = forward.bytes * _OVERHEAD
    return _Bytes(
        encoder * unit + _OVERHEAD_BYTES,
        encoder_image * unit,
        row * unit,
        decoder * unit + _OVERHEAD_BYTES,
        decoder_image * unit,
    )


def peak_bytes(forward: ForwardPass, slices: Slices) -> int:
    """Peak memory of a pass in these slices, beyond weights and input, by the formula above."""
    numbers, images = _bytes(forward), forward.batch * forward.views
    rows = slices.rows if slices.rows is not None else slices.encoder * (forward.height * forward.width // PATCH**2 + 1)
    encoder = numbers.encoder + min(slices.encoder, images) * numbers.encoder_image + rows * numbers.row
    return int(max(encoder, numbers.decoder + min(slices.decoder, images) * numbers.decoder_image))


def slices_for(forward: ForwardPass, memory_budget: int | str | None, chunk: int | None) -> Slices:
    """The largest slices whose estimated peak stays within the budget; or `chunk` images each; or all at once.

    Raises ValueError where both are given, where one is no amount, or where the budget is too small for one image at a
    time; the last names the smallest that works and what would fit instead.
    """
    if memory_budget is not None and chunk is not None:
        raise ValueError("give memory_budget or chunk, not both")
    images = forward.batch * forward.views
    tokens = forward.height * forward.width // PATCH**2 + 1
    if memory_budget is None:
        count = images if chunk is None else chunk
        if count < 1:
            raise ValueError(f"chunk {chunk}: it is a number of images, 1 or more")
        return Slices(count, count, tokens if chunk is not None and attention_form() == "explicit" else None)
    budget, numbers = parse_bytes(memory_budget), _bytes(forward)
    if numbers.least() > budget:
        raise ValueError(_too_little(forward, budget))
    left = budget - numbers.encoder
    # Half for images, half for scores: either pays only where the other has some too.
    encoder = int(left / (2 if numbers.row else 1) / numbers.encoder_image)
    encoder = min(images, max(1, encoder))
    rows = int((left - encoder * numbers.encoder_image) / numbers.row) if numbers.row else None
    return Slices(encoder, min(images, int((budget - numbers.decoder) / numbers.decoder_image)), rows)


def in_mib(size: float) -> str:
    """Bytes in MiB, rounded up, so that what is printed is enough when it is typed in again."""
    return f"{-int(-size // 2**20)}MiB"


def _too_little(forward: ForwardPass, budget: int) -> str:
    least = in_mib(_bytes(forward).least())
    text = (
        f"memory budget {in_mib(budget)} is too little for {forward.batch}x{forward.views} views of "
        f"{forward.height}x{forward.width}: the smallest that works is {least}"
    )

    def fits(other: ForwardPass) -> bool:
        return _bytes(other).least() <= budget

    ways = [way(forward, fits) for way in (_fewer_views, _smaller_model, _lower_resolution)]
    found = [way for way in ways if way]
    return f"{text}. In {in_mib(budget)} would fit: {'; '.join(found)}" if found else f"{text}. Nothing fits in less"


def _fewer_views(forward: ForwardPass, fits: Callable[[ForwardPass], bool]) -> str:
    views = next((n for n in range(forward.views - 1, 0, -1) if fits(replace(forward, views=n))), None)
    return f"{views} view{'s' if views != 1 else ''}" if views else ""


def _smaller_model(forward: ForwardPass, fits: Callable[[ForwardPass], bool]) -> str:
    if isinstance(forward.config, MonoConfig):  # there is one size of it
        return ""
    width = ENCODERS[forward.config.encoder].width
    smaller = [c for c in VIEW_PRESETS.values() if ENCODERS[c.encoder].width < width]
    smaller.sort(key=lambda c: -ENCODERS[c.encoder].width)
    found = next((other for c in smaller if fits(other := replace(forward, config=c))), None)
    return f"the {found.config.encoder} model, from {in_mib(_bytes(found).least())} on" if found else ""


def _lower_resolution(forward: ForwardPass, fits: Callable[[ForwardPass], bool]) -> str:
    rows, columns = forward.height // PATCH, forward.width // PATCH
    for fewer in range(max(rows, columns) - 1, 0, -1):
        part = fewer / max(rows, columns)
        height, width = (max(1, round(side * part)) * PATCH for side in (rows, columns))
        if fits(replace(forward, height=height, width=width)):
            return f"views of {height}x{width}"
    return ""
