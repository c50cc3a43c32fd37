"""To know a message again without keeping it, whoever chose it."""

from __future__ import annotations

from cryptography.hazmat.primitives.poly1305 import Poly1305

from secagg.types import Buffer, Randomness, Seed


class Fingerprints:
    """Equal for the same bytes; for two others, equal with probability below 2^-75 up to 4 GiB.

    Poly1305 under a key that nobody else has and whose tags nobody else sees: all that its one-time
    key is made for is to hide between tags that are published. What is left is a universal hash
    (Bernstein 2005, theorem 3.3: 8 ceil(L / 16) / 2^106 for two messages of at most L bytes), four
    times as fast as SHA-256 in hardware. It is no commitment: whoever has the key finds collisions.
    """

    def __init__(self, randomness: Randomness) -> None:
        self.key = Seed(randomness(Seed.SIZE))
        """For the rows of whoever goes on after this process, and for nobody else."""

    def of(self, message: Buffer) -> bytes:
        """16 bytes."""
        return Poly1305.generate_tag(self.key.expose(), message)
