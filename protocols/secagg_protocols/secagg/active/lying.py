"""Servers that lie, to be shown what becomes of it: no round is run with one by anything else."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial

from secagg.crypto.agree import KeyPair
from secagg.crypto.randomness import checked
from secagg.errors import ParameterError
from secagg.layout import Expander
from secagg.protocol import ServerFactory, Session
from secagg.sansio import ServerMachine
from secagg.types import PartyId, Seed, system_randomness
from secagg.wire.codec import Reader
from secagg_protocols.secagg.active import messages, statements
from secagg_protocols.secagg.active.cohort import SignedCohort
from secagg_protocols.secagg.active.messages import Agree, SignedKeys, UnmaskRequest
from secagg_protocols.secagg.active.params import ActiveParams
from secagg_protocols.secagg.active.server import ActiveServer
from secagg_protocols.secagg.active.stages import AFTER, Fixed
from secagg_protocols.secagg.active.stages.agree import Consistency
from secagg_protocols.secagg.active.stages.join import Share
from secagg_protocols.secagg.stages import Stage
from secagg_protocols.secagg.stages.base import Drop, Said
from secagg_protocols.secagg.states import ServerState
from secagg_protocols.secagg.terms import Terms

# Each has the server's key of the roster and signs whatever it says, so nothing of it is refused
# for a signature that is missing. It fails all the same, and these are the shortest ways to see
# why: what a client of suite 1 believes, a client of this suite compares.
#
# They are stages in the place of others, and not machines of their own: up to the lie and after it
# the server is the one that rounds are run with, so that what is shown is shown of that one. A lie
# that clients would notice for another reason, such as a set that is too small for the plan, would
# show less, so each says what an honest server could have said, only not to everybody.


# The victim's own signature stays over keys that it has not signed: the server has no other. It
# could leave the victim's keys to the victim alone and swap them for everybody else, and then the
# trees differ, and with them the session ids.
class _Swapped(Share):
    """Keys of its own in the place of one client's: whoever seals a share to them seals it to the
    server."""

    def __init__(self, terms: Terms, cohort: SignedCohort) -> None:
        draw = checked(system_randomness)
        c, s = (KeyPair.from_random(draw(32)).public for _ in range(2))
        victim, *others = cohort.keys
        super().__init__(terms, replace(cohort, keys=(SignedKeys(c, s, victim.signature), *others)))


class _TwoSets(Consistency):
    """Two survivor sets, each to some of the clients, and one request for both.

    shown: by index, the set that this client is shown.
    """

    def __init__(self, terms: Terms, fixed: Fixed, shown: Mapping[int, frozenset[int]]) -> None:
        super().__init__(terms, fixed)
        self._shown = shown

    def opening(self, parties: Collection[PartyId]) -> Said:
        cohort = self.cohort
        for party in sorted(parties):
            members = self._shown[cohort.index[party]]
            said = cohort.survivors(self.fixed.sharers, members).signed(cohort.signing)
            shown = messages.Survivors(members, said)
            yield party, shown.encode(cohort.session, cohort.size)

    def take(self, sender: PartyId, reader: Reader) -> tuple[bytes, ...]:
        """What a client has signed: of the set that it was shown, and of no other."""
        index, cohort = self.cohort.index[sender], self.cohort
        said = Agree.read(reader)
        reader.finish()
        session, *sets = cohort.survivors(self.fixed.sharers, self._shown[index]).values
        self.check(index, statements.AGREE(session, index, *sets), said.signature)
        self._agreed[index] = said.signature
        return ()

    def close(self, alive: Collection[PartyId], drop: Drop) -> Stage:
        """As many signatures as are needed, whichever set they are of: there are no others."""
        _, quorum = self.cohort.signers
        by_set = sorted(self._agreed, key=lambda i: (sorted(self._shown[i]), i))
        signers, _ = self.cohort.signers
        chosen = sorted(by_set[:quorum])
        places = frozenset(signers.index(i) for i in chosen)
        request = UnmaskRequest(places, tuple(self._agreed[i] for i in chosen))
        return self.following(self.fixed, request)


# The oldest attack on this protocol: of a client whose seed and whose key are both rebuilt there is
# nothing that hides its vector. It takes t holders that say it is there and t that say it is not.
class _Lie(_TwoSets):
    """One client is alive, says the server to one half, and to the other that it dropped out: so
    each half would give another of its two secrets."""

    def __init__(self, terms: Terms, fixed: Fixed) -> None:
        everyone = fixed.survivors
        victim = min(everyone)
        half = frozenset(sorted(everyone - {victim})[: len(everyone) // 2])
        shown = {i: everyone - {victim} if i in half else everyone for i in everyone}
        super().__init__(terms, fixed, shown)


# No client's two secrets are asked for here: the difference of two sums is a sum of fewer.
class _Split(_TwoSets):
    """To each half, that as many of the other dropped out as the plan allows: two sums would tell
    more than one."""

    def __init__(self, terms: Terms, fixed: Fixed) -> None:
        everyone = sorted(fixed.survivors)
        first, second = everyone[::2], everyone[1::2]
        spare = max(0, terms.params.min_survivors - len(first))
        sets = frozenset(first + second[:spare]), frozenset(second + first[: spare + 1])
        shown = {i: sets[0] for i in first} | {i: sets[1] for i in second}
        super().__init__(terms, fixed, shown)


class SwappingServer(ActiveServer):
    """Swaps a client's keys for its own (specs/12-active.md V3)."""

    chain = {**AFTER, ServerState.ADVERTISE_KEYS: _Swapped}


class LyingServer(ActiveServer):
    """Lies about who dropped out (specs/12-active.md V8)."""

    chain = {**AFTER, ServerState.MASKED_INPUT: _Lie}


class SplittingServer(ActiveServer):
    """Shows two survivor sets (specs/12-active.md V8)."""

    chain = {**AFTER, ServerState.MASKED_INPUT: _Split}


_KINDS = {"split": SplittingServer, "swap": SwappingServer, "lie": LyingServer}


def servers(protocol: str) -> dict[str, ServerFactory]:
    """What makes each of them, by the name of the lie. protocol: as it is registered."""
    return {lie: partial(_made, kind, protocol) for lie, kind in _KINDS.items()}


def _made(
    kind: type[ActiveServer],
    protocol: str,
    session: Session,
    *,
    expander: Expander,
    signing: Seed | None = None,
) -> ServerMachine:
    if signing is None or not isinstance(session.params, ActiveParams):
        raise ParameterError("these servers lie to clients of active mode, who notice")
    return kind(protocol, session, session.params, signing=signing, expander=expander)
