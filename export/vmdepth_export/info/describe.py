"""What this machine can run, what a model is and where it runs, or how far a run of training is.

Works with the runtime's libraries alone; torch and onnx are asked only where a model needs them.
"""

from __future__ import annotations

from vmdepth_export.info.environment import environment_facts
from vmdepth_export.info.facts import Facts
from vmdepth_export.info.models import model_facts
from vmdepth_export.info.runs import run_facts
from vmdepth_export.info.settings import InfoSettings


def describe(settings: InfoSettings) -> Facts:
    """Name and value of everything worth knowing, as `vmdepth-info` prints it.

    Args:
        settings: What is described.

    Returns:
        Of a model what it is and whether it runs here; of a run what it reached and what comes next; of this machine
        versions, GPU, and what can run.

    Raises:
        InputError: For a file that is no model, and a folder that is of no run.
    """
    if settings.model is None:
        return environment_facts()
    return run_facts(settings.model) if settings.model.is_dir() else model_facts(settings.model)
