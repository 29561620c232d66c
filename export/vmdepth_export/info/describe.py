"""What this machine can run, what a model is and where it runs, or how far a run of training is.

Works with the runtime's libraries alone; torch and onnx are asked only where a model needs them.
"""

from __future__ import annotations

from vmdepth.official.hub import local_file
from vmdepth.official.hub.models import MODELS, HubModel
from vmdepth.official.hub.names import parse
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
    if settings.models:
        return [(model.repository, _told(model)) for model in MODELS]
    if settings.model is None:
        return environment_facts()
    asked, path = parse(settings.model), local_file(settings.model)
    if path.is_dir():
        return run_facts(path)
    facts = model_facts(path)
    if asked is None or asked.model is None:
        return facts
    facts = [
        (name, value.replace(str(path), asked.model.repository) if name == "next" else value) for name, value in facts
    ]
    return [("name", asked.model.repository), ("licence", asked.model.terms), *facts]


def _told(model: HubModel) -> str:
    parts = [model.family, "metres" if model.metric else "", f"deprecated: {model.instead}" if model.instead else ""]
    return f"{model.licence or 'no licence named':<17} {', '.join(filter(None, parts))}"
