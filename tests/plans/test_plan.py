"""Plans: choice, exactness, encoding, digest, words. specs/01-wire.md §4; threats rows 46, 83."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import registry
from secagg.crypto import labels
from secagg.errors import (
    BadTag,
    HeadroomError,
    ParameterError,
    PolicyRefused,
    SecAggError,
    TooLarge,
    TrailingBytes,
    Truncated,
    UnknownVersion,
    WireError,
)
from secagg.fields import Field, FixedPoint, Integer
from secagg.layout import Layout
from secagg.plans.choose import plan
from secagg.plans.plan import Plan
from secagg.promise import of_one_server
from secagg.protocol import Cost, Infeasible, OneServer, Params, Phase, ProtocolInfo
from secagg.schema import CLIPPED
from secagg.structure import Structure
from secagg.suite import SUITE_2
from secagg.threat import Threat
from secagg.types import Adversary
from secagg.wire.codec import Reader, Writer
from tests.soak import examples

UPDATE = FixedPoint(length=50_890, clip=1.0, bits=16)
FIELDS: dict[str, Field] = {"update": UPDATE}


# --- a family of protocols without machines ------------------------------------------------


@dataclass(frozen=True)
class FakeParams:
    clients: int
    degree: int
    threshold: int = 2
    min_clients: int = 1
    min_survivors: int = 1
    servers: int = 1
    direct: bool = False

    def encode(self) -> bytes:
        return Writer().u32(self.clients).u32(self.degree).finish()


def decode_fake(data: bytes) -> FakeParams:
    reader = Reader(data)
    params = FakeParams(reader.u32("clients"), reader.u32("degree"))
    reader.finish()
    return params


def fake(
    name: str,
    upload: int = 100,
    prg: int = 0,
    rule: str | None = None,
    threat_models: Sequence[Adversary] = ("semi-honest",),
    guarantee: str = "nothing else",
    runs: bool = True,
) -> ProtocolInfo:
    def parameters(threat: Threat) -> Params | Infeasible:
        return Infeasible(rule) if rule else FakeParams(threat.clients, 3)

    def cost(threat: Threat, params: Params, layout: Layout) -> Cost:
        return Cost(upload, 0, prg, 0, 0, 0, upload)

    def machine(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("no machine is made when planning")

    return ProtocolInfo(
        name=name,
        spec=f"specs/{name}.md",
        status="fake",
        threat_models=tuple(threat_models),
        phases=lambda params, suite: (Phase("upload", 1, takes_input=True),),
        family=OneServer(machine, machine),
        parameters=parameters,
        check=lambda threat, params: "degree is odd by rule" if params.degree != 3 else None,
        decode_params=decode_fake,
        cost=cost,
        promise=lambda threat, params, layout: of_one_server(
            threat, 1, 1, learns=guarantee, caveats=[f"{name} has a caveat."], runs=runs
        ),
        messages={},
    )


class Installed:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, *infos: ProtocolInfo) -> None:
        known = {info.name: info for info in infos}
        self._monkeypatch.setattr(registry, "available", lambda: tuple(sorted(known)))
        self._monkeypatch.setattr(registry, "load", known.__getitem__)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    yield Installed(monkeypatch)


def test_the_cheapest_feasible_protocol_is_chosen(installed: Installed) -> None:
    installed(
        fake("dear", upload=200),
        fake("cheap", upload=100),
        fake("cheaper but impossible", upload=10, rule="2t > n"),
        fake("cheapest but in the clear", upload=1, threat_models=()),
    )
    chosen = plan(clients=10, fields=FIELDS)
    assert chosen.protocol == "cheap"
    words = chosen.explain()
    assert "cheap uploads 100 bytes with 3 neighbours" in words
    assert "dear uploads 200 bytes" in words
    assert "cheaper but impossible is not possible (2t > n)" in words
    assert "in the clear" not in words
    assert "cheap has a caveat." in words


def test_equal_uploads_are_decided_by_compute_and_then_by_name(installed: Installed) -> None:
    installed(fake("a", prg=10**9), fake("c"), fake("b"))
    assert plan(clients=10, fields=FIELDS).protocol == "b"


def test_a_protocol_for_the_adversary_goes_before_a_cheaper_one(installed: Installed) -> None:
    installed(fake("honest", upload=1), fake("active", upload=9, threat_models=("active",)))
    assert plan(clients=10, fields=FIELDS, adversary="active").protocol == "active"


def test_when_nothing_is_feasible_every_rule_is_named(installed: Installed) -> None:
    installed(fake("a", rule="first rule"), fake("b", rule="second rule"))
    with pytest.raises(ParameterError, match="a: first rule; b: second rule"):
        plan(clients=10, fields=FIELDS)


def test_a_named_protocol_that_is_infeasible_is_not_replaced(installed: Installed) -> None:
    installed(fake("a", rule="its rule"), fake("b"))
    with pytest.raises(ParameterError, match="a: its rule"):
        plan(clients=10, fields=FIELDS, protocol="a")


def test_parameters_that_break_a_rule_are_no_plan(installed: Installed) -> None:
    installed(fake("a"))
    good = plan(clients=10, fields=FIELDS)
    with pytest.raises(ParameterError, match="a: degree is odd by rule"):
        dataclasses.replace(good, params=FakeParams(10, 4))
    with pytest.raises(ParameterError, match="10, 10 and 11 clients"):
        dataclasses.replace(good, params=FakeParams(11, 3))
    data = good.encode()
    assert data.endswith(FakeParams(10, 3).encode())
    with pytest.raises(ParameterError, match="degree is odd by rule"):
        Plan.decode(data[:-4] + (5).to_bytes(4))


def test_a_plan_for_reading_makes_no_session(installed: Installed) -> None:
    installed(fake("a", guarantee="parameters only: soon", runs=False))
    with pytest.raises(PolicyRefused, match="for reading"):
        plan(clients=10, fields=FIELDS).session(bytes(16), bytes(32))


# --- the real ones -------------------------------------------------------------------------


def test_secagg_plus_wins_above_fifty_clients() -> None:
    one = {"one": Integer(1, 1)}
    for clients in (51, 100, 1000):
        chosen = plan(clients=clients, fields=one)
        assert chosen.protocol == "secagg+"
        assert chosen.degree < clients - 1
    small = plan(clients=50, fields=one)
    assert small.protocol == "secagg"
    assert "up to 50 clients the complete graph is taken" in small.explain()
    assert plan(clients=50, fields=one, protocol="secagg+").degree < 49


def test_secagg_stands_in_where_no_regular_graph_will_do() -> None:
    threat: dict[str, Any] = {"clients": 53, "corrupt": "0.39", "dropout": "0.28"}
    chosen = plan(fields=FIELDS, **threat)
    assert (chosen.protocol, chosen.degree, chosen.threshold) == ("secagg", 52, 38)
    with pytest.raises(ParameterError, match="secagg\\+: no even degree up to"):
        plan(fields=FIELDS, **threat, protocol="secagg+")
    assert "secagg+ is not possible (no even degree" in chosen.explain()


@pytest.mark.parametrize("clients", [1, 2])
def test_row_46_cohorts_of_one_and_two(clients: int) -> None:
    with pytest.raises(ParameterError, match="too few"):
        plan(clients=clients, fields=FIELDS)


def test_infeasible_dropout_names_both_rules() -> None:
    with pytest.raises(ParameterError) as error:
        plan(clients=100, fields=FIELDS, corrupt=0.5, dropout=0.5)
    assert "max(t, A + 2, 3) <= n - D" in str(error.value)
    assert "for t = 76, A = 50, n = 100, D = 50" in str(error.value)
    assert "corrupt + dropout <= 0.9" in str(error.value)


def test_the_sum_in_the_clear_must_be_named() -> None:
    chosen = plan(clients=2, fields=FIELDS, protocol="plainsum")
    assert chosen.protocol == "plainsum"
    assert "protects against nobody" in chosen.explain()


def test_min_clients_reaches_the_finder() -> None:
    chosen = plan(clients=1000, fields=FIELDS, min_clients=800)
    assert (chosen.degree, chosen.threshold, chosen.params.min_clients) == (76, 39, 800)


def test_figures_of_a_plan() -> None:
    fields = {"update": UPDATE, "ages": Integer(10, 120)}
    chosen = plan(clients=100, fields=fields)
    assert chosen.ring_bits == 23  # 2 * 100 * 32767 + 1 < 2^23
    assert chosen.max_error == pytest.approx(0.5 / 32767, rel=1e-6)
    assert chosen.upload_bytes == chosen.cost.upload_bytes
    assert chosen.expansion == pytest.approx(chosen.upload_bytes / (50_890 * 2 + 10 * 8 / 8))
    assert plan(clients=100, fields={"ages": Integer(10, 120)}).max_error == 0
    assert plan(clients=100, fields={"ages": Integer(10, 128)}).expansion < (
        plan(clients=100, fields={"ages": Integer(10, 127)}).expansion  # 9 bits against 8
    )


def test_max_error_is_the_largest_of_the_fields() -> None:
    coarse = FixedPoint(5, 2.0, 8, rounding="stochastic")
    chosen = plan(clients=10, fields={"fine": UPDATE, "coarse": coarse, "n": Integer(1, 5)})
    assert chosen.max_error == coarse.max_error > UPDATE.max_error


# --- exact arguments -----------------------------------------------------------------------


@pytest.mark.parametrize("corrupt", [0.29, "0.29", Fraction(29, 100), Decimal("0.29"), "29/100"])
def test_fractions_are_exact(corrupt: Any) -> None:
    """29 of 100, which int(0.29 * 100) is not."""
    chosen = plan(clients=100, fields=FIELDS, corrupt=corrupt)
    assert chosen.threat.corrupt == Fraction(29, 100)
    assert chosen.threat.corrupted == 29


@pytest.mark.parametrize("name", ["corrupt", "dropout"])
@pytest.mark.parametrize(
    "value", [1, 1.0, "1", -0.1, 2, float("nan"), float("inf"), True, "a tenth", "1/0", None, 1 / 3]
)
def test_fractions_outside_their_domain(name: str, value: Any) -> None:
    with pytest.raises(ParameterError, match=name):
        plan(clients=10, fields=FIELDS, **{name: value})


@pytest.mark.parametrize("name", ["clients", "min_clients", "max_weight"])
@pytest.mark.parametrize("value", [True, 10.0, "10", 0, -1, 1 << 40])
def test_counts_are_integers(name: str, value: Any) -> None:
    with pytest.raises(ParameterError, match=name):
        plan(**{"clients": 10, "fields": FIELDS, name: value})


def test_min_clients_is_at_most_clients() -> None:
    with pytest.raises(ParameterError, match="min_clients must be an integer from 1 to 10"):
        plan(clients=10, fields=FIELDS, min_clients=11)


def test_unknown_names() -> None:
    with pytest.raises(ParameterError, match="adversary"):
        plan(clients=10, fields=FIELDS, adversary="malicious")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="plainsum, secagg"):
        plan(clients=10, fields=FIELDS, protocol="secagg++")


def test_row_83_headroom_is_refused_with_its_proof() -> None:
    """n W (2^31 - 1) past 2^63 cannot be told apart from its negative in 64 bits."""
    fields = {"update": FixedPoint(4, 1.0, 32)}
    most = (2**63 - 1) // (10 * (2**31 - 1))
    fits = plan(clients=10, fields=fields, max_weight=most)
    assert fits.ring_bits == 64
    bound = 10 * most * (2**31 - 1)
    assert f"M = 10 * {most} * 2147483647 = {bound}" in fits.explain()
    assert "= 64 bits, so it cannot wrap" in fits.explain()
    with pytest.raises(HeadroomError) as error:
        plan(clients=10, fields=fields, max_weight=most + 1)
    assert f"10 clients * {most + 1} (max_weight) * 2147483647" in str(error.value)
    assert "65 bits" in str(error.value)


# --- encoding and digest -------------------------------------------------------------------

fractions = st.fractions(0, Fraction(3, 10), max_denominator=50)
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12).filter(
    lambda name: name != CLIPPED
)  # Hypothesis tries the words that it finds in the code
fixed = st.builds(
    FixedPoint,
    length=st.integers(1, 1000),
    clip=st.floats(0.01, 1e6),
    bits=st.integers(2, 24),
    rounding=st.sampled_from(["nearest", "stochastic"]),
    excess=st.sampled_from(["clip", "error"]),
)
integers = st.builds(Integer, length=st.integers(1, 1000), max=st.integers(1, 1 << 40))


def structures(fields: dict[str, Field]) -> st.SearchStrategy[dict[str, Structure]]:
    """Of some of the fields, one or two entries each."""

    def of(field: Field) -> Structure:
        kind = np.float64 if isinstance(field, FixedPoint) else np.int64
        parts = {"a": np.zeros(1, kind), "b": np.zeros(field.length - 1, kind)}
        return Structure.of(parts, integers=kind is np.int64)

    chosen = st.lists(st.sampled_from(sorted(fields)), min_size=1, unique=True)
    return chosen.map(lambda some: {name: of(fields[name]) for name in some})


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    clients = draw(st.integers(8, 60))
    some = draw(st.dictionaries(names, fixed | integers, min_size=1, max_size=4))
    fields = {**some, "update": draw(fixed)}
    return plan(
        clients=clients,
        fields=fields,
        corrupt=draw(fractions),
        dropout=draw(fractions) / 3,
        adversary="semi-honest",
        protocol="plainsum" if draw(st.booleans()) else "secagg",
        min_clients=draw(st.none() | st.just(clients)),
        max_weight=draw(st.integers(1, 1000)),
        roster=draw(st.none() | st.integers(clients, clients + 3)),
        structure=draw(st.none() | structures(fields)),
    )


@settings(max_examples=examples(80), deadline=None)
@given(plans())
def test_row_23_encoding_round_trips(chosen: Plan) -> None:
    data = chosen.encode()
    again = Plan.decode(data, allow_unprotected=True)
    assert again == chosen
    assert again.encode() == data
    assert again.digest() == chosen.digest() == labels.digest(labels.PLAN, data)


@settings(max_examples=examples(60), deadline=None)
@given(plans(), st.data())
def test_rows_2_to_23_a_flipped_byte_is_refused_or_another_plan(
    chosen: Plan, data: st.DataObject
) -> None:
    """Never an untyped error, and never the same plan from other bytes."""
    encoded = bytearray(chosen.encode())
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other = Plan.decode(bytes(encoded), allow_unprotected=True)
    except SecAggError:
        return
    assert other.encode() == bytes(encoded)
    assert other.digest() != chosen.digest()


@settings(max_examples=examples(60), deadline=None)
@given(st.binary(max_size=200))
def test_row_1_any_bytes_give_a_typed_error(data: bytes) -> None:
    with pytest.raises(SecAggError):
        Plan.decode(b"\x02\x01\x00\x00\x00\x06secagg" + data)


BASE: dict[str, Any] = {
    "clients": 100,
    "fields": FIELDS,
    "corrupt": 0.1,
    "dropout": 0.2,
    "adversary": "semi-honest",
    "protocol": "secagg",
    "min_clients": 70,
    "max_weight": 1,
}


@pytest.mark.parametrize(
    "change",
    [
        {"clients": 101},
        {"corrupt": 0.101},
        {"dropout": 0.201},
        {"adversary": "active"},
        {"protocol": "secagg+", "min_clients": 80},
        {"min_clients": 71},
        {"min_clients": None},
        {"max_weight": 2},
        {"fields": {"updates": UPDATE}},
        {"fields": {"update": UPDATE, "n": Integer(1, 1)}},
        {"fields": {"update": dataclasses.replace(UPDATE, length=50_891)}},
        {"fields": {"update": dataclasses.replace(UPDATE, clip=1.5)}},
        {"fields": {"update": dataclasses.replace(UPDATE, bits=17)}},
        {"fields": {"update": dataclasses.replace(UPDATE, rounding="stochastic")}},
        {"fields": {"update": dataclasses.replace(UPDATE, excess="error")}},
        {"fields": {"update": Integer(50_890, 32767)}},
        {"fields": {"update": Integer(50_890, 32768)}},
        {"roster": 101},
        {"liars": 1},
        {"structure": Structure.of({"w": np.zeros(50_890)})},
    ],
    ids=str,
)
def test_the_digest_binds_every_input(change: dict[str, Any]) -> None:
    assert plan(**BASE).digest() == plan(**BASE).digest()
    assert plan(**BASE).digest() != plan(**{**BASE, **change}).digest()


def test_the_digest_binds_the_parameters_and_the_order_of_fields() -> None:
    chosen = plan(**BASE)
    stricter = dataclasses.replace(
        chosen,
        params=dataclasses.replace(chosen.params, min_survivors=57),  # type: ignore[type-var]
    )
    assert stricter.digest() != chosen.digest()
    a, b = {"a": UPDATE, "b": UPDATE}, {"b": UPDATE, "a": UPDATE}
    assert plan(clients=9, fields=a).digest() != plan(clients=9, fields=b).digest()


def test_encoding_byte_by_byte() -> None:
    model = Structure.of({"w": np.zeros((2, 1)), "b": np.zeros(3, np.float32)})
    fields: dict[str, Field] = {"u": FixedPoint(5, 1.0, 8), "i": Integer(2, 3)}
    chosen = plan(**{**BASE, "fields": fields, "roster": 120, "structure": {"u": model}})
    assert chosen.encode().hex() == (
        "02"
        "01"
        "00000006" + b"secagg".hex() + "01"
        "00000011"
        "00000064"
        "00000001"
        "0000000a"
        "00"
        "00000078"
        "02"
        "00000010"
        "00000001"
        "00000005"
        "00000000"
        "00000046"
        "03"
        "0000002f"
        "00000001"
        "00000002"
        "00000001" + b"u".hex() + "01"
        "00000005"
        "3ff0000000000000"
        "08"
        "00"
        "00"
        "00000001" + b"i".hex() + "02"
        "00000002"
        "0000000000000003"
        "04"
        "00000014"
        "00000064"
        "00000063"
        "00000039"
        "00000046"
        "00000039"
        "06"
        "00000020"
        + _tensor(0, b"u", b"w", b"\0\0\0\2\0\0\0\1", b"float64")
        + _tensor(1, b"u", b"b", b"\0\0\0\3", b"float32")
    )


def _tensor(place: int, *parts: bytes) -> str:
    """As specs/01-wire.md §4 writes it, by hand."""
    each = [b"secagg/v1/tensor", place.to_bytes(4), *parts]
    joined = b"".join(len(part).to_bytes(4) + part for part in each)
    return hashlib.sha256(joined).hexdigest()[:32]


def patched(offset: int, data: bytes) -> bytes:
    encoded = bytearray(plan(**BASE).encode())
    encoded[offset : offset + len(data)] = data
    return bytes(encoded)


@pytest.mark.parametrize(
    ("data", "error", "complaint"),
    [
        (patched(0, b"\x01"), UnknownVersion, "version 1, or no plan; this code speaks version 2"),
        (patched(1, b"\x03"), UnknownVersion, "suite 3"),
        (patched(1, b"\x02"), ParameterError, "suite 2 in a plan under semi-honest"),
        (patched(29, b"\x01"), ParameterError, "suite 1 in a plan under active"),
        (patched(2, (65).to_bytes(4)), TooLarge, "protocol"),
        (patched(6, b"secagh"), ParameterError, "no protocol 'secagh'"),
        (patched(12, b"\0"), BadTag, "section 0 is unknown"),
        (patched(12, b"\7"), BadTag, "section 7 is unknown"),
        (patched(12, b"\2"), WireError, "section 2 comes where 1, threat, is due"),
        (patched(13, (18).to_bytes(4)), TooLarge, "section 1, threat: 18"),
        (patched(13, b"\xff\xff\xff\xff"), TooLarge, "section 1, threat"),
        (patched(13, (16).to_bytes(4)), BadTag, "section 10"),
        (patched(17, (0).to_bytes(4)), ParameterError, "clients"),
        (patched(17, (99).to_bytes(4)), ParameterError, "99, 99 and 100"),
        (patched(17, (101).to_bytes(4)), ParameterError, "roster .* 101"),
        (patched(21, b"\0\0\0\2\0\0\0\x14"), WireError, "corrupt is not in lowest terms"),
        (patched(21, b"\0\0\0\1\0\0\0\0"), WireError, "denominator 0"),
        (patched(21, b"\0\0\0\1\0\0\0\1"), ParameterError, r"corrupt must lie in \[0, 1\)"),
        (patched(21, b"\0\0\0\1\0\0\0\2"), ParameterError, "2t > n"),
        (patched(29, b"\x02"), WireError, "adversary 2"),
        (patched(30, (99).to_bytes(4)), ParameterError, "roster"),
        (patched(30, (1000).to_bytes(4)), ParameterError, "100 of them from corrupt clients"),
        (patched(34, b"\1"), WireError, "section 1 comes after section 1"),
        (patched(34, b"\3"), WireError, "section 3 comes where 2, liveness, is due"),
        (patched(39, b"\0\0\0\3\0\0\0\5"), ParameterError, "dropout|survivors"),
        (patched(47, (101).to_bytes(4)), ParameterError, "liars"),
        (patched(47, (13).to_bytes(4)), ParameterError, r"t \+ 2L <= n - D does not hold"),
        (patched(51, (101).to_bytes(4)), ParameterError, "min_clients"),
        (patched(51, (71).to_bytes(4)), ParameterError, "and the plan's 71"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_row_7_and_others_each_field_of_a_peer_s_plan(
    data: bytes, error: type[SecAggError], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        Plan.decode(data)


def test_rows_2_and_3_truncated_anywhere_and_trailing() -> None:
    data = plan(**BASE).encode()
    for size in range(len(data)):
        with pytest.raises(Truncated):
            Plan.decode(data[:size])
    for appended in (b"\x00", b"\n", b"\r\n", b"\x1a", b"plan"):
        with pytest.raises(BadTag, match=f"section .* {len(appended)} bytes follow a complete"):
            Plan.decode(data + appended)
    with pytest.raises(WireError, match=f"{len(data)} bytes follow a complete plan: .* appended"):
        Plan.decode(data + data)
    with pytest.raises(Truncated):
        Plan.decode(data + b"\x06")


def test_rows_2_and_3_each_section_is_complete() -> None:
    """A byte more or less in any of them, its length told truly, is refused as such."""
    made = plan(**BASE)
    for number, body in sections_of(made).items():
        if number != 4:
            with pytest.raises(Truncated):
                Plan.decode(with_sections(made, {number: body[:-1]}))
        kind = TooLarge if number <= 2 else TrailingBytes
        with pytest.raises(kind):
            Plan.decode(with_sections(made, {number: body + b"\0"}))


@pytest.mark.parametrize(
    ("body", "error", "complaint"),
    [
        (b"", WireError, "section 6, structure, is empty"),
        (bytes(15), Truncated, "digest of a tensor"),
        (bytes(17), Truncated, "digest of a tensor"),
        (bytes(16 * 8193), TooLarge, "section 6, structure"),
    ],
)
def test_structures_that_are_none(body: bytes, error: type[SecAggError], complaint: str) -> None:
    with pytest.raises(error, match=complaint):
        Plan.decode(with_sections(plan(**BASE), {6: body}))


def test_any_digests_are_a_structure() -> None:
    """What they are of, a receiver cannot know."""
    for body in (bytes(16), bytes(range(16)) * 8192):
        data = with_sections(plan(**BASE), {6: body})
        read = Plan.decode(data)
        assert b"".join(read.structure) == body
        assert read.encode() == data
    with pytest.raises(ParameterError, match="at most 8192 entries, not 8193"):
        dataclasses.replace(read, structure=(bytes(16),) * 8193)


def sections_of(made: Plan) -> dict[int, bytes]:
    reader = Reader(made.encode()[12:])
    bodies = {}
    while reader.remaining:
        number = reader.u8("number")
        bodies[number] = reader.prefixed(1 << 19, "body")
    return bodies


def with_sections(made: Plan, changed: dict[int, bytes]) -> bytes:
    writer = Writer().raw(made.encode()[:12])
    for number, body in sorted((sections_of(made) | changed).items()):
        writer.u8(number).prefixed(body)
    return writer.finish()


def test_row_22_a_plan_above_the_limit() -> None:
    data = plan(**BASE).encode()
    assert Plan.decode(data, limit=len(data)) == plan(**BASE)
    with pytest.raises(TooLarge, match=f"the limit is {len(data) - 1}"):
        Plan.decode(data, limit=len(data) - 1)


def test_a_peer_cannot_propose_the_sum_in_the_clear() -> None:
    chosen = plan(clients=10, fields=FIELDS, protocol="plainsum")
    with pytest.raises(PolicyRefused, match="protects against nobody"):
        Plan.decode(chosen.encode())
    assert Plan.decode(chosen.encode(), allow_unprotected=True) == chosen


def test_a_session_carries_the_plan() -> None:
    chosen = plan(**BASE)
    session = chosen.session(b"n" * 16, b"p" * 32)
    assert session.plan_digest == chosen.digest()
    assert (session.nonce, session.payload_digest) == (b"n" * 16, b"p" * 32)
    assert (session.params, session.layout) == (chosen.params, chosen.layout)


# --- words ---------------------------------------------------------------------------------


def test_explain_answers_what_a_newcomer_asks() -> None:
    chosen = plan(clients=1000, fields={**FIELDS, "ages": Integer(3, 120)})
    words = chosen.explain()
    for answer in (
        "secagg+ (specs/10-secagg.md",
        "for 1000 clients: each client shares keys with 76 of the 999 others",
        "secagg uploads",
        chosen.guarantee,
        "a round starts with at least 800 of 1000 clients",
        "Who may drop: 200 clients",
        "Who may collude: 100 of the clients",
        "update: 16-bit fixed point in ±1, each element of a mean within 1.53e-05",
        "M = 1000 * 32767 = 32767000 in magnitude, and ceil(log2(2M + 1)) = 26 bits",
        "ages: integers in ±120, summed exactly",
        "Which family: one server",
        "With servers=2 it would be additive: one message",
        f"uploads {chosen.upload_bytes:,} bytes ({chosen.expansion:.2f} times its data)",
        f"downloads {chosen.cost.download_bytes:,} bytes",
        "is a majority of the holders costs",
        "before its last answer",
        "is not compared with those of other rounds",
        chosen.digest().hex(),
    ):
        assert answer in words, answer
    for caveat in chosen.promise.caveats:
        assert f"\n  - {caveat}\n" in words


@pytest.mark.parametrize("servers", [1, 2])
def test_explain_says_among_whom_the_corrupt_are_counted(servers: int) -> None:
    given: dict[str, Any] = {"clients": 100, "fields": FIELDS, "corrupt": "1/100"}
    bare = plan(**given, servers=servers).explain()
    assert "an assumption about the 100 who take part" in bare and "roster=" in bare
    chosen = plan(**given, servers=servers, roster=1500).explain()
    assert "15 of the clients" in chosen and "counted among all 1500" in chosen
    assert "an assumption about the" not in chosen


def test_explain_of_several_servers_answers_the_same_questions() -> None:
    chosen = plan(clients=1000, fields=FIELDS, servers=3)
    assert (chosen.protocol, chosen.params.servers, chosen.params.min_survivors) == (
        "additive",
        3,
        800,
    )
    words = chosen.explain()
    for answer in (
        "one for each of 3 servers, and sends them once, by the first of them",
        "Which family: several servers",
        "With one server it would be secagg+: 4 steps for a client",
        chosen.guarantee,
        "a batch sums at least 800 and at most 1000 reports",
        "any client once its report is stored, and before that 200",
        "any 2 of the 3 servers",
        "secagg is not possible (one server has the sum, and the plan has 3)",
        f"uploads {chosen.upload_bytes:,} bytes ({chosen.expansion:.2f} times its data)",
        "Cost of the 3 servers together",
        "One lying server can add any constant",
        "Any one client can spoil a batch",
    ):
        assert answer in words, answer


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"servers": 17}, "servers must be an integer from 1 to 16"),
        ({"servers": 0}, "servers must be an integer from 1 to 16"),
        ({"servers": True}, "servers must be an integer"),
        ({"direct": True}, "with one there is no other"),
        ({"servers": 2, "adversary": "active"}, "a server that deviates can change the sum"),
        ({"servers": 2, "clients": 2}, "2 clients less 1 dropouts are too few"),
        ({"protocol": "additive"}, "additive shares need 2 servers or more"),
        ({"protocol": "secagg", "servers": 2}, "one server has the sum"),
        ({"protocol": "plainsum", "servers": 2}, "one server has the sum"),
    ],
)
def test_servers_that_no_protocol_has(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(ParameterError, match=rule):
        plan(**{"clients": 10, "fields": FIELDS, **changes})


@pytest.mark.parametrize("direct", [False, True])
def test_servers_travel_in_the_parameters(direct: bool) -> None:
    made = plan(clients=10, fields=FIELDS, servers=3, direct=direct)
    again = Plan.decode(made.encode())
    assert again == made and again.threat.servers == 3 and again.threat.direct is direct
    assert again.digest() != plan(clients=10, fields=FIELDS, servers=2).digest()


def test_an_active_plan_is_of_suite_2() -> None:
    chosen = plan(clients=100, fields=FIELDS, adversary="active")
    assert "a server that lies as it likes" in chosen.guarantee
    assert (chosen.protocol, chosen.suite, chosen.degree) == ("secagg", SUITE_2, 99)
    assert Plan.decode(chosen.encode()) == chosen and chosen.phase_names[3] == "consistency"
    with pytest.raises(ParameterError, match="needs a roster"):
        chosen.session(bytes(16), bytes(32))
