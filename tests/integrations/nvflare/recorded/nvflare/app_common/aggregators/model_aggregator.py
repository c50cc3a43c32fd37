"""What FedAvg gives its results to."""


class ModelAggregator:
    def __init__(self) -> None:
        self.fl_ctx = None

    def accept_model(self, model: object) -> None: ...

    def aggregate_model(self) -> object: ...

    def reset_stats(self) -> None: ...
