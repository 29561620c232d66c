"""How long a stage of a run has been busy, with the work in hand and altogether, and how much of a core that took."""

from __future__ import annotations

from time import perf_counter, thread_time


class StageTimer:
    """Times the pieces of work of one stage, each done within `with timer:`. One thread works, any may look.

    ```python
    from vmdepth_runtime.stage_timer import StageTimer

    timer = StageTimer("counting")
    with timer:
        sum(range(1000))
    print(timer.name, timer.seconds)
    ```

    Args:
        name: as the stage is told to people.
        allowed: how many times the watchdog's limit a piece of work may take.

    Attributes:
        seconds: busy so far, without waiting for other stages; finished pieces of work only.
        cpu_seconds: of them, those on a core; of the stage's own thread, without those that libraries start.
    """

    def __init__(self, name: str, allowed: float = 1.0) -> None:
        self.name = name
        self.allowed = allowed
        self.seconds = self.cpu_seconds = self._cpu_since = 0.0
        self._since: float | None = None

    def __enter__(self) -> None:
        self._cpu_since = thread_time()
        self._since = perf_counter()

    def __exit__(self, *_: object) -> None:
        if self._since is not None:
            self.seconds += perf_counter() - self._since
            self.cpu_seconds += thread_time() - self._cpu_since
        self._since = None

    def lap(self) -> None:
        """Within a long piece of work: it moves. What is done of it counts as one piece, the rest as another.

        Between two pieces it does nothing.
        """
        if self._since is not None:
            self.__exit__()
            self.__enter__()

    @property
    def busy(self) -> float:
        """Seconds that the work in hand has taken so far; 0 between two pieces."""
        since = self._since
        return 0.0 if since is None else perf_counter() - since
