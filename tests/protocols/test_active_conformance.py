"""What drivers rely on holds in suite 2 as well."""

from __future__ import annotations

import pytest

from secagg import registry
from secagg.suite import SUITE_2
from secagg.testing import check_protocol
from tests.soak import SOAK


@pytest.mark.parametrize("name", ["secagg", "secagg+"] if SOAK else ["secagg+"])
def test_machines_that_sign_keep_the_rules_of_protocols(name: str) -> None:
    check_protocol(registry.load(name), suite=SUITE_2)
