"""`secagg enrol`: a site accepts an invitation to a service, with a key that is made here."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from secagg.arguments import seconds
from secagg.cli import options
from secagg.cli.enrolling import Whose, new_seed, parse_key, read_seed, write_seed
from secagg.cli.founding import make_folder
from secagg.cli.output import handled, notice, report, rows
from secagg.cli.targets import check_target, write_whole
from secagg.crypto import sign
from secagg.errors import InputError, ParameterError, PolicyRefused, TransportError
from secagg.invitation import PUBLIC_PKI, Invitation
from secagg.plans.terms import Terms
from secagg.rights import ServiceRole
from secagg.roster import Enrolment
from secagg.service.paths import AUTHORITY, ENROL
from secagg.service.person import Person, check_console
from secagg.service.program import terms_file
from secagg.service.renewing import beside, take_up
from secagg.service.site import Site
from secagg.service.trial import fingerprint
from secagg.service.web import Asked, ask, trust
from secagg.store.identity import Identity
from secagg.types import Seed
from secagg.wire.hello import check_task


def enrol(
    code: Annotated[
        str | None, typer.Argument(metavar="CODE", help="As the service's owner gave it.")
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the site's files go; made if need be.")
    ] = Path(),
    renew: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="In place of a CODE: the site's file; another key."),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds until the service answers.")] = 30.0,
    admin: Annotated[
        str | None,
        typer.Option(
            metavar="PUBLIC",
            help="Of a task against a server that lies: the key of whoever signs its roster, from "
            "somebody who is not the service.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Accept an invitation: make a key here, and have the service enrol its public half.

    DIR/NAME.toml is for `secagg join --service`, or, of somebody who is no client, for --service of
    `secagg results`, `service`, `login` and `top`; DIR/NAME.key never leaves this machine. The code
    is good once; the same command again does no harm. Until the service's owner approves, the key
    is met nowhere: compare the public key by telephone first.

    With --renew the site of that file has another key from now on, which the old one signs: nobody
    has to approve it. The same command again does no harm until it has succeeded; after that it is
    another renewal, of which there are 64 at most.
    """
    with handled(as_json):
        timeout = seconds("--timeout", timeout)
        if (code is None) == (renew is None):
            raise ParameterError("enrol needs either a CODE, or --renew with the site's file")
        if code is not None:
            made = _enrolled(Invitation.decode(code), out, timeout, _key(admin))
        elif admin is not None:
            raise ParameterError("--admin is in the site's file already: leave it out")
        else:
            made = _renewed(Path(str(renew)), timeout)
        report(made, as_json, lambda: rows(made))


def _renewed(file: Path, timeout: float) -> dict[str, object]:
    site = Site.read(file)
    public = renew_key(site, timeout)
    if site.admin is not None:
        notice("the roster has the old key: this site takes part again once it has the new one")
    return {
        "file": str(file),
        "public": public.hex(),
        "state": "renewed",
        "task": site.task,
        "terms": site.terms.hex(),
    }


def renew_key(site: Site, timeout: float) -> bytes:
    """The public half of its new key, which is the one that it has begun with if it has. Raises as
    `take_up`."""
    with Identity.open(site.identity):  # nobody takes part with it meanwhile
        if not (after := beside(site)).exists():
            write_seed(after, Whose.IDENTITY, new_seed())
    return take_up(site, timeout)


def _key(admin: str | None) -> bytes | None:
    return None if admin is None else parse_key(admin, "the administrator", "secagg roster init")


