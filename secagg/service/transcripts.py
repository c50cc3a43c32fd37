"""What a server has written down of rounds whose clients sign, as files: a transcript each, and
whatever evidence there is that somebody has lied (specs/12-active.md §7, §8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from secagg.rounds.clock import RoundReport
from secagg.service.whole import write_whole
from secagg.shown import short
from secagg.wire.frame import DIGEST_SIZE, NONCE_SIZE


@dataclass(frozen=True)
class Transcripts:
    """A folder of them. told: hears, in words, what cannot be written."""

    folder: Path
    told: Callable[[str], None] = field(repr=False)

    __repr__ = short

    def keep(self, report: RoundReport) -> bool:
        """The files of a round that has ended, for its owner alone, each whole or not at all;
        whether all of them are there. A file that is there is never replaced: it is of the same
        round."""
        transcript, evidence = self.files(report)
        files = [*evidence.items(), *transcript.items()]
        return all([self._written(path, data) for path, data in files])

    def files(self, report: RoundReport | None) -> tuple[dict[Path, bytes], dict[Path, bytes]]:
        """The transcript by its name, and the evidence; nothing of a round that had no session."""
        nonce = nonce_of(report.transcript) if report else ""
        if report is None or not nonce:
            return {}, {}
        numbered = enumerate(report.evidence, start=1)
        evidence = {self.folder / f"{nonce}-{number}.evidence": one for number, one in numbered}
        return {self.folder / f"{nonce}.transcript": report.transcript}, evidence

    def _written(self, path: Path, data: bytes) -> bool:
        try:
            if not path.exists():
                write_whole(path, data)
            elif not _same(path, data):
                self.told(f"{path} exists, is another, and is not replaced")
                return False
        except OSError as error:
            self.told(f"{path} cannot be written: {error.strerror}; the store keeps it")
            return False
        return True


def nonce_of(transcript: bytes) -> str:
    """Of its session, in hexadecimal; empty where it has not begun (specs/12-active.md §7)."""
    begin = 1 + 4 + 1  # version, and length and kind of the first record
    size = int.from_bytes(transcript[begin : begin + 4])
    at = begin + 4 + size + DIGEST_SIZE
    return transcript[at : at + NONCE_SIZE].hex() if len(transcript) > begin else ""


def _same(path: Path, data: bytes) -> bool:
    """What a process has written that died before it could say so, the next one writes again."""
    return path.stat().st_size == len(data) and path.read_bytes() == data
