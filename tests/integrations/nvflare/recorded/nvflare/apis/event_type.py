"""Events of a run."""


class EventType:
    START_RUN = "_start_run"
    AFTER_TASK_DATA_FILTER = "_after_task_data_filter"
    AFTER_TASK_RESULT_FILTER = "_after_task_result_filter"
    BEFORE_PROCESS_TASK_REQUEST = "_before_process_task_request"
