"""A hub of Hugging Face on this machine, as far as its client asks for files."""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_FILE = re.compile(r"/(?P<repository>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


class LocalHub:
    """Answers HEAD and GET of `/owner/name/resolve/revision/file`.

    url: where. files: (repository, file) → bytes. gated: repositories that want a token. asked: method and path of
    every request, with the range asked for. What goes wrong: breaks, how many downloads end in the middle; served, the
    bytes that come instead of those whose size and digest are told; told_size, instead of the true one; is_hub, whether
    answers have the headers that only a hub's have.
    """

    def __init__(self):
        self.files = {}
        self.gated = set()
        self.asked = []
        self.breaks = 0
        self.served = None
        self.told_size = None
        self.is_hub = True

    def downloads(self):
        return [line for line in self.asked if line.startswith("GET") and "/resolve/" in line]

    def is_asked_here(self, patch, cache):
        """By this process, too, whose client read its environment when it was imported. cache: where it keeps files."""
        from huggingface_hub import constants

        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.setattr(constants, "ENDPOINT", self.url)
        template = self.url + "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


class _Handler(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def log_message(self, *_):
        """Nothing: the tests look at what the client says."""

    def _answer(self, body):
        hub, path = self.server.hub, unquote(urlsplit(self.path).path)
        asked_range = self.headers.get("Range", "")
        hub.asked.append(f"{self.command} {path} {asked_range}".strip())
        match = _FILE.fullmatch(path)
        if match is None or match["repository"] not in {repository for repository, _ in hub.files}:
            return self._refuse(404, "RepoNotFound")
        if match["repository"] in hub.gated and "Authorization" not in self.headers:
            return self._refuse(401, "GatedRepo")
        if match["revision"] not in ("main", COMMIT):
            return self._refuse(404, "RevisionNotFound")
        content = hub.files.get((match["repository"], match["file"]))
        if content is None:
            return self._refuse(404, "EntryNotFound")
        return self._give(content, int(asked_range.removeprefix("bytes=").partition("-")[0] or 0), body)

    def _refuse(self, status, code):
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _give(self, content, start, body):
        hub = self.server.hub
        sent = (content if hub.served is None else hub.served)[start:]
        size = len(content) if hub.told_size is None else hub.told_size
        self.send_response(206 if start else 200)
        if hub.is_hub:
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("X-Linked-Etag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Linked-Size", str(size))
        self.send_header("ETag", '"of the server"')
        self.send_header("Content-Length", str(len(sent) if body else size))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if not body:
            return
        if hub.breaks:
            hub.breaks -= 1
            sent = sent[: len(sent) // 2]
            self.close_connection = True
        self.wfile.write(sent)


@contextmanager
def serving():
    """A hub, while it answers."""
    hub = LocalHub()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.hub = hub
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield hub
        finally:
            server.shutdown()
