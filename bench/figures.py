"""Fills the table of bench/README.md from bench/results/*.json: `python -m bench.figures`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from bench.common import RESULTS, ROOT, Row

README = ROOT / "bench" / "README.md"
BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"

AT_LEAST = {
    ("mask", "aes_limit"): 0.8,
    ("mask", "two_threads"): 1.8,
    ("mask", "openssl"): 4.0,
    ("mask", "flower"): 20.0,
    ("shamir", "split"): 1000.0,
    ("shamir", "combine"): 1000.0,
    ("quantize", "nearest"): 10.0,
    ("quantize", "stochastic"): 10.0,
    ("noise", "narrow"): 1.0,
    ("noise", "wide"): 1.0,
    ("rotate", "bar"): 1.0,
    ("pack", "pack"): 1.0,
    ("pack", "unpack"): 1.0,
    ("peer", "cpu"): 25.0,
    ("peer-plugin", "cpu"): 10.0,
    ("round", "server"): 1.6,
    ("round", "client"): 1.25,
}
AT_MOST = {
    ("additive", "upload"): 1.01,
    ("additive", "server"): 2.0,
    ("peer", "bytes"): 0.5,
    ("peer-plugin", "bytes"): 0.5,
    ("peer-plugin", "upload"): 0.5,
    ("tax", "loopback"): 2.0,
    ("tax", "shaped"): 1.1,
    ("ccs17", "prediction"): 0.25,
    ("mean", "prediction"): 0.08,
    ("scale", "prediction"): 0.25,
    ("scale", "seconds"): 1.0,
    ("scale", "memory"): 1.0,
    ("service-load", "seconds"): 1.0,
    ("service-load", "memory"): 1.0,
    ("service-idle", "memory"): 1.0,
    ("service-storm", "p99"): 1.0,
    ("service-flood", "round"): 1.0,
    ("service-flood", "connect"): 1.0,
    ("service-flood", "memory"): 1.0,
    ("service-flood", "log"): 1.0,
    ("service-flood", "slow"): 1.0,
    ("service-over", "refused"): 1.0,
    ("service-over", "goodput"): 1.0,
    ("service-chaos", "violations"): 0.0,
    ("service-soak", "rss"): 1.0,
    ("service-soak", "descriptors"): 1.0,
    ("service-soak", "file"): 1.0,
}


def table(folder: Path) -> Iterator[str]:
    """Lines of Markdown: every ratio of every result, and whether it meets its bar."""
    yield "| benchmark | ratio | figure | bar | met | commit |"
    yield "|---|---|---|---|---|---|"
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text())
        for name in result["ratios"]:
            yield _line(result, name)


def _line(result: Row, name: str) -> str:
    key, figure = (result["name"], name), result["ratios"][name]
    least, most = AT_LEAST.get(key), AT_MOST.get(key)
    bar = f"at least {least:g}" if least is not None else ""
    bar = f"at most {most:g}" if most is not None else bar
    met = figure is not None and figure >= (least or 0) and (most is None or figure <= most)
    shown = f"{figure:.3g}" if figure is not None else f"none: {result['reasons'][name]}"
    verdict = ("yes" if met else "no") if bar else ""
    commit = (result["commit"] or "unknown").replace("-dirty", " (changed)")
    commit = commit[:9] + commit[40:]
    return f"| {key[0]} | {name} | {shown} | {bar} | {verdict} | {commit} |"


def fill(readme: Path, folder: Path) -> None:
    before, _, rest = readme.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = "".join(f"{line}\n" for line in table(folder))
    readme.write_text(f"{before}{BEGIN}{lines}{END}{after}")


if __name__ == "__main__":
    fill(README, RESULTS)
