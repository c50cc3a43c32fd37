"""What the server is told, what Flower carries, and what a node says a second time: nothing."""

from __future__ import annotations

import copy
import os
import shutil
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flwr.serverapp.strategy import FedAvg

from secagg.errors import PolicyRefused, StorageError
from secagg.integrations import floors
from secagg.integrations.exchange import STEPS
from secagg.integrations.flower import SecAgg, carry, node_mod, state
from secagg.integrations.flower.model import configured
from secagg.integrations.flower.policy import NodePolicy
from secagg.integrations.terms import Terms
from secagg.store.ledger import SqliteLedger
from secagg.wire.frame import Announce, DigestOnly, payload_digest
from tests.integrations.flower.world import (
    FRAMEWORK,
    ConfigRecord,
    LocalGrid,
    Message,
    MetricRecord,
    RecordDict,
    arrays,
    leaves,
    model,
    nodes,
    secured,
    trainer,
)

COUNT, LOSS, ACCURACY = 48611, 2.718281828, 0.57721566
MODEL = {"w": [[0.25, -0.5], [0.125, 1.0]]}
KEYS, SHARES, INPUT, UNMASK = range(4)
RECORDED = not FRAMEWORK


def planted(node: int, received: dict[str, Any]) -> dict[str, Any]:
    return {"w": received["w"] + 0.0625 * (node % 2)}


def evaluate(message: Message, context: Any) -> Message:
    told = {"num-examples": COUNT + context.node_id, "accuracy": ACCURACY}
    return Message(RecordDict({"metrics": MetricRecord(told)}), reply_to=message)


TRAIN = trainer(
    planted, lambda node: COUNT + node, train_loss=lambda node: LOSS, secret=lambda node: LOSS
)


def grid_of(folder: Path, count: int = 4) -> LocalGrid:
    return LocalGrid(nodes(count, folder, secured(TRAIN, evaluate)))


def strategy_of(**given: Any) -> SecAgg:
    return SecAgg(FedAvg(), clip=0.5, max_weight=1 << 20, **given)


def started(folder: Path, exchanges: int) -> tuple[SecAgg, LocalGrid, list[Message]]:
    """A round that has done so many of its exchanges, and what the next one asks."""
    grid, strategy = grid_of(folder), strategy_of()
    asked: list[Message] = []

    def until(messages: Any, *, timeout: float | None = None) -> list[Message]:
        messages = list(messages)
        if grid.exchange == exchanges:
            asked.extend(copy.deepcopy(messages))
            return []
        return LocalGrid.send_and_receive(grid, messages)

    grid.send_and_receive = until  # type: ignore[method-assign, assignment]
    strategy.start(grid, model(MODEL), num_rounds=1)
    return strategy, grid, asked


def test_no_message_has_a_count_a_loss_or_a_metric_of_a_node(disk: Path) -> None:
    """Planted values are in no byte of anything that was sent, in training and in evaluation."""
    grid = grid_of(disk)
    given = {"metrics": {"train_loss": 10.0}, "evaluate_metrics": {"accuracy": 1.0}}
    strategy = strategy_of(**given)
    result = strategy.start(grid, model(MODEL), num_rounds=1)
    sent = [leaf for message in grid.log for leaf in leaves(message)]
    assert len(grid.log) == 2 * 4 * 4 * 2
    trained = [model(planted(node, arrays(model(MODEL))))["w"].data[-32:] for node in (1001,)]
    numbers = [n for i in range(4) for n in (COUNT + 1000 + i, LOSS, ACCURACY)]
    words = [repr(n).encode() for n in numbers] + [b"hospital", b"secret", b"notes", *trained]
    words += [struct.pack("<d", number) for number in numbers]
    found = [word for word in words if any(word in leaf for leaf in sent)]
    assert found == []
    asked = grid.log[4 * 2 * 2]
    asked.content = carry.without(asked.content)
    plain = list(leaves(TRAIN(asked, grid.nodes[1001].context)))
    known = [b"secret", b"hospital", repr(COUNT + 1001).encode(), struct.pack("<d", LOSS), *trained]
    assert all(any(word in leaf for leaf in plain) for word in known), "they would be found"
    assert result.train_metrics_clientapp[1]["train_loss"] == pytest.approx(LOSS, abs=1e-5)
    assert set(result.train_metrics_clientapp[1].keys()) == {"train_loss"}


def test_replies_are_frames_and_nothing_else(disk: Path) -> None:
    grid = grid_of(disk)
    strategy_of(evaluate_metrics={"accuracy": 1.0}).start(grid, model(MODEL), num_rounds=1)
    replies = [m for m in grid.log if m.metadata.dst_node_id not in grid.nodes]
    assert len(replies) == 32
    for reply in replies:
        assert set(reply.content.keys()) == {carry.ABOUT, carry.FRAMES}
        assert dict(reply.content[carry.ABOUT].items()) == {"version": 1}


