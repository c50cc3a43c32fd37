"""One average of models, as our plan has it and as NVFLARE's homomorphic filters have it. Needs
nvflare[HE], for its Python versions.

Both sides have what the round itself costs, without a framework around it: the messages are those
that its filters and ours hand over. A row is one side: `secagg` is a round of the plan that
`secagg.integrations.nvflare` makes (corrupt 0.1, dropout 0.25), played by `secagg.sim`; `ckks`
is what NVFLARE's own classes do with NVFLARE's own parameters (HEBuilder: CKKS of degree 8192 with
moduli of 60, 40 and 40 bits, 128 bits of security): HEModelEncryptor.encryption at each site, its
vector through fobs, WeightedAggregationHelper at the server, the sum through fobs,
HEModelDecryptor.decryption at each site; `plain` is fobs and that helper. n sites, one array of d
float32, uniform in ±clip; all weights 1.

CPU of the whole process, by side: `client_cpu` is a site's mean, encrypting and decrypting; making
keys is left out on both sides where a run needs it once (the context), and is in where every round
does (ours). Bytes a site sends and receives, the model that comes down included: 4 d of a plain
one for ours, which the server has; of the encrypted sum for CKKS, whose server never does.

What differs: a server that has one site on its side reads every model under CKKS, as all sites
have the one secret key; ours withstands `corrupt`. CKKS survives any number of lost sites, and
ours those of the plan. The server learns the average with us, and not with CKKS.

max_abs_error: of the average against that in float64; a side that is further off than error_bound
ends the benchmark (CKKS promises none: a thousandth of clip).

cpu: CKKS's CPU seconds over ours, all parties. bytes: ours over CKKS's, up and down.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.common import Missing, Ratio, Row, Selection, main
from secagg import sim
from secagg.errors import IntegrityError, MissingExtra
from secagg.integrations.model import Entries
from secagg.integrations.terms import UPDATE, Terms
from secagg.types import PartyId

NAME = "homomorphic"

SIDES = ("secagg", "ckks", "plain")
CASES = ({"n": 4, "d": 1_000_000}, {"n": 20, "d": 100_000})
CLIP, BITS, DROPOUT = 1.0, 16, 0.25
DEGREE, MODULI, SCALE = 8192, [60, 40, 40], 2**40

Values = npt.NDArray[np.float32]


def rows(selection: Selection) -> Iterator[Row]:
    grid = [case | {"side": side} for case in CASES for side in SIDES]
    for case in selection.cases(grid):
        row = _SIDES[case["side"]](case["n"], case["d"])
        if row["max_abs_error"] > row["error_bound"]:
            raise IntegrityError(f"{case['side']}: the average is off: no figure counts")
        yield case | row


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    pairs = [
        (mine, its)
        for mine in rows
        for its in rows
        if (mine["side"], its["side"]) == ("secagg", "ckks")
        and (mine["n"], mine["d"]) == (its["n"], its["d"])
    ]
    if not pairs:
        return dict.fromkeys(("cpu", "bytes"), Missing("no case has rows of both sides"))
    return {
        "cpu": min(its["cpu"] / mine["cpu"] for mine, its in pairs),
        "bytes": max(_bytes(mine) / _bytes(its) for mine, its in pairs),
    }


def _bytes(row: Row) -> float:
    return float(row["bytes_up"] + row["bytes_down"])


def _values(place: int, d: int) -> Values:
    draw = np.random.default_rng([0, place])
    return draw.uniform(-CLIP, CLIP, d).astype(np.float32)


def _error(average: npt.ArrayLike, n: int, d: int) -> float:
    exact = sum(_values(place, d).astype(np.float64) for place in range(n)) / n
    return float(np.abs(np.asarray(average, np.float64) - exact).max())


def _secagg(n: int, d: int) -> Row:
    terms = Terms(CLIP, BITS, 1, dropout=DROPOUT)
    plan = terms.plan(n, Entries({"w": np.zeros(d, np.float32)}), {})
    sim.run(plan, _inputs(d))  # loads what is loaded once
    done = sim.run(plan, _inputs(d))
    if not done.exact:
        raise IntegrityError("the sum is not that of the inputs: no figure counts")
    return {
        "cpu": n * done.client_seconds + done.server_seconds,
        "client_cpu": done.client_seconds,
        "server_cpu": done.server_seconds,
        "bytes_up": done.bytes_up,
        "bytes_down": done.bytes_down + 4 * d,
        "max_abs_error": _error(done.aggregate.mean[UPDATE], n, d),
        "error_bound": plan.max_error,
        "survives": n - plan.params.min_survivors,
    }


def _inputs(d: int) -> Callable[[PartyId], dict[str, Any]]:
    return lambda me: {UPDATE: {"w": _values(me, d)}}


def _ckks(n: int, d: int) -> Row:
    """survives: sites that may be lost, of n: all but one."""
    tenseal = _imported("tenseal")
    encryptor_of = _imported("nvflare.app_opt.he.model_encryptor").HEModelEncryptor
    decryptor_of = _imported("nvflare.app_opt.he.model_decryptor").HEModelDecryptor
    context_of = _imported("nvflare.apis.fl_context").FLContext
    logging.disable(logging.INFO)
    context = (
        tenseal.context(  # as nvflare.lighter.impl.he.HEBuilder makes it, and keeps it on disk
            tenseal.SCHEME_TYPE.CKKS,
            poly_modulus_degree=DEGREE,
            coeff_mod_bit_sizes=MODULI,
            encryption_type=tenseal.ENCRYPTION_TYPE.SYMMETRIC,
        )
    )
    context.generate_relin_keys()
    context.global_scale = SCALE
    keys = {"save_public_key": True, "save_secret_key": True, "save_relin_keys": True}
    context = tenseal.context_from(context.serialize(**keys, save_galois_keys=False))
    encryptor = encryptor_of(weigh_by_local_iter=False)
    decryptor = decryptor_of()
    encryptor.tenseal_context = decryptor.tenseal_context = context
    encryptor.encrypt_layers = [True]
    framework = context_of()

    def sealed(model: dict[str, Any]) -> Any:
        return encryptor.encryption(model, framework)[0]

    def opened(model: dict[str, Any]) -> Any:
        flags = dict.fromkeys(model, True)
        return decryptor.decryption(model, flags, framework)

    try:
        return _averaged(n, d, sealed, opened) | {"error_bound": CLIP / 1000}
    finally:
        logging.disable(logging.NOTSET)


def _plain(n: int, d: int) -> Row:
    return _averaged(n, d, dict, dict) | {"error_bound": CLIP * n * 2.0**-23}


def _averaged(n: int, d: int, sealed: Callable[..., Any], opened: Callable[..., Any]) -> Row:
    """NVFLARE's own average of what `sealed` makes of a model."""
    fobs = _imported("nvflare.fuel.utils.fobs")
    _imported("nvflare.app_common.decomposers.common_decomposers").register()
    averages = _imported("nvflare.app_common.aggregators.weighted_aggregation_helper")
    helper_of = averages.WeightedAggregationHelper
    helper, client, server, up = helper_of(weigh_by_local_iter=False), 0.0, 0.0, 0
    for place in range(n):
        values = {"w": _values(place, d)}
        began = time.process_time()
        message = fobs.dumps(sealed(values))
        client += time.process_time() - began
        up += len(message)
        began = time.process_time()
        helper.add(fobs.loads(message), 1.0, f"site-{place}", 0)
        server += time.process_time() - began
    began = time.process_time()
    answer = fobs.dumps(helper.get_result())
    server += time.process_time() - began
    began = time.process_time()
    average = opened(fobs.loads(answer))
    each = time.process_time() - began
    return {
        "cpu": client + server + n * each,
        "client_cpu": client / n + each,
        "server_cpu": server,
        "bytes_up": up / n,
        "bytes_down": len(answer),
        "max_abs_error": _error(average["w"], n, d),
        "survives": n - 1,
    }


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise MissingExtra(
            "bench homomorphic needs pip install 'nvflare[HE]' for the sides ckks and plain"
        ) from None


_SIDES: Mapping[str, Callable[[int, int], Row]] = {
    "secagg": _secagg,
    "ckks": _ckks,
    "plain": _plain,
}

if __name__ == "__main__":
    main(NAME)
