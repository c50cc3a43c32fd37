"""One update shows its client's image, and a sum of many does not.

A step of training on one image leaves the image in the first layer's gradient: each hidden unit's
weights move by the image times a number, and its bias by that number (Phong et al. 2018). Whoever
sees the update divides one by the other. Out of a sum come mixtures, and with noise not even these:
a sum alone is no promise, since units that only one image moves give it away in the sum as well.

    python image_from_update.py
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

import secagg

INPUTS, HIDDEN, CLASSES = 64, 24, 10
LENGTH = HIDDEN * (INPUTS + 1)
SHADES = " .:-=+*#%@"

pixels, labels = load_digits(return_X_y=True)
pixels /= 16
rng = np.random.default_rng(3)
first = rng.normal(size=(INPUTS, HIDDEN)) / 8
second = rng.normal(size=(HIDDEN, CLASSES)) / 5


def update(image: np.ndarray, label: int, smooth: bool = True) -> np.ndarray:
    """The gradient of the first layer at one image: weights, then biases."""
    hidden = np.tanh(image @ first) if smooth else np.maximum(image @ first - 1, 0)
    scores = np.exp(hidden @ second)
    error = scores / scores.sum() - np.eye(CLASSES)[label]
    back = (second @ error) * ((1 - hidden**2) if smooth else (hidden > 0))
    return np.concatenate([np.outer(image, back).ravel(), back])


def images_in(gradient: np.ndarray) -> np.ndarray:
    """Weights over bias, for every hidden unit that moved."""
    weights, bias = gradient[:-HIDDEN].reshape(INPUTS, HIDDEN), gradient[-HIDDEN:]
    moved = np.abs(bias) > 1e-9
    return np.clip(weights[:, moved] / bias[moved], 0, 1).T


def best(found: np.ndarray, images: np.ndarray) -> tuple[float, np.ndarray]:
    """The closest of what was found to any of the images, in dB of signal to noise."""
    errors = ((found[:, None, :] - images[None]) ** 2).mean(axis=2)
    place = np.unravel_index(errors.argmin(), errors.shape)
    return float(-10 * np.log10(errors[place] + 1e-30)), found[place[0]]


def summed(clients: int, private: bool = False, smooth: bool = True) -> np.ndarray:
    """By two servers, neither of which sees an update."""
    field = secagg.Vector(LENGTH, 1.0, 16) if private else secagg.FixedPoint(LENGTH, 2.0, 24)
    asked = secagg.Privacy(epsilon=2, delta=1e-3) if private else None
    lost = {"corrupt": 0, "dropout": 0}
    plan = secagg.plan(clients=clients, servers=2, fields={"g": field}, privacy=asked, **lost)
    updates = [update(pixels[me], labels[me], smooth) for me in range(clients)]
    if private:
        updates = [one / max(1.0, np.linalg.norm(one)) for one in updates]
    total = secagg.simulate(plan, lambda me: {"g": updates[me]})
    return total.sum["g"]


shown = {"the client's image": pixels[0]}
rows = [("its own update", images_in(update(pixels[0], labels[0])), 1)]
rows += [(f"a sum of {n}", images_in(summed(n)), n) for n in (10, 50)]
rows += [("50, units of few images", images_in(summed(50, smooth=False)), 50)]
rows += [("a sum of 50 with noise", images_in(summed(50, private=True)), 50)]
found = []
for name, images, clients in rows:
    decibels, shown[name] = best(images, pixels[:clients])
    found.append(decibels)
    print(f"{name:<24} closest to a client's image: {decibels:6.1f} dB")
print()
print("   ".join(f"{name:<18.18}" for name in shown))
for line in range(8):
    cells = (image[8 * line : 8 * line + 8] for image in shown.values())
    texts = ("".join(2 * SHADES[round(9 * float(shade))] for shade in cell) for cell in cells)
    print("   ".join(f"{text:<18}" for text in texts))
if not (found[0] > 100 and found[3] > 60 and max(found[1], found[2], found[4]) < 25):
    raise SystemExit("the images are not as they should be")
