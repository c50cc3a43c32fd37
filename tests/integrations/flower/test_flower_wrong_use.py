"""What does not fit is refused, with what would do."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.serverapp import strategy as strategies

from secagg.errors import InputError, ParameterError, PolicyRefused
from secagg.integrations.flower import NodePolicy, SecAgg, carry, node_mod, secagg_mod
from tests.integrations.flower.world import (
    FRAMEWORK,
    LocalGrid,
    leaves,
    modded,
    model,
    nodes,
    secured,
    trainer,
)

MODEL = {"w": np.zeros(3, np.float32)}
ROOT = Path(__file__).parent.parent.parent.parent
TRAIN = trainer(lambda node, m: {"w": m["w"] + np.float32(0.1)}, lambda node: 2)


def secure(strategy: Any = None, **given: Any) -> SecAgg:
    return SecAgg(strategy or strategies.FedAvg(), **{"clip": 0.5, "max_weight": 10, **given})


def run(
    folder: Path | str, app: Any, strategy: Any = None, start: Any = MODEL, **config: Any
) -> LocalGrid:
    grid = LocalGrid(nodes(4, folder, app, config))
    (strategy or secure()).start(grid, model(start), num_rounds=1)
    return grid


@pytest.mark.parametrize(("dropout", "fewest"), [(0.2, 4), (0, 3)])
def test_no_round_begins_with_fewer_nodes_than_a_secure_one_needs(
    folder: Path, caplog: pytest.LogCaptureFixture, dropout: float, fewest: int
) -> None:
    """Flower's strategies begin with the first two, unless they are told to wait."""
    caplog.set_level("INFO")
    own = strategies.FedAvg()
    own.min_available_nodes, own.min_train_nodes, own.min_evaluate_nodes = 2, 3, 9
    strategy = secure(own, dropout=dropout)
    run(folder, secured(TRAIN), strategy)
    found = own.min_available_nodes, own.min_train_nodes, own.min_evaluate_nodes
    assert found == (fewest, fewest, 9) and strategy.last is not None
    assert f"needs {fewest} nodes, and waits for them: min_available_nodes" in caplog.text


def test_a_plain_client_in_a_secure_round(folder: Path) -> None:
    def plain(message: Message, context: Any) -> Message:
        return Message(RecordDict({"arrays": model(MODEL)}), reply_to=message)

    with pytest.raises(PolicyRefused, match=r"4 x .*ClientApp\(mods=\[secagg_mod\]\)"):
        run(folder, modded(train=plain))


SAID: dict[str, tuple[int, str, str]] = {
    "the app raised": (2, "<class 'KeyError'>:<'1357'>", r"KeyError.*mods=\[secagg_mod\]"),
    "as in a simulation": (
        2,
        "<class 'ray.exceptions.RayTaskError(X)'>:<'\n1357\n'>",
        r"RayTaskError\(X\).*mods=\[secagg_mod\]",
    ),
    "another mod": (6, "fixedclipping_mod requires", "come after it .fixedclipping_mod requires"),
    "no app": (1, "An exception was raised when attempting to load", "attempting to load"),
    "anything": (0, "<class 'ValueError'>:<'1357'>", "ValueError"),
    "long": (0, "x" * 1000 + "\n1357", "x" * 200),
}


@pytest.mark.parametrize("said", SAID)
def test_what_else_answers_in_the_place_of_the_mod(folder: Path, said: str) -> None:
    """An app without it raises in code of its own, which knows nothing of secure rounds: what it
    lacks can only be said here, and the text of its exception, which may have anything in it, is
    not repeated."""
    code, reason, words = SAID[said]

    def other(message: Message, context: Any, call_next: Any) -> Message:
        if context.node_id == 1000:
            return Message(Error(code, reason), reply_to=message)
        return Message(Error(7, "Invalid FAB"), reply_to=message)

    with pytest.raises(PolicyRefused, match=f"3 x Invalid FAB; 1 x .*{words}") as refused:
        run(folder, modded(other, train=TRAIN))
    assert "1357" not in str(refused.value) and len(str(refused.value)) < 500


