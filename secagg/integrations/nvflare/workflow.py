"""FedAvg in secure rounds: a controller, which knows whom it asks and about which model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from nvflare.apis.client import Client
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.abstract.fl_model import FLModel
from nvflare.app_common.utils.fl_model_utils import FLModelUtils
from nvflare.app_common.workflows.fedavg import FedAvg

from secagg.errors import ParameterError
from secagg.integrations.model import Entries
from secagg.integrations.nvflare.model import model_of, payload
from secagg.integrations.nvflare.server import SecAggAggregator
from secagg.integrations.terms import LearntClip, Terms, check_clips
from secagg.party import Aggregate
from secagg.plans.choose import Exact

_NO_PLACE = {
    "aggregator": "it would see the result of each site, and there is only their weighted mean",
    "aggregation_weights": "the server does not learn which site is which; a site's weight is its "
    "own, its NUM_STEPS_CURRENT_ROUND",
    "exclude_vars": "what a site leaves out of its model, it does not train: leave it out there",
    "enable_tensor_disk_offload": "a masked result is added when it arrives, and never kept",
    "privacy": "nobody adds noise here; a server of one's own has differential privacy, in rounds "
    "of secagg.plan(.., privacy=secagg.Privacy(..)), as docs/privacy.md shows",
}
"""Of arguments that FedAvg or a plan has: why there is no such thing here."""


def check_has_place(given: Mapping[str, Any]) -> None:
    """Raises ParameterError for an argument that asks for what cannot be here."""
    for name, why in _NO_PLACE.items():
        if given.get(name):
            raise ParameterError(f"{name} has no place in a secure round of FedAvg: {why}")


class SecAggFedAvg(FedAvg):  # type: ignore[misc, unused-ignore]
    """FedAvg, of which the server learns sums only: `SecAggFedAvg(num_clients=4, clip=0.5,
    max_weight=10_000)`.

    clip: the largest change of an element of the model in one round that counts; larger ones are
    cut, and it is said how many; a LearntClip follows the sites. max_weight: the most examples of
    one site, its NUM_STEPS_CURRENT_ROUND; 1 weighs all sites alike. bits: of each element. metrics:
    of the sites' results, by name, with the clip of each; their weighted means come back, and all
    others stay there. corrupt, dropout: the fractions of the sampled sites that may collude with
    the server, and that may be lost in a round. protocol: by name; None chooses. timeouts: seconds
    of each exchange, or by its phase; without any, ten minutes, and an hour for the one in which
    sites train. All others are FedAvg's own. Each site's app needs a SecAggFilter.

    Raises ParameterError for arguments of FedAvg that look at single results, and as
    `secagg.plan` does.
    """

    def __init__(
        self,
        *args: Any,
        clip: float | LearntClip,
        max_weight: int,
        bits: int = 16,
        metrics: Mapping[str, float] | None = None,
        corrupt: Exact = 0.1,
        dropout: Exact = 0.2,
        protocol: str | None = None,
        timeouts: Mapping[str, float] | float | None = None,
        **kwargs: Any,
    ) -> None:
        check_has_place(kwargs)
        self.clip, self.max_weight, self.bits, self.metrics = clip, max_weight, bits, metrics
        self.corrupt, self.dropout, self.protocol = corrupt, dropout, protocol
        self.timeouts = timeouts
        learnt = clip if isinstance(clip, LearntClip) else None
        terms = Terms(
            clip.start if isinstance(clip, LearntClip) else clip,
            bits,
            max_weight,
            check_clips("metrics", metrics or {}),
            corrupt,
            dropout,
            protocol,
            timeouts,
            resumes=False,  # a site is one process for the round
            cohort="{0} sites, a recipe's min_clients={0},",
        )
        kwargs.setdefault("ignore_result_error", True)  # a site that fails is a dropout
        super().__init__(*args, **kwargs)
        self._secured = SecAggAggregator(terms, learnt)
        small = Entries({"w": np.zeros(1, np.float32)})
        self._smallest = terms.plan(self.num_clients, small, terms.metrics)

    @property
    def survivors(self) -> int:
        """The fewest of the sampled sites that a sum is of."""
        return self._smallest.params.min_survivors

    @property
    def last(self) -> Aggregate | None:
        """The sum of the last round that had one: how many were in it, its bounds, what was
        clipped; None before."""
        return self._secured.last

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Before FedAvg's rounds. The aggregator is no attribute before: as one, it would be an
        argument of the job's configuration."""
        self.aggregator = self._secured
        super().start_controller(fl_ctx)

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Hears which sites' runs have begun, besides what FedAvg does."""
        super().handle_event(event_type, fl_ctx)
        if event_type == EventType.BEFORE_PROCESS_TASK_REQUEST:
            if (site := fl_ctx.get_peer_context()) is not None:
                self._secured.came(site.get_identity_name())

    def send_model(
        self,
        task_name: str = "train",
        data: FLModel = None,
        targets: Sequence[Any] | None = None,
        min_responses: int | None = None,
        timeout: int = 0,
        callback: Callable[[FLModel], None] | None = None,
    ) -> None:
        """The task, to those who are left after the exchanges that come before an input; to nobody
        where the round has ended."""
        named = self.sample_clients() if targets is None else targets
        names = [one.name if isinstance(one, Client) else str(one) for one in named]
        model = model_of(data.params)
        about = payload(FLModelUtils.to_shareable(data), model, self.fl_ctx.get_job_id(), task_name)
        left, seconds = self._secured.begin(self.engine, names, model, about)
        if left:
            super().send_model(
                task_name, data, left, min_responses, timeout or int(seconds) or 1, callback
            )
