"""Active mode as a game: what a server that lies can show, what honest clients then say, and what
it knows of their inputs afterwards (specs/12-active.md, specs/15-active-proof.md §2).

Sets of clients are bitmaps. A machine is one run of an honest client: machine i is client i's, and
a `twin` is a second run of client 0 with the same input, in a session of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

# Theory of operation.
#
# Signatures, sealed boxes and hashes are taken to be perfect: whoever cannot make one does not, and
# what names another session is refused. What is left is who was shown which sets, so a machine's
# state is four of them: U1 with the number of its session, U2, U3, and whether it has answered. A
# set that was not shown is 0. A set that a client refuses ends it, and so does nothing more for the
# server than if it were never shown another message: `step` gives None, and the search goes on
# without it. Dropping a message is a step that is not made; a repeated one gets the reply that is
# already known (C1).
#
# The server sees every answer at once, corrupt clients tell it everything, and it may put sums
# together as it likes. A masked vector of u holds x_u, u's self mask and one mask for each of its
# neighbours in the U2 that u was shown. Masks that cannot be computed are uniform and independent,
# so an integer combination of vectors tells something of the inputs only if all of these cancel:
# u's coefficient is 0 where its self mask is unknown, or where only one side of an unknown pairwise
# mask is in a vector; and both sides have the same one else. So what is learnt is spanned by the
# sums over the connected components of the graph of unknown masks, those without such a u: `sums`.
# A client whose secrets are both known stands alone in its component.

U1, U2, U3, QUORUM, ANSWER, RESTART = "u1", "u2", "u3", "quorum", "answer", "restart"
REFUSES = {U1: "V2", U2: "C5", U3: "C8", QUORUM: "V8", ANSWER: "C1", RESTART: "V9"}
"""The rule by which a client refuses a step of this kind, where no other is named."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers of a plan, and which rules its clients follow: all of them, but for what a
    variant leaves out.

    clients: n, all of the roster. corrupt: how many are, those of the highest numbers. threshold:
    t, also the fewest of U1, U2 and U3, so that no larger minimum does the work of a rule. short:
    by how much the quorum is less than floor((|U1| + A)/2) + 1. neighbours: each client's, a
    bitmap, itself left out; none: the complete graph. consistency: whether an answer needs a
    quorum at all. local: whether q is counted among a client's own holders, and from their number.
    forgets: who loses, once, that they signed and answered. twin: whether client 0 runs twice.
    claims: whether an input leaves masked once (V6). sessions: for each U1, if a corrupt client is
    in it or a twin is about: corrupt clients' keys and a nonce give as many as the server likes.
    """

    clients: int
    corrupt: int
    threshold: int
    short: int = 0
    neighbours: tuple[int, ...] = ()
    consistency: bool = True
    local: bool = False
    forgets: int = 0
    twin: bool = False
    claims: bool = True
    sessions: int = 2

    @property
    def liars(self) -> int:
        """The corrupt clients."""
        return (1 << self.clients) - (1 << self.clients - self.corrupt)

    @property
    def honest(self) -> int:
        return self.clients - self.corrupt

    @property
    def machines(self) -> int:
        return self.honest + self.twin

    def client(self, machine: int) -> int:
        return machine if machine < self.honest else 0

    def holders(self, client: int) -> int:
        """Of its secrets: itself and its neighbours."""
        if not self.neighbours:
            return (1 << self.clients) - 1
        return self.neighbours[client] | 1 << client

    def quorum(self, members: int, client: int) -> int:
        """How many signatures `client` asks for where `members` are U1."""
        if self.local:
            held = self.holders(client) & members
            return (held.bit_count() + (held & self.liars).bit_count()) // 2 + 1 - self.short
        return (members.bit_count() + self.corrupt) // 2 + 1 - self.short

    @property
    def sound(self) -> Rules:
        """The same cohort under all rules, in which `twin` is a client that is asked twice."""
        corrupt = self.threshold - self.group
        held = max(self.holders(i).bit_count() for i in range(self.honest))
        return Rules(
            self.clients, self.corrupt, (held + corrupt) // 2 + 1, neighbours=self.neighbours,
            twin=self.twin,
        )  # fmt: skip

    @property
    def group(self) -> int:
        """Honest inputs that every sum has at the least."""
        most = max((self.holders(i) & self.liars).bit_count() for i in range(self.honest))
        return self.threshold - most


@dataclass(frozen=True, slots=True)
class Machine:
    """u1, session, u2, u3, answered: as shown. earlier: a U3 that it signed and forgot; restarts:
    how often it forgot."""

    u1: int = 0
    session: int = 0
    u2: int = 0
    u3: int = 0
    answered: bool = False
    earlier: int = 0
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """machines, and of each the holders whose share of its self-mask seed, or of its mask key, is
    out."""

    machines: tuple[Machine, ...]
    seeds: tuple[int, ...]
    keys: tuple[int, ...]


def start(rules: Rules) -> State:
    none = (0,) * rules.machines
    return State((Machine(),) * rules.machines, none, none)


@dataclass(frozen=True, slots=True)
class Step:
    """The server shows `to` a set, or hears it.

    kind u1: the set with the number of its session. u2, u3: the set. quorum: U3's signers, of whom
    a quorum's signatures are shown. answer: the answer for U3 comes. restart: it forgets.
    """

    to: int
    kind: str
    set: int
    session: int = 0


def among(rules: Rules, state: State, client: int, like: Machine) -> int | None:
    """The machine of a client that is in the session of `like`."""
    for machine in (client, rules.honest) if client == 0 and rules.twin else (client,):
        one = state.machines[machine]
        if machine < rules.honest + rules.twin and (one.u1, one.session) == (like.u1, like.session):
            return machine
    return None


def ring(clients: int, reach: int) -> tuple[int, ...]:
    """A k-regular graph, k = 2 reach: neighbours are at most `reach` places away."""
    near = [d for d in range(-reach, reach + 1) if d]
    return tuple(sum(1 << (i + d) % clients for d in near) for i in range(clients))


def members(bits: int) -> Iterator[int]:
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


def signers(rules: Rules, state: State, machine: int) -> int:
    """Of this machine's own (U2, U3), within U3: corrupt ones sign whatever they are asked to."""
    own = state.machines[machine]
    scope = own.u3 & (rules.holders(rules.client(machine)) if rules.local else own.u1)
    found = scope & rules.liars
    for client in members(scope & ~rules.liars):
        there = among(rules, state, client, own)
        if there is not None:
            one = state.machines[there]
            if one.u2 == own.u2 and own.u3 in (one.u3, one.earlier):
                found |= 1 << client
    return found


