"""Terms: what a service and its clients agree on before anybody knows who will come.

A plan is for a fixed number of clients. Terms are for a range: whoever has them derives the plan of
a round from two numbers that are known when its cohort is frozen, how many it is and of how many
they were chosen, and everybody derives the same bytes, or refuses (specs/50-service.md §1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any

from secagg import registry
from secagg.arguments import choice, flag, instance, integer, octets, ratio, settle, text
from secagg.crypto import labels
from secagg.errors import ParameterError, TooLarge, UnknownVersion, WireError
from secagg.fields import Field
from secagg.plans.choose import NONE, PLANNER, Exact, derived, refusal
from secagg.plans.plan import MAX_ENCODED, Plan
from secagg.plans.sections import read_fraction, write_fraction
from secagg.protocol import OneServer, SeveralServers
from secagg.schema import CLIPPED, MAX_WEIGHT, Schema, named_fields
from secagg.shown import short
from secagg.threat import Threat
from secagg.types import ADVERSARIES, MAX_ROSTER, Adversary, Buffer
from secagg.wire.codec import Reader, Writer
from secagg.wire.schema import read_fields, write_schema

# Theory of operation.
#
# Of whom a round is cannot be known when its terms are agreed on, and a plan cannot do without: the
# threshold, the ring and the promise all hang on n. So terms say the rule, and the rule is the
# planner. It is part of what was agreed: another planner may be better, but it is another, and a
# client that cannot derive the bytes that were announced takes part in nothing.
#
# Not every n has a plan, and those that have are no interval: with a third corrupt five clients
# will do, six and seven will not, and eight will. Terms with a hole would refuse a cohort when it
# is there, so all of a range is tried when terms are made. That is bounded by what a size is: up to
# 64 every n, above it those of six significant bits, and both ends. Of a cohort that is no size a
# 32nd at most waits for the next round; and of 10,000 clients 300 sizes are tried, and not 10,000
# (decisions/036).
#
# Each is tried at the largest population. A smaller one has fewer corrupt: t, the tails and the
# smallest sum ask for no more then, at any n, so what is feasible there is feasible below.
#
# What a size has no part in is seen once, at the top of the range: sums grow with n, and with them
# rings. Only which fields share a ring may change, so all of them together are kept below what one
# key may mask.

VERSION = 1

MAX_CLIENTS = 10_000
"""Of a range: what one service has links for."""
EXACT = 6
"""Significant bits of a size."""
MAX_ELEMENTS = 1 << 32
"""Of all fields together: of 64 bits each half of what one key masks of a segment."""
MAX_TERMS = MAX_ENCODED + 128

_MAX_NAME = 64


@dataclass(frozen=True)
class Terms:
    """The plans of a task whose clients are not counted yet.

    fields: as a schema has them, without the lane `clipped`. least, most: how many clients a round
    is of. population: of how many they may have been chosen at most; the corrupt are counted among
    all who may be, up to this number. corrupt, dropout: exact fractions. protocol: None for what
    the planner takes. clipped: the lane of that name. min_clients: no round begins with fewer, also
    where the protocol would; None leaves it to that. planner: of whose rule these are terms.

    Raises ParameterError for a range with an n that has no plan, naming the first and what would
    do; for a protocol of several servers, or one that protects nobody; HeadroomError for sums that
    could wrap.
    """

    fields: tuple[tuple[str, Field], ...]
    least: int
    most: int
    population: int
    corrupt: Fraction
    dropout: Fraction
    adversary: Adversary = "semi-honest"
    protocol: str | None = None
    max_weight: int = 1
    clipped: bool = False
    min_clients: int | None = None
    planner: int = PLANNER

    __repr__ = short

    def __post_init__(self) -> None:
        if self.planner != PLANNER:
            raise ParameterError(_another(self.planner))
        most = integer("the most clients", self.most, 1, MAX_CLIENTS)
        least = integer("the least clients", self.least, 1, most)
        settle(
            self,
            most=most,
            least=least,
            population=integer("population", self.population, most, MAX_ROSTER),
            corrupt=ratio("corrupt", self.corrupt),
            dropout=ratio("dropout", self.dropout),
            adversary=choice("adversary", self.adversary, ADVERSARIES),
            max_weight=integer("max_weight", self.max_weight, 1, MAX_WEIGHT),
            clipped=flag("clipped", self.clipped),
        )
        if self.min_clients is not None:
            settle(self, min_clients=integer("min_clients", self.min_clients, 1, least))
        self._check_protocol()
        self._check_fields()
        self._check_sizes()

    @classmethod
    def of(
        cls,
        fields: Mapping[str, Field],
        clients: tuple[int, int],
        *,
        population: int | None = None,
        corrupt: Exact = 0.1,
        dropout: Exact = 0.2,
        **more: Any,
    ) -> Terms:
        """With what `secagg.plan` has for defaults. clients: the least and the most. population:
        the most, where nobody is chosen among more."""
        least, most = clients
        among = most if population is None else population
        lost = ratio("corrupt", corrupt), ratio("dropout", dropout)
        return cls(named_fields(fields), least, most, among, *lost, **more)

    def plan(self, clients: int, population: int) -> Plan:
        """The plan of a round of so many, chosen from so many: the same bytes everywhere.

        Raises ParameterError for a number of clients that is none of `sizes`, and for a population
        below it or above that of the terms.
        """
        clients = integer("clients", clients, self.least, self.most)
        if clients != self.size(clients):
            raise ParameterError(
                f"{clients} clients are no size of a round of these terms: the nearest below is "
                f"{self.size(clients)}"
            )
        return _planned(self, clients, integer("population", population, clients, self.population))

    def size(self, number: int) -> int:
        """The largest size of a round that so many are enough for; 0 where there is none."""
        if number >= self.most:
            return self.most
        if number < self.least:
            return 0
        return max(self.least, _rounded(number))

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many clients a round may be of, ascending: both ends, and of what is between every
        number of at most six significant bits."""
        found, at = [self.least], self.least
        while at < self.most:
            at = min(self.most, _rounded(at) + _step(at))
            found.append(at)
        return tuple(found)

    def encode(self) -> bytes:
        """The canonical bytes (specs/50-service.md §1)."""
        return self._encoded

    @cached_property
    def _encoded(self) -> bytes:
        writer = Writer().u8(VERSION).u8(self.planner)
        writer.u32(self.least).u32(self.most).u32(self.population)
        write_fraction(write_fraction(writer, self.corrupt), self.dropout)
        writer.u8(ADVERSARIES.index(self.adversary)).u8(self.clipped).u32(self.min_clients or 0)
        writer.prefixed((self.protocol or "").encode("ascii"))
        return write_schema(writer, Schema(self.fields, 1, self.max_weight)).finish()

    @classmethod
    def decode(cls, data: Buffer) -> Terms:
        """Every rule is checked again. Raises WireError, or ParameterError as the class does."""
        data = octets("terms", data)
        if len(data) > MAX_TERMS:
            raise TooLarge(f"terms of {len(data)} bytes, and the limit is {MAX_TERMS}")
        reader = Reader(data)
        _read_version(reader)
        least, most, population = reader.u32("least"), reader.u32("most"), reader.u32("population")
        corrupt, dropout = read_fraction(reader, "corrupt"), read_fraction(reader, "dropout")
        adversary, clipped = reader.u8("adversary"), reader.u8("clipped")
        if adversary >= len(ADVERSARIES) or clipped > 1:
            raise WireError(
                "an adversary is 0 or 1, and so is whether clipped elements are counted"
            )
        asked = reader.u32("min_clients")
        protocol = reader.prefixed(_MAX_NAME, "protocol").decode("latin-1")
        max_weight, fields = read_fields(reader)
        return cls(
            fields,
            least,
            most,
            population,
            corrupt,
            dropout,
            ADVERSARIES[adversary],
            protocol or None,
            max_weight,
            bool(clipped),
            asked or None,
        )

    def digest(self) -> bytes:
        """32 bytes that bind everything above: what people compare, and a client pins."""
        return labels.digest(labels.TERMS, self.encode())

    def explain(self) -> str:
        """Several lines of plain words, and last what `Plan.explain` has for the round that
        promises least: the one with the fewest honest inputs in its smallest sum."""
        ends = [self.plan(n, self.population) for n in (self.least, self.most)]
        weakest = min(map(self._worst, self.sizes), key=lambda one: (_hidden(one), _clients(one)))
        start = (
            f"no round begins with fewer than {self.min_clients}, or than its protocol asks for"
            if self.min_clients
            else "how many a round begins with is its protocol's rule"
        )
        return "\n".join(
            [
                f"Rounds of {self._range()}, chosen from {self.population} at most, each planned "
                f"for those that came, by planner {self.planner}: whoever has these terms derives "
                "its plan, or takes no part.",
                f"Who must be there: {start}.",
                f"What the weakest of them promises, that of {_clients(weakest)}: sums of "
                f"{weakest.params.min_survivors} inputs or more, of which "
                f"{weakest.threat.corrupted} may be of clients that collude, so that each is "
                f"hidden among {_hidden(weakest)} honest ones at least.",
                "Threshold: "
                + ", ".join(f"{one.threshold} of {_clients(one)} ({one.protocol})" for one in ends)
                + ".",
                "Of that weakest round:",
                *(f"  {line}" for line in weakest.explain().splitlines()[:-1]),
                f"Digest of these terms: {self.digest().hex()}",
            ]
        )

    # Inside

    def _range(self) -> str:
        fixed = self.least == self.most
        return f"{self.most} clients" if fixed else f"{self.least} to {self.most} clients"

    def _worst(self, clients: int) -> Plan:
        return self.plan(clients, self.population)

    def _threat(self, clients: int, population: int) -> Threat:
        lost = self.corrupt, self.dropout
        return Threat(clients, *lost, self.adversary, roster=population)

    def _schema(self, clients: int) -> Schema:
        return Schema.of(dict(self.fields), clients, self.max_weight, clipped=self.clipped)

    def _check_protocol(self) -> None:
        if self.protocol is None:
            return
        info = registry.load(text("protocol", self.protocol))
        match info.family:
            case SeveralServers():
                raise ParameterError(
                    f"{info.name} has several servers, and terms are of rounds of one: a batch "
                    "has no number of clients that anybody waits for"
                )
            case OneServer():
                if self.adversary not in info.threat_models:
                    raise ParameterError(
                        f"{info.name} protects nobody against a server that is "
                        f"{self.adversary}: no terms are of that"
                    )

    def _check_fields(self) -> None:
        whole = Schema(instance("fields", self.fields, tuple), self.most, self.max_weight)
        if CLIPPED in dict(whole.fields):
            raise ParameterError(
                f"terms say whether there is the lane {CLIPPED!r}, and none of their fields is "
                "called so"
            )
        elements = sum(field.length for _, field in self.fields)
        if elements > MAX_ELEMENTS:
            raise ParameterError(
                f"the fields have {elements} elements together, and terms at most {MAX_ELEMENTS}"
            )
        self._schema(self.most)

    def _check_sizes(self) -> None:
        refusals = {n: self._refusal(n) for n in self.sizes}
        bad = [n for n, why in refusals.items() if why]
        if not bad:
            return
        runs = _runs(self.sizes, set(bad))
        longest = max(runs, key=lambda run: run[1] - run[0], default=None)
        would = f"; {longest[0]} to {longest[1]} clients would do" if longest else ""
        raise ParameterError(
            f"a round of {bad[0]} of the {self._range()}, chosen from {self.population} at most, "
            f"has no plan: {NONE}{refusals[bad[0]]}{would}"
        )

    def _refusal(self, clients: int) -> str:
        """A min_clients that is asked for is tried where the planner's own is below it: whether it
        may be had hangs on n and its dropouts, and so at each smaller population too."""
        threat = self._threat(clients, self.population)
        why, asked = refusal(threat, self.protocol), self.min_clients
        if why or asked is None:
            return why
        made = derived(threat, self._schema(clients), self.protocol)
        if made.params.min_clients >= asked:
            return ""
        return refusal(replace(threat, min_clients=asked), self.protocol)


