"""A server that omits, repeats, swaps, alters or forges: the sum is exact, or somebody is named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from secagg.errors import Aborted, IntegrityError
from secagg.types import AbortReason
from tests.processes.fleet import Fleet, Nursery, plain_sum

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nursery() -> AsyncIterator[Nursery]:
    async with Nursery.open() as opened:
        yield opened


async def lying(nursery: Nursery, folder: Path, index: int, lie: str, **options: object) -> Fleet:
    fleet = Fleet(nursery, folder, **options)  # type: ignore[arg-type]
    await fleet.start_all({index: {"lie": lie}})
    return fleet


@pytest.mark.parametrize(("index", "lie"), [(0, "leader_repeats"), (1, "helper_repeats")])
async def test_repeats_change_nothing(
    nursery: Nursery, tmp_path: Path, index: int, lie: str
) -> None:
    fleet = await lying(nursery, tmp_path, index, lie)
    await fleet.report_all(range(4))
    total = await fleet.collect()
    assert total.count == 4 and total.levels["update"].tolist() == plain_sum(range(4))
    await fleet.stop()


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ("leader_alters", "peer-fault"),
        ("leader_swaps", "peer-fault"),
        ("leader_omits", "integrity"),
    ],
)
async def test_a_leader_that_changes_the_set_is_named(
    nursery: Nursery, tmp_path: Path, lie: str, reason: str
) -> None:
    """Row 65. Server 1 ends the batch and says why; there is no sum of the others."""
    fleet = await lying(nursery, tmp_path, 0, lie)
    reporting = asyncio.create_task(fleet.report_all(range(4)))
    (batch,) = (await fleet.children[1].answer())["batches"]
    reporting.cancel()  # whoever came after the end of the only batch hears nothing
    await asyncio.wait({reporting})
    assert batch["error"] == reason, batch
    assert "server 0" in fleet.children[1].errors
    await fleet.children[0].ended()  # it is told, and until then says that its batch is open
    with pytest.raises(Aborted, match="server 0: late") as caught:
        await fleet.collect(timeout=0.5)
    assert caught.value.reason is AbortReason.LOST


@pytest.mark.parametrize("lie", ["helper_signs_another", "helper_forges"])
async def test_a_helper_that_signs_otherwise_is_named(
    nursery: Nursery, tmp_path: Path, lie: str
) -> None:
    fleet = await lying(nursery, tmp_path, 1, lie)
    await fleet.report_all(range(4))
    (batch,) = (await fleet.children[0].answer())["batches"]
    assert batch["error"] == "integrity"
    assert "server 1" in fleet.children[0].errors and await fleet.children[0].ended() == 1


async def test_a_helper_can_keep_a_report_out_and_that_is_all(
    nursery: Nursery, tmp_path: Path
) -> None:
    """The documented power of a lying server, which leaves a report out or rejects it: one report
    is in nobody's sum. Its client has not been told that it is stored: it lacks the receipt of that
    server. Patience ends the batch: it is long enough for the verdicts on four reports on a busy
    machine, and both fleets have theirs at the same time."""
    lies = ["helper_omits", "helper_rejects"]
    await asyncio.gather(*(keeps_a_report_out(nursery, tmp_path / lie, lie) for lie in lies))


async def keeps_a_report_out(nursery: Nursery, folder: Path, lie: str) -> None:
    fleet = await lying(nursery, folder, 1, lie, dropout="0.25", deadline=20.0, patience=4.0)
    reports = [asyncio.create_task(fleet.report(who)) for who in range(4)]
    total = await fleet.collect()
    whose = [who for who in range(4) if reports[who].done()]
    assert total.count == len(whose) == 3, lie
    assert total.levels["update"].tolist() == plain_sum(whose)
    assert all(reports[who].result().stored for who in whose)
    (left_out,) = set(range(4)) - set(whose)
    reports[left_out].cancel()
    await asyncio.wait({reports[left_out]})


async def test_a_helper_that_forgets_what_it_included_cannot_lock(
    nursery: Nursery, tmp_path: Path
) -> None:
    fleet = await lying(nursery, tmp_path, 1, "helper_skips")
    await fleet.report_all(range(4))
    (batch,) = (await fleet.children[0].answer())["batches"]
    assert batch["error"] is not None and "server 1" in fleet.children[0].errors


async def test_a_total_that_was_changed_after_it_was_signed(
    nursery: Nursery, tmp_path: Path
) -> None:
    fleet = await lying(nursery, tmp_path, 1, "helper_alters_its_total")
    await fleet.report_all(range(4))
    with pytest.raises(Aborted, match="server 1: invalid-signature"):
        await fleet.collect()


async def test_a_constant_in_every_element_shows_in_the_count(
    nursery: Nursery, tmp_path: Path
) -> None:
    """Only there: a server that adds to other elements alone is not noticed, as the plan says."""
    fleet = await lying(nursery, tmp_path, 1, "helper_adds_to_the_count")
    await fleet.report_all(range(4))
    with pytest.raises(IntegrityError):
        await fleet.collect()
