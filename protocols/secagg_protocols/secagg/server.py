"""The server machine of SecAgg and SecAgg+ (specs/10-secagg.md §9)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from secagg.effects import Write
from secagg.errors import LocalProtocolError, WireError
from secagg.layout import Expander
from secagg.protocol import Session
from secagg.sansio import Dropped, Finished, PhaseEntered
from secagg.suite import SUITE_1
from secagg.types import SERVER as ME
from secagg.types import Fault, PartyId, Randomness, Seed, system_randomness
from secagg.wire.codec import Reader, Writer
from secagg_protocols.rows import Rows, Taken, kind_of, number_of, read_end, write_end
from secagg_protocols.secagg import messages
from secagg_protocols.secagg.params import SecAggParams
from secagg_protocols.secagg.repeats import SEEN, Repeats
from secagg_protocols.secagg.staged import GONE, OVER, STATE, StagedServer
from secagg_protocols.secagg.stages import AFTER, Stage, Total
from secagg_protocols.secagg.stages import READ as _READ
from secagg_protocols.secagg.states import SERVER, ServerState
from secagg_protocols.secagg.terms import Terms

# Theory of operation.
#
# What the server of any suite does is in staged.py; what each phase takes and fixes, in stages/.
# Here is what only a suite has that can be put down: rows.
#
# A server that comes back must not say another set than the one that died has said, or it is the
# very server that lies about who dropped (specs/10-secagg.md §11). So nothing is remembered beside
# the rows that could lead to another set, and each set is one row's, or follows from several.
#
# The rows (§12) follow the messages: one that is taken changes the row of its sender's repeats and
# one or two of its stage, however many clients there are; a close writes what it has fixed and
# deletes what only led to it. Nothing is encoded until the driver asks. There is no row from which
# an ended session could be looked into: its sum is left, or the reason why there is none (S10).
#
# Suite 2 has none of this: there a server that died has lost its session.


class SecAggServer(StagedServer):
    """The server of one session. U1, U2, U3 are fixed by close_phase() and never change again.

    protocol: the name under which it is registered; it is bound by the offer. expander: what makes
    masks of keys. randomness: of the key by which it knows a message again; nothing that leaves
    depends on it. Raises ParameterError for sums of too few inputs (rule S0).
    """

    suite, table, names = SUITE_1, SERVER, messages.NAMES

    def __init__(
        self,
        protocol: str,
        session: Session,
        params: SecAggParams,
        *,
        expander: Expander,
        randomness: Randomness = system_randomness,
    ) -> None:
        terms = Terms.of(protocol, session, params, expander)
        super().__init__(replace(terms, after=AFTER), randomness)
        self._rows = Rows(session, protocol, ME)

    def start(self) -> None:
        """Opens the first stage; restored, tells those who are waited for what opened this one.

        Raises LocalProtocolError the second time.
        """
        if self._rows.resumed:
            self._rows.started()
            self._go_on()
            return
        super().start()

    def writes(self) -> list[Write]:
        """Rule S11: what has changed of state, repeats and stage."""
        return self._rows.writes(self._row)

    def restore(self, rows: Iterable[tuple[bytes, bytes]], /) -> None:
        """Rule S11: goes on from these. Raises StorageError for rows of another session or version,
        and for some that do not belong together (specs/10-secagg.md §12.1)."""
        if self._state is not ServerState.IDLE:
            raise LocalProtocolError("restore() is called once, before start()")
        self._rows.take(rows, self._take_up)

    # Rows

    def _changed(self, *keys: bytes) -> None:
        self._rows.mark(*keys)

    # Everywhere else rows are encoded when the driver asks, from what the stage holds. The close of
    # the last stage is the exception: with it shares become secrets and the sum begins to change,
    # so what is marked is written now, or could not be written at all.
    def _closing(self, stage: Stage) -> None:
        if stage.state is ServerState.UNMASK:  # the next stage forgets what it is made of
            self._rows.settle(self._row)

    def _entered(self, *fresh: bytes) -> None:
        self._rows.started()
        self._rows.keep(self._has)
        self._rows.mark(STATE, *fresh)

    def _has(self, key: bytes) -> bool:
        kind = kind_of(key)
        if kind == SEEN:
            return not self.done
        return kind in (STATE, GONE) or (self._stage is not None and self._stage.has(key))

    def _row(self, key: bytes) -> bytes | None:
        kind = kind_of(key)
        if not self._has(key):
            return None
        if kind == SEEN:
            return self._repeats.row(key)
        if kind == GONE:
            return self._gone[PartyId(number_of(key))].value.encode()
        if kind == STATE:
            return self._write_state()
        return self._stage.row(key) if self._stage is not None else None

    def _write_state(self) -> bytes:
        writer = Writer().u8(self._state.code)
        if self.ended is not None:
            write_end(writer, self.ended)
        elif not self.done:
            writer.raw(self._repeats.key.expose())
        return writer.finish()

    def _take_up(self, taken: Taken) -> None:
        reader = Reader(taken.pop(STATE))
        state = _state_of(reader.u8("state"))
        why = read_end(reader) if state is ServerState.ABORTED else None
        stage = None if why is not None else _READ[state](self._terms, taken)
        clients, repeats = self._terms.params.clients, self._repeats
        if state not in OVER:
            key = reader.fixed(Seed.SIZE, "key of fingerprints")
            repeats = Repeats.read(key, clients, taken)
        reader.finish()
        gone = {PartyId(i): _fault(value) for i, value in taken.under(GONE, clients)}
        members = stage.members if stage is not None else None
        if members is not None and len(members | gone.keys()) < clients:
            raise WireError("a client that is in no set has no row that says why")
        taken.finish()  # nothing is refused from here on (specs/10-secagg.md §12.1)
        self._state, self._stage, self._gone, self._why = state, stage, gone, why
        self._repeats = repeats
        tag = stage.tag if stage is not None else None
        self._waiting = {p for p in self.alive if tag and not self._repeats.said(p, tag)}

    def _go_on(self) -> None:
        """Its driver hears again who is gone, as it has no other way to know."""
        self._events.append(PhaseEntered(self.phase))
        self._events += [Dropped(party, fault) for party, fault in sorted(self._gone.items())]
        if self._why is not None:
            self._events.append(self._why)
        elif isinstance(self._stage, Total):
            self._events.append(Finished())
        elif self._stage is not None:
            self._say(self._stage.opening(sorted(self._waiting)))
            self._finish_if_done()


def _state_of(code: int) -> ServerState:
    """Raises WireError for a code that no state has of which there are rows."""
    for state in (*_READ, ServerState.ABORTED):
        if state.code == code:
            return state
    raise WireError("an unknown state, or one without rows")


def _fault(value: bytes) -> Fault:
    found = next((fault for fault in Fault if fault.value.encode() == value), None)
    if found is None:
        raise WireError("an unknown fault")
    return found