def test_the_mod_twice_among_the_mods(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first is asked, and the other finds nothing that it would answer."""
    run(folder, modded(node_mod(), secagg_mod, train=TRAIN))
    twice = "is twice among the mods of this ClientApp: leave one"
    assert f"4 lost; nodes say: 4 x secagg: secagg_mod, or node_mod(...), {twice}" in caplog.text


@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_a_plain_strategy_on_secure_nodes(folder: Path, kind: str) -> None:
    """Neither the app's function runs nor does anything of it leave."""
    [node] = nodes(1, folder, secured(None, None))
    record = RecordDict({"arrays": model(MODEL)})
    refused = node.answer(Message(record, dst_node_id=node.number, message_type=kind))
    assert refused.has_error() and "put SecAgg(strategy, ...)" in str(refused.error.reason)
    assert ("evaluate_metrics" in str(refused.error.reason)) == (kind == "evaluate")


def test_queries_are_the_applications_own(folder: Path) -> None:
    def query(message: Message, context: Any) -> Message:
        return Message(RecordDict({}), reply_to=message)

    [node] = nodes(1, folder, modded(secagg_mod, train=None, evaluate=query))
    asked = Message(RecordDict({}), dst_node_id=node.number, message_type="query.hello")
    assert node.answer(asked).has_content()


@pytest.mark.parametrize("name", ["Krum", "Bulyan", "FedMedian", "FedTrimmedAvg", "QFedAvg"])
def test_strategies_that_look_at_single_replies(name: str) -> None:
    kind = getattr(strategies, name)
    needs_rate = name == "QFedAvg" and FRAMEWORK
    given = {"client_learning_rate": 0.1} if needs_rate else {}
    with pytest.raises(ParameterError, match=f"{name} .*looks at the reply of each.*FedAdam"):
        secure(kind(**given))


@pytest.mark.parametrize("name", ["FedAvgM", "FedAdam", "FedAdagrad", "FedYogi", "FedProx"])
def test_strategies_that_average(name: str) -> None:
    kind = getattr(strategies, name)
    secure(kind())
    secure(type("Own", (kind,), {})())


def test_what_is_no_strategy() -> None:
    with pytest.raises(ParameterError, match=r"SecAgg\(FedAvg\(\), ...\)"):
        secure("FedAvg")
    for kind in (strategies.FedAvg, strategies.Krum):
        with pytest.raises(
            ParameterError, match=rf"pass an instance, as in SecAgg\({kind.__name__}"
        ):
            secure(kind)
    with pytest.raises(ParameterError, match="around a strategy once"):
        secure(secure())
    with pytest.raises(ParameterError, match="policy must be a NodePolicy, not the class"):
        node_mod(NodePolicy)  # type: ignore[arg-type]
    own = type("Own", (strategies.FedAvg,), {"aggregate_evaluate": lambda *_: None})
    with pytest.raises(ParameterError, match="aggregate_evaluate of its own"):
        secure(own())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"clip": 0}, "clip must be above 0"),
        ({"bits": 1}, "bits"),
        ({"max_weight": 0}, "max_weight"),
        ({"metrics": ["loss"]}, "maps the name of a metric to its clip"),
        ({"evaluate_metrics": {"loss": -1}}, "clip"),
        ({"timeouts": 0}, "timeouts"),
        ({"timeouts": {"training": 5}}, "advertise-keys, share-keys, masked-input, unmask"),
        ({"protocol": "secag"}, "no protocol 'secag'; available: "),
        ({"protocol": 3}, "protocol must be a text"),
        ({"protocol": "additive"}, "additive is for several servers, and a framework has one"),
        ({"dropout": 2}, "dropout must be a fraction from 0 to 1: for per cent"),
        ({"dropout": 0.5}, "no number of clients would do; of 1024: "),
        ({"corrupt": -0.1}, "corrupt must be a fraction from 0 to 1"),
        ({"corrupt": 1}, r"corrupt must lie in \[0, 1\)"),
        ({"run_config": {"lr": [1]}}, r"run_config=context\.run_config"),
        ({"privacy": 1.0}, "FixedClipping.SecAgg.*LocalDpMod.*docs/privacy.md"),
    ],
)
def test_numbers_that_cannot_be(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        secure(**given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"min_clients": 0}, "min_clients must be an integer from 2"),
        ({"min_clients": 1}, "min_clients must be an integer from 2"),
        ({"max_clip": 0}, "max_clip must be above 0"),
        ({"max_clip": "1"}, "max_clip"),
        ({"max_dropout": 2}, "max_dropout must be a fraction"),
        ({"protocols": "secagg"}, "protocols are several names"),
        ({"protocols": ["secag"]}, "no protocol 'secag'; available: "),
        ({"protocols": [3]}, "a name in protocols must be a text"),
        ({"state": 3}, "state is the path of a folder, not an int"),
        ({"state": ""}, "state is empty: name a folder, or leave it out for ~/.secagg/flower"),
        ({"state": "ledgers"}, "state is an absolute path, or one below ~"),
        ({"weighted_by": "num-examples"}, "weighted_by are several names"),
        ({"weighted_by": [3]}, "a name in weighted_by must be a text"),
        ({"bound_config": "yes"}, "bound_config must be True or False"),
    ],
)
def test_floors_that_cannot_be(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        NodePolicy(**given)
    names = {key: f"secagg-{key.replace('_', '-')}" for key in given}
    config = {names[key]: value for key, value in given.items() if not isinstance(value, list)}
    if config and not {"protocols", "weighted_by"} & given.keys():
        with pytest.raises(ParameterError):
            NodePolicy().within(config)


def test_too_few_nodes_say_what_would_do(folder: Path) -> None:
    """Where a caller has a loop of its own: `start` raises the minima and waits for more nodes."""
    grid = LocalGrid(nodes(2, folder, secured(TRAIN)))
    with pytest.raises(ParameterError, match=r"2 clients are too few.*\(4 nodes would") as caught:
        list(secure().configure_train(1, model(MODEL), ConfigRecord(), grid))
    assert not any(word in str(caught.value) for word in ("servers=", "clients="))


@pytest.mark.parametrize(
    ("policy", "config", "words"),
    [
        (NodePolicy(min_clients=4), {}, "no fewer than 4"),
        (NodePolicy(), {"secagg-min-clients": 4}, "no fewer than 4"),
        (NodePolicy(min_clients=4), {"secagg-min-clients": 3}, "no fewer than 4"),
        (NodePolicy(max_clip=0.1), {"secagg-max-clip": 0.4}, "clip=0.1"),
        (NodePolicy(), {"secagg-max-clip": 0.4}, "clip=0.4"),
        (NodePolicy(max_dropout=0.1), {"secagg-max-dropout": 0.3}, "dropout=0.1"),
        (NodePolicy(), {"secagg-protocols": "secagg+"}, r"agreed to is only secagg\+"),
        (NodePolicy(max_dropout=0.3), {"secagg-max-dropout": 0.1}, "dropout=0.1"),
        (NodePolicy(bound_config=True), {}, r"takes part only where it does: .*\.run_config\)"),
        (NodePolicy(), {"secagg-bound-config": True}, r"takes part only where it does: .*"),
        (NodePolicy(bound_config=True), {"secagg-bound-config": False}, "only where it does"),
        (NodePolicy(), {"secagg-minclients": 4}, "that is secagg-min-clients"),
        (NodePolicy(), {"secagg_min_clients": 4}, "that is secagg-min-clients"),
        (NodePolicy(), {"SECAGG-Max-Clip": 4}, "that is secagg-max-clip"),
        (NodePolicy(), {"Sec_Agg.state": "a"}, "that is secagg-state"),
        (NodePolicy(), {"secagg-clients": 4}, "known are secagg-bound-config, "),
        (NodePolicy(), {"secagg": 4}, "known are secagg-bound-config, "),
        (NodePolicy(weighted_by=["loss"]), {}, r"agrees to, which is loss: .*weighted_by=\["),
        (NodePolicy(), {"secagg-weighted-by": "a, b"}, "agrees to, which is a, b: "),
        (NodePolicy(weighted_by=["a"]), {"secagg-weighted-by": "num-examples"}, "is none: "),
        (NodePolicy(), {"secagg-min-clients": "four"}, "secagg-min-clients must be an int"),
        (NodePolicy(), {"secagg-max-clip": "none"}, "secagg-max-clip"),
    ],
)
def test_a_plan_below_a_nodes_floor(
    policy: NodePolicy, config: dict[str, Any], words: str, folder: Path
) -> None:
    with pytest.raises(PolicyRefused, match=f"4 x .*{words}"):
        run(folder, modded(node_mod(policy), train=TRAIN), **config)


def test_what_a_node_adds_to_a_policy_makes_it_stricter_only() -> None:
    own = {
        "secagg-max-dropout": 0.2,
        "secagg-max-clip": 2.0,
        "secagg-protocols": "secagg, plainsum",
    }
    loose = NodePolicy().within(own | {"secagg-min-clients": 2, "other": 1})
    assert (loose.min_clients, loose.max_dropout, loose.max_clip) == (3, 0.2, 2.0)
    assert loose.protocols == {"secagg", "plainsum"}
    strict = NodePolicy(5, 0.1, ["secagg+", "secagg"], 1.0).within(own)
    assert (strict.min_clients, strict.max_dropout, strict.max_clip) == (5, 0.1, 1.0)
    assert strict.protocols == {"secagg"}


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"step": "train"},
        {"round": "1"},
        {"round": -1},
        {"round": 1 << 32},
        {"weighted-by": 3},
        {"run-config": "lr"},
        {"run-config": b"lr"},
    ],
)
def test_a_request_that_is_none(change: dict[str, Any], folder: Path) -> None:
    """Of another release, or of nobody's: an error that is typed, and nothing runs."""
    [node] = nodes(1, folder, secured(None))
    about = carry.asking(carry.Asked("keys", 1, "num-examples", b"", (b"",)))
    for key, value in change.items():
        about[carry.ABOUT][key] = value
    refused = node.answer(Message(RecordDict(about), dst_node_id=1000, message_type="train"))
    assert refused.has_error() and str(refused.error.reason).startswith("secagg: ")


