"""Which trainings there are, and the plan that each of them sums by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

from secagg.arguments import choice, fraction, integer, real
from secagg.errors import ParameterError
from secagg.fields import Field, FixedPoint, Vector
from secagg.frontier.data import CLASSES, SOURCES
from secagg.plans import choose
from secagg.plans.plan import Plan
from secagg.privacy import TRUSTS, UNITS, Privacy, Unit
from secagg.shown import short

FIELD = "update"
NORM = 1.0
"""Of an update, or of an example's: longer ones are made as short. Without privacy too, so that
rows differ in the noise and in nothing else."""

Who = Literal["none", "central", "distributed", "local"]
WHO: tuple[Who, ...] = ("none", *sorted(TRUSTS))
"""Who adds noise, from nobody to everybody enough."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained on one data set.

    center: what is taken off each pixel. rate, steps: of a user's own descent. stride: how far the
    model goes along the mean of the updates, `momentum`: and of those before. target: an accuracy,
    of which is told after how many rounds it was reached. side: pixels.
    """

    users: int
    each: int
    side: int
    rounds: int
    delta: float
    center: float
    rate: float
    steps: int
    stride: float
    momentum: float
    target: float

    __repr__ = short

    @property
    def length(self) -> int:
        """Parameters of the model."""
        return (self.side**2 + 1) * CLASSES


RECIPES: dict[tuple[str, Unit], Recipe] = {
    ("digits", "client"): Recipe(100, 14, 8, 20, 1e-3, 0.0, 2.0, 20, 2.0, 0.0, 0.85),
    ("digits", "example"): Recipe(100, 14, 8, 20, 1e-4, 0.0, 1.0, 1, 4.0, 0.5, 0.85),
    ("mnist", "client"): Recipe(1000, 60, 14, 10, 1e-4, 0.0, 1.0, 10, 3.0, 0.5, 0.85),
    ("mnist", "example"): Recipe(1000, 60, 14, 10, 1e-5, 0.0, 1.0, 1, 3.0, 0.0, 0.85),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """What all rows of a table have in common.

    servers: 2 or more is additive sharing, 1 is SecAgg+. corrupt, dropout: what the plan
    withstands, as fractions; drop: which fraction of the users really vanishes in each round,
    before it has given its input. subgroup: which share of the users holds images turned by 90
    degrees.
    """

    data: str = "digits"
    unit: Unit = "client"
    servers: int = 2
    corrupt: float = 0.0
    dropout: float = 0.0
    drop: float = 0.0
    subgroup: float = 0.0
    data_dir: Path | None = None

    __repr__ = short

    def __post_init__(self) -> None:
        choice("--data", self.data, tuple(SOURCES))
        choice("--unit", self.unit, UNITS)
        for name in ("corrupt", "dropout", "drop", "subgroup"):
            fraction(f"--{name}", getattr(self, name))

    @property
    def recipe(self) -> Recipe:
        return RECIPES[self.data, self.unit]


@dataclass(frozen=True, slots=True)
class Cell:
    """One training. epsilon: None where nobody adds noise."""

    setting: Setting
    trust: Who
    epsilon: float | None
    bits: int
    seed: int

    __repr__ = short

    @property
    def key(self) -> dict[str, Any]:
        """What a row is found again by; where the data lay does not matter."""
        common = asdict(self.setting)
        common.pop("data_dir")
        own = {"trust": self.trust, "epsilon": self.epsilon, "bits": self.bits, "seed": self.seed}
        return {**common, **own}

    @property
    def name(self) -> str:
        """All of its key, in a line."""
        return "  ".join(f"{name}={value}" for name, value in self.key.items())

    def seed_of(self, round: int) -> int:
        """Of the simulation of one round: no two have the same noise."""
        digest = hashlib.sha256(f"{self.name}  round={round}".encode()).digest()
        return int.from_bytes(digest[:16], "big")


def grid(
    setting: Setting,
    trusts: Sequence[Who],
    epsilons: Sequence[float],
    bits: Sequence[int],
    seeds: int,
) -> list[Cell]:
    """By trust, then epsilon, width and seed. Raises ParameterError for what no plan can have."""
    if not (trusts and epsilons and bits):
        raise ParameterError("there is nothing to train: name a trust, an epsilon and a width")
    trusts = tuple(dict.fromkeys(choice("--trust", trust, WHO) for trust in trusts))
    widths = sorted({integer("--bits", width, 2, 30) for width in bits})
    numbers = range(integer("--seeds", seeds, 1, 1000))
    wanted = sorted({real("--epsilon", epsilon) for epsilon in epsilons})
    cells = [
        Cell(setting, trust, epsilon, width, seed)
        for trust in trusts
        for epsilon, width, seed in product(_of(trust, wanted), widths, numbers)
    ]
    for cell in _first_of_each(cells):
        plan_of(cell)
    return cells


def plan_of(cell: Cell) -> Plan:
    """Central noise is for readers, and from the server, which adds it, it hides nothing: so it is
    one server, in the clear. All others are of the setting's servers. Raises ParameterError."""
    setting, recipe = cell.setting, cell.setting.recipe
    central = cell.trust == "central"
    return choose.plan(
        clients=recipe.users,
        fields={FIELD: _field(cell)},
        corrupt=0 if central else setting.corrupt,
        dropout=setting.dropout,
        servers=1 if central else setting.servers,
        protocol="plainsum" if central else None,
        privacy=_asked(cell),
    )


def _field(cell: Cell) -> Field:
    length = cell.setting.recipe.length
    if cell.trust == "none":
        return FixedPoint(length, NORM, cell.bits)
    return Vector(length, NORM, cell.bits)


def _asked(cell: Cell) -> Privacy | None:
    setting, recipe = cell.setting, cell.setting.recipe
    if cell.trust == "none" or cell.epsilon is None:
        return None
    return Privacy(
        cell.epsilon,
        recipe.delta,
        rounds=recipe.rounds,
        unit=setting.unit,
        trust=cell.trust,
        examples=recipe.each if setting.unit == "example" else None,
    )


def _of(trust: Who, epsilons: Sequence[float]) -> Sequence[float | None]:
    return (None,) if trust == "none" else tuple(epsilons)


def _first_of_each(cells: Sequence[Cell]) -> Iterator[Cell]:
    """A cell of each plan: seeds share theirs."""
    yield from (cell for cell in cells if cell.seed == 0)
