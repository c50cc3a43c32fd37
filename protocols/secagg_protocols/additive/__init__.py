"""Additive sums over several servers: clients speak once, and one honest server keeps all private.

Every server holds one share of every report; a report counts if every server accepts its share; the
servers sign the set that they have summed, lock it, and only then release their totals, sealed to
the collector, who adds them (specs/20-additive.md).
"""

from __future__ import annotations

from secagg.committee import ServerSecrets
from secagg.layout import Expander
from secagg.protocol import ProtocolInfo, Session, SeveralServers
from secagg.sansio import ClientMachine, CollectorMachine, Judge, MemberMachine
from secagg.suite import SUITE_1
from secagg.types import PartyId, Randomness, Seed
from secagg_protocols.additive import guarantee
from secagg_protocols.additive import params as parameters
from secagg_protocols.reports.messages import NAMES
from secagg_protocols.reports.states import phases


# The machines load numba, so they are imported when the first one is made.
def _client(
    session: Session,
    me: PartyId,
    *,
    randomness: Randomness,
    expander: Expander,
    signing: Seed | None = None,
    judge: Judge | None = None,
) -> ClientMachine:
    session.check_signing(me, signing, judge)
    from secagg_protocols.additive.sharing import context_of
    from secagg_protocols.reports.client import ReportClient

    context = context_of(session, expander)
    return ReportClient(context, session.payload_digest, randomness=randomness)


def _member(
    session: Session, index: int, secrets: ServerSecrets, *, expander: Expander
) -> MemberMachine:
    from secagg_protocols.additive.sharing import context_of
    from secagg_protocols.reports.helper import Helper
    from secagg_protocols.reports.leader import Leader

    context = context_of(session, expander)
    if index == 0:
        return Leader(context, session.batch, secrets)
    return Helper(context, session.batch, index, secrets)


def _collector(session: Session, secret: Seed) -> CollectorMachine:
    from secagg.mask import add_streams
    from secagg_protocols.additive.sharing import context_of
    from secagg_protocols.reports.collector import Collector

    # A collector expands nothing: the expander is there to complete the scheme.
    return Collector(context_of(session, add_streams), session.batch, secret)


PROTOCOL = ProtocolInfo(
    name="additive",
    spec="specs/20-additive.md",
    status="semi-honest",
    threat_models=("semi-honest",),
    family=SeveralServers(_client, _member, _collector),
    phases=phases,
    parameters=parameters.parameters,
    check=parameters.check,
    decode_params=parameters.decode_params,
    cost=guarantee.cost,
    promise=guarantee.promise,
    messages=NAMES,
    repeats=False,
    resumes=lambda suite: suite == SUITE_1,
)
