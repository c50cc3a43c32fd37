"""A service that runs reads its configuration again: all of it, or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import secagg
from secagg.errors import ParameterError
from secagg.plans.terms import Terms
from secagg.service import audit
from secagg.service.config import Bounds, Config, Listen, Pursued, Retention
from secagg.service.serving import COPY, Serving, opened
from tests.service.place import LEAST, TASK, Place, attend, enrol

WIDER = Terms.of({"update": secagg.Integer(16, max=9)}, (4, 5), corrupt=0, dropout=0.2)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.made(tmp_path / "service")


def lines(place: Place) -> list[audit.Line]:
    return audit.read((place.folder / "state" / COPY).read_text())


async def reloaded(serving: Serving, config: Config) -> bool:
    done = serving.reload(lambda: config)
    await serving.write([])
    return done


async def test_tasks_limits_and_retention_are_those_of_the_file(place: Place) -> None:
    (place.folder / "wider.task").write_bytes(WIDER.encode())
    config = place.config()
    async with opened(config) as serving:
        for number in range(1, LEAST + 1):
            await enrol(serving, number)
        (task,) = config.tasks
        wider = Pursued("wider", place.folder / "wider.task", task.clients)
        limits = replace(config.limits, links=7, enrolments=1, hello=1.0)
        kept = Retention(results=10.0, audit=20.0)
        more = replace(config, tasks=(task, wider), limits=limits, retention=kept)
        assert await reloaded(serving, more)
        assert serving.config is more and serving.terms.keys() == {TASK, "wider"}
        assert serving.gate.limits.links == 7
        async with asyncio.timeout(30):
            await asyncio.gather(*(attend(serving, number) for number in range(1, LEAST + 1)))
        assert await reloaded(serving, replace(more, tasks=(wider,)))
        assert serving.terms.keys() == {"wider"}
        (done,) = serving.books.results.all()
        assert done.task == TASK, "what came of it is kept"
    said = [dict(line.what) for line in lines(place) if line.deed is audit.Deed.RELOADED]
    others = ({"limits_changed": changed, "retention_changed": changed} for changed in (1, 0))
    assert said == [
        {"tasks_new": 1, "tasks_gone": 0, "tasks_changed": 0, **next(others)},
        {"tasks_new": 0, "tasks_gone": 1, "tasks_changed": 0, **next(others)},
    ]


async def test_another_file_of_the_same_name_is_a_change_that_the_audit_has(place: Place) -> None:
    """Whoever promises less by it does not do so in silence."""
    model = place.folder / "model"
    model.write_bytes(b"one")
    config = place.config(payload=model)
    async with opened(config) as serving:
        assert await reloaded(serving, config)
        model.write_bytes(b"two")
        assert await reloaded(serving, config)
        config.tasks[0].plan.write_bytes(WIDER.encode())
        assert await reloaded(serving, config)
    said = [dict(line.what) for line in lines(place) if line.deed is audit.Deed.RELOADED]
    assert [one["tasks_changed"] for one in said] == [0, 1, 1]


def moved(config: Config, **parts: Any) -> Config:
    return replace(config, **parts)


FIXED: dict[str, Callable[[Config], Config]] = {
    "[service] name": lambda c: moved(c, name="other.example"),
    "[service] state": lambda c: moved(c, state=c.state.parent),
    "[listen] address": lambda c: moved(c, listen=replace(c.listen, port=1)),
    "[listen] certificate": lambda c: moved(c, listen=Listen("127.0.0.1", 0)),
    "[admin] address": lambda c: moved(c, admin=("127.0.0.1", 2)),
    "[limits] ping": lambda c: moved(c, limits=replace(c.limits, ping=1.0)),
    "[limits] pong": lambda c: moved(c, limits=replace(c.limits, pong=1.0)),
    "[limits] wal": lambda c: moved(c, limits=replace(c.limits, wal=4096)),
    "no phase": lambda c: moved(c, tasks=(replace(c.tasks[0], deadlines={"default": 1, "x": 1}),)),
    "cannot be read": lambda c: moved(c, tasks=(replace(c.tasks[0], plan=c.state / "none"),)),
    "is empty": lambda c: moved(c, tasks=()),
}


async def test_where_one_thing_is_refused_nothing_changes(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """Each time the limits are others as well, and stay what they were."""
    config = place.config()
    async with opened(config) as serving:
        assert serving.credentials is not None
        before = serving.credentials.context, serving.gate.limits, serving.books.audit.head
        for words, change in FIXED.items():
            caplog.clear()
            other = replace(
                config, limits=replace(config.limits, links=3), retention=Retention(1.0)
            )
            assert not await reloaded(serving, change(other))
            (line,) = caplog.records
            assert words in caplog.text and line.event == "reload-refused"  # type: ignore[attr-defined]
            found = serving.credentials.context, serving.gate.limits, serving.books.audit.head
            assert found == before and serving.config is config
        assert not serving.reload(unreadable)
        assert "[limits] is wrong" in caplog.text


def unreadable() -> Config:
    raise ParameterError("[limits] is wrong")


async def test_a_certificate_of_other_files_is_that_of_those_who_come(place: Place) -> None:
    config = place.config()
    async with opened(config) as serving:
        tls = place.folder / "tls"
        for name in ("chain.pem", "key.pem"):
            (tls / f"new-{name}").write_bytes((tls / name).read_bytes())
            (tls / f"new-{name}").chmod(0o600)
        listen = replace(config.listen, certificate=tls / "new-chain.pem", key=tls / "new-key.pem")
        assert await reloaded(serving, replace(config, listen=listen))
        assert serving.credentials is not None
        assert serving.credentials.files.certificate == tls / "new-chain.pem"
        assert serving.reload()


def test_what_a_configuration_bounds_is_in_force_or_said_to_be_fixed(place: Place) -> None:
    """A limit that is new in [limits] has to be in one of the two."""
    fixed = {"ping", "pong", "wal"}
    read_where_it_counts = {"viewers", "events", "disk_reserve", "enrolments"}
    bounds = replace(Bounds(), **{name: 1 for name in Bounds.__slots__})
    from secagg.service.settings import limits_of

    ones = limits_of(bounds, [WIDER])
    held = {"links", "strangers", "tls", "header", "hello", "stranger_message", "unfinished"}
    held |= {"fragments", "unsent", "links_each", "frames"}
    assert held | fixed | read_where_it_counts == set(Bounds.__slots__)
    assert (ones.links, ones.passing, ones.handshake, ones.opening, ones.hello) == (1, 1, 1, 1, 1)
    assert (ones.stranger, ones.unfinished, ones.fragments, ones.backlog) == (1, 1, 1, 1)
    assert (ones.links_each, ones.ping, ones.pong) == (1, 1, 1)
    assert ones.frames == len(WIDER.plan(5, 5).phase_names)
