"""The demo with a server that lies: what clients do, and that an honest one has its sums."""

from __future__ import annotations

import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from secagg.cli import app
from secagg.demo import active
from secagg.demo.result import Progress
from secagg.plans import choose
from tests.active import COMMITTEE, SERVER_SEED, Cast
from tests.cli import contract

SMALL = ["--clients", "6", "--seed", "3", "--corrupt", "0.1", "--dropout", "0.2"]


def shown(*more: str) -> tuple[int, dict[str, object]]:
    done = CliRunner().invoke(app, ["demo", "--adversary", "active", "--json", *SMALL, *more])
    return done.exit_code, json.loads(done.stdout)


def test_an_honest_server_has_exact_sums() -> None:
    code, figures = shown("--rounds", "2")
    contract.check("demo", figures)
    assert code == 0 and figures["exact"] is True
    assert (figures["rounds"], figures["cheat"]) == (2, None)
    assert figures["accuracy"] == pytest.approx(figures["plain_accuracy"], abs=0.01)


@pytest.mark.parametrize("cheat", ["split", "swap", "lie"])
def test_a_lying_server_has_nothing_and_every_client_says_why(cheat: str) -> None:
    """T3, T4, T5: no share is opened, and no client takes part to the end."""
    code, figures = shown("--rounds", "1", "--cheat", cheat)
    contract.check("demo", figures)
    assert code == 0
    assert (figures["rounds"], figures["cheat_answered"], figures["cheat_sum"]) == (1, 0, False)
    refused = figures["cheat_refused"]
    assert isinstance(refused, dict) and len(refused) == 6
    word = "signed by it" if cheat == "swap" else "survivor set"
    assert sum(word in why for why in refused.values()) >= 5


@pytest.mark.parametrize("cast", [Cast(), Cast(COMMITTEE)], ids=["all sign", "a committee"])
@pytest.mark.parametrize("cheat", ["split", "swap", "lie"])
def test_these_servers_do_lie(cheat: str, cast: Cast) -> None:
    """Each says what its name says, and signs it: no client refuses for a missing signature."""
    from secagg.errors import Aborted
    from secagg.mask import add_streams
    from secagg.types import SERVER
    from secagg_protocols.secagg import SECAGG

    network = cast.network()
    make = SECAGG.lies()[cheat]
    network.servers[SERVER] = make(cast.session, expander=add_streams, signing=SERVER_SEED)
    with pytest.raises(Aborted):
        network.run()
    sets = {m.data for m in network.sent if m.data[2] == 9}
    assert len(sets) == (0 if cheat == "swap" else 2)
    assert network.refusals and not any("valid" in str(e) for e in network.refusals.values())


def test_a_promise_that_is_broken_is_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo can fail: it does where a client opens a share, or the server has a sum."""
    monkeypatch.setattr("secagg_protocols.secagg.active.lying._KINDS", _honest())
    code, figures = shown("--rounds", "1", "--cheat", "lie")
    assert code == 1 and figures["cheat_sum"] is True


def _honest() -> dict[str, object]:
    from secagg_protocols.secagg.active.server import ActiveServer

    return {"lie": ActiveServer}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cheat", "lie"], "--adversary active"),
        (["--adversary", "active", "--cheat", "steal"], "split"),
        (["--adversary", "passive"], "adversary"),
    ],
)
def test_what_it_refuses(arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(app, ["demo", *SMALL, *arguments])
    assert done.exit_code == 2 and words in done.output


def test_it_says_what_the_server_did_and_what_came_of_it() -> None:
    progress, console = Progress(), Console(width=100, record=True, quiet=True)
    result = active.run(
        active.Settings(clients=6, rounds=1, cheat="swap", corrupt="0.1", dropout="0.2"), progress
    )
    console.quiet = False
    active.summarize(result, progress, console)
    text = " ".join(console.export_text().split())
    assert "keys of its own in the place of client 0's" in text
    assert "0 of 6 clients opened a share" in text and "no sum" in text


def test_every_lie_has_words() -> None:
    plan = choose.plan(
        clients=6, fields={"x": active.FixedPoint(4, 1.0, 8)}, adversary="active", dropout="0.2"
    )
    assert active.LIES.keys() == plan.info.lies().keys()