def looks_like_terms(data: bytes) -> bool:
    """Of bytes that are terms or a task: where terms have the most clients, a task has the first
    bytes of a plan, which are above them (specs/50-service.md §1.1). Whoever is right, decodes."""
    return data[:1] == bytes([VERSION]) and 0 < int.from_bytes(data[6:10]) <= MAX_CLIENTS


@lru_cache(maxsize=8)
def _planned(terms: Terms, clients: int, population: int) -> Plan:
    """Remembered: a service announces to each client what it has derived once, and a client of many
    rounds derives the same plan again in each."""
    threat, schema = terms._threat(clients, population), terms._schema(clients)
    made = derived(threat, schema, terms.protocol)
    asked = terms.min_clients
    if asked is None or made.params.min_clients >= asked:
        return made
    return derived(replace(threat, min_clients=asked), schema, terms.protocol)


def _rounded(number: int) -> int:
    """Down, to EXACT significant bits."""
    return number - number % _step(number)


def _step(number: int) -> int:
    return 1 << max(0, number.bit_length() - EXACT)


def _clients(plan: Plan) -> int:
    return plan.threat.clients


def _hidden(plan: Plan) -> int:
    """Honest inputs of the smallest sum."""
    return plan.params.min_survivors - plan.threat.corrupted


def _runs(sizes: tuple[int, ...], bad: set[int]) -> list[tuple[int, int]]:
    """The first and the last of each stretch without a bad one."""
    runs: list[tuple[int, int]] = []
    fresh = True
    for n in sizes:
        if n in bad:
            fresh = True
        elif fresh:
            runs.append((n, n))
            fresh = False
        else:
            runs[-1] = runs[-1][0], n
    return runs


def _another(planner: int) -> str:
    return (
        f"these terms are for planner {planner}, and this release plans as planner {PLANNER}, "
        "which may make other plans of them: a service and its clients need releases of the same, "
        "or the terms are written anew"
    )


def _read_version(reader: Reader) -> None:
    if (version := reader.u8("version")) != VERSION:
        raise UnknownVersion(
            f"terms of version {version}, or no terms; this code speaks version {VERSION}"
        )
    if (planner := reader.u8("planner")) != PLANNER:
        raise UnknownVersion(_another(planner))
