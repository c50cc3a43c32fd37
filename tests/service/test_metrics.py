"""The numbers of a service: their names, their labels, and that none says who."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import Gauge
from prometheus_client.parser import text_string_to_metric_families

import secagg.service
from secagg.errors import ParameterError
from secagg.service.metrics import KINDS, Link, Metrics
from secagg.watch import Refused

NAMES = """links refused handshake_seconds candidates rounds phase_seconds dropped bytes
buffered_bytes commit_seconds disk_free_bytes certificate_expiry_seconds loop_lag_seconds
results_waiting build_info""".split()
ALERTS = Path(secagg.service.__file__).parent / "alerts.yml"


def samples(metrics: Metrics) -> dict[str, float]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        one.name + "".join(f",{k}={v}" for k, v in sorted(one.labels.items())): one.value
        for family in families
        for one in family.samples
        if not one.name.endswith("_created")
    }


def test_every_number_has_its_name() -> None:
    assert list(KINDS) == NAMES


def test_what_is_counted_is_read_by_prometheus_own_parser() -> None:
    metrics = Metrics("1.2.3")
    metrics.add("rounds", task="mortality", outcome="done")
    metrics.add("bytes", 4096, direction="in")
    metrics.set("links", 7, state=Link.SEATED)
    metrics.saw("commit_seconds", 0.02)
    metrics.add("refused", why=Refused.FULL)
    found = samples(metrics)
    assert found["secagg_rounds_total,outcome=done,task=mortality"] == 1
    assert found["secagg_bytes_total,direction=in"] == 4096
    assert found["secagg_links,state=seated"] == 7
    assert found["secagg_commit_seconds_bucket,le=0.025"] == 1
    assert found["secagg_commit_seconds_bucket,le=0.01"] == 0
    assert found["secagg_refused_total,why=full"] == 1
    assert found["secagg_build_info,version=1.2.3"] == 1


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("links", {"state": "10.0.0.7"}),
        ("refused", {"why": "site-1"}),
        ("rounds", {"task": "mortality", "outcome": "site-1"}),
        ("dropped", {"task": "mortality", "phase": "unmask", "fault": "site-1"}),
        ("bytes", {"direction": "site-1"}),
        ("rounds", {"task": "mortality"}),
        ("rounds", {"task": "mortality", "outcome": "done", "client": "site-1"}),
        ("buffered_bytes", {"client": "site-1"}),
    ],
)
def test_no_label_says_who(name: str, labels: dict[str, str]) -> None:
    """A label that is not of the list is refused, so strangers make no series."""
    metrics = Metrics("1")
    before = metrics.text()
    with pytest.raises(ParameterError):
        if KINDS[name].made is Gauge:
            metrics.set(name, 1, **labels)
        else:
            metrics.add(name, 1, **labels)
    assert metrics.text() == before


def test_a_number_is_of_its_kind() -> None:
    with pytest.raises(ParameterError, match="links is a Gauge"):
        Metrics("1").add("links", state=Link.SEATED)


def test_two_services_in_one_process_have_two_registries() -> None:
    first, second = Metrics("1"), Metrics("1")
    first.add("bytes", 1, direction="in")
    assert "secagg_bytes_total,direction=in" not in samples(second)


def test_alerts_are_of_numbers_that_there_are() -> None:
    made = {name for name in re.findall(r"secagg_[a-z_]+", ALERTS.read_text())}
    endings = ("_total", "_bucket")
    for name in made:
        plain = name.removeprefix("secagg_")
        for ending in endings:
            plain = plain.removesuffix(ending)
        assert plain in KINDS, name
        assert name.endswith("_total") == (KINDS[plain].made.__name__ == "Counter")
