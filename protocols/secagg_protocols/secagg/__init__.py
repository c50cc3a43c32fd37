"""SecAgg (Bonawitz et al., CCS 2017) and SecAgg+ (Bell et al., CCS 2020), semi-honest and active.

One protocol, the graph being a parameter: complete, or random k-regular.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from secagg.errors import ParameterError
from secagg.layout import Expander, Layout
from secagg.promise import Promise
from secagg.protocol import (
    Cost,
    Infeasible,
    OneServer,
    Params,
    ProtocolInfo,
    ServerFactory,
    Session,
)
from secagg.sansio import ClientMachine, Judge, ServerMachine
from secagg.suite import SUITE_1
from secagg.threat import Threat
from secagg.types import SERVER, PartyId, Randomness, Seed
from secagg_protocols.secagg import check, guarantee
from secagg_protocols.secagg import params as parameters
from secagg_protocols.secagg.active import finding, judging
from secagg_protocols.secagg.active import guarantee as active_guarantee
from secagg_protocols.secagg.active import messages as active_messages
from secagg_protocols.secagg.active import states as active_states
from secagg_protocols.secagg.active.params import ActiveParams, decode_params
from secagg_protocols.secagg.active.proofs import PROOFS
from secagg_protocols.secagg.params import SecAggParams
from secagg_protocols.secagg.states import PHASES


def _params_of(session: Session) -> SecAggParams:
    if not isinstance(session.params, SecAggParams):
        raise ParameterError("the session's parameters are not those of SecAgg")
    return session.params


def _active_params_of(session: Session) -> ActiveParams:
    if not isinstance(session.params, ActiveParams):
        raise ParameterError("the session's parameters are not those of active mode")
    return session.params


# The machines load numba, so they are imported when the first one is made.
def _family(name: str) -> OneServer:
    """Of both modes: a session whose parties sign is one of active mode."""

    def client(
        session: Session,
        me: PartyId,
        *,
        randomness: Randomness,
        expander: Expander,
        signing: Seed | None = None,
        judge: Judge | None = None,
    ) -> ClientMachine:
        session.check_signing(me, signing, judge)
        if signing is None:
            from secagg_protocols.secagg.client import SecAggClient

            params = _params_of(session)
            return SecAggClient(name, session, params, me, randomness=randomness, expander=expander)
        from secagg_protocols.secagg.active.client import ActiveClient, agreeable

        active = _active_params_of(session)
        return ActiveClient(
            name,
            session,
            active,
            me,
            signing=signing,
            randomness=randomness,
            expander=expander,
            judge=judge or agreeable,
        )

    def server(
        session: Session, *, expander: Expander, signing: Seed | None = None
    ) -> ServerMachine:
        session.check_signing(SERVER, signing)
        if signing is None:
            from secagg_protocols.secagg.server import SecAggServer

            return SecAggServer(name, session, _params_of(session), expander=expander)
        from secagg_protocols.secagg.active.server import ActiveServer

        params = _active_params_of(session)
        return ActiveServer(name, session, params, signing=signing, expander=expander)

    return OneServer(client, server)


def _lies(name: str) -> Mapping[str, ServerFactory]:
    from secagg_protocols.secagg.active import lying

    return lying.servers(name)


def _info(
    name: str,
    find: Callable[[Threat], Params | Infeasible],
    check: Callable[[Threat, Params], str | None],
    preferred: Callable[[Threat], str | None],
) -> ProtocolInfo:
    return ProtocolInfo(
        name=name,
        spec="specs/10-secagg.md",
        status="semi-honest and active",
        threat_models=("semi-honest", "active"),
        family=_family(name),
        phases=lambda params, suite: active_states.PHASES if suite.signed else PHASES,
        parameters=find,
        check=check,
        decode_params=decode_params,
        cost=_cost,
        promise=_promise,
        preferred=preferred,
        messages=active_messages.NAMES,
        resumes=lambda suite: suite == SUITE_1,
        lies=lambda: _lies(name),
        proofs=PROOFS,
    )


def _is_active(threat: Threat) -> bool:
    return threat.adversary == "active"


def _cost(threat: Threat, params: Params, layout: Layout) -> Cost:
    if _is_active(threat):
        return active_guarantee.cost(threat, params, layout)
    return guarantee.cost(threat, params, layout)


def _promise(threat: Threat, params: Params, layout: Layout) -> Promise:
    if _is_active(threat):
        return active_guarantee.promise(threat, params, layout)
    return guarantee.promise(threat, params, layout)


def _find_complete(threat: Threat) -> Params | Infeasible:
    if _is_active(threat):
        return finding.complete_parameters(threat)
    return parameters.secagg_parameters(threat)


def _find_regular(threat: Threat) -> Params | Infeasible:
    if _is_active(threat):
        return finding.regular_parameters(threat)
    return parameters.secagg_plus_parameters(threat)


def _check_complete(threat: Threat, params: Params) -> str | None:
    if _is_active(threat):
        return judging.check_complete(threat, params)
    return check.check_complete(threat, params)


def _check_regular(threat: Threat, params: Params) -> str | None:
    if _is_active(threat):
        return judging.check_regular(threat, params)
    return check.check_regular(threat, params)


def _preferred(threat: Threat) -> str | None:
    small = finding.SMALL_COHORT if _is_active(threat) else parameters.SMALL_COHORT
    if threat.clients > small:
        return None
    return (
        f"up to {small} clients the complete graph is taken wherever it is "
        "feasible: no probability is in its guarantee"
    )


SECAGG = _info("secagg", _find_complete, _check_complete, _preferred)
SECAGG_PLUS = _info("secagg+", _find_regular, _check_regular, lambda threat: None)