def step(rules: Rules, state: State, one: Step) -> State | None:
    """What follows, or None where the client refuses."""
    machine = state.machines[one.to]
    me = rules.client(one.to)
    match one.kind:
        case "u1":
            good = not machine.u1 and _u1(rules, state, me, one)
            changed = replace(machine, u1=one.set, session=one.session)
        case "u2":
            good = bool(machine.u1) and not machine.u2 and _u2(rules, state, one)
            changed = replace(machine, u2=one.set)
        case "u3":
            good = bool(machine.u2) and not machine.u3 and _u3(rules, machine, me, one.set)
            changed = replace(machine, u3=one.set)
        case "quorum":
            signed = signers(rules, state, one.to)
            needed = rules.quorum(machine.u1, me) if rules.consistency else 0
            good = bool(machine.u3) and not machine.answered and signed.bit_count() >= needed
            good = good and one.set == signed
            changed = replace(machine, answered=True)
        case "answer":
            good, changed = machine.answered and machine.u3 == one.set, machine
        case "restart":
            good = bool(machine.u3 and rules.forgets >> me & 1) and not machine.restarts
            changed = Machine(machine.u1, machine.session, machine.u2, 0, False, machine.u3, 1)
        case _:
            raise ValueError(f"no step is called {one.kind}")
    if not good:
        return None
    machines = (*state.machines[: one.to], changed, *state.machines[one.to + 1 :])
    after = replace(state, machines=machines)
    return _answered(rules, after, one.to) if one.kind == QUORUM else after


def _u1(rules: Rules, state: State, me: int, one: Step) -> bool:
    """V2, and that two runs of one client are two sessions: their keys differ."""
    if not one.set >> me & 1 or one.set.bit_count() < rules.threshold:
        return False
    if one.session and not (one.set & rules.liars or rules.twin):
        return False
    return all(
        (other.u1, other.session) != (one.set, one.session)
        for i, other in enumerate(state.machines)
        if i != one.to and rules.client(i) == me
    )


def _u2(rules: Rules, state: State, one: Step) -> bool:
    """C5, V4: neighbours in it have dealt in this session; V6."""
    machine = state.machines[one.to]
    me = rules.client(one.to)
    if one.set & ~machine.u1 or not one.set >> me & 1:
        return False
    held = one.set & rules.holders(me)
    if held.bit_count() < rules.threshold:
        return False
    if any(among(rules, state, i, machine) is None for i in members(held & ~rules.liars)):
        return False
    return not rules.claims or not any(
        other.u2 for i, other in enumerate(state.machines) if i != one.to and rules.client(i) == me
    )