@pytest.mark.parametrize("exchange", [SHARES, INPUT, UNMASK])
def test_what_flower_carries_is_sealed_and_of_this_run_and_node(disk: Path, exchange: int) -> None:
    """Another run's and another node's do not open, nor does one that was changed."""
    _, grid, asked = started(disk, exchange)
    first, second = (grid.nodes[m.metadata.dst_node_id] for m in asked[:2])
    slot = first.context.state[state.SLOT]
    assert set(slot.keys()) == {"session", "blob"} and len(slot["blob"]) > 100
    mine = copy.deepcopy(first.context.state)
    first.context.state = copy.deepcopy(second.context.state)
    assert "does not know the round" in str(first.answer(copy.deepcopy(asked[0])).error.reason)
    first.context.state[state.SLOT]["session"] = slot["session"]
    assert "do not open" in str(first.answer(copy.deepcopy(asked[0])).error.reason)
    first.context.state = copy.deepcopy(mine)
    first.context.run_id += 1
    assert first.answer(copy.deepcopy(asked[0])).has_error()
    first.context.run_id -= 1
    first.context.state = mine
    assert first.answer(asked[0]).has_content()


@pytest.mark.parametrize("exchange", [SHARES, INPUT])
def test_state_that_is_put_back_says_nothing_a_second_time(disk: Path, exchange: int) -> None:
    """Two answers from one blob would be two sets of shares, or two inputs under one mask."""
    _, grid, asked = started(disk, exchange)
    node = grid.nodes[asked[0].metadata.dst_node_id]
    before = copy.deepcopy(node.context.state)
    assert node.answer(copy.deepcopy(asked[0])).has_content()
    node.context.state = before
    node.app = secured(trainer(lambda n, m: {"w": m["w"] + 0.03125}, lambda n: 3))
    refused = node.answer(copy.deepcopy(asked[0]))
    assert refused.has_error() and "its state was put back" in str(refused.error.reason)


def test_the_last_answer_ends_what_flower_carries(disk: Path) -> None:
    """The key of the rows is gone with it: a blob that was kept opens no more."""
    _, grid, asked = started(disk, UNMASK)
    node = grid.nodes[asked[0].metadata.dst_node_id]
    before = copy.deepcopy(node.context.state)
    assert node.answer(copy.deepcopy(asked[0])).has_content()
    assert state.SLOT not in node.context.state
    node.context.state = before
    assert "has ended" in str(node.answer(asked[0]).error.reason)


@pytest.mark.parametrize("exchange", range(4))
@pytest.mark.parametrize("called", STEPS)
def test_a_session_ends_with_the_last_word_whatever_the_server_calls_it(
    disk: Path, exchange: int, called: str
) -> None:
    """An answer under another label neither leaves secrets behind nor ends a session too early. An
    input is given where it is asked for, and its message taken for nothing elsewhere."""
    _, grid, asked = started(disk, exchange)
    node = grid.nodes[asked[0].metadata.dst_node_id]
    before = copy.deepcopy(node.context.state)
    asked[0].content[carry.ABOUT]["step"] = called
    reply = node.answer(copy.deepcopy(asked[0]))
    last = exchange == UNMASK or (exchange < INPUT and called == "input")  # which has no model
    assert reply.has_content() and (state.SLOT in node.context.state) != last
    node.context.state = before
    assert ("has ended" in str(_reason(node.answer(asked[0])))) == (last and exchange > KEYS)


def _reason(reply: Message) -> str:
    return str(reply.error.reason) if reply.has_error() else ""


def announced() -> bytes:
    """A round of three nodes that begins for this one."""
    made = Terms(0.5, 16, 10, dropout=0).plan(3, None, {"loss": 1.0})
    milliseconds = tuple(60_000 for _ in made.phases)
    about = payload_digest(b"")
    nonce = os.urandom(16)
    return Announce(nonce, 0, milliseconds, made.encode(), DigestOnly(about)).encode()


