"""What can be chosen about sources."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LiveSettings:
    """How a live source is held on to.

    ```python
    from vmdepth_runtime import LiveSettings, open_source

    with open_source("demo", LiveSettings(retries=10)) as source:  # or "rtsp://camera/stream", which is live
        print(source.live)
    ```

    Attributes:
        retries: How often in a row it is opened again; None: for ever.
        max_gap: Seconds without a frame after which the next one is a discontinuity.
        stall: Seconds without a frame after which it counts as lost.
    """

    retries: int | None = None
    max_gap: float = 2.0
    stall: float = 5.0
