"""The rules of restarts find what is planted into a protocol of several servers that keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from secagg.effects import Write
from secagg.errors import SecAggError, StorageError
from secagg.protocol import SeveralServers
from secagg.sansio import Outgoing
from secagg.testing import ConformanceError, check_protocol
from secagg.testing.bench import Bench
from secagg.testing.members import (
    FrailServers,
    ends_of_several_outlive_their_process,
    reports_have_one_wording,
    restarts_of_several_change_nothing,
    rows_of_several_are_their_own,
)
from secagg.threat import Threat
from secagg.types import COLLECTOR, SERVER, PartyId
from secagg_protocols.additive import PROTOCOL
from secagg_protocols.reports.states import Stage

Rows = Iterable[tuple[bytes, bytes]]
BENCH = Bench.of(PROTOCOL, (Threat(5, Fraction(0), Fraction(1, 5), servers=3),))
RULES = (
    rows_of_several_are_their_own,
    restarts_of_several_change_nothing,
    ends_of_several_outlive_their_process,
)


def planted(change: Callable[[Any], Any], *parties: str, **facts: Any) -> Bench:
    """A bench of the same session, in which machines of these kinds are changed."""
    family = PROTOCOL.family
    assert isinstance(family, SeveralServers)

    def factory(kind: str) -> Any:
        make = getattr(family, kind)
        if kind not in parties:
            return make
        return lambda *arguments, **more: change(make(*arguments, **more))

    made = SeveralServers(*map(factory, ("client", "member", "collector")))
    return replace(BENCH, info=replace(PROTOCOL, family=made, **facts))


def patched(**methods: Callable[..., Any]) -> Callable[[Any], Any]:
    """The machine, of a class of its own with these methods."""

    def change(machine: Any) -> Any:
        machine.__class__ = type("Planted", (type(machine),), methods)
        return machine

    return change


SILENT = patched(writes=lambda self: [], restore=lambda self, rows: None)


def forgetting(kind: bytes) -> Callable[[Any], Any]:
    """Of all its rows those that begin so are never written."""

    def writes(self: Any) -> list[Write]:
        found = super(type(self), self).writes()
        return [write for write in found if not write.key.startswith(kind)]

    return patched(writes=writes)


def refused(bench: Bench) -> None:
    """By one rule at least."""
    why = []
    for rule in (*RULES, reports_have_one_wording):
        try:
            rule(bench)
        except (ConformanceError, SecAggError) as error:
            why.append(f"{type(error).__name__}: {error}")
    assert why


def test_the_protocol_keeps_the_rules() -> None:
    for rule in (*RULES, reports_have_one_wording):
        rule(BENCH)


@pytest.mark.parametrize("party", ["client", "member"])
def test_rows_that_do_nothing_are_refused(party: str) -> None:
    bench = planted(SILENT, party)
    with pytest.raises(ConformanceError, match="there is no row"):
        rows_of_several_are_their_own(bench)
    with pytest.raises(ConformanceError):
        restarts_of_several_change_nothing(bench)


@pytest.mark.parametrize("party", ["client", "member"])
def test_rows_that_are_not_taken_up_are_refused(party: str) -> None:
    bench = planted(patched(restore=lambda self, rows: None), party)
    with pytest.raises(ConformanceError):
        rows_of_several_are_their_own(bench)
    with pytest.raises(ConformanceError):
        restarts_of_several_change_nothing(bench)


def kinds() -> list[tuple[str, bytes]]:
    """Every kind of row that anybody writes in a batch, by the byte that its key begins with."""
    seen: set[tuple[str, bytes]] = set()

    class Watching(FrailServers):
        def drain(self, party: PartyId) -> None:
            super().drain(party)
            for one, store in self.stores.items():
                who = "client" if one in self.clients else "member"
                seen.update((who, key[:1]) for key in store.rows)

    BENCH.run(Watching(BENCH))
    return sorted(seen)


def test_a_kind_of_row_that_is_forgotten_is_refused() -> None:
    """Each of them: a stage whose rows lack a field goes on as another."""
    found = kinds()
    assert found == [("client", b"e"), ("client", b"k"), ("client", b"m")] + [
        ("member", kind) for kind in (b"a", b"b", b"r", b"s")
    ]
    for party, kind in found:
        refused(planted(forgetting(kind), party))


def test_a_sum_that_is_lost_is_refused() -> None:
    def restore(self: Any, rows: Rows) -> None:
        super(type(self), self).restore(rows)
        self._tally.total = self._context.scheme.zeros()

    with pytest.raises(ConformanceError, match="the total changes"):
        restarts_of_several_change_nothing(planted(patched(restore=restore), "member"))


def test_other_bytes_after_a_restart_are_refused() -> None:
    def restore(self: Any, rows: Rows) -> None:
        super(type(self), self).restore(rows)
        for party, data in self._kept.messages.items():
            self._kept.messages[party] = data[:-1] + bytes([data[-1] ^ 1])

    with pytest.raises(ConformanceError, match="it says other bytes"):
        restarts_of_several_change_nothing(planted(patched(restore=restore), "client"))


def test_a_report_with_two_wordings_is_refused_unless_it_commits() -> None:
    def outgoing(self: Any) -> list[Outgoing]:
        return [replace(m, commit=False) for m in super(type(self), self).outgoing()]

    with pytest.raises(ConformanceError, match="says two things"):
        reports_have_one_wording(planted(patched(outgoing=outgoing), "client"))


def test_rows_that_are_taken_up_in_part_are_refused() -> None:
    """What a member has read before a row was refused would be a batch that nobody has stored."""

    def restore(self: Any, rows: Rows) -> None:
        try:
            super(type(self), self).restore(rows)
        except StorageError:
            self._progress.stage = Stage.UPLOAD
            raise

    with pytest.raises(ConformanceError, match="taken up in part: .*phase"):
        rows_of_several_are_their_own(planted(patched(restore=restore), "member"))


@pytest.mark.parametrize("party", ["client", "member"])
def test_an_end_that_is_forgotten_is_refused(party: str) -> None:
    def restore(self: Any, rows: Rows) -> None:
        super(type(self), self).restore(rows)
        self._why = None

    with pytest.raises(ConformanceError, match="is taken up: it ended with .*CANCELLED"):
        ends_of_several_outlive_their_process(planted(patched(restore=restore), party))


@pytest.mark.parametrize("party", ["member", "collector"])
def test_a_second_start_is_refused(party: str) -> None:
    """Also of those that are not the first of the servers."""

    def start(self: Any) -> None:
        if not self.phase:
            super(type(self), self).start()

    bench = planted(patched(start=start), party)
    with pytest.raises(ConformanceError, match=r"machines-are-used-once: .*start\(\)"):
        check_protocol(bench.info, threat=bench.threat)


def test_whoever_does_not_resume_writes_no_rows() -> None:
    no = planted(lambda machine: machine, resumes=lambda suite: False)
    with pytest.raises(ConformanceError, match="does not resume"):
        rows_of_several_are_their_own(no)
    takes = planted(SILENT, "client", "member", resumes=lambda suite: False)
    with pytest.raises(ConformanceError, match="any row raises nothing"):
        rows_of_several_are_their_own(takes)


def test_a_collector_may_have_no_rows_but_then_takes_none() -> None:
    bench = planted(patched(restore=lambda self, rows: None), "collector")
    with pytest.raises(ConformanceError, match="any row raises nothing"):
        rows_of_several_are_their_own(bench)


def test_an_ended_members_rows_end_with_their_purpose() -> None:
    """specs/20-additive.md §9.1: of the sum and of sealed shares nothing is left on a disk, once
    what they were for has happened; a client keeps that it has ended, and nothing of its report."""
    network = FrailServers(BENCH)
    BENCH.run(network)
    for party in network.servers:
        rows = network.stores[party].rows
        if party == COLLECTOR:
            assert not rows
            continue
        assert {key[:1] for key in rows} == {b"a", b"b", b"r"}, "the sum's row is gone"
        decided = [value for key, value in rows.items() if key[:1] == b"r"]
        signatures = 64 * (BENCH.params.servers - 1) if party == SERVER else 0
        assert {len(value) for value in decided} == {1 + 4 + 32 + 4 + signatures}
    for party in network.clients:
        assert network.stores[party].rows == {b"e": b""}
