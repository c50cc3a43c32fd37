"""Every module of ours, for tests that look at all of them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parent.parent
FRAMEWORKS = {"secagg.integrations.flower": "flwr", "secagg.integrations.nvflare": "nvflare"}
"""What needs a package that is not among those of the tests: is it here? What only stands in for
one, in an adapter's own tests, is no distribution."""


def names() -> list[str]:
    """By name, without those of a framework that is not installed. None is imported by this."""
    absent = tuple(module for module, needed in FRAMEWORKS.items() if not _installed(needed))
    return sorted(
        name
        for package in (ROOT / "secagg", ROOT / "protocols" / "secagg_protocols")
        for path in package.rglob("*.py")
        if not (name := _name(path, package.parent)).startswith(absent or ("-",))
    )


def _name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def _installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True
