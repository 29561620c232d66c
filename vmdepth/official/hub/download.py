"""Downloads a file of a repository, or finds it in the cache.

Cache, mirrors, tokens and being offline are `huggingface_hub`'s matters (HF_HOME, HF_ENDPOINT, HF_TOKEN,
HF_HUB_OFFLINE), and so is going on with a download whose connection broke. What it leaves open is done here: bytes that
are not the repository's are not kept, what there is no room for is not begun, and the licence is said.
"""

from __future__ import annotations

import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from vmdepth.official.hub.failures import failure, is_missing_there
from vmdepth.official.hub.names import HubFile
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.integrity import file_hash

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

_SHA256 = re.compile(r"[0-9a-f]{64}")


def downloaded(asked: HubFile) -> Path:
    """The file in the library's cache, downloaded if need be: a link with the file's own name.

    Raises:
        InputError: says why it cannot be had, and what to do.
    """
    _check_library(asked)
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import FileMetadataError

    repository, file, revision = asked.repository, asked.file, asked.revision
    try:
        # Asked for first, since the download would try five times before it looked into the cache.
        facts = get_hf_file_metadata(hf_hub_url(repository, file, revision=revision))
        if facts.commit_hash is None:
            raise FileMetadataError(repository)  # the page of a hotel's network, say
    except Exception as error:  # the library's, its HTTP client's, the system's
        found = None if is_missing_there(error) else try_to_load_from_cache(repository, file, revision=revision)
        if isinstance(found, str):
            return Path(found)
        raise failure(asked, error) from None
    try:
        kept = _kept(asked, facts)
        if not kept:
            _begin(asked, facts)
        path = Path(hf_hub_download(repository, file, revision=revision))
        if not kept:
            _verify(asked, path, facts.etag)
    except InputError:
        raise
    except Exception as error:
        raise failure(asked, error) from None
    return path


def _check_library(asked: HubFile) -> None:
    """Raise InputError where the library is missing; it names all that has to be installed, at once."""
    if find_spec("huggingface_hub") is None:
        extras = "hub" if find_spec("torch") or not asked.is_checkpoint else "export,hub"
        raise InputError(f"{asked}: what downloads it is not here: pip install 'vmdepth[{extras}]'")


def _kept(asked: HubFile, facts: HfFileMetadata) -> bool:
    """Whether the cache has the file whole; one that is cut short is taken out."""
    from huggingface_hub import try_to_load_from_cache

    found = facts.commit_hash and try_to_load_from_cache(asked.repository, asked.file, revision=facts.commit_hash)
    if not isinstance(found, str):
        return False
    if facts.size in (None, Path(found).stat().st_size):
        return True
    _say(f"{asked} is cut short in the cache")
    _remove(Path(found))
    return False


def _begin(asked: HubFile, facts: HfFileMetadata) -> None:
    """Say what is downloaded, and on which terms. Raises InputError where it would be of no use, or has no room."""
    if asked.is_checkpoint and find_spec("torch") is None:
        raise InputError(f"{asked}: what runs checkpoints needs 'torch': pip install 'vmdepth[export]'")
    from huggingface_hub.constants import HF_HUB_CACHE

    size = f", {_told(facts.size)}" if facts.size is not None else ""
    cache = Path(HF_HUB_CACHE)
    room = shutil.disk_usage(next(place for place in (cache, *cache.absolute().parents) if place.is_dir())).free
    if room < (facts.size or 0):
        raise InputError(
            f"{asked}: takes {_told(facts.size or 0)}, and {cache} has room for {_told(room)}; make room, or set "
            "HF_HOME to a folder that has"
        )
    model = asked.model
    terms = "its licence is not known here: see its card" if model is None else model.terms
    advice = f"; deprecated by its authors, who advise {model.instead}" if model and model.instead else ""
    _say(f"downloads {asked}{size}; {terms}{advice}")


def _verify(asked: HubFile, path: Path, etag: str | None) -> None:
    """Compare what came with the repository's digest: the tag of a large file is its SHA-256."""
    if etag is not None and _SHA256.fullmatch(etag) and file_hash(path) != f"sha256:{etag}":
        _remove(path)
        raise InputError(
            f"{asked}: what came is not what the repository has (its SHA-256 is another), and is not kept; try it "
            "again, and look at HF_ENDPOINT if that is set"
        )


def _remove(path: Path) -> None:
    """Take a file out of the cache, and the blob that it is a link to."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _told(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _say(line: str) -> None:
    print(f"vmdepth: {line}", file=sys.stderr)
