"""Who may look: the address a browser asked for, the token, and the headers that keep the page to itself.

A page of another site can make a browser send requests here under a name of its own choosing (DNS rebinding); so only
known names are answered. Beyond loopback a token is needed too, sent as a header or as the cookie that a login sets.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from aiohttp import web

COOKIE = "chandlery"
LOGIN = "/login"
_WITHOUT_TOKEN = (LOGIN, "/static/style.css")
_COOKIE_LIFE_S = 30 * 86_400

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_LOGIN_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in · chandlery</title>
<link rel="stylesheet" href="/static/style.css">
<main class="login card">
<h1>chandlery</h1>
<form method="post" action="/login">
<label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button type="submit">Log in</button>
</form>
<p>{said}</p>
</main>
</html>
"""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_loopback(host: str) -> bool:
    """Whether an address that is listened on can be reached from this machine only."""
    if host == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


class Door:
    """Lets requests in, or not. ``token`` is None where none is needed; ``names`` are further names of this server."""

    def __init__(self, host: str, token: str | None, names: Sequence[str] = ()) -> None:
        self._only_loopback = is_loopback(host)
        self._names = {"localhost", host.lower(), *(name.lower() for name in names)}
        self._token = token
        self._pass = None if token is None else hmac.digest(token.encode(), b"chandlery cookie", hashlib.sha256).hex()

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer only who is let in."""
        if not self._is_our_name(request.host):
            raise web.HTTPMisdirectedRequest(text="This server is not known under that name; see serve.names.\n")
        if request.path in _WITHOUT_TOKEN or self._has_token(request):
            return await handler(request)
        if request.path == "/":
            raise web.HTTPSeeOther(LOGIN)
        raise web.HTTPUnauthorized(text="A token is needed.\n", headers={"WWW-Authenticate": "Bearer"})

    async def login(self, request: web.Request) -> web.StreamResponse:
        """The form, and what it sends; a link with ``?token=`` does the same."""
        given = (await request.post()).get("token") if request.method == "POST" else request.query.get("token")
        if self._token is None:
            raise web.HTTPSeeOther("/")
        if not isinstance(given, str):
            return _page("chandlery serve has shown the token, or its owner has set it.", 200)
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return _page("This is not the token.", 403)
        response = web.Response(status=303, headers={"Location": "/"})
        assert self._pass is not None
        secure = request.headers.get("X-Forwarded-Proto", request.scheme) == "https"
        response.set_cookie(
            COOKIE, self._pass, max_age=_COOKIE_LIFE_S, httponly=True, samesite="Strict", secure=secure, path="/"
        )
        return response

    def _is_our_name(self, given: str) -> bool:
        name = (urlsplit(f"//{given}").hostname or "").lower()
        address = _address(name)
        if address is None:
            return name in self._names
        # an address is nobody's to rebind, but what is for this machine alone is asked for by its own addresses
        return address.is_loopback or not self._only_loopback

    def _has_token(self, request: web.Request) -> bool:
        if self._token is None or self._pass is None:
            return True
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        by_header = kind.lower() == "bearer" and hmac.compare_digest(given.encode(), self._token.encode())
        return by_header or hmac.compare_digest(request.cookies.get(COOKIE, "").encode(), self._pass.encode())


def _page(said: str, status: int) -> web.Response:
    return web.Response(text=_LOGIN_PAGE.format(said=said), content_type="text/html", status=status)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
