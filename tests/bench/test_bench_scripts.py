"""Every benchmark at tiny sizes, without its rivals: columns, exactness, ratios. No timing."""

from __future__ import annotations

import json
import math
import os
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from bench import (
    aes_limit,
    common,
    flower,
    homomorphic,
    mask,
    mean,
    noise,
    pack,
    peer,
    quantize,
    rivals,
    rotate,
    shamir,
    tax,
    wire,
)
from bench.common import Missing, Row, Selection
from secagg.errors import IntegrityError, MissingExtra, ParameterError
from secagg.kernels import aes


@pytest.fixture(autouse=True)
def no_flower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "flower", lambda *_, **__: rivals.Outcome(None, "not here"))
    monkeypatch.setattr(peer, "REPEATS", 1)
    monkeypatch.setattr(tax, "REPEATS", 1)


def run(benchmark: ModuleType, rows: str) -> dict[str, Any]:
    result = common.run(benchmark, Selection.parse(rows))  # type: ignore[arg-type]
    json.dumps(result, allow_nan=False)
    return result


def test_mask_without_flower() -> None:
    result = run(mask, "lane=32,d=1000,keys=2")
    one, two = result["rows"]
    assert (one["threads"], two["threads"]) == (1, 2)
    assert one["gbs"] > 0 and one["openssl_seconds"] > 0 and one["openssl_blocks_seconds"] > 0
    assert (one["limit_gbs"] is None) == (common.machine()["aes"] == "openssl")
    assert one["flower_per_neighbour"] is None and one["flower_reason"] == "not here"
    assert set(result["ratios"]) == {"aes_limit", "two_threads", "openssl", "flower"}
    assert set(result["ratios"].values()) == {None}, "the ratios are of the full size only"


def test_the_ratios_of_mask_are_rival_over_ours() -> None:
    one: Row = {**mask.CASE, "threads": 1, "seconds": 2.0, "cpu_seconds": 2.0}
    one |= {"limit_gbs": 1.0, "limit_seconds": 1.5, "flower_per_neighbour": 0.5}
    one |= {"openssl_seconds": 9.0, "openssl_blocks_seconds": 8.0}
    two: Row = {**mask.CASE, "threads": 2, "seconds": 1.25, "cpu_seconds": 2.0}
    expected = {"aes_limit": 0.75, "two_threads": 1.6, "openssl": 4.0, "flower": 16.0}
    assert mask.ratios([one, two]) == expected
    assert isinstance(mask.ratios([one])["two_threads"], Missing)
    assert mask.ratios([one | {"flower_per_neighbour": None, "flower_reason": "no"}])[
        "flower"
    ] == Missing("no")
    assert isinstance(mask.ratios([one | {"limit_gbs": None}])["aes_limit"], Missing)


def test_openssl_as_anybody_would_write_it_makes_our_stream() -> None:
    material, signs = os.urandom(3 * 32), bytes([1, 0, 1])
    theirs, ours = np.zeros(1001, np.uint16), np.zeros(1001, np.uint16)
    mask._openssl(theirs, material, signs)
    mask.mask.add_streams(ours, material, signs)
    assert np.array_equal(theirs, ours) and theirs.any()


@pytest.mark.parametrize("unit", aes.available() or [pytest.param("", marks=pytest.mark.skip)])
def test_the_limit_is_the_limit_of_real_aes(unit: str) -> None:
    key, blocks = os.urandom(32), aes.UNITS[unit].blocks
    encryptor = Cipher(algorithms.AES256(key), modes.ECB()).encryptor()
    total = 0
    for i in range(aes.IN_FLIGHT):
        state = b"".join((i * blocks + j).to_bytes(16) for j in range(blocks))
        for _ in range(3):
            state = encryptor.update(state)
        total ^= int.from_bytes(state)
    assert aes_limit.chained(unit, key, 3) == total.to_bytes(16 * blocks)


def test_flower_and_we_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    seconds = iter([3.0, 1.0, 2.0])

    def ask(task: str, **parameters: Any) -> rivals.Outcome:
        seen.append(f"{task} {parameters}")
        return rivals.Outcome({"split": {"cpu": next(seconds), "wall": 9.0}})

    monkeypatch.setattr(rivals, "flower", ask)
    ours, theirs = flower.in_turns({"a": lambda: seen.append("a")}, "shamir", "split", n=3)
    assert theirs == {"flower_split": 1.0} and ours.keys() == {"a"}
    shortened = [what for i, what in enumerate(seen) if i == 0 or what != seen[i - 1]]
    assert shortened == ["a", "shamir {'n': 3}"] * flower.TURNS


