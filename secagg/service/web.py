"""HTTPS of a service's client: a request and its answer, and the proxy that the environment
names."""

from __future__ import annotations

import base64
import http.client
import ssl
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from secagg.errors import InputError, ParameterError, TransportError
from secagg.shown import short

LARGEST = 1 << 20
"""Bytes of an answer that is read whole."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """By whose CONNECT a service is reached. It sees the service's name, and when; TLS goes through
    it. user, password: which no error and no log shows."""

    host: str
    port: int
    user: str | None = field(default=None, repr=False)
    password: str = field(default="", repr=False)

    __repr__ = short

    @property
    def place(self) -> str:
        """HOST:PORT."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """With user and password."""
        who = "" if self.user is None else f"{quote(self.user, '')}:{quote(self.password, '')}@"
        return f"http://{who}{self.place}"

    @property
    def headers(self) -> dict[str, str]:
        """Of its CONNECT."""
        if self.user is None:
            return {}
        who = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Proxy-Authorization": f"Basic {who}"}


def proxy_of(url: str) -> Proxy | None:
    """Of a service at that URL, as the environment has it: `https_proxy` or `all_proxy`, unless
    `no_proxy` names its host; None without one. ParameterError for one that cannot be used."""
    place = urlsplit(url).netloc
    named = urllib.request.getproxies()
    found = named.get("https") or named.get("all")
    if not found or urllib.request.proxy_bypass(place):
        return None
    try:
        parts = urlsplit(found if "://" in found else f"http://{found}")
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host, port = None, 0
    if not host or parts.scheme != "http" or parts.path not in ("", "/"):
        raise ParameterError(
            "the proxy that the environment names (https_proxy, all_proxy) is no http://HOST:PORT: "
            "only such a one is spoken to; with no_proxy the service is reached without"
        )
    user = None if parts.username is None else unquote(parts.username)
    return Proxy(host, port, user, unquote(parts.password or ""))


def trust(authority: Path | None) -> ssl.SSLContext:
    """authority: a PEM file; None is whom the machine trusts. InputError where it is none."""
    try:
        context = ssl.create_default_context(cafile=authority)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        why = getattr(error, "strerror", None) or "it is no certificate of PEM"
        raise InputError(f"the authority {authority} cannot be read: {why}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. url: of the service, of which the path is not used."""

    url: str
    method: str
    path: str
    body: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    __repr__ = short


def ask(asked: Asked, context: ssl.SSLContext, timeout: float) -> tuple[int, bytes]:
    """The status and the body of an answer, of LARGEST bytes at most; blocks. timeout: seconds that
    the other end may be silent. TransportError, ParameterError of a proxy."""

    def whole(answer: http.client.HTTPResponse) -> tuple[int, bytes]:
        return answer.status, answer.read(LARGEST + 1)

    status, data = answered(asked, context, timeout, whole)
    if len(data) > LARGEST:
        raise TransportError(f"{_place(asked)} answers with more than {LARGEST} bytes")
    return status, data


def answered(
    asked: Asked,
    context: ssl.SSLContext,
    timeout: float,
    read: Callable[[http.client.HTTPResponse], tuple[int, bytes]],
) -> tuple[int, bytes]:
    """As `ask`, of whatever `read` makes of the answer."""
    parts, proxy = urlsplit(asked.url), proxy_of(asked.url)
    host, port = parts.hostname or "", parts.port or 443
    first = (host, port) if proxy is None else (proxy.host, proxy.port)
    made = http.client.HTTPSConnection(*first, timeout=timeout, context=context)
    if proxy is not None:
        made.set_tunnel(host, port, proxy.headers)
    try:
        made.request(asked.method, asked.path, asked.body, dict(asked.headers))
        return read(made.getresponse())
    except (OSError, http.client.HTTPException) as error:
        by = "" if proxy is None else f" by the proxy {proxy.place}"
        raise TransportError(f"no answer of {_place(asked)}{by}: {error}") from None
    finally:
        made.close()


def _place(asked: Asked) -> str:
    return urlsplit(asked.url).netloc
