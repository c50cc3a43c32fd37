"""A survey, once more when one person has left: what the two results tell about that person.

An exact count minus an exact count is one answer. With noise in each, and epsilon paid twice, the
difference says next to nothing, and the bars are still good for what they are for.

    python survey.py
"""

from __future__ import annotations

import numpy as np

import secagg

ANSWERS = ("never", "once", "some", "often", "daily")
PEOPLE = 200
rng = np.random.default_rng(2)
answers = rng.choice(len(ANSWERS), PEOPLE, p=[0.35, 0.25, 0.2, 0.15, 0.05])


def asked(people: int, private: bool, seed: int) -> secagg.Aggregate:
    """Every person is a client with one bar; two servers, of which neither sees an answer."""
    bars = secagg.Integer(len(ANSWERS), max=1, sensitivity=1 if private else None)
    plan = secagg.plan(
        clients=people,
        corrupt=0,
        dropout=0,
        servers=2,
        fields={"bars": bars},
        privacy=secagg.Privacy(epsilon=1, delta=1e-4, rounds=2) if private else None,
    )
    chosen = np.eye(len(ANSWERS), dtype=np.int64)
    return secagg.simulate(plan, lambda me: {"bars": chosen[answers[me]]}, seed=seed)


def difference(private: bool) -> tuple[np.ndarray, secagg.Aggregate]:
    """Of all, and of all but the last one, who has left."""
    before, after = asked(PEOPLE, private, 1), asked(PEOPLE - 1, private, 2)
    return before.sum["bars"] - after.sum["bars"], before


exact, _ = difference(private=False)
noisy, survey = difference(private=True)
interval = survey.interval["bars"]
true = np.bincount(answers, minlength=len(ANSWERS))
print(f"{'':<8}{'true':>6}{'said':>6}   (95 %: ± {interval:.1f})")
for name, count, said in zip(ANSWERS, true, survey.sum["bars"], strict=True):
    print(f"{name:<8}{count:>6}{said:>6}")
print(f"\nwho left had answered {ANSWERS[answers[-1]]!r}")
print(f"exact sums:  {exact} says {ANSWERS[int(exact.argmax())]!r}")
print(f"with noise:  {noisy} says nothing: the noise is ± {1.41 * interval:.0f}")
if survey.privacy:
    print(f"epsilon {survey.privacy.epsilon_server:.2f} over both")
honest = (np.abs(survey.sum["bars"] - true) < 2 * interval).all()
if not (exact.sum() == 1 and exact[answers[-1]] == 1 and np.abs(noisy).max() > 1 and honest):
    raise SystemExit("the survey is not as it should be")
