"""How often an address may try to be enrolled (rule E9, threat 79)."""

from __future__ import annotations

from secagg.rounds.attempts import Attempts


def test_rule_e9_ten_in_a_minute_from_an_address() -> None:
    tries = Attempts()
    assert [tries.allowed("a", 0.0) for _ in range(11)] == [True] * 10 + [False]
    assert tries.allowed("b", 0.0) and not tries.allowed("a", 59.9) and tries.allowed("a", 60.0)


def test_rule_e9_who_is_refused_is_not_refused_for_ever() -> None:
    tries = Attempts(most=2)
    assert [tries.allowed("a", float(at)) for at in range(0, 130, 10)] == [
        True, True, False, False, False, False, True, True, False, False, False, False, True
    ]  # fmt: skip


def test_rule_e9_addresses_are_remembered_up_to_a_limit() -> None:
    tries = Attempts(addresses=3)
    assert all(tries.allowed(str(i), float(i)) for i in range(3))
    assert not tries.allowed("new", 3.0) and tries.allowed("0", 3.0)
    assert tries.allowed("new", 61.0) and len(tries._tried) == 3  # the first of them is forgotten
