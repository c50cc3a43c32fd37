"""What one round of a plan tells of one whose data are in it (specs/40-privacy.md §9.1-§9.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from secagg.arguments import choice, settle
from secagg.dp.mechanisms import MAX_SQUARED, Block
from secagg.dp.release import checked_rounds
from secagg.errors import PolicyRefused, WireError
from secagg.noise import Kind, share
from secagg.plans.plan import Plan
from secagg.plans.privacy import blocks
from secagg.privacy import TRUSTS, UNITS, PrivacyTerms, Trust, Unit
from secagg.shown import short
from secagg.types import MAX_CLIENTS
from secagg.wire.codec import Reader, Writer
from secagg.wire.frame import DIGEST_SIZE

Against = Literal["server", "readers"]
AGAINST: tuple[Against, ...] = ("server", "readers")
"""Whom a budget counts what is told to: whoever has the sums, together with the corrupt clients of
their plans; or whoever reads what is released, where the server is trusted to add noise."""

_MOST_BLOCKS = 1 << 10
"""A plan's fields."""


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What one round of a plan releases of one unit.

    plan: its digest. trust, rounds: the plan's. blocks: one for each field, as `secagg.dp` accounts
    them: in the smallest sum that the plan lets be released, unless `with_honest` says otherwise.
    """

    plan: bytes
    trust: Trust
    rounds: int
    blocks: tuple[Block, ...]

    __repr__ = short

    @property
    def honest(self) -> int:
        """Shares of noise that are counted on."""
        return min(block.shares for block in self.blocks)

    def with_honest(self, honest: int) -> Disclosure:
        """The same in a sum with so many honest shares of noise; with no fewer than before, and
        unchanged where one party's noise is enough for itself."""
        if self.trust != "distributed" or honest <= self.honest:
            return self
        most = min(honest, MAX_CLIENTS)
        return replace(self, blocks=tuple(replace(one, shares=most) for one in self.blocks))

    def encode(self) -> bytes:
        writer = Writer().raw(self.plan).u8(TRUSTS.index(self.trust)).u32(self.rounds)
        writer.u32(len(self.blocks))
        for block in self.blocks:
            writer.u8(block.noise.kind).f64(block.noise.number)
            writer.u32(block.length).u64(block.squared).u32(block.shares)
        return writer.finish()

    @classmethod
    def read(cls, reader: Reader) -> Disclosure:
        """The mirror of `encode`. Raises WireError, and ParameterError for what is no block."""
        plan, trust = reader.fixed(DIGEST_SIZE, "plan"), reader.u8("trust")
        if trust >= len(TRUSTS):
            raise WireError(f"trust has no code {trust}")
        rounds = checked_rounds(reader.u32("rounds"))
        number = reader.count(_MOST_BLOCKS, "blocks")
        if not number:
            raise WireError("a disclosure of nothing")
        return cls(plan, TRUSTS[trust], rounds, tuple(_block(reader) for _ in range(number)))


@dataclass(frozen=True, slots=True)
class Counting:
    """What a budget counts: whose data, and told to whom.

    unit: `client`, all that one client holds, or `example`, one of its examples. against: `server`,
    whoever has the sums, or `readers`, who see only what is released. Raises ParameterError.
    """

    unit: Unit = "client"
    against: Against = "server"

    __repr__ = short

    def __post_init__(self) -> None:
        settle(
            self,
            unit=choice("unit", self.unit, UNITS),
            against=choice("against", self.against, AGAINST),
        )

    def disclosure(self, plan: Plan) -> Disclosure:
        """Of one round of that plan, at its worst: the smallest sum, and all that may be corrupt.

        Raises PolicyRefused for a plan without noise, for one whose server adds it where that is
        what the budget counts against, and for one of which there is no number.
        """
        terms = plan.privacy
        if terms is None:
            raise PolicyRefused(
                "the announced plan has no noise, and this client has a budget: what its sums tell "
                "has no bound. The server's privacy=secagg.Privacy(...) would do"
            )
        if terms.trust == "central" and self.against == "server":
            raise PolicyRefused(
                "the announced plan has the server add the noise, which sees the sum without, and "
                "this budget counts what is told to the server: trust='distributed' would do, or a "
                "budget that counts against='readers'"
            )
        factor = self._factor(terms)
        found = blocks(plan.schema, terms.honest)
        if any(factor * block.squared > MAX_SQUARED for block in found):
            raise PolicyRefused(
                "what this plan tells of one unit has no number that a budget counts: it allows "
                "too many examples of one client, or its bits are too many"
            )
        scaled = tuple(replace(block, squared=factor * block.squared) for block in found)
        return Disclosure(plan.digest(), terms.trust, terms.rounds, scaled)

    def _factor(self, terms: PrivacyTerms) -> int:
        """Of the squared sensitivity, where plan and budget count different units.

        All of a client's examples are as many vectors at once, and exchanging one of its examples
        may turn what a client gives into any other that it may give: twice its norm (§9.3).
        """
        if terms.unit == self.unit:
            return 1
        return terms.examples**2 if self.unit == "client" else _EXCHANGED**2


_EXCHANGED = 2


def _block(reader: Reader) -> Block:
    kind, number = reader.u8("kind of noise"), reader.f64("variance")
    if kind not in tuple(Kind):
        raise WireError(f"noise has no kind {kind}")
    length, squared = reader.u32("length"), reader.u64("squared sensitivity")
    return Block(share(Kind(kind), number), length, squared, reader.u32("shares"))


def releases(disclosures: Mapping[Disclosure, int]) -> dict[tuple[Block, ...], int]:
    """How often each release was made, whichever plan it is of."""
    found: dict[tuple[Block, ...], int] = {}
    for disclosure, times in disclosures.items():
        found[disclosure.blocks] = found.get(disclosure.blocks, 0) + times
    return found
