"""What a configuration means for those who carry it out: terms, pace, limits, certificates."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from secagg.drive.listening import descriptors
from secagg.errors import ParameterError
from secagg.plans.terms import MAX_TERMS, Terms
from secagg.rounds.course import Pace
from secagg.rounds.quota import Limits
from secagg.service import tables
from secagg.service.config import Bounds, Config, Pursued
from secagg.transport.tls import TLS, Credentials
from secagg.wire.frame import DEFAULT_MAX_SIZE, HEAD_SIZE


def read_terms(path: Path) -> Terms:
    """Raises InputError for a file that cannot be read, and what `Terms.decode` raises."""
    return Terms.decode(tables.read_file(path, "the terms", MAX_TERMS)[0])


def pace_of(task: Pursued, terms: Terms) -> Pace:
    """As the configuration says; ParameterError where the terms do not have it."""
    phases = terms.plan(terms.most, terms.population).phase_names
    unknown = set(task.deadlines) - {*phases, "default"}
    if unknown:
        raise ParameterError(
            f"[tasks.{task.name}.deadlines] {min(unknown)} is no phase: there are "
            f"{', '.join(phases)}, and default"
        )
    if (terms.adversary == "active") is not (task.roster_authority is not None):
        raise ParameterError(_whose(task.name, terms))
    default = task.deadlines["default"]
    deadlines = {phase: task.deadlines.get(phase, default) for phase in phases}
    spare = Fraction(str(task.clients.spare))
    pace = Pace(task.clients.min, task.clients.target, spare, task.every, deadlines)
    pace.check(terms)
    return pace


def _whose(task: str, terms: Terms) -> str:
    """Why a task has the administrator of a roster, and another has none (rule N1)."""
    if terms.adversary == "active":
        return (
            f"[tasks.{task}] is against a server that lies, and nobody signs the roster of its "
            "clients: roster_authority is the public key of who does, which `secagg roster init` "
            "prints on another machine"
        )
    return (
        f"[tasks.{task}] roster_authority is of a task against a server that lies, and this one is "
        "not: leave it out, or make the plan with `secagg task --adversary active`"
    )


def _phases(terms: Sequence[Terms]) -> int:
    """Of a round, at most."""
    return max(len(one.plan(one.most, one.population).phase_names) for one in terms)


def limits_of(bounds: Bounds, terms: Sequence[Terms]) -> Limits:
    """What [limits] says, and room for the largest message of any task; and for larger ones of a
    task that comes later: what is due from a client bounds what it may say (`Present.largest`)."""
    costs = [one.plan(one.most, one.population).cost for one in terms]
    largest = HEAD_SIZE + max(one.largest_message for one in costs)
    return Limits(
        frame=max(DEFAULT_MAX_SIZE, largest),
        volume=4 * largest,
        links=bounds.links,
        links_each=bounds.links_each,
        frames=bounds.frames * _phases(terms),
        backlog=bounds.unsent,
        passing=bounds.strangers,
        handshake=bounds.tls,
        opening=bounds.header,
        hello=bounds.hello,
        stranger=bounds.stranger_message,
        unfinished=bounds.unfinished,
        fragments=bounds.fragments,
        ping=bounds.ping,
        pong=bounds.pong,
    ).within(descriptors())


def credentials_of(config: Config) -> Credentials | None:
    """Read, and judged; None without TLS. Raises InputError."""
    where = config.listen
    if where.certificate is None or where.key is None:
        return None
    return TLS(where.certificate, where.key, where.client_ca).load()
