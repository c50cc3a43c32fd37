"""One round of three or four clients in advance: what must compile does, before a deadline runs.

The known answers of `secagg.selftest` are half of what a round runs; the rest, such as packing and
rounding for the widths of a plan's lanes, compiles at its first call, which takes seconds where no
cache has it. With a deadline running, the first clients of a new installation would all be late.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg import records, registry, selftest
from secagg.committee import Keys
from secagg.drive import pump
from secagg.errors import Aborted, CryptoError, IntegrityError
from secagg.fields import Field, FixedPoint, Integer
from secagg.mask import add_streams
from secagg.plans import choose
from secagg.plans.plan import Plan
from secagg.protocol import Infeasible, OneServer, Params, ProtocolInfo, Session, SeveralServers
from secagg.schema import Schema
from secagg.threat import Threat
from secagg.types import PartyId, system_randomness

_LENGTH = 3
_MOST = 16
"""Clients. A protocol that needs more is not tried here."""


def up(plan: Plan | None = None) -> None:
    """Tries the known answers, and one small round with lanes as wide as the plan's; once a
    process, and 0.2 seconds where all is compiled already.

    plan: None where it is not known yet: then one of 16 bits, unless another was tried before.
    Raises CryptoError where an answer is wrong, or the round does not add up.
    """
    selftest.passed()
    if plan is None:
        if _tried.cache_info().currsize:
            return
        plan = _usual()
    params = _few(plan.info, plan.threat)
    if params is not None:
        _tried(plan.protocol, params.encode(), _short(plan.schema))


@cache
def _usual() -> Plan:
    return choose.plan(clients=50, fields={"x": FixedPoint(_LENGTH, 1.0, 16)})


def _few(info: ProtocolInfo, threat: Threat) -> Params | None:
    """Of as few clients as the protocol's rules allow."""
    for clients in range(1, _MOST + 1):
        small = Threat(clients, threat.corrupt * 0, threat.corrupt * 0, servers=threat.servers)
        params = info.parameters(replace(small, direct=threat.direct))
        if not isinstance(params, Infeasible):
            return params
    return None


def _short(schema: Schema) -> Schema:
    """Its kinds of fields, each once and with a few elements: lanes are as wide as they were."""
    kinds = dict.fromkeys(
        (_few_elements(field), schema.noises.get(name)) for name, field in schema.given
    )
    privacy = schema.privacy
    if privacy is not None:
        privacy = replace(privacy, noises=tuple(noise for _, noise in kinds if noise is not None))
    fields = tuple((f"x{i}", kind) for i, (kind, _) in enumerate(kinds))
    return replace(schema, fields=fields, privacy=privacy)


def _few_elements(field: Field) -> Field:
    if isinstance(field, Integer) and field.sensitivity is not None:
        if field.length == 1:
            return field  # it may be a bit that is told, and others have more than one element
        return Integer(_LENGTH, field.max, 1.0)  # what was given may be beyond so few
    return replace(field, length=_LENGTH)


@cache
def _tried(protocol: str, encoded: bytes, schema: Schema) -> None:
    info, digest, keys = registry.load(protocol), bytes(32), None
    params = info.decode_params(encoded)
    session = Session(bytes(16), digest, digest, params, schema.layout)
    match info.family:
        case SeveralServers():
            keys = Keys(params.servers, system_randomness)
            session = replace(session, committee=keys.committee)
        case OneServer():
            pass
    servers = info.family.machines(session, keys, expander=add_streams)
    clients = {}
    for me in map(PartyId, range(params.clients)):
        client = info.family.client(session, me, randomness=system_randomness, expander=add_streams)
        values = {name: _zeros(field, me) for name, field in schema.fields}
        client.set_input(records.encode(schema, values, 1, system_randomness).vector, digest)
        clients[me] = client
    try:
        total = pump.run(servers, clients)
        records.check_counts(schema, total.vector, total.count)
        records.decode(schema, total.vector, total.count)
    except (Aborted, IntegrityError) as wrong:
        raise CryptoError(
            f"self-test: a round of {protocol} does not add up in this process; nothing is started"
        ) from wrong


def _zeros(field: Field, me: PartyId) -> npt.NDArray[Any]:
    """Of either width of floats, as nobody knows yet which will be given; one row, where the unit
    is an example."""
    if isinstance(field, Integer):
        return np.zeros((1, field.length), np.int64)
    return np.zeros((1, field.length), np.float32 if me % 2 else np.float64)
