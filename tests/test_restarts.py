"""The rules of restarts find what is planted into a protocol that keeps them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from secagg.effects import Write
from secagg.errors import SecAggError, StorageError
from secagg.protocol import OneServer, ProtocolInfo
from secagg.sansio import Outgoing
from secagg.testing import ConformanceError
from secagg.testing.bench import THREATS, Bench
from secagg.testing.network import Act, Schedule
from secagg.testing.restarts import (
    RULES,
    Frail,
    answers_have_one_wording,
    ends_outlive_their_process,
    restarts_change_nothing,
    rows_are_their_own,
)
from secagg.types import SERVER, Fault, PartyId
from secagg_protocols.plainsum import PROTOCOL as PLAIN
from secagg_protocols.rows import kind_of
from secagg_protocols.secagg import SECAGG
from secagg_protocols.secagg.client import SecAggClient
from secagg_protocols.secagg.messages import Tag
from secagg_protocols.secagg.server import SecAggServer

Rows = Iterable[tuple[bytes, bytes]]
BENCH = Bench.of(SECAGG, THREATS[1:])


def planted(*, client: type = SecAggClient, server: type = SecAggServer, **facts: Any) -> Bench:
    """A bench of the same session with these machines."""

    def make_client(session: Any, me: Any, signing: None = None, **drivers: Any) -> Any:
        return client("secagg", session, session.params, me, **drivers)

    def make_server(session: Any, signing: None = None, **drivers: Any) -> Any:
        return server("secagg", session, session.params, **drivers)

    info: ProtocolInfo = replace(SECAGG, family=OneServer(make_client, make_server), **facts)
    return replace(BENCH, info=info)


class SilentClient(SecAggClient):
    """Its rows do nothing."""

    def writes(self) -> list[Write]:
        return []

    def restore(self, rows: Rows, /) -> None:
        pass


class SilentServer(SecAggServer):
    def writes(self) -> list[Write]:
        return []

    def restore(self, rows: Rows, /) -> None:
        pass


class OtherWords(SecAggClient):
    """Restored, it says other bytes in place of its last reply."""

    def restore(self, rows: Rows, /) -> None:
        super().restore(rows)
        self._memo = {
            digest: said and replace(said, data=said.data[:-1] + bytes([said.data[-1] ^ 1]))
            for digest, said in self._memo.items()
        }


class ForgetsWhoIsGone(SecAggServer):
    """Restored, it hears those again whom it has dropped."""

    def restore(self, rows: Rows, /) -> None:
        super().restore(rows)
        self._gone.clear()


class LosesTheSum(SecAggServer):
    """Restored, it has added nothing, and does not know."""

    def restore(self, rows: Rows, /) -> None:
        super().restore(rows)
        masked = getattr(self._stage, "_masked", None)
        for lane in masked.total if masked else ():
            lane[:] = 0


class TakesAnything(SecAggServer):
    """Rows of any session are its own."""

    def restore(self, rows: Rows, /) -> None:
        head = self._rows._head
        super().restore([(key, head + value[len(head) :]) for key, value in rows])


class TakesAPart(SecAggServer):
    """What it had read before a row was refused is there."""

    def restore(self, rows: Rows, /) -> None:
        try:
            super().restore(rows)
        except StorageError:
            self._gone[PartyId(0)] = Fault.LOST
            raise


class ForgetsHowItEnded(SecAggClient):
    """Restored, it is over, and nobody is told why before it is started."""

    def restore(self, rows: Rows, /) -> None:
        super().restore(rows)
        self._why = None


class Uncommitted(SecAggClient):
    """What may be said twice in two ways is not marked."""

    tag: Tag

    def outgoing(self) -> list[Outgoing]:
        return [replace(m, commit=m.commit and m.data[2] != self.tag) for m in super().outgoing()]


def test_the_protocols_keep_the_rules() -> None:
    for rule in (rows_are_their_own, answers_have_one_wording):
        rule(planted())
        rule(Bench.of(PLAIN, THREATS[1:]))


@pytest.mark.parametrize("machine", [SilentClient, SilentServer])
def test_rows_that_do_nothing_are_refused(machine: type) -> None:
    side = "client" if issubclass(machine, SecAggClient) else "server"
    bench = planted(**{side: machine})
    with pytest.raises(ConformanceError, match="there is no row"):
        rows_are_their_own(bench)
    with pytest.raises(ConformanceError, match="restored in"):
        restarts_change_nothing(bench)


def kinds() -> dict[str, set[bytes]]:
    """Every kind of row that anybody writes in a session, with a client that is gone at its end."""
    found: dict[str, set[bytes]] = {"client": set(), "server": set()}

    class Watching(Frail):
        def drain(self, party: PartyId) -> None:
            super().drain(party)
            who = "server" if party == SERVER else "client"
            found[who].update(map(kind_of, self.stores[party].rows))

    BENCH.run(Watching(BENCH, Schedule({("masked-input", PartyId(4)): Act.GONE})))
    return found


KINDS = [(who, kind) for who, found in kinds().items() for kind in sorted(found)]


@pytest.mark.parametrize(("who", "kind"), KINDS, ids=lambda one: str(one))
def test_a_kind_of_row_that_is_forgotten_is_refused(who: str, kind: bytes) -> None:
    """Each of them: a stage whose rows lack a field goes on as another, or not at all."""

    class Forgetful(SecAggClient if who == "client" else SecAggServer):  # type: ignore[misc]
        def writes(self) -> list[Write]:
            return [write for write in super().writes() if kind_of(write.key) != kind]

    bench = planted(**{who: Forgetful})

    def refused(rule: Any) -> bool:
        try:
            rule(bench)
        except (ConformanceError, SecAggError):
            return True
        return False

    assert any(map(refused, RULES))


def test_other_bytes_after_a_restart_are_refused() -> None:
    with pytest.raises(ConformanceError, match="it says other bytes"):
        restarts_change_nothing(planted(client=OtherWords))


def test_a_server_that_forgets_who_is_gone_is_refused() -> None:
    with pytest.raises(ConformanceError, match="alive was"):
        restarts_change_nothing(planted(server=ForgetsWhoIsGone))


def test_a_sum_that_is_lost_is_refused() -> None:
    with pytest.raises(ConformanceError, match="the total changes"):
        restarts_change_nothing(planted(server=LosesTheSum))


def test_rows_of_anybody_are_refused() -> None:
    with pytest.raises(ConformanceError, match="a damaged row|another session"):
        rows_are_their_own(planted(server=TakesAnything))


def test_rows_that_are_taken_up_in_part_are_refused() -> None:
    with pytest.raises(ConformanceError, match="taken up in part: .*alive"):
        rows_are_their_own(planted(server=TakesAPart))


def test_an_end_that_is_forgotten_is_refused() -> None:
    with pytest.raises(ConformanceError, match="is taken up: it ended with .*CANCELLED"):
        ends_outlive_their_process(planted(client=ForgetsHowItEnded))


@pytest.mark.parametrize("tag", [Tag.SHARE_KEYS, Tag.MASKED_INPUT, Tag.UNMASK_ANSWER])
def test_an_answer_with_two_wordings_is_refused_unless_it_commits(tag: Tag) -> None:
    """Rule C11: other polynomials, another input, another set of survivors."""
    client = type("Uncommitted", (Uncommitted,), {"tag": tag})
    with pytest.raises(ConformanceError, match="says two things"):
        answers_have_one_wording(planted(client=client))


def test_whoever_does_not_resume_writes_no_rows() -> None:
    with pytest.raises(ConformanceError, match="does not resume"):
        rows_are_their_own(planted(resumes=lambda suite: False))

    class Accepting(SilentServer):
        """Writes nothing and takes anything up."""

    bench = planted(client=SilentClient, server=Accepting, resumes=lambda suite: False)
    with pytest.raises(ConformanceError, match="any row raises nothing"):
        rows_are_their_own(bench)
