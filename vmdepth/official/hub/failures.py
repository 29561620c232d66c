"""Why a download failed, as people are told it: in one line, with what to do next."""

from __future__ import annotations

import errno

from vmdepth.official.hub.names import HubFile
from vmdepth_runtime.errors import InputError


def is_missing_there(error: Exception) -> bool:
    """Whether the repository has answered that it has no such revision or file, so that a cached one is not meant."""
    from huggingface_hub.errors import RemoteEntryNotFoundError, RevisionNotFoundError

    return isinstance(error, (RevisionNotFoundError, RemoteEntryNotFoundError))


def failure(asked: HubFile, error: Exception) -> InputError:
    """What to raise. error: of `huggingface_hub`, of its HTTP client, or of the system."""
    from huggingface_hub import errors
    from huggingface_hub.constants import ENDPOINT, HF_HUB_CACHE

    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # which is why it looked into the cache
    card = f"{ENDPOINT}/{asked.repository}"
    log_in = "log in with 'hf auth login', or set HF_TOKEN"
    if isinstance(error, errors.GatedRepoError):
        why = f"is gated: ask for access on {card}, then {log_in}"
    elif isinstance(error, errors.RepositoryNotFoundError):
        why = f"{ENDPOINT} has no such repository, or not for everybody; look at the name, or {log_in}"
    elif isinstance(error, errors.RevisionNotFoundError):
        why = f"the repository has no such revision; leave it out, or choose one of {card}/commits/main"
    elif isinstance(error, errors.RemoteEntryNotFoundError):
        why = f"the repository has no such file; {card}/tree/main lists them"
    elif isinstance(error, (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError)):
        why = f"is not in the cache ({HF_HUB_CACHE}), and HF_HUB_OFFLINE is set; run it once without"
    elif isinstance(error, errors.HfHubHTTPError):
        why = _answered(ENDPOINT, error.response.status_code, log_in)
    elif isinstance(error, errors.FileMetadataError):
        why = f"what answers at {ENDPOINT} is no hub of Hugging Face; look at HF_ENDPOINT and your proxy"
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        why = f"there is no room left in {HF_HUB_CACHE}; make some, or set HF_HOME to a folder that has"
    elif isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        why = f"{error.filename} cannot be written ({error.strerror}); set HF_HOME to a folder that can"
    elif isinstance(error, OSError) and error.errno is None and "Consistency check failed" in str(error):
        why = "less came than the repository has, and is not kept; try it again"
    elif isinstance(error, OSError) or type(error).__module__.startswith("httpx"):  # or httpx2, as the library has it
        why = (
            f"is not in the cache, and {ENDPOINT} cannot be reached ({_first_line(error)}); once there is a network it "
            "is downloaded, or name a file of this machine"
        )
    else:
        why = (
            f"cannot be downloaded ({type(error).__name__}: {_first_line(error)}); try it again, or with 'hf download'"
        )
    return InputError(f"{asked}: {why}")


def _answered(endpoint: str, status: int, log_in: str) -> str:
    if status in (401, 403):
        return f"{endpoint} does not let you have it (HTTP {status}): your token is not accepted; {log_in}"
    if status == 404:
        return f"{endpoint} has nothing of that name (HTTP 404); look at the name, and at HF_ENDPOINT if that is set"
    if status == 429:
        return f"{endpoint} has had too many requests (HTTP 429); wait a while, or {log_in}"
    return f"{endpoint} answers HTTP {status}; try it later, or set HF_ENDPOINT to a mirror"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
