"""Of what the audit tells enough: who may come for which task, under which terms, and who has lied.

Rules B4 and B7 of specs/52-books.md, §4 of specs/51-admission.md.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from secagg.crypto import sign
from secagg.rights import ServiceRole
from secagg.rounds.admissions import CONSOLE, Actor, Change
from secagg.service.books import OWNER, Books
from secagg.types import Seed
from secagg.wire.hello import Service

NOW = 1_800_000_000
COLLECTOR, CLIENT = ServiceRole.COLLECTOR, ServiceRole.CLIENT
SERVICE = Service("sum.hospital.example", sign.public_key(Seed(bytes(32))))
ANN = Actor("ann", ServiceRole.ADMIN)


@pytest.fixture
def books() -> Books:
    return Books(SERVICE)


def invited(books: Books, name: str, role: ServiceRole, *tasks: str) -> None:
    url, ca = "https://sum.hospital.example", bytes(32)
    change, _ = books.admissions.invite(name, role, tasks, CONSOLE, NOW, url=url, ca=ca)
    books.change(change, NOW)


def last(books: Books, change: Change) -> dict[str, object]:
    books.change(change, NOW)
    line = books.lines()[-1]
    return {"who": line.who, "deed": line.deed.value, **line.what}


def test_who_may_come_for_which_task(books: Books) -> None:
    """An admin that makes itself a collector, or lets somebody have one task more."""
    invited(books, "ann", ServiceRole.ADMIN)
    assert "tasks" not in books.lines()[-1].what
    found = last(books, books.admissions.appoint("ann", COLLECTOR, ["mortality"], ANN))
    said = {"name": "ann", "role": "collector", "tasks": "mortality"}
    assert found == {"who": "ann", "deed": "role", **said}
    more = last(books, books.admissions.appoint("ann", COLLECTOR, ["mortality", "sepsis"], ANN))
    assert more["tasks"] == "mortality sepsis"


def test_more_tasks_than_a_word_has_room_for(books: Books) -> None:
    many = [f"{number:02}" + 62 * "x" for number in range(64)]
    invited(books, "site-1", CLIENT, *many)
    what = books.lines()[-1].what
    assert what["tasks"] == " ".join(many[:3]) and what["tasks_more"] == 61


def test_nobody_honest_is_convicted(books: Books) -> None:
    """Of evidence that names no key, or one that is nobody's here."""
    for key, whose in ((b"", None), (bytes(32), None), (SERVICE.key, OWNER)):
        books.convicted("mortality", bytes(16), key, NOW)
        assert books.lines()[-1].what["name"] == whose
    invited(books, "site-1", CLIENT, "mortality")
    key = sign.public_key(Seed(b"1" * 32))
    entry = replace(books.admissions.entries["site-1"], key=key)
    books.admissions = replace(books.admissions, entries={"site-1": entry})
    books.convicted("mortality", bytes(16), key, NOW)
    assert books.lines()[-1].what["name"] == "site-1"
