"""Flower's SecAgg+ measured through its own code. Run by a Python that has `flwr`, and by no other:

    .venv-flower/bin/python bench/rivals/flower/driver.py TASK '{"parameter": value, ...}'

prints one JSON object on standard output and progress on standard error; `bench/rivals.py` makes
the environment and calls this. Seconds are CPU of the whole process unless called wall; where a
figure has both, each is the best of `repeats`. Nothing here opens a socket.

mask      d=1_000_000, repeats=5. What one neighbour costs: `pseudo_rand_gen` of d elements below
          2^32 from a 44-byte seed (a pairwise key of theirs), then `parameters_addition` into the
          int64 accumulator. Not included: agreeing on the key (ECDH P-384 + HKDF), and the
          reduction modulo 2^32, which they do once at the end. Equal work on our side: expand one
          mask of d 32-bit elements from a key and add it to the accumulator.
shamir    n=100, t=51, secret=32 (bytes), repeats=3. `create_shares` of the whole secret, padding
          included; `combine_shares` of t shares, and of all n, which is what their server does
          with every share it gets. Equal work: split and combine one secret of that size.
quantize  d=1_000_000, clip=8, levels=2^22, dtype="float32", repeats=5. `quantize` (clip, scale,
          stochastic rounding with numpy's global generator) and `dequantize`. Equal work: encode
          and decode one field of d values with stochastic rounding.
round     n, k, t, d, dropped, weight=1000, max_weight=1000, clip=8, levels=2^22, dtype="float32",
          seed=0. One SecAgg+ round: their `SecAggPlusWorkflow` and n `ClientApp`s with their
          `secaggplus_mod`. See below.

round: k counts neighbours without oneself and t is of the k + 1 holders of a client's shares, as
in secagg; their `num_shares` is k + 1 and their `reconstruction_threshold` is t. Their ring joins
k / 2 on each side, so k is even, or n - 1. `dropped` clients answer `setup` and `share_keys` and
never again, and the workflow is told nothing else. The ring is shuffled with Python's global
generator, so who neighbours a dropped client differs from run to run, and with few shares to spare
whether Flower halts the round; `seed` fixes the inputs.
- A client's seconds: all that `ClientApp` does with a message: keys, shares, encryption, weighting,
  quantising, masking, packing its vector into bytes, and saving its state. Not: local training,
  here the drawing of d values uniform in [-clip, clip] and wrapping them as Parameters.
- The server's seconds: the four stages of the workflow: making requests, unpacking and adding the
  masked vectors, recovering secrets, removing masks, dequantising the mean. Not: what the strategy
  then does (`strategy_cpu`: FedAvg averages as many copies of that mean as there are survivors).
- On neither side: carrying a message (`transport_cpu`), which is their `message_to_proto` and back,
  and gives every receiver a copy of its own. The masked vector is bytes before that on both sides.
- Bytes: the serialised `Message`. The real transport adds an object tree and frames. No model is
  sent down: the fit instructions hold no parameters. Means are over the clients that stayed.
- Equal work on our side: a simulated round with the same n, k, t, d and drops at masked-input, the
  generation of inputs left out, messages encoded to bytes and decoded.
- max_abs_error: the workflow's mean against the mean of the survivors' inputs; the run fails if
  it is over error_bound.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, cast

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.client import Client
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import (
    Code,
    FitIns,
    FitRes,
    Parameters,
    Status,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
from flwr.common.secure_aggregation.ndarrays_arithmetic import parameters_addition
from flwr.common.secure_aggregation.quantization import dequantize, quantize
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.compat.common.recorddict_compat import parameters_to_arrayrecord
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.server import LegacyContext, SimpleClientManager
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

MODULUS = 2**32
LEVELS = 2**22  # theirs by default, as are the clip of 8 and the largest weight of 1000

Account = tuple[int | str, str]
Inputs = Callable[[int], np.ndarray[Any, Any]]
Step = Callable[[Grid, LegacyContext, Any], bool]


def main() -> None:
    tasks: dict[str, Callable[..., dict[str, Any]]] = {
        "mask": mask,
        "shamir": shamir,
        "quantize": quantization,
        "round": whole_round,
    }
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in tasks:
        raise SystemExit(f"usage: driver.py {'|'.join(tasks)} ['{{\"parameter\": value}}']")
    parameters = json.loads(sys.argv[2]) if len(sys.argv) == 3 else {}
    figures = tasks[sys.argv[1]](**parameters)
    where = {"flwr": version("flwr"), "numpy": np.__version__, "python": platform.python_version()}
    print(json.dumps({"task": sys.argv[1], **where, "parameters": parameters, **figures}))


def mask(d: int = 1_000_000, repeats: int = 5) -> dict[str, Any]:
    seed = os.urandom(44)
    one = pseudo_rand_gen(seed, MODULUS, [(d,)])
    # Written to, for untouched zeros are one page that never leaves the cache.
    total = parameters_addition(one, one)
    expand = best(lambda: pseudo_rand_gen(seed, MODULUS, [(d,)]), repeats)
    add = best(lambda: parameters_addition(total, one), repeats)

    def neighbour() -> None:
        nonlocal total
        total = parameters_addition(total, pseudo_rand_gen(seed, MODULUS, [(d,)]))

    return {"per_neighbour": best(neighbour, repeats), "expand": expand, "add": add}


def shamir(n: int = 100, t: int = 51, secret: int = 32, repeats: int = 3) -> dict[str, Any]:
    hidden = os.urandom(secret)
    shares = create_shares(hidden, t, n)
    if combine_shares(shares[-t:]) != hidden:
        raise SystemExit("the shares do not give the secret back")
    return {
        "split": best(lambda: create_shares(hidden, t, n), repeats),
        "combine": best(lambda: combine_shares(shares[:t]), repeats),
        "combine_all": best(lambda: combine_shares(shares), repeats),
    }


def quantization(
    d: int = 1_000_000,
    clip: float = 8.0,
    levels: int = LEVELS,
    dtype: str = "float32",
    repeats: int = 5,
) -> dict[str, Any]:
    values = draw(0, 0, d, clip, dtype)
    quantised = quantize([values], clip, levels)
    error = np.abs(dequantize(quantised, clip, levels)[0] - values).max()
    return {
        "quantize": best(lambda: quantize([values], clip, levels), repeats),
        "dequantize": best(lambda: dequantize(quantised, clip, levels), repeats),
        "max_abs_error": float(error),
    }


def best(work: Callable[[], object], repeats: int) -> dict[str, float]:
    """The least CPU and the least wall seconds, each over `repeats` runs."""
    cpu, wall = [], []
    for _ in range(repeats):
        started = time.process_time(), time.perf_counter()
        work()
        cpu.append(time.process_time() - started[0])
        wall.append(time.perf_counter() - started[1])
    return {"cpu": min(cpu), "wall": min(wall)}


def draw(seed: int, client: int, d: int, clip: float, dtype: str) -> np.ndarray[Any, Any]:
    return np.random.default_rng([seed, client]).uniform(-clip, clip, d).astype(dtype)


def whole_round(
    n: int,
    k: int,
    t: int,
    d: int,
    dropped: int,
    weight: int = 1000,
    max_weight: float = 1000.0,
    clip: float = 8.0,
    levels: int = LEVELS,
    dtype: str = "float32",
    seed: int = 0,
) -> dict[str, Any]:
    """See the top of the file. Exits with a message where their round is lost or its mean wrong."""
    if k % 2 and k != n - 1:
        # They would add a share for the server alone, and every client fails with an IndexError.
        raise SystemExit(f"their ring needs an even k, or n - 1, not {k}")
    meter = Meter()
    ids = node_ids(n, seed)
    gone = set(ids[:dropped])
    numbered = {node: index for index, node in enumerate(ids)}

    def inputs(node: int) -> np.ndarray[Any, Any]:
        return draw(seed, numbered[node], d, clip, dtype)

    strategy = Observed(meter, n)
    app = ClientApp(
        lambda context: Trained(context.node_id, meter, inputs, weight), [secaggplus_mod]
    )
    delivery = Delivery(meter, app, ids, gone)
    workflow = SecAggPlusWorkflow(
        k + 1,
        t,
        max_weight=max_weight,
        clipping_range=clip,
        quantization_range=levels,
        modulus_range=MODULUS,
    )
    for stage in Stage.all():
        name = f"{stage}_stage"
        setattr(workflow, name, metered(getattr(workflow, name), stage, meter))
    grid = cast(Grid, delivery)
    workflow(grid, server_context(strategy, grid, ids))
    stayed = [node for node in ids if node not in gone]
    error = max_abs_error(strategy.mean, (inputs(node) for node in stayed))
    # Each client is off by less than a level, and by a fraction of one more in float32.
    bound = 2 * (2 * clip / levels) * max_weight / weight
    if not error <= bound:
        raise SystemExit(f"the mean is off by {error:.3g}, which is over the bound {bound:.3g}")
    return {"max_abs_error": error, "error_bound": bound, **report(meter, delivery, stayed)}


def node_ids(n: int, seed: int) -> list[int]:
    """As large as real ones, which are random and of 64 bits: their size is part of messages."""
    drawn = np.random.default_rng([seed, n]).integers(2**62, 2**63, n, np.int64)
    return [int(node) for node in drawn]


def max_abs_error(mean: np.ndarray[Any, Any], inputs: Iterable[np.ndarray[Any, Any]]) -> float:
    total, count = np.zeros(mean.shape), 0
    for values in inputs:
        total += values
        count += 1
    return float(np.abs(mean - total / count).max())


class Meter:
    """Charges CPU and wall seconds to exactly one account at a time: (who, stage)."""

    def __init__(self) -> None:
        self.cpu: dict[Account, float] = defaultdict(float)
        self.wall: dict[Account, float] = defaultdict(float)
        self._account: Account = ("nobody", "")
        self._since = time.process_time(), time.perf_counter()

    @contextmanager
    def charge(self, who: int | str, stage: str) -> Iterator[None]:
        """To this account inside `with`, and again to the one before from then on."""
        before = self._account
        self._switch((who, stage))
        try:
            yield
        finally:
            self._switch(before)

    def _switch(self, account: Account) -> None:
        now = time.process_time(), time.perf_counter()
        self.cpu[self._account] += now[0] - self._since[0]
        self.wall[self._account] += now[1] - self._since[1]
        self._account, self._since = account, now


def metered(step: Step, stage: str, meter: Meter) -> Step:
    """A stage of the workflow, charged to the server except where somebody else is."""

    def run(grid: Grid, context: LegacyContext, state: Any) -> bool:
        with meter.charge("server", stage):
            going_on = step(grid, context, state)
        if not going_on:
            raise SystemExit(f"Flower halted the round at {stage}")
        print(f"flower: {stage}: server {meter.cpu['server', stage]:.2f} s", file=sys.stderr)
        return True

    return run


class Delivery:
    """A grid's `send_and_receive`, the only method of it that the workflow calls."""

    def __init__(self, meter: Meter, app: ClientApp, ids: list[int], gone: set[int]) -> None:
        self._meter, self._app, self._gone = meter, app, gone
        self._contexts = {node: Context(1, node, {}, RecordDict(), {}) for node in ids}
        self.up: dict[tuple[int, str], int] = {}
        self.down: dict[tuple[int, str], int] = {}

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """The replies of those still there; a missing one is how a timeout looks to a workflow."""
        replies = []
        for message in messages:
            node = message.metadata.dst_node_id
            stage = cast(str, message.content.config_records[RECORD_KEY_CONFIGS][Key.STAGE])
            if node in self._gone and stage not in (Stage.SETUP, Stage.SHARE_KEYS):
                continue
            request, self.down[node, stage] = self._carried(message, stage)
            with self._meter.charge(node, stage):
                reply = self._app(request, self._contexts[node])
            received, self.up[node, stage] = self._carried(reply, stage)
            replies.append(received)
        print(f"flower: {stage}: {len(replies)} clients have answered", file=sys.stderr)
        return replies

    def _carried(self, message: Message, stage: str) -> tuple[Message, int]:
        """What arrives, and the size on the way.

        A copy is not a luxury: the workflow gives one record to many, and the mod takes it apart.
        """
        with self._meter.charge("transport", stage):
            # As long as the hash that a real link sets here.
            message.metadata.__dict__["_message_id"] = os.urandom(32).hex()
            data = message_to_proto(message).SerializeToString()
            return message_from_proto(ProtoMessage.FromString(data)), len(data)


