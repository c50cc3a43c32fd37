"""With Flower itself: its strategies, its ClientApp, its bytes. `make plugins` runs it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integrations.flower.world import (
    FRAMEWORK,
    ConfigRecord,
    Context,
    LocalGrid,
    Message,
    MetricRecord,
    RecordDict,
    arrays,
    identify,
    model,
    nodes,
)

if not FRAMEWORK:
    pytest.skip("Flower is not installed", allow_module_level=True)

from flwr.clientapp import ClientApp
from flwr.clientapp.mod import LocalDpMod
from flwr.clientapp.mod import fixedclipping_mod as clipped
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as Wire
from flwr.serverapp import strategy as strategies

from secagg.errors import ParameterError, PolicyRefused
from secagg.integrations.flower import SecAgg, secagg_mod

COUNT, ROUNDS, CLIP = 10, 5, 0.25
ROUNDING = 2.0**-20
"""Of float32 entries near one, over all of these rounds."""
STRATEGIES: dict[str, Callable[[], Any]] = {
    "FedAvg": strategies.FedAvg,
    "FedAvgM": lambda: strategies.FedAvgM(server_learning_rate=0.5, server_momentum=0.25),
    "FedAdam": lambda: strategies.FedAdam(eta=0.05, tau=0.5),
    "FedAdagrad": lambda: strategies.FedAdagrad(eta=0.05, tau=0.5),
    "FedYogi": lambda: strategies.FedYogi(eta=0.05, tau=0.5),
    "FedProx": lambda: strategies.FedProx(proximal_mu=0.1),
}
SLOPE = {"FedAvgM": 1.0, "FedAdam": 1.0, "FedAdagrad": 1.0, "FedYogi": 1.0}
"""Of a strategy's step over the mean it is given: eta / tau, and more, are below this a round."""
START = {
    "w": np.linspace(-1, 1, 400, dtype=np.float32).reshape(20, 20),
    "b": np.zeros(20, np.float32),
}


def planted(node: int) -> tuple[int, float, float]:
    """Its examples, its loss, its accuracy."""
    return 31_337 + node, 1.0 + node / 7919, node / 1234567


def step(node: int, number: int, received: dict[str, Any]) -> dict[str, Any]:
    """Towards a place of its own: training of a kind, with the same outcome in every run."""
    draw = np.random.default_rng([node, number])
    return {
        name: (array * 0.9 + draw.uniform(-0.1, 0.1, array.shape)).astype(np.float32)
        for name, array in received.items()
    }


def app(*mods: Any) -> ClientApp:
    made = ClientApp(mods=list(mods))

    @made.train()
    def train(message: Message, context: Context) -> Message:
        number = message.content["config"]["server-round"]
        trained = step(context.node_id, number, arrays(message.content["arrays"]))
        examples, loss, _ = planted(context.node_id)
        told = MetricRecord({"num-examples": examples, "train_loss": loss})
        return Message(RecordDict({"arrays": model(trained), "m": told}), reply_to=message)

    @made.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        examples, _, accuracy = planted(context.node_id)
        told = MetricRecord({"num-examples": examples, "accuracy": accuracy})
        return Message(RecordDict({"m": told}), reply_to=message)

    return made


