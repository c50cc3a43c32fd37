"""A model as a message."""

from __future__ import annotations

from nvflare.apis.dxo import DXO, DataKind, MetaKey
from nvflare.apis.shareable import Shareable
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.app_constant import AppConstants


class FLModelUtils:
    @staticmethod
    def to_shareable(fl_model: FLModel) -> Shareable:
        kind = DataKind.WEIGHT_DIFF if fl_model.params_type == ParamsType.DIFF else DataKind.WEIGHTS
        first = {} if fl_model.metrics is None else {MetaKey.INITIAL_METRICS: fl_model.metrics}
        made = DXO(kind, data=fl_model.params, meta={**first, **fl_model.meta}).to_shareable()
        for header, value in (
            (AppConstants.START_ROUND, fl_model.start_round),
            (AppConstants.CURRENT_ROUND, fl_model.current_round),
            (AppConstants.NUM_ROUNDS, fl_model.total_rounds),
        ):
            if value is not None:
                made.set_header(header, value)
        return made
