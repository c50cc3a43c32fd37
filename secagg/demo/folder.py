"""The demo's private directory: what parent and clients tell each other out of band.

A client finds its samples there, and leaves there what no server of a real service would ever
see: which party it was in a round, and its true update. The parent, which plays the server, reads
them only to judge the secure sum. Plain .npy files, read without pickle; the directory is 0700 and
is removed with the demo.

A client writes before it sends or dies. So whatever the server has seen of a client, a message or
the end of its link, the files that belong to it are already there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from secagg.demo.model import Flat, Samples
from secagg.types import PartyId


@dataclass(frozen=True)
class Folder:
    """Where the demo's processes leave samples and updates for each other, one file each."""

    path: Path

    def put_samples(self, client: int, samples: Samples) -> None:
        np.save(self._of(client, "images"), samples.images, allow_pickle=False)
        np.save(self._of(client, "labels"), samples.labels, allow_pickle=False)

    def samples(self, client: int) -> Samples:
        return Samples(
            np.load(self._of(client, "images"), allow_pickle=False),
            np.load(self._of(client, "labels"), allow_pickle=False),
        )

    def put_party(self, round: int, client: int, party: PartyId) -> None:
        """In the file's name, which appears whole or not at all."""
        (self.path / f"round-{round}-party-{party}-client-{client}").touch()

    def clients(self, round: int) -> Mapping[PartyId, int]:
        """Who is who in a round: ids are given by order of arrival, anew in every round."""
        names = [entry.name.split("-") for entry in self.path.glob(f"round-{round}-party-*")]
        return {PartyId(int(name[3])): int(name[5]) for name in names}

    def put_update(self, round: int, client: int, update: Flat) -> None:
        np.save(self._of(client, f"update-{round}"), update, allow_pickle=False)

    def update(self, round: int, client: int) -> Flat:
        update: Flat = np.load(self._of(client, f"update-{round}"), allow_pickle=False)
        return update

    def log(self, client: int) -> Path:
        """Where a client's process writes what it has to say."""
        return self.path / f"client-{client}.log"

    def _of(self, client: int, what: str) -> Path:
        return self.path / f"client-{client}-{what}.npy"