@pytest.mark.parametrize("exchange", [KEYS, SHARES, INPUT, UNMASK])
def test_a_message_is_about_one_round(disk: Path, exchange: int) -> None:
    """Two rounds in one message would have one node's rows, and name one input twice."""
    _, grid, asked = started(disk, exchange)
    node = grid.nodes[asked[0].metadata.dst_node_id]
    own = carry.frames_of(asked[0].content)
    others = {
        "another round": [*own, announced()],
        "in front": [announced(), *own],
        "the same once more": [own[0], own[0]] if exchange == KEYS else [*own, _again(own[0])],
    }
    before = copy.deepcopy(node.context.state)
    for frames in others.values():
        wrong = copy.deepcopy(asked[0])
        wrong.content.update(carry.asking(replace(carry.read(wrong.content), frames=tuple(frames))))
        assert "a message is about one round" in _reason(node.answer(wrong))
        assert node.context.state == before
    assert node.answer(asked[0]).has_content(), "nothing was said, and nothing is lost"


def _again(frame: bytes) -> bytes:
    """An announcement of the round that runs."""
    made = bytearray(announced())
    made[2:18] = frame[2:18]
    return bytes(made)


@pytest.mark.parametrize("exchange", [KEYS, SHARES, INPUT])
def test_floors_are_judged_with_every_message(disk: Path, exchange: int) -> None:
    """Who refuses a round does so however often it is announced, and whenever its floors rose."""
    _, grid, asked = started(disk, exchange)
    node = grid.nodes[asked[0].metadata.dst_node_id]
    node.context.node_config["secagg-max-clip"] = 0.4
    for _ in range(3):
        assert "agrees to 0.4 at most" in _reason(node.answer(copy.deepcopy(asked[0])))
    assert (state.SLOT in node.context.state) == (exchange > KEYS)


