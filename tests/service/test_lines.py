"""The log of a service: its events are those of the list, and no line has a secret. That every line
is of an event is seen in tests/test_layering.py."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import numpy as np
import pytest

import secagg
from secagg.cli.logs import Level, configure
from secagg.drive.participant import Participant
from secagg.plans.terms import Terms
from secagg.rounds.client import ClientRounds
from secagg.rounds.offer import Consent, Contribution
from secagg.service.attending import Caller
from secagg.service.desk import find_token
from secagg.service.serving import Serving, opened
from secagg.watch import Event
from tests.service import place as places
from tests.service.place import LEAST, LENGTH, Place, enrol, name, seed, site

VALUE = 7_654_321
"""That nothing else is."""


def test_every_event_is_written_somewhere() -> None:
    sources = [
        path.read_text()
        for path in Path(secagg.__file__).parent.rglob("*.py")
        if path.name != "watch.py"
    ]
    for event in Event:
        assert any(f"Event.{event.name}" in source for source in sources), event


async def attended(serving: Serving, number: int, terms: Terms, timeout: float = 30.0) -> None:
    """A round of a site whose values nobody may see."""
    caller = Caller(site(serving, number), seed(number))
    values = np.full(LENGTH, VALUE, np.int64)
    rounds = ClientRounds(Consent(terms=terms))
    given = Contribution({"update": values})
    participant = Participant(rounds, lambda offer: given, most=1, around=caller.around)
    (outcome,) = await caller.stay(participant, 1, timeout=timeout)
    assert outcome.included


async def test_no_secret_is_in_the_log_of_a_whole_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """At the lowest level, as `serve --config --log-json` writes it: of the service, of its sites,
    and of those who are refused."""
    terms = Terms.of({"update": secagg.Integer(LENGTH, max=10**7)}, (4, 5), corrupt=0, dropout=0.2)
    monkeypatch.setattr(places, "TERMS", terms)
    place = Place.made(tmp_path / "service")
    before = logging.getLogger("secagg").level
    configure(Level.DEBUG, as_json=True)
    try:
        async with opened(place.config()) as serving:
            _, token = find_token(serving.config.state)
            for number in range(1, LEAST + 1):
                await enrol(serving, number)
            async with asyncio.timeout(60):
                sites = range(1, LEAST + 1)
                await asyncio.gather(*(attended(serving, number, terms) for number in sites))
            with pytest.raises(secagg.errors.TransportError):
                await attended(serving, 9, terms, timeout=0.1)
    finally:
        configure()
        logging.getLogger("secagg").setLevel(before)
    text = capfd.readouterr().err
    told = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    events = {one["event"] for one in told if "event" in one}
    assert {"round-ended", "link-refused"} <= events <= set(Event)
    keys = (place.folder / "tls" / "key.pem").read_text().splitlines()[1:-1]
    identity = (place.folder / "state" / "server.key").read_bytes()
    secrets = [token, *keys, str(VALUE), str(LEAST * VALUE), identity.hex(), "secagg1-"]
    for number in (*range(1, LEAST + 1), 9):
        secrets += [seed(number).expose().hex(), repr(seed(number).expose())]
    for one in secrets:
        assert one not in text
    assert name(1) not in json.dumps([one for one in told if one.get("event") != "link-refused"])
