"""What can be chosen about key frames."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from vmdepth_runtime.contract import KeyframeDefaults
from vmdepth_runtime.errors import InputError


@dataclass(frozen=True)
class KeyframeSettings(KeyframeDefaults):
    """How key frames of a stream are kept, and when it goes back to one.

    ```python
    from vmdepth_runtime import DepthStream, KeyframeSettings

    with DepthStream(keyframes=KeyframeSettings(capacity=4, drift=0.4)) as stream:
        print(stream.model)
    ```

    Attributes:
        capacity: key frames at most.
        interval: frames between two of them; sooner only where nothing is alike.
        min_gap: frames between a key frame and a visit, and between two resets of the states.
        similarity: cosine of descriptors from which two frames show one place.
        max_state_change: above it scale and shift are left as they are.
        memory: MiB that all kept states may take.
        follow: share of the way to the fitted scale and shift that a frame goes.
        drift: share of the depth by which scale or shift may be off before anything is done; less than the default may
            be what a network that steadies depth still remembers of a fast scene.

    Raises:
        InputError: one is out of range; names the option.
    """

    memory: float = 256.0
    follow: float = 0.1
    drift: float = 0.25

    def __post_init__(self) -> None:
        for name, low, high in (
            ("capacity", 1, 1000),
            ("interval", 1, 1_000_000),
            ("min_gap", 1, 1_000_000),
            ("similarity", 0.0, 1.0),
            ("max_state_change", 0.0, 1e6),
            ("memory", 0.0, 1e6),
            ("follow", 1e-6, 1.0),
            ("drift", 0.0, 10.0),
        ):
            if not low <= getattr(self, name) <= high:
                option = f"--keyframe-{name.replace('_', '-')}"
                raise InputError(f"{option} {getattr(self, name)}: should be between {low:g} and {high:g}")

    @classmethod
    def of(cls, defaults: KeyframeDefaults, **changes: Any) -> KeyframeSettings:
        """A model's own settings, but for what is given.

        Args:
            defaults: of the model.
            changes: fields that differ from those; one that is None does not.

        Raises:
            InputError: one is out of range; names the option.
        """
        return replace(cls(**asdict(defaults)), **{k: v for k, v in changes.items() if v is not None})