@pytest.mark.parametrize("exchange", [SHARES, INPUT, UNMASK])
def test_a_node_whose_disk_refuses_the_mark_does_not_answer(
    disk: Path,
    exchange: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, grid, asked = started(disk, exchange)

    def refuse(*_: Any) -> None:
        raise StorageError("the claim was not stored: No space left on device")

    monkeypatch.setattr(SqliteLedger, "claim_all", refuse)
    for message in asked:
        refused = grid.nodes[message.metadata.dst_node_id].answer(message)
        assert refused.has_error() and "in this client's own log" in str(refused.error.reason)
    assert caplog.text.count("No space left on device") == len(asked)


def _a_file(ledger: Path) -> None:
    ledger.parent.rmdir()
    ledger.parent.touch()


def _open_to_others(ledger: Path) -> None:
    SqliteLedger.open(ledger).close()
    ledger.chmod(0o644)


def _a_copy(ledger: Path) -> None:
    SqliteLedger.open(ledger).close()
    shutil.copy(ledger, ledger.with_name("other"))
    ledger.with_name("other").replace(ledger)


BROKEN: dict[str, Callable[[Path], object]] = {
    "folder is a file": _a_file,
    "no ledger": lambda ledger: ledger.write_bytes(bytes(8192)),
    "is a folder": lambda ledger: ledger.mkdir(),
    "open to others": _open_to_others,
    "a copy": _a_copy,
}


@pytest.mark.parametrize("broken", BROKEN)
def test_where_a_node_keeps_its_ledger_is_nobodys_business(
    disk: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The node's own log has the file, and the server hears that there is something to read."""
    home = disk / "hospital-of-x"
    home.mkdir()
    BROKEN[broken](home / floors.FILE)
    grid = grid_of(home)
    with pytest.raises(PolicyRefused, match="own log; where none is kept yet, give the node"):
        strategy_of().start(grid, model(MODEL), num_rounds=1)
    sent = [leaf for message in grid.log for leaf in leaves(message)]
    assert b"cannot be used" in b"".join(sent) and not any(b"hospital" in leaf for leaf in sent)
    assert caplog.text.count("hospital-of-x") == 4


def test_a_node_without_its_state_is_a_dropout_and_in_the_next_round_again(disk: Path) -> None:
    """As one whose SuperNode was started again."""
    grid, strategy = grid_of(disk), strategy_of()
    counts = []
    grid.fate = lambda exchange, place: bool(
        grid.exchange == 2 and place == 0 and grid.nodes[1000].context.state.clear()
    )
    aggregate = strategy.aggregate_train

    def counted(number: int, replies: Any) -> Any:
        made = aggregate(number, replies)
        counts.append(strategy.last.count if strategy.last else 0)
        return made

    strategy.aggregate_train = counted  # type: ignore[method-assign]
    strategy.start(grid, model(MODEL), num_rounds=2)
    assert counts == [3, 4]


def test_a_round_that_is_announced_twice_is_one_that_is_over(disk: Path) -> None:
    _, grid, asked = started(disk, KEYS)
    node = grid.nodes[asked[0].metadata.dst_node_id]
    assert node.answer(copy.deepcopy(asked[0])).has_content()
    assert "has ended" in str(node.answer(asked[0]).error.reason)


OTHERS: dict[str, Callable[[Message], None]] = {
    "weight": lambda m: m.content[carry.ABOUT].update({"weighted-by": "num_examples"}),
    "model": lambda m: m.content.update({"arrays": model({"w": [[0.0, 0.0], [0.0, 1.0]]})}),
    "configuration": lambda m: m.content["config"].update({"lr": 0.0}),
    "another configuration": lambda m: m.content.update({"more": ConfigRecord({"lr": 0.0})}),
    "metrics": lambda m: m.content.update({"more": MetricRecord({"lr": 0.0})}),
    "round": lambda m: m.content[carry.ABOUT].update({"round": 2}),
    "name of the model": lambda m: m.content.update({"old": m.content.pop("arrays")}),
    "run_config": lambda m: m.content[carry.ABOUT].update({"run-config": configured({})}),
    "group": lambda m: m.metadata.__dict__.update({"group_id" if RECORDED else "_group_id": "7"}),
    "order": lambda m: m.content.update({"arrays": m.content.pop("arrays")}),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_node_that_is_asked_otherwise_than_the_others_says_nothing(
    folder: Path, other: str
) -> None:
    """Its update, or theirs, would tell which it is: where all but one weigh by a metric that is 1,
    the mean is that one's."""
    _, grid, asked = started(folder, INPUT)
    asked[0] = copy.deepcopy(asked[0])
    OTHERS[other](asked[0])
    first, second = (grid.nodes[m.metadata.dst_node_id].answer(m) for m in asked[:2])
    assert "announced another model, configuration or weight" in str(first.error.reason)
    assert second.has_content()


RATE = 0.5


def rated(message: Message, context: Any) -> Message:
    """Trains as the run's configuration says, which comes from the SuperLink and not from the
    message."""
    rate = context.run_config.get("lr", RATE)
    step = trainer(lambda node, m: {"w": m["w"] + rate * (node - 999) / 8}, lambda node: 1)
    made: Message = step(message, context)
    return made


def told(folder: Path, policy: NodePolicy, others: float, **given: Any) -> tuple[SecAgg, LocalGrid]:
    """A round of four nodes, of which all but the first are told another rate."""
    grid = LocalGrid(nodes(4, folder, secured(rated, mod=node_mod(policy))))
    for node in grid.nodes.values():
        node.context.run_config = {"lr": RATE if node.number == 1000 else others}
    strategy = SecAgg(FedAvg(), clip=0.5, max_weight=1, **given)
    with suppress(PolicyRefused):
        strategy.start(grid, model(MODEL), num_rounds=1)
    return strategy, grid


@pytest.mark.parametrize("bound", [True, False])
def test_no_sum_where_nodes_are_told_other_configurations_of_the_run(
    folder: Path, bound: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A rate of 0 for all but one would make the mean that one's own. Where the ServerApp says what
    it has, others refuse; where it does not, those refuse who insist that it does."""
    given: dict[str, Any] = {"run_config": {"lr": RATE}} if bound else {}
    policy = NodePolicy(bound_config=not bound)
    strategy, grid = told(folder, policy, 0.0, **given)
    assert strategy.last is None
    said = [str(m.error.reason) for m in grid.log if m.has_error()]
    words = "another run_config than the server's SecAgg" if bound else "only where it does"
    assert len(said) == (3 if bound else 4) and all(words in one for one in said)
    strategy, _ = told(
        folder / "same", NodePolicy(bound_config=True), RATE, run_config={"lr": RATE}
    )
    assert strategy.last is not None and strategy.last.count == 4


def test_a_server_that_tells_each_node_that_its_own_configuration_is_the_runs(folder: Path) -> None:
    """What a message says of it is part of what the round is about: they share no round."""
    grid = LocalGrid(nodes(4, folder, secured(rated)))
    carried = LocalGrid.send_and_receive

    def lying(messages: Any, *, timeout: float | None = None) -> list[Message]:
        made = [copy.deepcopy(message) for message in messages]
        for message in made:
            config = {"lr": RATE if message.metadata.dst_node_id == 1000 else 0.0}
            grid.nodes[message.metadata.dst_node_id].context.run_config = config
            message.content[carry.ABOUT]["run-config"] = configured(config)
        return carried(grid, made)

    grid.send_and_receive = lying  # type: ignore[method-assign, assignment]
    strategy = SecAgg(FedAvg(), clip=0.5, max_weight=1, run_config={"lr": RATE})
    strategy.start(grid, model(MODEL), num_rounds=1)
    assert strategy.last is None
    said = [str(m.error.reason) for m in grid.log if m.has_error()]
    assert len(said) == 3 and all("announced another model, configuration" in one for one in said)
