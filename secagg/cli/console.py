"""What is asked of a service that runs: by its owner, on the machine where it does, or by somebody
who is enrolled there, from wherever its console is reached."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from secagg.cli.enrolling import Whose, read_seed
from secagg.errors import CryptoError, InputError, PolicyRefused, TransportError, WireError
from secagg.rounds.reception import NO_TASK, as_caller
from secagg.service.config import read
from secagg.service.paths import EVENTS, LOGOUT, REGISTER, RESULTS, ROSTERS, SESSION, STATUS
from secagg.service.person import Person
from secagg.service.web import trust
from secagg.shown import printable, short
from secagg.wire.hello import Service

_TIMEOUT = 30.0
_LARGEST = 1 << 31
"""Bytes of an answer; above those of any result."""
_LINE = 64 << 20
"""Bytes of a line of the stream of events."""


@dataclass(frozen=True)
class Console:
    """Of a service that runs. url: where it is. token: what is said with each request. dial: host
    and port, where these are not the URL's."""

    url: str
    token: str = field(repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    dial: tuple[str, int] | None = None

    __repr__ = short

    def ask(self, asked: Mapping[str, Any] | None) -> dict[str, Any]:
        """asked: one JSON object for the register; None asks how the service is. Raises
        PolicyRefused for what it refuses, InputError for what it does not know, TransportError."""
        if asked is None:
            return said(*self.request("GET", STATUS))
        return said(*self.request("POST", REGISTER, json.dumps(asked).encode()))

    def arrays(self, number: str) -> bytes:
        """Of a result, as `secagg.service.results.packed` has made them. Raises as `ask`."""
        status, data = self.request("GET", RESULTS.format(nonce=quote(number, safe="")))
        if status != 200:
            said(status, data)
        return data

    def states(self) -> Iterator[dict[str, Any]]:
        """Whole states of the service, the newest at once and then whenever something happens; no
        more when it ends. Raises as `ask`."""
        with self._answer("GET", EVENTS, None) as answer:
            if answer.status != 200:
                said(answer.status, answer.read(_LARGEST))
            event = ""
            while line := answer.readline(_LINE):
                word, _, rest = line.decode("utf-8", "replace").rstrip("\r\n").partition(": ")
                if word == "event":
                    event = rest
                elif word == "data" and event == "state":
                    yield said(200, rest.encode())
                elif word == "data":
                    return

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """The status and the body of an answer. TransportError."""
        with self._answer(method, path, body) as answer:
            return answer.status, answer.read(_LARGEST)

    @contextmanager
    def _answer(
        self, method: str, path: str, body: bytes | None
    ) -> Iterator[http.client.HTTPResponse]:
        parts = urlsplit(self.url)
        made = _Connection(parts.hostname or "", parts.port or 443, timeout=_TIMEOUT)
        made.dial, made.tls = self.dial or (made.host, made.port), self.tls
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            made.request(method, path, body, headers)
            yield made.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise TransportError(
                f"the service's console at {parts.netloc} does not answer: {error}; is it running, "
                "and reached from here?"
            ) from None
        finally:
            made.close()


class _Connection(http.client.HTTPConnection):
    """To an address that need not be the one of the name in its certificate."""

    dial: tuple[str, int]
    tls: ssl.SSLContext | None

    def connect(self) -> None:
        self.sock = socket.create_connection(self.dial, self.timeout)
        if self.tls is not None:
            self.sock = self.tls.wrap_socket(self.sock, server_hostname=self.host)


@contextmanager
def reached(config: Path, service: Path | None) -> Iterator[Console]:
    """The console of the service of that configuration, as its owner; or, with the file of somebody
    who is enrolled there, as that, in a session that ends with the block.

    Raises InputError where no service runs with that configuration, or a file cannot be read,
    PolicyRefused for a key that is not met, and TransportError.
    """
    if service is None:
        yield _owned(config)
        return
    person = Person.read(service)
    console = _entered(person)
    try:
        yield console
    finally:
        with suppress(TransportError):  # it ends by itself, later
            console.request("POST", LOGOUT)


def ask(config: Path, asked: Mapping[str, Any] | None) -> dict[str, Any]:
    """As the owner. Raises as `reached` and `Console.ask`."""
    return _owned(config).ask(asked)


def take_roster(config: Path, data: bytes) -> dict[str, Any]:
    """A signed roster, as its file has it, for the service that runs. Raises as `ask`."""
    return said(*_owned(config).request("POST", ROSTERS, data))


def said(status: int, data: bytes) -> dict[str, Any]:
    """What a console has answered, or the error that it is."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise TransportError(f"what answers there is no service: HTTP {status}") from None
    if status == 200 and isinstance(found, dict):
        return found
    why = printable(str(found.get("error", status) if isinstance(found, dict) else status))
    if status in (401, 403):
        raise PolicyRefused(why)
    if status == 503:
        raise TransportError(why)
    raise InputError(why)


def _owned(config: Path) -> Console:
    """Beyond loopback under the certificate of the configuration itself, whoever has issued it."""
    # what a server needs is where the service is, and not where others ask from
    from secagg.service.desk import find_token
    from secagg.service.porter import console_url

    found = read(config).get()
    port, token = find_token(found.state)
    url, chain = console_url(found, port), found.listen.certificate
    if url.startswith("http:"):
        return Console(url, token)
    tls, host = trust(chain), found.admin[0]
    tls.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    return Console(url, token, tls, (anywhere.get(host, host), port))


def _entered(person: Person) -> Console:
    """By a greeting, in which the service proves that it is the one of the file (rule W1)."""
    tls = None if person.console.startswith("http:") else trust(person.authority)
    nobody = Console(person.console, "", tls)
    signing = read_seed(person.identity, Whose.IDENTITY)
    service = Service(person.service, person.key)
    script = as_caller(service, person.role, NO_TASK, signing)
    reply = _greeted(*nobody.request("POST", SESSION, next(script)))
    try:
        proof = script.send(reply)
        entered = said(*nobody.request("POST", SESSION, reply + proof))
        script.send(bytes.fromhex(str(entered["proof"])))
    except StopIteration:
        return Console(person.console, str(entered["session"]), tls)
    except (WireError, CryptoError, KeyError, ValueError):
        pass
    raise PolicyRefused(
        f"what answers at {person.console} is not the service {person.service} that this file is "
        "of: check its console, and ask who invited you whether the service has another key now"
    )


def _greeted(status: int, data: bytes) -> bytes:
    if status != 200:
        said(status, data)
    return data