class Trained(Client):
    """A client whose training takes no time of anybody's."""

    def __init__(self, node: int, meter: Meter, inputs: Inputs, weight: int) -> None:
        self._node, self._meter, self._inputs, self._weight = node, meter, inputs, weight

    def fit(self, ins: FitIns) -> FitRes:
        with self._meter.charge("training", ""):
            update = ndarrays_to_parameters([self._inputs(self._node)])
        return FitRes(Status(Code.OK, ""), update, self._weight, {})


class Observed(FedAvg):
    """FedAvg over all n clients that keeps the workflow's mean and has an account of its own."""

    mean: np.ndarray[Any, Any]

    def __init__(self, meter: Meter, n: int) -> None:
        super().__init__(min_fit_clients=n, min_available_clients=n)
        self._meter = meter

    def aggregate_fit(
        self, server_round: int, results: Any, failures: Any
    ) -> tuple[Parameters | None, dict[str, Any]]:
        with self._meter.charge("strategy", Stage.UNMASK):
            # The workflow has put the mean into every result.
            self.mean = parameters_to_ndarrays(results[0][1].parameters)[0]
            return super().aggregate_fit(server_round, results, failures)


def server_context(strategy: FedAvg, grid: Grid, ids: list[int]) -> LegacyContext:
    """As `DefaultWorkflow` has it when the first round begins, with a model of no parameters."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, SUPERLINK_NODE_ID, 1
    manager = SimpleClientManager()
    for node in ids:
        manager.register(GridClientProxy(node, grid, 1))
    context = LegacyContext(
        Context(1, SUPERLINK_NODE_ID, {}, RecordDict(), {}),
        strategy=strategy,
        client_manager=manager,
    )
    context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({WorkflowKey.CURRENT_ROUND: 1})
    nothing = parameters_to_arrayrecord(ndarrays_to_parameters([]), keep_input=True)
    context.state.array_records[MAIN_PARAMS_RECORD] = nothing
    return context


def report(meter: Meter, delivery: Delivery, stayed: list[int]) -> dict[str, Any]:
    """Per stage and in total. clients_*: the sum over all; client_*: the mean of who stayed."""
    stages = {stage: row(meter, delivery, stayed, stage) for stage in Stage.all()}
    total = {name: sum(each[name] for each in stages.values()) for name in stages[Stage.SETUP]}
    return {
        "stages": stages,
        **total,
        "total_cpu": total["server_cpu"] + total["clients_cpu"],
        "transport_cpu": sum(meter.cpu["transport", stage] for stage in Stage.all()),
        "strategy_cpu": meter.cpu["strategy", Stage.UNMASK],
        "peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,  # as Linux counts
    }


def row(meter: Meter, delivery: Delivery, stayed: list[int], stage: str) -> dict[str, float]:
    nodes = [node for node, at in delivery.up if at == stage]
    return {
        "server_cpu": meter.cpu["server", stage],
        "server_wall": meter.wall["server", stage],
        "clients_cpu": sum(meter.cpu[node, stage] for node in nodes),
        "clients_wall": sum(meter.wall[node, stage] for node in nodes),
        "client_cpu": sum(meter.cpu[node, stage] for node in stayed) / len(stayed),
        "bytes_up": sum(delivery.up[node, stage] for node in stayed) / len(stayed),
        "bytes_down": sum(delivery.down[node, stage] for node in stayed) / len(stayed),
    }


if __name__ == "__main__":
    main()
