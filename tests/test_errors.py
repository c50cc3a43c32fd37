"""Every exception of the packages survives pickle, copy and a process pool as it was raised."""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import pickle  # noqa: TID251
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from typing import Any

import pytest

from secagg.errors import Aborted, BelowThreshold, SecAggError
from secagg.types import AbortReason, Fault, PartyId
from tests import modules

VALUES: dict[str, Any] = {
    "reason": AbortReason.CANCELLED,
    "party": PartyId(3),
    "fault": Fault.LATE,
    "client": 5,
    "code": 7,
}
"""What an __init__ of ours takes, by its parameter's name; everything else is a text."""


def _loaded() -> None:
    for name in modules.names():
        import_module(name)


def _below(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    for sub in kind.__subclasses__():
        if sub.__module__.split(".")[0] in ("secagg", "secagg_protocols"):
            yield sub
        yield from _below(sub)


_loaded()
KINDS = sorted(set(_below(BaseException)), key=lambda kind: (kind.__module__, kind.__qualname__))


def _made(kind: type[BaseException]) -> BaseException:
    if kind.__init__ in (Exception.__init__, AssertionError.__init__):
        error = kind("a text", 2)
    else:
        names = list(inspect.signature(kind).parameters)
        error = kind(*(VALUES.get(name, f"some {name}") for name in names))
    error.extra = {"seen": 1}  # type: ignore[attr-defined]
    error.add_note("while it was tried")
    return error


def _described(error: BaseException) -> tuple[Any, ...]:
    return type(error), str(error), error.args, vars(error), error.__notes__


def _raised(kind: type[BaseException]) -> None:
    raise _made(kind)


def test_the_walk_finds_them() -> None:
    assert {SecAggError, Aborted, BelowThreshold} < set(KINDS)
    assert len(KINDS) >= 30
    own = [kind for kind in KINDS if "__init__" in vars(kind)]
    assert len(own) >= 4, "those that plain pickling would break"


@pytest.mark.parametrize(
    "through",
    [
        *(
            lambda e, p=p: pickle.loads(pickle.dumps(e, p))
            for p in range(pickle.HIGHEST_PROTOCOL + 1)
        ),
        copy.copy,
        copy.deepcopy,
    ],
)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_survives_pickle_and_copy(
    kind: type[BaseException], through: Callable[[Any], Any]
) -> None:
    error = _made(kind)
    assert _described(through(error)) == _described(error)


def test_every_error_crosses_a_process_pool() -> None:
    """An error that does not unpickle breaks the pool of `concurrent.futures`, and hangs the one
    of `multiprocessing`."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        for kind in KINDS:
            with pytest.raises(kind) as caught:
                pool.submit(_raised, kind).result(timeout=60)
            assert _described(caught.value) == _described(_made(kind))


def test_a_class_of_somebody_else_survives_too() -> None:
    """Whatever its __init__ takes: the tree's root does it, not each class."""
    error = Theirs(party=PartyId(4))
    assert _described(pickle.loads(pickle.dumps(error)))[:4] == _described(error)[:4]
    assert copy.deepcopy(error).party == 4


class Theirs(SecAggError):
    def __init__(self, *, party: PartyId) -> None:
        super().__init__(f"party {party} said no")
        self.party = party
        self.add_note("a plug-in's")