def test_shamir() -> None:
    result = run(shamir, "n=7,t=4")
    (row,) = result["rows"]
    assert row["split_seconds"] > 0 and row["combine_again_seconds"] > 0
    assert result["ratios"] == {"split": None, "combine": None}
    full = {**shamir.CASE, "split_seconds": 2.0, "combine_seconds": 1.0, "combine_again_seconds": 9}
    full |= {"flower_split": 8.0, "flower_combine": 5.0}
    assert shamir.ratios([full]) == {"split": 4.0, "combine": 5.0}


def test_homomorphic() -> None:
    """Ours needs nothing of NVFLARE's; the other sides are refused with what would do."""
    [row] = run(homomorphic, "side=secagg,n=4,d=100")["rows"]
    assert row["survives"] == 1 and row["max_abs_error"] <= row["error_bound"]
    assert row["bytes_down"] > 400 and 0 < row["bytes_up"]
    its = row | {"side": "ckks", "cpu": 10 * row["cpu"], "bytes_up": 9 * row["bytes_up"]}
    its["bytes_down"] = 9 * row["bytes_down"]
    found = homomorphic.ratios([row, its])
    assert math.isclose(found["cpu"], 10) and math.isclose(found["bytes"], 1 / 9)  # type: ignore[arg-type]
    assert isinstance(homomorphic.ratios([row])["cpu"], Missing)
    if find_spec("nvflare") is None:
        with pytest.raises(MissingExtra, match=r"nvflare\[HE\]"):
            run(homomorphic, "side=plain,n=4,d=100")


def test_noise() -> None:
    result = run(noise, "kind=gaussian,sigma=4,sigma=1e5,d=1000")
    assert [(row["digits"], row["columns"]) for row in result["rows"]] == [(1, 64), (2, 8192)]
    assert all(row["draws_per_second"] > 0 for row in result["rows"])
    assert all(ratio is None for ratio in result["ratios"].values())
    row: Row = {"kind": "gaussian", "sigma": 4.0, "d": noise.D, "cpu_seconds": 2.0}
    row |= {"numpy_seconds": 8.0, "limit_seconds": 1.0, "draws_per_second": 1e8}
    other = row | {"kind": "skellam", "numpy_seconds": 20.0}
    wide = row | {"sigma": 1e7, "draws_per_second": 3e7}
    expected = {"aes_limit": 0.5, "normal": 4.0, "poisson": 10.0, "narrow": 2.0, "wide": 1.5}
    assert noise.ratios([row, other, wide]) == expected
    assert isinstance(noise.ratios([row])["poisson"], Missing)
    assert isinstance(noise.ratios([row | {"limit_seconds": None}])["aes_limit"], Missing)


def test_mean() -> None:
    """Through two servers, and through one with clients that may be lost: there all noise of the 18
    that stayed is in the sum, and 14 shares of it are counted on."""
    small = "epsilon=3,n=20,d=256,errors=2560"
    result = run(mean, f"{small},servers=2")
    (row,) = result["rows"]
    assert row["squared_errors"] == 2560 and row["factor"] == 1
    assert row["off"] < 0.08 and abs(row["predicted"] - 1) < 0.01
    assert row["published"] == pytest.approx(1.158, abs=0.01) and row["skellam"] > 1.15
    assert result["ratios"]["prediction"] == row["off"]
    lossy = mean._row(20, 16, 3, 1e-5, 16, 16, 1, 0.1, 0.2, 0.1)
    assert lossy["factor"] == 18 / 14 and lossy["predicted"] == pytest.approx(18 / 14, rel=0.01)
    assert isinstance(mean.ratios([lossy])["prediction"], Missing)


def test_rotate() -> None:
    (row,) = run(rotate, "d=33")["rows"]
    assert all(row[f"{name}_seconds"] > 0 for name in ("encode", "noise", "decode", "numpy"))
    row = {"d": rotate.D, "encode_seconds": 0.02, "noise_seconds": 0.01, "numpy_seconds": 0.08}
    row |= {"rotate_seconds": 0.01, "numpy_rotate_seconds": 0.05}
    ratios = {"rotation": 5.0, "encoding": 4.0, "bar": 2.0}
    assert rotate.ratios([row]) == pytest.approx(ratios)


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_quantize(rounding: str) -> None:
    (row,) = run(quantize, f"d=500,rounding={rounding}")["rows"]
    assert 0 < row["max_abs_error"] <= row["error_bound"]
    timed = {**quantize.CASE, "rounding": rounding, "quantize_seconds": 2.0, "flower_quantize": 8.0}
    assert quantize.ratios([timed])[rounding] == 4.0


