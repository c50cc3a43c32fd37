"""The file of a client's policy: what it says, or a refusal that names the file (T8, T20)."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from secagg.cli.policies import read_policy
from secagg.errors import InputError, ParameterError, TooLarge
from secagg.policy import Policy


def test_a_policy(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('# ours\nroster = 1000\nthreshold = 0.6\ncorrupt = "1/10"\nsuites = [2]\n')
    assert read_policy(file) == Policy(
        roster=1000, threshold=Fraction(3, 5), corrupt=Fraction(1, 10)
    )
    file.write_text("")
    assert read_policy(file) == Policy()


@pytest.mark.parametrize(
    "text",
    ["min_roster = 5", "[policy]\nroster = 5", 'roster = "5"', "change = 0", "unknown = true"]
    + ["suites = []", "threshold = nan", "corrupt = 2", "ring_bits = 1979-05-27", "roster = 1.0"],
)
def test_what_no_policy_says(tmp_path: Path, text: str) -> None:
    """A floor that is misspelt would be none."""
    file = tmp_path / "policy.toml"
    file.write_text(text)
    with pytest.raises(ParameterError, match=f"--policy {file}: "):
        read_policy(file)


@pytest.mark.parametrize(
    "data", [b"\xff\xfe", b"roster", b"a = " + b"[" * 20_000, b"roster = 1\nroster = 2"]
)
def test_what_is_no_policy(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "policy.toml"
    file.write_bytes(data)
    with pytest.raises(InputError, match="is no TOML"):
        read_policy(file)
    file.write_bytes(b"#" * (1 << 17))
    with pytest.raises(TooLarge):
        read_policy(file)
    with pytest.raises(InputError, match="--policy"):
        read_policy(tmp_path / "none")