class WireGrid(LocalGrid):
    """Messages travel as Flower's own bytes, which are kept, and a node is a new context."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.bytes: list[bytes] = []

    def send_and_receive(self, messages: Any, *, timeout: float | None = None) -> list[Message]:
        return [self._carried(m) for m in super().send_and_receive(map(self._carried, messages))]

    def _carried(self, message: Message) -> Message:
        message.metadata.__dict__["_message_id"] = "0" * 64
        self.bytes.append(message_to_proto(message).SerializeToString())
        return message_from_proto(Wire.FromString(self.bytes[-1]))


def start(strategy: Any, grid: LocalGrid, rounds: int = ROUNDS) -> Any:
    identify()
    return strategy.start(grid, model(START), num_rounds=rounds)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_averaging_strategy_gives_the_plain_result_whoever_drops(
    name: str, folder: Path
) -> None:
    """Two nodes drop in each round, at the first stage, then the second, and so on."""

    def stage(exchange: int) -> int:
        return (exchange // 4) % 4

    grid = LocalGrid(nodes(COUNT, folder, app(secagg_mod)), exchanges=4 * ROUNDS)
    grid.fate = lambda at, place: at % 4 == stage(at) and place in (at // 4, at // 4 + 3)
    secure = SecAgg(STRATEGIES[name](), clip=CLIP, max_weight=1 << 16)
    made = start(secure, grid)
    plain = LocalGrid(nodes(COUNT, folder, app()), exchanges=ROUNDS)
    plain.fate = lambda at, place: at % 4 < 3 and place in (at, at + 3)
    inner = STRATEGIES[name]()
    inner.fraction_evaluate, inner.min_evaluate_nodes = 0.0, 0
    other = start(inner, plain)
    assert grid.exchange == 4 * ROUNDS and secure.last is not None
    assert int(secure.last.sum["clipped"][0]) == 0
    bound = ROUNDS * secure.last.report.error_bounds["update"] * (1 + SLOPE.get(name, 0.0))
    for key, array in arrays(made.arrays).items():
        distance = np.abs(array - arrays(other.arrays)[key]).max()
        print(f"{name} {key}: {distance:.2e} of {bound:.2e}")
        assert array.dtype == arrays(other.arrays)[key].dtype and distance <= bound + ROUNDING


def private(kind: str, strategy: Any, noise: float = 0.0) -> Any:
    clip = {"clipping_norm": 0.5} if "Fixed" in kind else {}
    made = getattr(strategies, f"DifferentialPrivacy{kind}")
    return made(strategy, noise_multiplier=noise, num_sampled_clients=COUNT, **clip)


def test_noise_of_flowers_own_goes_around_a_secure_round(folder: Path) -> None:
    """The nodes clip, in a mod after ours, and the server adds noise to the mean."""
    secure = SecAgg(strategies.FedAvg(), clip=CLIP, max_weight=1 << 16)
    around = "ClientSideFixedClipping"
    made = start(private(around, secure), LocalGrid(nodes(COUNT, folder, app(secagg_mod, clipped))))
    own = strategies.FedAvg(fraction_evaluate=0.0)
    plain = LocalGrid(nodes(COUNT, folder, app(clipped)), exchanges=1)
    other = start(private(around, own), plain)
    assert secure.last is not None
    bound = ROUNDS * secure.last.report.error_bounds["update"] + ROUNDING
    for key, array in arrays(made.arrays).items():
        assert np.abs(array - arrays(other.arrays)[key]).max() <= bound
    grid = LocalGrid(nodes(COUNT, folder / "noisy", app(secagg_mod, clipped)))
    secure = SecAgg(strategies.FedAvg(), clip=CLIP, max_weight=1 << 16)
    noisy = start(private(around, secure, noise=5.0), grid, 1)
    assert np.std(arrays(noisy.arrays)["w"] - arrays(made.arrays)["w"]) > 0.1


def test_each_nodes_own_noise_comes_after_the_mod(folder: Path) -> None:
    grid = LocalGrid(nodes(COUNT, folder, app(secagg_mod, LocalDpMod(10.0, 1e-9, 1.0, 1e-5))))
    secure = SecAgg(strategies.FedAvg(), clip=CLIP, max_weight=1 << 16)
    start(secure, grid, 1)
    assert secure.last is not None and secure.last.count == COUNT


@pytest.mark.parametrize("side", ["ServerSide", "ClientSide"])
@pytest.mark.parametrize("how", ["FixedClipping", "AdaptiveClipping"])
def test_wrappers_that_look_at_replies_are_refused_before_a_round(
    folder: Path, side: str, how: str
) -> None:
    """Also in a loop that asks for no summary; and inside SecAgg all of them are."""
    kind, secure = side + how, SecAgg(strategies.FedAvg(), clip=CLIP, max_weight=1 << 16)
    goes = r"FixedClipping\(SecAgg\(...\), ...\) with ClientApp\(mods=\[secagg_mod, "
    with pytest.raises(ParameterError, match=f"{kind} goes into no secure round: .*{goes}"):
        SecAgg(private(kind, strategies.FedAvg()), clip=CLIP, max_weight=1 << 16)
    if kind == "ClientSideFixedClipping":
        return
    grid = LocalGrid(nodes(COUNT, folder, app(secagg_mod)))
    with pytest.raises(ParameterError, match=f"{kind} around SecAgg looks at .*{goes}"):
        start(private(kind, secure), grid)
    identify()
    with pytest.raises(ParameterError, match=f"{kind} around SecAgg"):
        list(private(kind, secure).configure_train(1, model(START), ConfigRecord(), grid))
    assert not grid.log
    secure.summary()


def test_strategies_of_the_other_api_are_told_apart() -> None:
    from flwr.server import strategy as older

    from secagg.integrations.flower.legacy import _refuse_per_client

    for given in (older.FedAvg(), older.Krum(), type("Own", (older.FedAvgM,), {})()):
        words = "is of flwr.server.strategy, .* `from flwr.serverapp.strategy import FedAvg`"
        with pytest.raises(ParameterError, match=f"{type(given).__name__} {words}"):
            SecAgg(given, clip=CLIP, max_weight=1)  # type: ignore[arg-type]
    for new in (strategies.FedAvg(), SecAgg(strategies.FedAvg(), clip=CLIP, max_weight=1)):
        with pytest.raises(ParameterError, match="and SecAgg goes around those of flwr.serverapp"):
            _refuse_per_client(new)
    with pytest.raises(ParameterError, match="and not this str$"):
        _refuse_per_client("FedAvg")
    dp = older.DifferentialPrivacyClientSideFixedClipping(older.FedAvg(), 0.0, 1.0, 5)
    with pytest.raises(ParameterError, match="LocalDpMod"):
        _refuse_per_client(dp)


def test_no_byte_of_a_run_has_a_count_a_loss_or_a_metric(disk: Path) -> None:
    """Planted values, as varints and doubles, in Flower's own encoding of every message."""
    grid = WireGrid(nodes(5, disk, app(secagg_mod)))
    given = {"metrics": {"train_loss": 8.0}, "evaluate_metrics": {"accuracy": 1.0}}
    secure = SecAgg(strategies.FedAvg(), clip=CLIP, max_weight=1 << 16, **given)
    result = start(secure, grid, 2)
    assert len(grid.bytes) == 2 * 2 * 4 * 5 * 2
    values = [value for node in grid.nodes for value in planted(node)]
    words = [_varint(v) if isinstance(v, int) else struct.pack("<d", v) for v in values]
    assert [w for w in words if any(w in one for one in grid.bytes)] == []
    plain = WireGrid(nodes(5, disk, app()), exchanges=1)
    start(strategies.FedAvg(), plain, 1)
    assert all(any(w in one for one in plain.bytes) for w in words), "they would be found"
    trained = np.average(
        [planted(n)[1] for n in grid.nodes], weights=[planted(n)[0] for n in grid.nodes]
    )
    assert result.train_metrics_clientapp[2]["train_loss"] == pytest.approx(trained, abs=1e-6)
    assert set(result.evaluate_metrics_clientapp[2].keys()) == {"accuracy"}


