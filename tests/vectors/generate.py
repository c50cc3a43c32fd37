"""Writes the test vectors of specs/vectors/v1: `python tests/vectors/generate.py`.

Everything is deterministic: randomness is SHAKE-256 of a name, and recorded in the files, so that
running this again gives the same bytes. Vectors are frozen: a change of one is a change of the
specification, and takes a new version.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# the second implementation draws what no library can be told to, such as HPKE's ephemeral keys
sys.path.insert(0, str(Path(__file__).parents[2] / "specs" / "reference"))
import active_alone
import active_greeting
import active_judged
import active_refusals
import active_rounds
import active_told
import additive_alone
import additive_refusals
import alone
import refusals
import service_alone
import spending
import stored
from additive_scripts import LEADER, REPORT, Batch, make_task
from additive_scripts import Honest as HonestBatch
from operations import Data
from scripts import (
    MIXED,
    UPDATE,
    Honest,
    Round,
    Script,
    Tamper,
    complete,
    flipped,
    make_plan,
    regular,
    shake,
    square,
)

from secagg_protocols.plainsum import PlainSumParams

FOLDER = Path(__file__).parents[2] / "specs" / "vectors" / "v1"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    written = {f"{name}.json": dumps(scenario) for name, scenario in scenarios()}
    for path in FOLDER.glob("*.json"):
        if path.name not in written:
            path.unlink()
    for name, text in written.items():
        (FOLDER / name).write_text(text)
    print(f"{len(written)} files, {sum(map(len, written.values())):,} bytes")


def scenarios() -> Iterator[tuple[str, Data]]:
    yield from rounds()
    yield from refusals.scenarios(Honest(Round(square(), "n4").run()))
    yield from alone.scenarios(shake)
    yield from stored.scenarios(shake, alone.scenario_of)
    yield from spending.scenarios(shake, alone.scenario_of)
    yield from batches()
    yield from additive_refusals.scenarios()
    yield from additive_alone.scenarios(shake)
    yield from active_rounds.scenarios()
    yield from active_refusals.scenarios()
    yield from active_alone.scenarios(shake, alone.scenario_of)
    yield from service_alone.scenarios(shake, alone.scenario_of)
    yield from active_judged.scenarios(alone.scenario_of)
    yield from active_greeting.scenarios(shake, alone.scenario_of)
    yield from active_told.scenarios(alone.scenario_of)


def rounds() -> Iterator[tuple[str, Data]]:
    accept = "accept"
    yield (
        "round-n4-complete",
        Round(complete(4, "1/4"), "n4").run().scenario("four clients, nobody drops", "§7", accept),
    )
    early = frozenset({(1, "advertise-keys"), (3, "share-keys")})
    yield (
        "round-n5-early-drops",
        Round(complete(5, "2/5"), "n5", lost=early)
        .run()
        .scenario(
            "party 1 never advertises, party 3 never shares: indices are not party ids",
            "§1",
            accept,
        ),
    )
    yield (
        "round-n5-late-drops",
        Round(complete(5, "2/5"), "n5", lost=frozenset({(0, "masked-input"), (4, "unmask")}))
        .run()
        .scenario("party 0 drops before its input, party 4 before its answer", "§5", accept),
    )
    yield (
        "round-n5-late-party",
        Round(complete(5, "2/5"), "n5", late=frozenset({(2, "masked-input")}))
        .run()
        .scenario("party 2 is late with its input: dropped as its phase closes", "§9 S1", accept),
    )
    yield (
        "round-n8-k4-t3",
        Round(regular(3, 1), "n8", lost=frozenset({(6, "masked-input"), (2, "unmask")}))
        .run()
        .scenario("a 4-regular graph; one drops before its input, one after", "§3", accept),
    )
    yield (
        "round-n8-k4-u1-of-7",
        Round(regular(2, 2), "n8", lost=frozenset({(0, "advertise-keys"), (5, "share-keys")}))
        .run()
        .scenario("a 4-regular graph over the seven that came", "§3", accept),
    )
    yield (
        "round-mixed-segments",
        Round(complete(4, "1/4", MIXED, 100), "mixed", lost=frozenset({(2, "masked-input")}))
        .run()
        .scenario("segments of 4 widths, weight lane, count lanes; one drops", "§5", accept),
    )
    # byte 36 is the first of the first sealed pair: U2 of four takes one byte
    spoilt = {("server", 1, 4): flipped(36)}
    yield (
        "round-tampered-ciphertext",
        Round(complete(4, "1/4"), "n4", tampered=spoilt)
        .run()
        .scenario(
            "party 1 cannot open party 0's pair, says so, and the round goes on", "§8 C6", accept
        ),
    )
    yield from crooked_rounds()
    yield (
        "round-everything-twice",
        Round(square(), "n4", repeated=True)
        .run()
        .scenario("every message comes twice: the same bytes, the same reply", "§8 C1", accept),
    )
    yield (
        "round-input-last",
        Round(square(), "n4", repeated=True, input_last=True)
        .run()
        .scenario(
            "the input comes after the share list: the masked vector answers it", "§1", accept
        ),
    )
    sum_in_clear = make_plan(PlainSumParams(3, 2), UPDATE, "1/3")
    yield (
        "plainsum-n3",
        Round(sum_in_clear, "plainsum", lost=frozenset({(1, "upload")}))
        .run()
        .scenario("the sum in the clear (specs/11-plainsum.md); one drops", "§3", accept),
    )


def crooked_rounds() -> Iterator[tuple[str, Data]]:
    """Wrong shares, and what becomes of them. t = 3 of five; a share of dealer v begins at byte
    35 + 40 v of an answer, and a pair for the holder in place i at byte 67 + 104 i."""

    def round_of(tampered: dict[tuple[Any, Any, int], Tamper], **more: Any) -> Script:
        return Round(complete(5, "2/5"), "n5", tampered=tampered, **more).run()

    def wrong(dealer: int) -> Tamper:
        return flipped(35 + 40 * dealer + 8 * dealer + 7)

    about_two = {(0, "server", 7): twice(wrong(1), wrong(4))}
    about = "party 0 answers wrong shares of two dealers: the sum is exact, the pairs are named"
    yield "round-wrong-shares", round_of(about_two).scenario(about, "§9 S7", "accept")

    everything = {(1, "server", 7): twice(*map(wrong, range(5)))}
    about = "party 4 is lost, party 1 answers wrong shares only: tried without it after the second"
    lossy = round_of(everything, lost=frozenset({(4, "masked-input")}))
    yield "round-a-holder-lies-about-all", lossy.scenario(about, "§9 S7", "accept")

    two_lies = {(party, "server", 7): wrong(3) for party in (0, 4)}
    about = "two of five shares are wrong: the secret is found by trying, and nobody is named"
    yield (
        "round-wrong-shares-beyond-counting",
        round_of(two_lies).scenario(about, "§9 S7", "accept"),
    )

    garbage = {(1, "server", 3): twice(flipped(67), flipped(67 + 104 * 2))}
    about = "two cannot open what party 1 sealed: it is its fault"
    yield "round-a-dealer-of-garbage", round_of(garbage).scenario(about, "§9 S9", "accept")


def twice(*changes: Tamper) -> Tamper:
    """One change after the other."""

    def all_of_them(message: str) -> str:
        for change in changes:
            message = change(message)
        return message

    return all_of_them


def batches() -> Iterator[tuple[str, Data]]:
    """Whole batches of additive sums."""
    task = make_task("a3")
    yield (
        "additive-n4-m3",
        Batch(task, "a3", lost=(1,))
        .run()
        .scenario("three servers, four clients, of whom one never comes", "§6"),
    )
    mixed = make_task("d2", 3, 2, direct=True, dropout="0/1", fields=MIXED, weight=100, epoch=0)
    yield (
        "additive-direct-mixed",
        Batch(mixed, "d2", batch=7, backwards=True)
        .run()
        .scenario("direct mode, helpers hear first; segments of 4 widths, weights", "§4"),
    )
    twice = make_task("a2", 3, 2, dropout="0/1")
    yield (
        "additive-everything-twice",
        Batch(twice, "a2", repeated=True)
        .run()
        .scenario("every message comes twice: the same effect", "§8 A3"),
    )
    restarts = {"reports": (LEADER, "server-1"), "agreed": ("server-1",), "locked": (LEADER,)}
    yield (
        "additive-restarts",
        Batch(twice, "a2", batch=1, restarts=restarts)
        .run()
        .scenario("every server starts anew from its rows, in every stage", "§9"),
    )
    spoilt = additive_refusals.spoilt_report(HonestBatch(Batch(task, "a3").run()))
    yield (
        "additive-rejected",
        Batch(task, "a3", tampered={("1", LEADER, REPORT): lambda _: spoilt})
        .run()
        .scenario(
            "party 1's report is replaced on the way by one that helper 2 rejects, so all do, and "
            "whose receipts its client refuses; the rest is summed",
            "§7",
            "RemoteProtocolError",
        ),
    )


def dumps(scenario: Data) -> str:
    """One operation a line, so that a change of a vector reads as a change of one step."""
    head = {k: v for k, v in scenario.items() if k != "operations"}
    lines = [f" {json.dumps(k)}: {json.dumps(v)}," for k, v in head.items()]
    steps = ",\n".join(f"  {json.dumps(step)}" for step in scenario["operations"])
    return "\n".join(["{", *lines, ' "operations": [', steps, " ]", "}"]) + "\n"


if __name__ == "__main__":
    main()
