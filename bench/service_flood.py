"""A service under strangers who want nothing of it, and what honest clients notice.

A thousand connections (`bench.service_crowd`) do one of: the first bytes of a TLS handshake and no
more; half a request's header; half a message; pings; messages in pieces of a byte; a whole TLS
handshake and nothing after it. Each is made again, `again` seconds after it was cut. The server may
open 1,024 files. Meanwhile `n` honest clients, which had their links before, have round after
round, and others come anew, greet, and go. Every result is compared with the exact sum.

`slowdown` is the median time from one result to the next under the flood / before it. `connect_p99`
is what a newcomer needs from its first attempt to the end of its greeting, attempts that failed
included. `rss_more` and `log_bytes` are the server's growth. Everybody shares this machine, so in
rows whose flood is handshakes the crowd's own work slows the honest down, too: `crowd_cpu`.

round, connect, memory, log: of the worst of the first five kinds, ours / the bar; handshakes has
ratios of its own. slow: what a peer that does not read costs the server, the worse of a link in a
round and of a payload's download, / the bytes that may be unsent.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.common import Missing, Ratio, Row, Selection, main, pick, progress
from bench.service_crowd import crowd
from bench.service_fleet import Fleet, fleet
from bench.service_ground import ENROLLED, Ground, Tasked, ground, loop_name, until
from bench.service_oracle import check_all
from bench.service_storm import quantile
from secagg.rounds.pace import INLINE
from secagg.service.public import PAYLOAD
from secagg.wire.frame import payload_digest

NAME = "service-flood"

KINDS = ("tls", "header", "message", "pings", "fragments")
CASE = {"links": 1000, "sources": 100, "again": 1.0, "n": 8, "rounds": 30, "newcomers": 100}
SLOW = {"kind": "slow", "readers": 200, "payload": 64 << 20}
FAST = {"kind": "handshakes"} | CASE | {"again": 0.0}
GRID = [*({"kind": kind} | CASE for kind in KINDS), FAST, SLOW]
FILES = 1024
SLOWDOWN, CONNECT, RSS, LOG = 2.0, 0.5, 300 << 20, 1 << 20
UNSENT = 1 << 20
D = 10_000
LONGEST = 300.0
SETTLED = 3.0
"""Seconds until nothing moves any more."""


def rows(selection: Selection) -> Iterator[Row]:
    for case in selection.cases(GRID):
        yield case | (_slow(**case) if case["kind"] == "slow" else _row(**case))


def ratios(rows: Sequence[Row]) -> Mapping[str, Ratio]:
    found: dict[str, Ratio] = {}
    for prefix, kinds in (("", KINDS), ("handshakes_", ("handshakes",))):
        own = [row for row in rows if row["kind"] in kinds]
        for name, column, bar in (
            ("round", "slowdown", SLOWDOWN),
            ("connect", "connect_p99", CONNECT),
            ("memory", "rss_more", RSS),
            ("log", "log_bytes", LOG),
        ):
            full = {row["kind"] for row in own if row["links"] >= CASE["links"]} == {*kinds}
            absent = Missing(f"needs the rows {', '.join(kinds)} of {CASE['links']} links")
            found[prefix + name] = max(row[column] / bar for row in own) if full else absent
    slow = pick(rows, **SLOW)
    found["slow"] = Missing("needs the row kind=slow") if slow is None else slow["most"] / UNSENT
    return found


def _row(
    kind: str, links: int, sources: int, again: float, n: int, rounds: int, newcomers: int
) -> Row:
    most = 100_000
    task = Tasked("honest", range(n), n, D)
    fresh = Tasked("fresh", range(n, n + newcomers), newcomers + 1)
    with ground(task, fresh, files=FILES) as place, progress(kind) as tell:
        server = place.start()
        with (
            fleet(place, task, rounds=most, processes=1) as clients,
            fleet(place, fresh, processes=1) as others,
        ):
            clients.start(task.members)
            quiet = _paces(place, rounds, lambda done: tell("quiet", done, rounds))
            others.start(fresh.members[: newcomers // 2], over=3.0)
            others.wait(LONGEST, lambda: others.count("greeted") >= newcomers // 2, "newcomers")
            quiet_connects = _firsts(others)
            server.forget_peak()
            before, log, cpu = server.rss, place.log.stat().st_size, server.cpu
            with crowd(
                kind=kind, port=place.port, links=links, sources=sources, again=again
            ) as told:
                until(lambda: bool(told), LONGEST, "a crowd")
                begun = time.monotonic()
                others.start(fresh.members[newcomers // 2 :], over=10.0)
                done = _paces(place, rounds, lambda done: tell("flooded", done, rounds))
                others.wait(LONGEST, lambda: others.count("greeted") >= newcomers, "newcomers")
                until(lambda: time.monotonic() - begun > 10.0, LONGEST, "a while")
                seconds = time.monotonic() - begun
                row = {
                    "enrolled": ENROLLED,
                    "loop": loop_name(),
                    "files": FILES,
                    "quiet_round": quantile(quiet, 0.5),
                    "round": quantile(done, 0.5),
                    "slowdown": quantile(done, 0.5) / quantile(quiet, 0.5),
                    "quiet_connect_p99": quantile(quiet_connects, 0.99),
                    "connect_median": quantile(_firsts(others)[newcomers // 2 :], 0.5),
                    "connect_p99": quantile(_firsts(others)[newcomers // 2 :], 0.99),
                    "honest_lost": sum(
                        one.more["reason"] is not None for one in clients.of("outcome")
                    ),
                    "attempts_refused": others.count("refused"),
                    "rss_more": max(0, server.peak - before),
                    "log_bytes": place.log.stat().st_size - log,
                    "server_cpu_share": (server.cpu - cpu) / seconds,
                    **{f"crowd_{name}": value for name, value in told[-1].items()},
                    "crowd_rate": told[-1]["made"] / len(told),
                }
        row["exact_rounds"] = check_all(task, place.results.iterdir())
        return row


def _slow(kind: str, readers: int, payload: int) -> Row:
    """Links that read nothing once they are asked, in a round with the largest payload that is
    announced as it is; then as many who ask for a large payload, and read none of it."""
    small = Tasked("small", range(readers), readers, readers + 1, more=('payload = "small"',))
    large = Tasked(
        "large",
        range(readers, readers + 3),
        3,
        4,
        dropout=0,
        corrupt=0,
        more=('payload = "large"',),
    )
    with ground(small, large) as place, progress(kind):
        (place.folder / "small").write_bytes(bytes(INLINE))
        data = bytes(payload)
        (place.folder / "large").write_bytes(data)
        server = place.start()
        with fleet(place, small, processes=1, deaf=True) as clients:
            empty = server.rss
            clients.start(small.members)
            clients.wait(LONGEST, lambda: clients.count("deaf") >= readers, "who is asked")
            time.sleep(SETTLED)
            links = max(0, server.rss - empty) // readers
        time.sleep(SETTLED)
        empty = server.rss
        path = PAYLOAD.format(digest=payload_digest(data).hex())
        job = {"links": readers, "sources": readers, "again": 1.0, "path": path}
        with crowd(kind="payload", port=place.port, **job) as told:
            until(lambda: bool(told) and told[-1]["open"] >= readers, LONGEST, "downloads")
            time.sleep(SETTLED)
            row: Row = {
                "enrolled": ENROLLED,
                "loop": loop_name(),
                "inline": INLINE,
                "link_bytes": links,
                "download_bytes": max(0, server.rss - empty) // readers,
                "downloads_open": told[-1]["open"],
            }
    return row | {"most": max(row["link_bytes"], row["download_bytes"])}


def _paces(place: Ground, number: int, tell: object) -> list[float]:
    """Seconds from each result to the next, of as many as are wanted from now on."""
    there = {one.name for one in place.results.iterdir()}

    def fresh() -> list[Path]:
        found = [one for one in place.results.glob("*.npz") if one.name not in there]
        tell(min(number, len(found)))  # type: ignore[operator]
        return found

    until(lambda: len(fresh()) > number, LONGEST, "rounds")
    times = sorted(one.stat().st_mtime for one in fresh())
    return [later - earlier for earlier, later in zip(times, times[1:], strict=False)]


def _firsts(others: Fleet) -> list[float]:
    """Of each newcomer, in their order: seconds from its first attempt to its first greeting."""
    found: dict[int, float] = {}
    for one in others.of("greeted"):
        found.setdefault(one.member, one.more["since"])
    return [found[member] for member in sorted(found)]


if __name__ == "__main__":
    main(NAME)