@pytest.mark.parametrize("frames", [(), (b"",), (b"\1\1" + bytes(16),), (b"x",) * 65])
def test_frames_that_are_none(frames: tuple[bytes, ...], folder: Path) -> None:
    [node] = nodes(1, folder, secured(None))
    about = carry.asking(carry.Asked("keys", 1, "num-examples", b"", frames))
    refused = node.answer(Message(RecordDict(about), dst_node_id=1000, message_type="train"))
    assert refused.has_error() and str(refused.error.reason).startswith("secagg: ")


def test_a_node_that_has_no_folder_for_its_ledger(disk: Path) -> None:
    (disk / "file").write_text("")
    for folder in (disk / "file" / "folder", "~nobody-of-this-name/x", "/a\0b"):
        with pytest.raises(PolicyRefused, match="give the node a folder .* with secagg-state"):
            run(folder, secured(TRAIN))


def test_another_model_than_the_announced_one(folder: Path, caplog: Any) -> None:
    """A mod before secagg_mod that changes it, or a server that sends each node another one."""

    def other(message: Message, context: Any, call_next: Any) -> Message:
        if "arrays" in message.content:
            message.content["arrays"] = model({"w": np.ones(3, np.float32)})
        return call_next(message, context)  # type: ignore[no-any-return]

    run(folder, modded(other, secagg_mod, train=TRAIN))
    assert "announced another model" in caplog.text and "come after secagg_mod" in caplog.text


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda node, m: {"v": m["w"]}, "'v' is in one of them only"),
        (lambda node, m: {"w": np.zeros(4, np.float32)}, "entry 'w' of the trained model is .4,."),
        (lambda node, m: {"w": np.full(3, np.nan, np.float32)}, "NaN"),
        (lambda node, m: 1 / 0, "the app raised an exception"),
    ],
)
def test_an_answer_that_is_none_stays_with_the_node(
    answer: Any, words: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The node's own log says why; the server hears that the input is bad, and nothing more."""
    grid = run(folder, secured(trainer(answer, lambda node: 2)))
    said = [r.getMessage() for r in caplog.records if "cannot be in the sum" in r.getMessage()]
    assert len(said) == 4
    assert all(re.search(words, one) for one in said), said
    assert "4 bad-input" in caplog.text and not any(m.has_error() for m in grid.log)


ODD: dict[str, Callable[[Message], Any]] = {
    "None": lambda message: None,
    "a dict": lambda message: {"w": 1357},
    "no bytes": lambda message: raw(message, b""),
    "a text": lambda message: raw(message, b"1357"),
    "a pickle": lambda message: raw(message, b"\x80\4M\x4d\5.1357"),
    "a cut header": lambda message: raw(message, b"\x93NUMPY\1\0\x0a\0{'1357':"),
    "a cut file": lambda message: raw(message, b"PK\3\0041357"),
    "a file of several": lambda message: raw(message, npz()),
    "a huge weight": lambda message: raw(message, weight=10**400),
}


def npz() -> bytes:
    np.savez(file := io.BytesIO(), w=np.zeros(3, np.float32))
    return file.getvalue()


def raw(message: Message, data: bytes | None = None, weight: int = 2) -> Message:
    good = Array(MODEL["w"])
    one = good if data is None else Array("float32", (3,), good.stype, data)
    told = MetricRecord({"num-examples": weight})
    return Message(RecordDict({"w": ArrayRecord({"w": one}), "m": told}), reply_to=message)


@pytest.mark.parametrize("odd", ODD)
def test_whatever_an_app_returns_is_an_input_or_none(
    odd: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception of our own would be told to the server by Flower, with its text."""
    grid = run(folder, secured(lambda message, context: ODD[odd](message)))
    assert "4 bad-input" in caplog.text and "1357" not in caplog.text
    assert not any(m.has_error() for m in grid.log)


def test_a_nodes_own_model_is_no_query(folder: Path) -> None:
    """What the older API's nodes are asked for where a strategy has no initial_parameters."""
    app = modded(secagg_mod, train=TRAIN, evaluate=lambda message, context: 1 / 0)
    [node] = nodes(1, folder, app)
    asks = Message(RecordDict({}), dst_node_id=node.number, message_type="get_parameters")
    assert "initial_parameters" in str(node.answer(asks).error.reason)


@pytest.mark.parametrize(
    ("weight", "words"), [(-1357, "below 0"), (1.357, "whole number"), (1e400, "whole number")]
)
def test_a_weight_that_does_not_fit(
    weight: float, words: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = trainer(lambda node, m: m, lambda node: weight)  # type: ignore[arg-type, return-value]
    run(folder, secured(train))
    assert words in caplog.text and "357" not in caplog.text


def test_a_weight_above_the_most_is_cut_and_nobody_sees_whose(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A node that declined would tell, a round for each bit, how many examples it has."""
    seen = []
    for number, large in enumerate((1357, 10)):
        strategy = secure(max_weight=10)
        train = trainer(
            lambda node, m: {"w": m["w"] + np.float32((node - 1000) / 16)},
            lambda node, large=large: large if node == 1000 else 10,  # type: ignore[misc]
        )
        grid = run(folder / str(number), secured(train), strategy)
        assert strategy.last is not None and (strategy.last.count, strategy.last.weight) == (4, 40)
        seen.append([sum(map(len, leaves(message))) for message in grid.log])
        assert caplog.text.count("above the plan's max_weight=10, and counts as that") == 1
    assert seen[0] == seen[1] and "1357" not in caplog.text


@pytest.mark.parametrize(("most", "weight"), [(10, 6), (1, 3)])
def test_a_node_without_examples_is_not_in_the_sum(folder: Path, most: int, weight: int) -> None:
    """Which is no fault of its own. Where all weigh alike, its model as it was would count, too."""
    strategy = secure(max_weight=most)
    train = trainer(lambda node, m: m, lambda node: node - 1000)
    run(folder, secured(train), strategy)
    assert strategy.last is not None and (strategy.last.count, strategy.last.weight) == (3, weight)
    assert [fault.value for fault in strategy.last.report.faults.values()] == ["quit"]


def test_a_metric_that_is_not_there(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(folder, secured(TRAIN), secure(metrics={"loss": 1.0}))
    assert "has 0 metrics 'loss'" in caplog.text


def test_a_model_without_a_mean(folder: Path) -> None:
    with pytest.raises(InputError, match="nothing to average"):
        run(folder, secured(TRAIN), start={"n": np.int64(3)})
    with pytest.raises(InputError, match="entry 'c' of the model is complex64"):
        run(folder, secured(TRAIN), start={"c": np.zeros(2, np.complex64)})


def test_a_tensor_of_a_type_that_numpy_lacks(folder: Path) -> None:
    """As float8: what numpy writes of it, it does not read again."""
    odd = ArrayRecord({"w8": Array("float8_e4m3fn", (2,), "torch", b"\1\2")})
    grid = LocalGrid(nodes(4, folder, secured(TRAIN)))
    with pytest.raises(InputError, match="entry 'w8' of the model is float8.*send it as float32"):
        secure().start(grid, odd, num_rounds=1)
    void = np.zeros(2, np.dtype("V1"))
    with pytest.raises(InputError, match="entry 'w8' .*no plain numbers.*send it as float32"):
        run(folder, secured(TRAIN), start={"w8": void})


def test_nodes_are_sent_one_model(folder: Path) -> None:
    class Each(strategies.FedAvg):  # type: ignore[misc, unused-ignore]
        def configure_train(self, number: int, arrays: Any, config: Any, grid: Any) -> Any:
            for place, message in enumerate(super().configure_train(number, arrays, config, grid)):
                own = dict(message.content.items()) | {"arrays": model({"w": np.ones(2) * place})}
                yield Message(
                    RecordDict(own),
                    dst_node_id=message.metadata.dst_node_id,
                    message_type="train",
                )

    with pytest.raises(ParameterError, match="different models or configurations"):
        run(folder, secured(TRAIN), secure(Each()))


def test_without_flower_the_extra_is_named() -> None:
    code = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'flwr' else find(name, *a)\n"
        "import secagg.integrations.flower"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert "MissingExtra: secagg.integrations.flower needs flwr" in done.stderr
    assert "pip install 'secagg[flower]'" in done.stderr


@pytest.mark.parametrize(
    ("step", "fate", "why"),
    [
        (np.nan, None, "bad-input: its input does not fit the plan.* its own log says"),
        (0.0, 0, "lost"),
        (0.0, 2, "lost"),
    ],
)
def test_the_log_of_a_sum_says_who_is_not_in_it_and_why(
    step: float, fate: int | None, why: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def moved(node: int, m: Any) -> Any:
        return {name: a + (step if node == 1001 else 0.0) for name, a in m.items()}

    grid = LocalGrid(
        nodes(5, folder, secured(trainer(moved, lambda node: 1))),
        lambda exchange, place: (exchange, place) == (fate, 1),
    )
    strategy = secure()
    strategy.start(grid, model({"w": np.zeros(3)}), num_rounds=1)
    assert strategy.last is not None and strategy.last.count == 4
    assert len(re.findall("is not in the sum", caplog.text)) == 1
    assert re.search(f"node 1001 is not in the sum: {why}", caplog.text)


def test_who_is_in_the_sum_and_refuses_afterwards_is_not_said_to_be_out_of_it(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Late(LocalGrid):
        def send_and_receive(self, messages: Any, *, timeout: float | None = None) -> Any:
            sent = list(messages)
            replies = super().send_and_receive(sent, timeout=timeout)
            if sent and self.exchange == 4:
                replies[1] = Message(Error(2, "<class 'KeyError'>: 'w'"), reply_to=sent[1])
            return replies

    strategy = secure()
    strategy.start(Late(nodes(5, folder, secured(TRAIN))), model(MODEL), num_rounds=1)
    assert strategy.last is not None and strategy.last.count == 5
    assert "is not in the sum" not in caplog.text


def test_an_exchange_whose_time_is_over_is_named(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Flower answers in the place of a message that has expired, in words of its own."""
    long = "Error: Message Unavailable - The requested message could not be found. " * 9

    class Slow(LocalGrid):
        def send_and_receive(self, messages: Any, *, timeout: float | None = None) -> Any:
            sent = list(messages)
            replies = super().send_and_receive(sent, timeout=timeout)
            if self.exchange != 3:
                return replies
            time.sleep(0.5)
            return [Message(Error(3, long), reply_to=message) for message in sent]

    strategy = secure(timeouts={"masked-input": 0.5})
    strategy.start(Slow(nodes(5, folder, secured(TRAIN))), model(MODEL), num_rounds=1)
    said = r"5 x the 0\.5 s of the exchange 'masked-input' were over \(timeouts=\)"
    assert re.search(said, caplog.text) and "Unavailable" not in caplog.text


def test_long_words_of_the_framework_are_cut_between_two_of_them(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(LocalGrid):
        def send_and_receive(self, messages: Any, *, timeout: float | None = None) -> Any:
            return [Message(Error(1, "misfortune " * 40), reply_to=m) for m in messages]

    with pytest.raises(PolicyRefused, match=r"5 x (misfortune )+\.\.$"):
        secure().start(Failing(nodes(5, folder, secured(TRAIN))), model(MODEL), num_rounds=1)