def _enrolled(
    invited: Invitation, folder: Path, timeout: float, admin: bytes | None
) -> dict[str, object]:
    name = invited.name
    if "/" in name or "\\" in name or name.startswith("."):
        raise ParameterError("the name in this code is none of a file: ask for another code")
    identity, file = folder / f"{name}.key", folder / f"{name}.toml"
    make_folder(folder)
    check_target(file, "--out", force=True)
    seed = _seed(identity)
    authority = _authority(invited, folder / f"{name}.ca.pem", timeout)
    answer = _asked(invited, authority, seed, timeout)
    said: dict[str, object] = {
        "file": str(file),
        "public": sign.public_key(seed).hex(),
        "state": answer["state"],
    }
    if answer.get("role", ServiceRole.CLIENT.word) != ServiceRole.CLIENT.word:
        person = _person(invited, answer, authority, identity)
        write_whole(file, person.text(folder).encode(), force=True)
        return said | {"role": person.role.word, "console": person.console}
    (task, terms), *more = _tasks(answer)
    if more:
        notice(f"this site is of {1 + len(more)} tasks, and {file} is of {task}")
    _check_admin(terms, admin)
    site = Site(
        _base(invited.url),
        invited.service.name,
        invited.key,
        authority,
        name,
        task,
        identity,
        folder / f"{name}.ledger",
        terms.digest(),
        admin,
        told=None if admin is None else folder / f"{name}.told",
    )
    if admin is not None:
        asking = Enrolment.make(name, seed).encode()
        write_whole(folder / f"{name}.enrol", asking, force=True)
    write_whole(terms_file(site), terms.encode(), force=True)
    write_whole(file, site.text(folder).encode(), force=True)
    notice(terms.explain())
    return said | {"task": task, "terms": terms.digest().hex()}


def _person(
    invited: Invitation, answer: dict[str, Any], authority: Path | None, identity: Path
) -> Person:
    try:
        role = next(role for role in ServiceRole if role.word == answer["role"])
        console = check_console("console", answer["console"])
    except (StopIteration, KeyError, ParameterError):
        raise InputError("the service's answer has no role, or no console, in it") from None
    whose = console, invited.service.name, invited.key, authority
    return Person(*whose, invited.name, role, identity)


def _check_admin(terms: Terms, admin: bytes | None) -> None:
    """Rule N6. The key is pinned before the service could choose it."""
    if terms.adversary == "active" and admin is None:
        raise ParameterError(
            "this task is against a server that lies, so its clients are in a roster: give --admin "
            "PUBLIC, the key of whoever signs it, as somebody whom you trust has said it, and not "
            "the service. The same command with it goes on from here"
        )
    if terms.adversary != "active" and admin is not None:
        raise PolicyRefused(
            "--admin is of a task against a server that lies, and the terms that the service has "
            "given are of another: ask for the digest of those that are meant"
        )


def _seed(path: Path) -> Seed:
    """One that is there already, as after an answer that was lost: the service takes it twice."""
    if path.exists():
        return read_seed(path, Whose.IDENTITY)
    seed = new_seed()
    write_seed(path, Whose.IDENTITY, seed)
    return seed


def _tasks(answer: dict[str, Any]) -> list[tuple[str, Terms]]:
    try:
        said = [(check_task(name), bytes.fromhex(one)) for name, one in answer["tasks"].items()]
    except (ValueError, KeyError, AttributeError, TypeError, ParameterError):
        said = []
    if not said:
        raise InputError("the service's answer has no terms of a task in it")
    return [(name, Terms.decode(terms)) for name, terms in said]


def _authority(invited: Invitation, path: Path, timeout: float) -> Path | None:
    """The certificate whose fingerprint is in the code, from whoever answers: it is compared before
    anything is said."""
    if invited.ca == PUBLIC_PKI:
        return None
    unknown = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unknown.check_hostname, unknown.verify_mode = False, ssl.CERT_NONE
    status, data = ask(Asked(invited.url, "GET", AUTHORITY), unknown, timeout)
    if status != 200 or fingerprint(data) != invited.ca:
        raise PolicyRefused(
            "whoever answers there shows another certificate authority than the code is of: it is "
            "not the service, or somebody is between"
        )
    write_whole(path, data, force=True)
    return path


def _asked(
    invited: Invitation, authority: Path | None, seed: Seed, timeout: float
) -> dict[str, Any]:
    asked = Asked(invited.url, "POST", ENROL, invited.accept(seed).encode())
    status, data = ask(asked, trust(authority), timeout)
    try:
        answer = json.loads(data)
        if not isinstance(answer, dict):
            raise ValueError
    except (ValueError, RecursionError):
        raise TransportError(f"what answers there is no service: HTTP {status}") from None
    if status != 200:
        raise PolicyRefused(f"the service refuses: {answer.get('error', status)}")
    if not isinstance(answer.get("state"), str):
        raise InputError("the service's answer does not say how far this has come")
    return answer


def _base(url: str) -> str:
    """Without a path."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
