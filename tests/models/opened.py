"""What the server has of what was said, from the bytes: secrets, and sums without their masks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from secagg import shamir
from secagg.crypto.agree import public_key
from secagg.layout import RingVector
from secagg.mask import add_streams
from secagg.types import Seed
from secagg_protocols.secagg import dealing, keys
from secagg_protocols.secagg.active.messages import MaskedInput
from secagg_protocols.secagg.keys import Endpoint
from specs.models.game import Rules, State, known, members, sums
from tests.adversary.active.liars import after_header
from tests.models.driving import LAYOUT, Driver, Seat, Session

Lanes = list[list[int]]


class Opened:
    """After a run of the game. both: the machines of whom it has both secrets. sums: of whose
    inputs it has the sum, each taken apart from its masks and compared with the true one."""

    def __init__(self, driver: Driver, state: State) -> None:
        """state: as the game has it after the same steps. That it is right is checked first: that
        each share is there of which it says so, and no other."""
        self._driver, self._rules = driver, driver.rules
        self._secrets: dict[tuple[int, str], Seed] = {}
        for machine in driver.where:
            session, index, _ = driver.at(machine)
            if index not in session.dealt:
                continue
            for kind, out in (("b", state.seeds), ("s", state.keys)):
                holders = session.indices(out[machine])
                shares = session.shares[index, kind]
                assert {x - 1 for x in shares} == holders, "the game says otherwise"
                self._combine(machine, kind, {**shares, **self._of_corrupt(session, index, kind)})
        seeds, secrets = (
            known(self._rules, state, state.seeds),
            known(self._rules, state, state.keys),
        )
        assert self._of("b") == {*members(seeds)} and self._of("s") == {*members(secrets)}
        self.both = self._of("b") & self._of("s")
        self.sums = [frozenset(members(group)) for group in sums(self._rules, state)]
        for group in self.sums:
            assert self._sum(group) == self._true(group)

    def _of(self, kind: str) -> set[int]:
        return {machine for machine, which in self._secrets if which == kind}

    def _of_corrupt(self, session: Session, dealer: int, kind: str) -> Mapping[int, bytes]:
        """Whoever is corrupt opens what was dealt to it."""
        found = {}
        for holder, liar in session.corrupt.items():
            if holder in session.near(dealer):
                sealed = session.dealt[dealer].to(session.cohort.position(dealer, holder)).sealed
                pair = dealing._open(dealer, sealed, liar._now.dealt)
                assert pair is not None
                found[1 + holder] = pair.b_share if kind == "b" else pair.s_share
        return found

    def _combine(self, machine: int, kind: str, shares: Mapping[int, bytes]) -> None:
        threshold = self._rules.threshold
        if len(shares) < threshold:
            return
        secret = shamir.combine(shares, threshold)
        session, index, _ = self._driver.at(machine)
        cohort = session.cohort
        if kind == "b":
            commitment = session.dealt[index].commitment
            assert keys.commit(secret, cohort.session, index) == commitment
        else:
            assert public_key(secret) == cohort.keys[index].s_pk
        self._secrets[machine, kind] = secret

    # A sum

    def _sum(self, group: frozenset[int]) -> Lanes:
        total = LAYOUT.zeros()
        for machine in group:
            for lane, part in zip(total, self._unmasked(machine), strict=True):
                lane += part
        return [lane.tolist() for lane in LAYOUT.reduce(total)]

    def _true(self, group: frozenset[int]) -> Lanes:
        total = LAYOUT.zeros()
        for machine in group:
            run = self._driver.at(machine)[2]
            for lane, part in zip(total, run.cast.inputs[run.party], strict=True):
                lane += part
        return [lane.tolist() for lane in LAYOUT.reduce(total)]

    def _unmasked(self, machine: int) -> RingVector:
        """Without the masks that it can compute; where others are left they have to cancel."""
        session, index, run = self._driver.at(machine)
        lanes, segments = _vector(run, session), len(LAYOUT.segments)
        own = self._secrets[machine, "b"]
        _remove(lanes, keys.self_keys(own, session.cohort.session, index, segments), 1)
        for peer in (session.near(index) & run.sharers) - {index}:
            secret = self._pair_secret(machine, peer)
            if secret is None:
                continue
            whose, with_ = (peer, index) if secret[0] == peer else (index, peer)
            ends = [Endpoint(i, session.cohort.keys[i].s_pk) for i in (whose, with_)]
            made = keys.pair_keys(secret[1], *ends, session.cohort.session, segments)
            _remove(lanes, made, keys.sign(index, peer))
        return lanes

    def _pair_secret(self, machine: int, peer: int) -> tuple[int, Seed] | None:
        """Whose s_sk it has of the two, and that."""
        session, index, _ = self._driver.at(machine)
        if peer in session.corrupt:
            return peer, session.corrupt[peer]._now.dealt.keys.s.secret
        for other in self._driver.where:
            there, at, _ = self._driver.at(other)
            if there is session and at in (index, peer) and (other, "s") in self._secrets:
                return at, self._secrets[other, "s"]
        return None


def _vector(run: Seat, session: Session) -> RingVector:
    near = len(session.cohort.neighbours(session.cohort.index[run.party]))
    _, packed = MaskedInput.read(after_header(run.masked), near, LAYOUT)
    return tuple(np.array(lane) for lane in packed.unpack())


def _remove(lanes: RingVector, by_segment: tuple[bytes, ...], sign: int) -> None:
    for lane, key in zip(lanes, by_segment, strict=True):
        add_streams(lane, key, bytes([sign < 0]))


def fewest(rules: Rules, opened: Opened) -> int:
    """Inputs in the smallest sum that it has, or as many as there are clients."""
    return min((len(group) for group in opened.sums), default=rules.clients)