def test_pack() -> None:
    rows = run(pack, "d=100,width=1,width=17,width=64")["rows"]
    assert [row["width"] for row in rows] == [1, 17, 64]
    both = [
        {"width": w, "pack_gbs": g, "unpack_gbs": 2 * g} for w, g in ((1, 0.1), (16, 2), (40, 1))
    ]
    assert pack.ratios(both) == {"pack": 1.0, "unpack": 2.0}
    assert isinstance(pack.ratios(both[:1])["pack"], Missing)


def test_wire_measures_what_the_plan_promises() -> None:
    result = run(wire, "n=10,d=5000,protocol=secagg")
    for row in result["rows"]:
        assert row["measured"]["sent"] == row["measured"]["planned"]
        assert row["upload_bytes"] < row["float32_bytes"]
    assert result["ratios"]["flower"] is None and result["reasons"]["flower"] == "not here"
    assert 0 < result["ratios"]["neighbour"] < 1


def test_wire_takes_flowers_bytes_from_the_difference_of_two_rounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ask(task: str, *, d: int, **_: Any) -> rivals.Outcome:
        return rivals.Outcome({"bytes_up": 1234.0 + 8 * d})

    monkeypatch.setattr(rivals, "flower", ask)
    wire._flower.cache_clear()
    try:
        assert wire._flower() == (8.0, "")
    finally:
        wire._flower.cache_clear()


def test_peer_without_flower() -> None:
    result = run(peer, "n=6,d=50,drop=1/6")
    (row,) = result["rows"]
    assert row["exact"] and row["dropped"] == 1 and (row["k"], row["t"]) == (5, 4)
    assert row["max_abs_error"] <= row["error_bound"] and row["cpu"] > 0
    assert result["ratios"] == {"cpu": None, "bytes": None}


def test_peer_gives_flower_the_same_round(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    figures: dict[str, Any] = dict.fromkeys(
        ("total_cpu", "server_cpu", "client_cpu", "max_abs_error"), 1.0
    )
    figures |= {"bytes_up": 1e9, "bytes_down": 1e9}
    figures |= {"stages": {"setup": {"server_wall": 1.0, "clients_wall": 2.0}}}

    def ask(task: str, **parameters: Any) -> rivals.Outcome:
        asked.append(parameters)
        return rivals.Outcome(figures)

    monkeypatch.setattr(rivals, "flower", ask)
    result = run(peer, "n=12,k=6,t=3,d=20,drop=1/6")
    (row,) = result["rows"]
    (same,) = asked
    assert {n: row[n] for n in ("n", "k", "t", "d", "dropped")} == {
        n: same[n] for n in ("n", "k", "t", "d", "dropped")
    }
    assert row["protocol"] == "secagg+" and row["flower_stages"] == {"setup": 3.0}
    assert result["ratios"]["cpu"] == pytest.approx(1 / row["cpu"])
    assert result["ratios"]["bytes"] == pytest.approx((row["bytes_up"] + row["bytes_down"]) / 2e9)


def test_peer_takes_no_unsafe_parameters_for_the_sake_of_comparison() -> None:
    with pytest.raises(ParameterError, match="2t > n"):
        peer.plan_of(10, 9, 5, 1, 0.1, 1)


def test_the_worst_row_is_the_ratio() -> None:
    sizes = {"bytes_up": 1.0, "bytes_down": 0.0, "flower_bytes_down": 0.0}
    rows: list[Row] = [
        {"cpu": 1.0, "flower_cpu": 30.0, "flower_bytes_up": 4.0, **sizes},
        {"cpu": 1.0, "flower_cpu": 20.0, "flower_bytes_up": 2.0, **sizes},
    ]
    assert peer.ratios(rows) == {"cpu": 20.0, "bytes": 0.5}


@pytest.mark.parametrize("case", ["case=loopback", "case=shaped,rate=1e8"])
def test_tax(case: str) -> None:
    (row,) = run(tax, f"{case},n=4,d=100,processes=1")["rows"]
    assert row["seconds"] > 0 and row["plain_seconds"] > 0
    assert math.isclose(row["ratio"], row["seconds"] / row["plain_seconds"])
    assert row["bytes_up"] > row["plain_bytes_up"] and len(row["all_seconds"]) == 1
    assert set(row["phases"]) == {"advertise-keys", "share-keys", "masked-input", "unmask"}


def test_tax_counts_no_wrong_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """The children's inputs are not the parent's any more, so the mean cannot be right."""
    monkeypatch.setattr(tax.fleet, "values", lambda member, d: np.ones(d, np.float32))
    with pytest.raises(IntegrityError, match="no figure counts"):
        run(tax, "case=loopback,n=4,d=100,processes=1")
