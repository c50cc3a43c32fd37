"""Headers."""


class AppConstants:
    CURRENT_ROUND = "current_round"
    NUM_ROUNDS = "num_rounds"
    START_ROUND = "start_round"
