"""Constants."""


class ReturnCode:
    OK = "OK"
    COMMUNICATION_ERROR = "COMMUNICATION_ERROR"
    EXECUTION_EXCEPTION = "EXECUTION_EXCEPTION"
    HANDLER_EXCEPTION = "HANDLER_EXCEPTION"
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"
    TASK_DATA_FILTER_ERROR = "TASK_DATA_FILTER_ERROR"
    TASK_RESULT_FILTER_ERROR = "TASK_RESULT_FILTER_ERROR"
    TOPIC_UNKNOWN = "TOPIC_UNKNOWN"


class ProcessType:
    CLIENT_JOB = "CJ"
    SERVER_JOB = "SJ"


class ServerCommandKey:
    TASK_NAME = "task_name"
    MIN_GET_TASK_TIMEOUT = "min_get_task_timeout"


class FilterKey:
    IN = "in"
    OUT = "out"


class FLContextKey:
    FILTER_DIRECTION = "__filter_dir__"
    SCOPE_OBJECT = "__scope_object__"
    TASK_DATA = "__task_data__"
    TASK_RESULT = "__task_result__"
    TASK_ID = "__task_id__"
    TASK_NAME = "__task_name__"


class FLMetaKey:
    FILTER_HISTORY = "filter_history"
    INITIAL_METRICS = "initial_metrics"
    NUM_STEPS_CURRENT_ROUND = "NUM_STEPS_CURRENT_ROUND"
