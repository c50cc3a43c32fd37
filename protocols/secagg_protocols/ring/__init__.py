"""The ring sum: the salary round of introductory texts. It is here to be read, and to be broken.

n >= 3 parties sit in a circle. The first hides its value behind a random offset and passes the sum
to its right neighbour, each adds its own value and passes on, and the first takes its offset away.
One curious party learns nothing but the sum. The two neighbours of a party, however, recover its
value together (`attack.collude`), and one lost party ends the round for everybody.

It is deliberately in no registry: it has no server, and so no plan may ever choose it
(specs/21-ring.md §1).
"""

from __future__ import annotations

from secagg_protocols.ring.attack import collude
from secagg_protocols.ring.machine import RingParty
from secagg_protocols.ring.params import RingParams
from secagg_protocols.ring.pump import run

__all__ = ["RingParams", "RingParty", "collude", "run"]