def _u3(rules: Rules, machine: Machine, me: int, shown: int) -> bool:
    """C8."""
    if shown & ~machine.u2 or not shown >> me & 1:
        return False
    return (shown & rules.holders(me)).bit_count() >= rules.threshold


def _answered(rules: Rules, state: State, holder: int) -> State:
    """C9: a share of each dealer that it holds, which one its U3 says."""
    own = state.machines[holder]
    me = rules.client(holder)
    seeds, keys = list(state.seeds), list(state.keys)
    for dealer in members(own.u2 & rules.holders(me) & ~rules.liars):
        there = among(rules, state, dealer, own)
        if there is None:
            raise ValueError("a dealer in U2 that has not dealt: V4 has let it pass")
        (seeds if own.u3 >> dealer & 1 else keys)[there] |= 1 << me
    return State(state.machines, tuple(seeds), tuple(keys))


def known(rules: Rules, state: State, out: tuple[int, ...]) -> int:
    """The machines of whose secret t shares are out, those of corrupt holders included."""
    found = 0
    for machine, shares in enumerate(out):
        corrupt = rules.holders(rules.client(machine)) & state.machines[machine].u1 & rules.liars
        if state.machines[machine].u1 and shares.bit_count() + corrupt.bit_count() >= (
            rules.threshold
        ):
            found |= 1 << machine
    return found


def sums(rules: Rules, state: State) -> list[int]:
    """The smallest sets of machines over whose inputs the server has the sum."""
    seeds, keys = known(rules, state, state.seeds), known(rules, state, state.keys)
    count = rules.machines
    other = [0] * count
    bad = 0
    for i, own in enumerate(state.machines):
        if not own.u2:
            continue
        bad |= 0 if seeds >> i & 1 else 1 << i
        held = own.u2 & rules.holders(rules.client(i)) & ~rules.liars & ~(1 << rules.client(i))
        if keys >> i & 1:
            continue
        for client in members(held):
            j = among(rules, state, client, own)
            if j is None or keys >> j & 1:
                continue
            if state.machines[j].u2 >> rules.client(i) & 1:
                other[i] |= 1 << j
            else:
                bad |= 1 << i
    found, left = [], sum(1 << i for i, own in enumerate(state.machines) if own.u2)
    while left:
        group, grown = 0, left & -left
        while grown != group:
            group = grown
            for i in members(group):
                grown |= other[i]
        left &= ~group
        if not group & bad:
            found.append(group)
    return found


def broken(rules: Rules, state: State) -> str | None:
    """The first claim that does not hold here, by its name in specs/15-active-proof.md §2."""
    if known(rules, state, state.seeds) & known(rules, state, state.keys):
        return "both"
    found = sums(rules, state)
    if any(group.bit_count() < rules.group for group in found):
        return "small"
    session: dict[tuple[int, int], int] = {}
    of_inputs: list[int] = []
    for group in found:
        of_inputs += [rules.client(i) for i in members(group)]
        own = state.machines[next(members(group))]
        session[own.u1, own.session] = session.get((own.u1, own.session), 0) + 1
    if len(of_inputs) != len(set(of_inputs)):
        return "twice"
    if not rules.neighbours and any(count > 1 for count in session.values()):
        return "several"
    return None


def steps(rules: Rules, state: State) -> Iterator[tuple[Step, State]]:
    """Everything that the server can do and an honest client follows."""
    for to in range(rules.machines):
        for one in _moves(rules, state, to):
            after = step(rules, state, one)
            if after is not None:
                yield one, after


def _moves(rules: Rules, state: State, to: int) -> Iterator[Step]:
    machine = state.machines[to]
    me = 1 << rules.client(to)
    if not machine.u1:
        for shown in range(1 << rules.clients):
            if shown & me:
                yield from (Step(to, U1, shown, number) for number in range(rules.sessions))
        return
    if not machine.u2:
        yield from (Step(to, U2, s) for s in _subsets(machine.u1) if s & me)
    elif not machine.u3:
        yield from (Step(to, U3, s) for s in _subsets(machine.u2) if s & me)
    else:
        if not machine.answered:
            yield Step(to, QUORUM, signers(rules, state, to))
        yield Step(to, RESTART, 0)


def _subsets(whole: int) -> Iterator[int]:
    one = whole
    while one:
        yield one
        one = one - 1 & whole