def _varint(value: int) -> bytes:
    """As a metric's: sint64, zig-zag, after the key of its field."""
    value, out = value << 1, bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def legacy(folder: Path, strategy: Any, workflow: Any, *mods: Any, rate: float = 0.5) -> Any:
    """Two rounds of the older API, over the same grid: its history, and the model."""
    from flwr.client import NumPyClient
    from flwr.server import LegacyContext, SimpleClientManager
    from flwr.server.compat.grid_client_proxy import GridClientProxy
    from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key

    class Client(NumPyClient):
        def __init__(self, node: int) -> None:
            self.node = node

        def fit(self, parameters: Any, config: Any) -> Any:
            given = {str(i): array for i, array in enumerate(parameters)}
            examples, loss, _ = planted(self.node)
            return list(step(self.node, 1, given).values()), examples, {"train_loss": loss}

    made = ClientApp(lambda context: Client(context.node_id).to_client(), mods=list(mods))
    grid, manager = LocalGrid(nodes(5, folder, made)), SimpleClientManager()
    for place in grid.nodes.values():
        place.context.run_config = {
            "lr": 0.5
        }  # which the workflow compares with that of its context
    for node in grid.nodes:
        manager.register(GridClientProxy(node, grid, 7))  # type: ignore[arg-type]
    context = LegacyContext(
        Context(7, 1, {}, RecordDict(), {"lr": rate}), strategy=strategy, client_manager=manager
    )
    context.state.array_records[MAIN_PARAMS_RECORD] = model(
        {str(i): array for i, array in enumerate(START.values())}
    )
    for number in (1, 2):
        now = ConfigRecord({Key.CURRENT_ROUND: number})
        context.state.config_records[MAIN_CONFIGS_RECORD] = now
        workflow(grid, context)
    weights = context.state.array_records[MAIN_PARAMS_RECORD]
    return context.history, [weights[key].numpy() for key in weights.keys()]


