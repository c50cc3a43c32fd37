"""Who asks something of a service, and whether it may: the routes of its console, with the action
that each takes (specs/51-admission.md, rules W5 and W6).

What is not in the tables here is refused to everybody, and each action is somebody's by the table
of `secagg.rights`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from secagg.errors import PolicyRefused
from secagg.rights import RIGHTS, Action, demand
from secagg.rounds.admissions import CONSOLE, Actor
from secagg.rounds.visitors import Session
from secagg.service.page import FILES
from secagg.service.paths import (
    EVENTS,
    HEALTH,
    LOGIN,
    LOGOUT,
    METRICS,
    READY,
    REGISTER,
    RESULTS,
    ROSTERS,
    SESSION,
    STATUS,
)
from secagg.shown import short


class Who(Enum):
    """Of routes that ask for no action."""

    ANYBODY = "anybody"
    """It shows nothing of anybody, or judges by itself what it is given."""
    SOMEBODY = "somebody"
    """Whoever has a session: it is about that, or the word that is said decides (WORDS)."""


ROUTES: Mapping[tuple[str, str], Action | Who] = MappingProxyType(
    {
        **{("GET", path): Who.ANYBODY for path in FILES},
        ("GET", HEALTH): Who.ANYBODY,
        ("GET", READY): Who.ANYBODY,
        ("GET", METRICS): Who.ANYBODY,
        ("POST", LOGIN): Who.ANYBODY,
        ("POST", SESSION): Who.ANYBODY,
        ("GET", SESSION): Who.SOMEBODY,
        ("POST", LOGOUT): Who.SOMEBODY,
        ("POST", REGISTER): Who.SOMEBODY,
        ("GET", STATUS): Action.COUNTS,
        ("GET", EVENTS): Action.PAGE,
        ("GET", RESULTS): Action.RESULTS,
        ("POST", ROSTERS): Action.APPROVE,
    }
)
"""By method and path, as the application has it."""
WORDS: Mapping[str, Action] = MappingProxyType(
    {
        "invite": Action.INVITE,
        "approve": Action.APPROVE,
        "revoke": Action.REVOKE,
        "appoint": Action.APPOINT,
        "list": Action.NAMES,
        "wanted": Action.NAMES,
        "open": Action.OPEN,
        "pause": Action.PAUSE,
        "resume": Action.PAUSE,
        "cancel": Action.CANCEL,
        "drain": Action.DRAIN,
        "audit": Action.CONFIGURE,
        "results": Action.RESULTS,
        "acknowledge": Action.ACKNOWLEDGE,
        "remove": Action.ACKNOWLEDGE,
        "end-epoch": Action.END_EPOCH,
        "login": Action.PAGE,
    }
)
"""Of the register, by what it is told to do."""
Judge = Callable[[bytes, Action, str | None], Actor]


@dataclass(frozen=True, slots=True)
class Asker:
    """session: None is the owner, who may everything. judge: whose key it is, where that may do
    this for this task now, or PolicyRefused (`secagg.rounds.admissions.Admissions.actor`); it is
    asked at each step, as a body takes its time to come. tasks: those that there are, or were."""

    session: Session | None
    judge: Judge = field(repr=False)
    tasks: tuple[str, ...] = ()

    __repr__ = short

    @property
    def role(self) -> str:
        return "owner" if self.session is None else self.session.role.word

    @property
    def owner(self) -> bool:
        return self.session is None

    @property
    def may(self) -> frozenset[Action]:
        """By its role."""
        return frozenset(Action) if self.session is None else RIGHTS[self.session.role]

    def demand(self, action: Action) -> Actor:
        """Whoever may do this, for the audit; of a role of tasks, for one of these at least. Raises
        PolicyRefused."""
        session = self.session
        if session is None:
            return CONSOLE
        demand(session.role, action)
        if session.key is None:
            return Actor(CONSOLE.name, session.role)
        if not session.role.of_tasks:
            return self.judge(session.key, action, None)
        for task in self.tasks:
            if self.sees(action, task):
                return self.judge(session.key, action, task)
        raise PolicyRefused("this key may not do that here")

    def sees(self, action: Action, task: str) -> bool:
        """Whether that is so for this task."""
        session = self.session
        if session is None:
            return True
        if action not in self.may or session.key is None:
            return action in self.may
        try:
            self.judge(session.key, action, task)
        except PolicyRefused:
            return False
        return True
