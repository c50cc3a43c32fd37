"""Events of a run."""


class EventType:
    START_RUN = "_start_run"
    BEFORE_PROCESS_TASK_REQUEST = "_before_process_task_request"
