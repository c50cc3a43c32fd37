"""The console's page: files that are sent as they are, and what a browser may do with them.

All that the page shows comes over `/v1/events` to its script, which puts it there as text. The
headers are what holds if it once did not: nothing inline runs or styles, nothing is loaded from
elsewhere, nothing is framed or sent as a form, and no text becomes markup (Trusted Types). The page
itself says nothing about the service, so it is for whoever asks; what it asks for is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
        "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        # after an upgrade the script is the one that knows the new service's words
        "cache-control": "no-store",
    }
)
"""Of each file."""
_PAGE = "index.html", "text/html"
_SCRIPTS = "page", "view", "elements", "words"
# /login is the page too: its script takes the token from the address, which no server is told
FILES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "/": _PAGE,
        "/login": _PAGE,
        "/page.css": ("page.css", "text/css"),
        **{f"/{name}.js": (f"{name}.js", "text/javascript") for name in _SCRIPTS},
    }
)
"""By path: the file beside this one, and its type."""


@cache
def _read(name: str) -> bytes:
    return (Path(__file__).parent / name).read_bytes()


def _route(path: str, name: str, kind: str) -> Route:
    async def send(request: Request) -> Response:
        return Response(_read(name), media_type=kind, headers=dict(HEADERS))

    return Route(path, send)


ROUTES = tuple(_route(path, *file) for path, file in FILES.items())
"""GET and HEAD, for everybody."""
