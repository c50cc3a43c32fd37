"""Lemmas about the two rules, by z3: `python -m specs.models.lemmas [MOST]`.

For n up to MOST clients (15) and A <= n/3, of which specs/15-active-proof.md makes use:

L1 Whatever is shown to whom, both secrets of one client come out if and only if 2t <= n + A.
L2 Two different statements can both have q signatures if and only if 2q <= n + A.
L3 With the quorum of the plan, and any U2 for each client, a sum of fewer than t - A honest inputs
   exists if and only if 2t < n + A (complete graph; by counts of clients, `counted`).
L4 L3 by the views themselves, one Boolean for each client in each set (`viewed`); n is smaller.
L5 Without a quorum, t = floor((n + A)/2) + 1 keeps both secrets apart, and the sum falls below
   t - A for most n and A, to one input at n = 5.
L6 L4 for k-regular graphs with the quorum over all of U1, 2t > k + 1 + a: never.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence

import z3

from specs.models.game import Rules, members, ring


def cases(least: int, most: int) -> Iterator[tuple[int, int]]:
    return ((n, a) for n in range(least, most + 1) for a in range(n // 3 + 1))


def majority(clients: int, corrupt: int) -> int:
    return (clients + corrupt) // 2 + 1


def both_secrets(clients: int, corrupt: int, threshold: int) -> bool:
    """L1: a holder gives one share of a dealer's, a corrupt one both; are there t of each?"""
    seed = [z3.Bool(f"seed{i}") for i in range(clients)]
    key = [z3.Bool(f"key{i}") for i in range(clients)]
    honest = range(clients - corrupt)
    return _possible(
        *(z3.Not(z3.And(seed[i], key[i])) for i in honest),
        _least(seed, threshold),
        _least(key, threshold),
    )


def two_quorums(clients: int, corrupt: int, quorum: int) -> bool:
    """L2: who signs one statement, honest clients no other."""
    return both_secrets(clients, corrupt, quorum)


def counted(clients: int, corrupt: int, threshold: int, quorum: int) -> bool:
    """L3: is there a sum of fewer than t - A?

    By what 15-active-proof.md §4 says of components: one that holds a client that answers holds
    all who do, t - A or more. So it is of others of U3 alone. One of these was shown, as U2,
    itself, others of the sum, honest clients that are called dropped, and corrupt ones: t in all,
    as C5 asks.
    """
    answer, others, dropped, rest, group = z3.Ints("answer others dropped rest group")
    liars_u2, liars_u3, near, gone, false = z3.Ints("liars_u2 liars_u3 near gone false")
    everything = (answer, others, dropped, rest, liars_u2, liars_u3, near, gone, false)
    return _possible(
        *(x >= 0 for x in everything),
        answer + others + dropped + rest == clients - corrupt,
        liars_u3 <= liars_u2, liars_u2 <= corrupt, false <= corrupt,
        answer + liars_u3 >= quorum, answer + corrupt >= threshold,
        answer + others + liars_u3 >= threshold,
        group >= 1, group <= others, group < threshold - corrupt,
        near <= group - 1, gone <= dropped, 1 + near + gone + false >= threshold,
    )  # fmt: skip


def viewed(rules: Rules, *, both: bool = False) -> bool:
    """L4, L5: by views. One session, all in U1; is there a small sum, or are there both secrets?"""
    honest, everybody = range(rules.honest), range(rules.clients)
    u2 = [[z3.Bool(f"u2_{i}_{j}") for j in everybody] for i in honest]
    u3 = [[z3.Bool(f"u3_{i}_{j}") for j in everybody] for i in honest]
    signs = [z3.Bool(f"signs_{i}") for i in honest]
    answers = [z3.Bool(f"answers_{i}") for i in honest]
    held = [list(members(rules.holders(i))) for i in honest]
    said = [z3.And(u2[i][i], _least([u2[i][j] for j in held[i]], rules.threshold)) for i in honest]
    for i in honest:
        said += [z3.Implies(u3[i][j], u2[i][j]) for j in everybody]
        good = z3.And(u3[i][i], _least([u3[i][j] for j in held[i]], rules.threshold))
        said += [z3.Implies(signs[i], good), z3.Implies(answers[i], signs[i])]
        if rules.consistency:
            like = [_agrees(u2, u3, signs, i, j) if j in honest else u3[i][j] for j in everybody]
            needed = rules.quorum((1 << rules.clients) - 1, i)
            scope = held[i] if rules.local else everybody
            said.append(z3.Implies(answers[i], _least([like[j] for j in scope], needed)))
    seeds, keys = (_known(rules, u2, u3, answers, held, seed) for seed in (True, False))
    if both:
        said.append(z3.Or([z3.And(seeds[i], keys[i]) for i in honest]))
    else:
        said += _small_sum(rules, u2, seeds, keys, held)
    return _possible(*said)


