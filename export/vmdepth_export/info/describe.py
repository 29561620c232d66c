"""What this machine can run, or what a model is and where it runs.

Works with the runtime's libraries alone; torch and onnx are asked only where a model needs them.
"""

from __future__ import annotations

from vmdepth_export.info.environment import environment_facts
from vmdepth_export.info.facts import Facts
from vmdepth_export.info.models import model_facts
from vmdepth_export.info.settings import InfoSettings


def describe(settings: InfoSettings) -> Facts:
    """Name and value of everything worth knowing, as `vmdepth-info` prints it.

    Args:
        settings: What is described.

    Returns:
        Of a model what it is and whether it runs here; of this machine versions, GPU, and what can run.

    Raises:
        InputError: For a file that is no model.
    """
    return environment_facts() if settings.model is None else model_facts(settings.model)
