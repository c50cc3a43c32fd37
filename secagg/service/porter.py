"""Who asks a console something, as a request says it: the owner's token, the word of a session, or
a browser's cookie (specs/51-admission.md §5)."""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from secagg.errors import PolicyRefused, Portable
from secagg.rights import Action
from secagg.rounds.visitors import SESSION, Entered, Session, Visitors
from secagg.service.askers import ROUTES, Asker, Judge, Who
from secagg.service.checking import is_loopback
from secagg.service.config import Config
from secagg.shown import short

COOKIE = "secagg"
_SAFE = frozenset({"GET", "HEAD"})
_BEARER = "Bearer "

Endpoint = Callable[[Request, Asker], Awaitable[Response]]


class Refused(Portable):
    """A request that goes no further, with the answer to it."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True)
class Porter:
    """Of one console. token: the owner's. hosts: under which names browsers may call it. tls: they
    call it by https."""

    token: str = field(repr=False)
    visitors: Visitors = field(repr=False)
    judge: Judge = field(repr=False)
    tasks: Callable[[], Collection[str]] = tuple
    hosts: frozenset[str] = frozenset()
    tls: bool = False

    __repr__ = short

    @classmethod
    def of(
        cls,
        config: Config,
        token: str,
        visitors: Visitors,
        judge: Judge,
        tasks: Callable[[], Collection[str]],
    ) -> Porter:
        """On loopback browsers call it by any name of that, elsewhere by the service's own."""
        host, plain = config.admin[0], is_loopback(config.admin[0])
        names = {"localhost", "127.0.0.1", "[::1]"} if plain else {config.name}
        hosts = frozenset(names | {_in_url(host)})
        return cls(token, visitors, judge, tasks, hosts, not plain)

    def route(self, path: str, endpoint: Endpoint, method: str = "GET") -> Route:
        """One that asks for what the table says of it; of what the table has not, nobody may."""
        need = ROUTES.get((method, path))

        async def guarded(request: Request) -> Response:
            try:
                asker = self.asker(request)
            except Refused as no:
                return refused(no.code, str(no))
            try:
                if need is None:
                    raise PolicyRefused("nobody may ask this")
                if isinstance(need, Action):
                    asker.demand(need)
            except PolicyRefused as error:
                return refused(403, str(error))
            return await endpoint(request, asker)

        return Route(path, guarded, methods=[method])

    def asker(self, request: Request) -> Asker:
        """Raises Refused."""
        return Asker(self._session(request), self.judge, tuple(self.tasks()))

    def own(self, request: Request) -> bool:
        """Whether a page of this console has sent it, as its Origin says (rule W4). A name that
        leads here and is none of its own is another page's, whatever that page's Origin is."""
        host = request.headers.get("host", "")
        scheme = "https" if self.tls else "http"
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        return name in self.hosts and request.headers.get("origin") == f"{scheme}://{host}"

    def cookie(self, entered: Entered | None) -> str:
        """The header that gives it, or takes it back."""
        value, age = (entered.token, int(SESSION)) if entered is not None else ("", 0)
        secure = "; Secure" if self.tls else ""
        return f"{COOKIE}={value}; Max-Age={age}; Path=/; HttpOnly; SameSite=Strict{secure}"

    def _session(self, request: Request) -> Session | None:
        """None is the owner."""
        given, now = request.headers.get("authorization"), time.monotonic()
        if given is not None:
            # a page that a browser shows cannot set this header for another origin; one that says
            # where it comes from is none of a console's
            if not given.startswith(_BEARER) or "origin" in request.headers:
                raise Refused(401, _UNKNOWN)
            word = given.removeprefix(_BEARER)
            if hmac.compare_digest(word.encode("utf-8", "replace"), self.token.encode()):
                return None
            found = self.visitors.who(word, False, now)
        else:
            found = self.visitors.who(request.cookies.get(COOKIE, ""), True, now)
            asks = request.method not in _SAFE or "origin" in request.headers
            if found is not None and asks and not self.own(request):
                raise Refused(403, "a browser asks this from a page of the console alone")
        if found is None:
            raise Refused(401, _UNKNOWN)
        return found


def console_url(config: Config, port: int) -> str:
    """Of the console at that port, for whoever is on this machine or, beyond loopback, reaches it
    by the name in its certificate."""
    host = config.admin[0]
    if is_loopback(host):
        return f"http://{_in_url(host)}:{port}"
    return f"https://{config.name}:{port}"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


_UNKNOWN = "sign in: no session that is open has sent this, or it has ended"


async def body(request: Request, limit: int) -> bytes:
    """Of so many bytes at most. Raises Refused."""
    data = b""
    try:
        async for piece in request.stream():
            data += piece
            if len(data) > limit:
                raise Refused(413, f"at most {limit} bytes")
    except ClientDisconnect:
        raise Refused(400, "the request was not whole") from None
    return data


def free(path: str, method: str = "GET") -> str:
    """The path, where the table says that anybody may ask. Raises PolicyRefused."""
    if ROUTES.get((method, path)) is not Who.ANYBODY:
        raise PolicyRefused(f"{method} {path} is not for anybody")
    return path


def refused(code: int, why: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer to what goes no further, and why."""
    return JSONResponse({"error": why}, code, headers)
