"""The files of the page: read once, known by name, revalidated by the browser, and nothing else is ever served."""

from __future__ import annotations

import hashlib
import mimetypes
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

from aiohttp import web

_KINDS = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Document:
    """One file as it is sent."""

    body: bytes
    kind: str
    tag: str


class Documents:
    """All files of ``static``, by their names with folders."""

    def __init__(self) -> None:
        self._documents = _read(resources.files(__package__) / "static", "")

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The page itself."""
        return self._answer(request, "index.html")

    async def file(self, request: web.Request) -> web.StreamResponse:
        """A file that the page asks for."""
        return self._answer(request, request.match_info["name"])

    def _answer(self, request: web.Request, name: str) -> web.Response:
        document = self._documents.get(name)
        if document is None:
            raise web.HTTPNotFound(text="There is no such file.\n")
        headers = {"ETag": document.tag, "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == document.tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=document.body, content_type=document.kind, charset="utf-8", headers=headers)


def _read(folder: Traversable, prefix: str) -> dict[str, Document]:
    found: dict[str, Document] = {}
    for entry in folder.iterdir():
        name = prefix + entry.name
        if entry.is_dir():
            found |= _read(entry, f"{name}/")
        else:
            body = entry.read_bytes()
            kind = _KINDS.get("." + name.rpartition(".")[2]) or mimetypes.guess_type(name)[0] or "text/plain"
            found[name] = Document(body, kind, f'"{hashlib.sha256(body).hexdigest()[:20]}"')
    return found
