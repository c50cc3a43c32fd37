"""A client's own ledger of what its data have told, and the limit of it (specs/40-privacy.md §9).

`entries` are its rows and what ties each to the one before, `accounts` is what they add up to and
what may still be charged, `file` is the SQLite file, `Budget` has all of them, and `verify` looks
at a file row by row.
"""

from __future__ import annotations

from secagg.budget.accounts import PlanSpending, Spending
from secagg.budget.book import Budget
from secagg.budget.verify import Verified, verify
from secagg.errors import BudgetSpent
from secagg.plans.disclosure import Counting, Disclosure

__all__ = [
    "Budget",
    "BudgetSpent",
    "Disclosure",
    "Counting",
    "PlanSpending",
    "Spending",
    "Verified",
    "verify",
]
