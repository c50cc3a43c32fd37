"""Secure aggregation: a server learns the sum of many clients' vectors and nothing else.

    plan = secagg.plan(clients=100, fields={"update": secagg.FixedPoint(50_890, clip=1.0, bits=16)})
    print(plan.explain())
    total = secagg.simulate(plan, updates, drop=secagg.drop_at("masked-input", rate=0.1))
    total.mean["update"], total.contributors, total.dropped

The names below are imported when first used: planning must not wait for the compiler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from secagg.adaptive import AdaptiveNorm
    from secagg.budget import Budget
    from secagg.drive.aio import Contribution, connect, participate, serve
    from secagg.drive.blocking import join, serve_in_thread
    from secagg.errors import SecAggError
    from secagg.fields import FixedPoint, Integer, Vector
    from secagg.party import Aggregate, Client, Server
    from secagg.plans.choose import plan
    from secagg.plans.plan import Plan
    from secagg.privacy import Privacy
    from secagg.service.program import attend, join_service
    from secagg.sim import drop_at, simulate
    from secagg.structure import Structure
else:
    import importlib

    _HOMES = {
        "AdaptiveNorm": "adaptive",
        "Aggregate": "party",
        "Budget": "budget",
        "Client": "party",
        "Contribution": "drive.aio",
        "FixedPoint": "fields",
        "Integer": "fields",
        "Plan": "plans.plan",
        "Privacy": "privacy",
        "SecAggError": "errors",
        "Server": "party",
        "Structure": "structure",
        "Vector": "fields",
        "attend": "service.program",
        "connect": "drive.aio",
        "drop_at": "sim",
        "join": "drive.blocking",
        "join_service": "service.program",
        "participate": "drive.aio",
        "plan": "plans.choose",
        "serve": "drive.aio",
        "serve_in_thread": "drive.blocking",
        "simulate": "sim",
    }

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'secagg' has no attribute {name!r}")
        value = getattr(importlib.import_module(f"secagg.{_HOMES[name]}"), name)
        globals()[name] = value  # the next look-up finds it at once
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "AdaptiveNorm",
    "Aggregate",
    "Budget",
    "Client",
    "Contribution",
    "FixedPoint",
    "Integer",
    "Plan",
    "Privacy",
    "SecAggError",
    "Server",
    "Structure",
    "Vector",
    "__version__",
    "attend",
    "connect",
    "drop_at",
    "join",
    "join_service",
    "participate",
    "plan",
    "serve",
    "serve_in_thread",
    "simulate",
]
