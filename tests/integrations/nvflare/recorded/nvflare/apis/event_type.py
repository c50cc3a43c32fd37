"""Events of a run."""


class EventType:
    START_RUN = "_start_run"
