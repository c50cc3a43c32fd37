"""Headers."""


class AppConstants:
    CURRENT_ROUND = "current_round"
