"""What a name stands for: a file of a repository, or none where it is a path."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from vmdepth.model_files import CHECKPOINT_ENDINGS
from vmdepth.official.hub.models import MODELS, OWNER, HubModel
from vmdepth_runtime.errors import InputError

_WORD = r"[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?"
_NAME = re.compile(rf"(?P<repository>{_WORD}/{_WORD})(?:@(?P<revision>[^:\s]+))?(?::(?P<file>[^:\s]+))?", re.ASCII)
_BY_NAME = {model.repository.lower(): model for model in MODELS}


@dataclass(frozen=True)
class HubFile:
    """A file of a repository. revision: a branch, a tag or a commit; None is the main branch. model: where known."""

    repository: str
    file: str
    revision: str | None = None
    model: HubModel | None = None

    def __str__(self) -> str:
        at = f"@{self.revision}" if self.revision else ""
        return f"{self.repository}{at}:{self.file}"

    @property
    def is_checkpoint(self) -> bool:
        """Whether it takes torch to be of any use."""
        return Path(self.file).suffix in CHECKPOINT_ENDINGS


def parse(name: str | Path) -> HubFile | None:
    """What `owner/name[@revision][:file]` stands for; None where it is a path.

    Raises InputError for a repository that is not known, of which no file is said.
    """
    if os.path.exists(name):  # noqa: PTH110 (which never raises)
        return None
    name = str(name)
    from vmdepth_runtime.sessions.load import MODEL_ENDINGS  # takes ONNX Runtime, for which no file that is here waits

    match = _NAME.fullmatch(name)
    if match is None or (not match["file"] and Path(name).suffix in (*MODEL_ENDINGS, *CHECKPOINT_ENDINGS)):
        known = _BY_NAME.get(f"{OWNER}/{name}".lower())
        if known is not None:
            raise InputError(f"{name}: no such file; as a model by name it is '{known.repository}'")
        return None
    repository, revision, file = match.group("repository", "revision", "file")
    model = _BY_NAME.get(repository.lower())
    if model is not None:
        return HubFile(model.repository, file or model.file, revision, model)
    if file:
        return HubFile(repository, file, revision)
    owner = repository.partition("/")[0]
    if Path(owner).is_dir():
        return None
    likely = 0.0 if owner.lower() == OWNER else 0.6
    near = get_close_matches(repository.lower(), _BY_NAME, n=1, cutoff=likely)
    meant = f"did you mean '{_BY_NAME[near[0]].repository}'?" if near else "'vmdepth-info --models' lists those."
    raise InputError(
        f"{name}: no such file, and no model that is known by name; {meant} Of another repository say the file, too: "
        f"{name}:model.safetensors"
    )