Sets = list[list[z3.BoolRef]]


def _agrees(u2: Sets, u3: Sets, signs: list[z3.BoolRef], i: int, j: int) -> z3.BoolRef:
    equal = [z3.And(a == b, c == d) for a, b, c, d in zip(u2[i], u2[j], u3[i], u3[j], strict=True)]
    return z3.And(u3[i][j], signs[j], *equal)


def _known(
    rules: Rules, u2: Sets, u3: Sets, answers: list[z3.BoolRef], held: list[list[int]], seed: bool
) -> list[z3.BoolRef]:
    """Of each honest client, whether t shares of its self-mask seed, or mask key, are out."""
    found = []
    for dealer in range(rules.honest):
        honest = [i for i in held[dealer] if i < rules.honest]
        given = [z3.And(answers[i], u2[i][dealer], u3[i][dealer] == seed) for i in honest]
        found.append(_least(given, rules.threshold - (len(held[dealer]) - len(honest))))
    return found


def _small_sum(
    rules: Rules, u2: Sets, seeds: list[z3.BoolRef], keys: list[z3.BoolRef], held: list[list[int]]
) -> list[z3.BoolRef]:
    group = [z3.Bool(f"group_{i}") for i in range(rules.honest)]
    said = [z3.Or(group), z3.Not(_least(group, rules.group))]
    for i, inside in enumerate(group):
        said.append(z3.Implies(inside, seeds[i]))
        for j in held[i]:
            if j < rules.honest and j != i:
                hidden = z3.And(inside, u2[i][j], z3.Not(keys[i]), z3.Not(keys[j]))
                said.append(z3.Implies(hidden, z3.And(u2[j][i], group[j])))
    return said


def _least(of: Sequence[z3.BoolRef], count: int) -> z3.BoolRef:
    """At least so many of them."""
    if not 0 < count <= len(of):
        return z3.BoolVal(count <= 0)
    return z3.PbGe([(one, 1) for one in of], count)


def _possible(*said: z3.BoolRef) -> bool:
    solver = z3.Solver()
    solver.add(*said)
    answer = solver.check()
    if answer == z3.unknown:
        raise RuntimeError(f"z3 gave up: {solver.reason_unknown()}")
    return bool(answer == z3.sat)


def thresholds(clients: int, corrupt: int) -> range:
    return range(corrupt + 1, clients + 1)


def l1(n: int, a: int) -> bool:
    return all(both_secrets(n, a, t) == (2 * t <= n + a) for t in thresholds(n, a))


def l2(n: int, a: int) -> bool:
    return all(two_quorums(n, a, q) == (2 * q <= n + a) for q in thresholds(n, a))


def l3(n: int, a: int) -> bool:
    q = majority(n, a)
    # a sum of no honest input is none, so there is no smaller one where t = A + 1
    return all(counted(n, a, t, q) == (2 * t < n + a) for t in thresholds(n, a) if t - a > 1)


def l4(n: int, a: int) -> bool:
    return all(viewed(Rules(n, a, t)) == (2 * t < n + a) for t in thresholds(n, a) if t - a > 1)


def l5(n: int, a: int) -> bool:
    """What is expected: nothing of both secrets; a small sum unless honest clients are few."""
    rules = Rules(n, a, majority(n, a), consistency=False)
    return not viewed(rules, both=True) and viewed(rules) == (n >= 5 and (n, a) not in SAFE)


SAFE = {(5, 1), (6, 2)}
"""Few honest clients of five and more, of whom t - A are as many as a split leaves."""


def l6(n: int, a: int) -> bool:
    """Each client's neighbours are those within a reach on a ring, so k = 2, 4, ..; by a formula of
    the largest number of corrupt holders that anybody has."""
    return not any(
        viewed(rules, both=both)
        for reach in range(1, (n - 1) // 2)
        for rules in [Rules(n, a, n, neighbours=ring(n, reach)).sound]
        for both in (True, False)
    )


LEMMAS = (l1, l2, l3, l4, l5, l6)


def main(arguments: Sequence[str]) -> int:
    most = int(arguments[0]) if arguments else 15
    fine = True
    views = most // 2
    for lemma, largest in zip(LEMMAS, (most, most, most, views, views, views), strict=True):
        began = time.monotonic()
        wrong = [case for case in cases(3, largest) if not lemma(*case)]
        fine = fine and not wrong
        verdict = f"WRONG at (n, A) = {wrong}" if wrong else "holds"
        name, seconds = lemma.__name__.upper(), time.monotonic() - began
        print(f"{name} n = 3 to {largest}: {verdict}, {seconds:.1f} s", flush=True)
    return 0 if fine else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