def test_an_app_of_the_older_api_changes_its_workflow(folder: Path) -> None:
    from flwr.server import strategy as older
    from flwr.server.workflow.default_workflows import default_fit_workflow

    from secagg.integrations.flower.legacy import SecAggWorkflow

    def strategy() -> Any:
        return older.FedAvg(
            fraction_evaluate=0.0,
            min_available_clients=5,
            fit_metrics_aggregation_fn=lambda told: {"loss": told[0][1]["train_loss"]},
        )

    workflow = SecAggWorkflow(clip=CLIP, max_weight=1 << 16, metrics={"train_loss": 8.0})
    history, secure = legacy(folder, strategy(), workflow, secagg_mod)
    _, plain = legacy(folder, strategy(), default_fit_workflow)
    impatient = older.FedAvg(fraction_fit=0.2, fraction_evaluate=0.0)
    legacy(folder / "two", impatient, workflow, secagg_mod)
    assert (impatient.min_available_clients, impatient.min_fit_clients) == (4, 4)
    unlike = SecAggWorkflow(clip=CLIP, max_weight=1 << 16)
    with pytest.raises(PolicyRefused, match="5 x .*another run_config than the server's SecAgg"):
        legacy(folder / "unlike", strategy(), unlike, secagg_mod, rate=0.25)
    with pytest.raises(ParameterError, match=r"pass an instance, as in .*strategy=FedAvg\(\)\)"):
        legacy(folder, older.FedAvg, workflow, secagg_mod)
    assert max(np.abs(a - b).max() for a, b in zip(secure, plain, strict=True)) < 2e-5
    told = np.array([planted(1000 + i) for i in range(5)])
    mean = np.average(told[:, 1], weights=told[:, 0])
    assert history.metrics_distributed_fit["loss"][1][1] == pytest.approx(mean, abs=1e-6)
    with pytest.raises(ParameterError, match="Krum looks at the result of each"):
        legacy(folder, older.Krum(fraction_evaluate=0.0), workflow, secagg_mod)
    with pytest.raises(ParameterError, match="a fit_workflow does not evaluate"):
        SecAggWorkflow(clip=CLIP, max_weight=1, evaluate_metrics={})
    with pytest.raises(ParameterError, match="LegacyContext"):
        workflow(None, None)


def test_a_models_frames_are_cut_into_chunks_by_flower() -> None:
    """As arrays are, and other records are not."""
    from secagg.integrations.flower import carry

    record = carry.answer([bytes(12 << 20)])[carry.FRAMES]
    assert len(record["00"].slice_array()) > 1
    assert carry.frames_of(carry.answer([b"a", b"b"])) == (b"a", b"b")
