"""The sum in the clear: no privacy. The double that drivers, transports and the suite run on."""

from __future__ import annotations

from dataclasses import dataclass

from secagg.arguments import take_integers
from secagg.errors import ParameterError
from secagg.layout import Expander, Layout
from secagg.promise import Promise, of_one_server
from secagg.protocol import Cost, Infeasible, OneServer, Params, Phase, ProtocolInfo, Session
from secagg.sansio import ClientMachine, Judge, ServerMachine
from secagg.threat import Threat
from secagg.types import SERVER, PartyId, Randomness, Seed
from secagg.wire.codec import Reader, Writer
from secagg.wire.header import HEADER_SIZE
from secagg_protocols.plainsum.messages import NAMES, SMALLEST, UPLOAD


@dataclass(frozen=True, slots=True)
class PlainSumParams:
    """clients: how many may take part; min_survivors: how many must have uploaded."""

    clients: int
    min_survivors: int
    degree: int = 0
    threshold: int = 1
    servers: int = 1
    direct: bool = False

    def __post_init__(self) -> None:
        take_integers(self)
        if not 1 <= self.min_survivors <= self.clients:
            raise ParameterError(f"min_survivors must be 1 to {self.clients}")

    @property
    def min_clients(self) -> int:
        return self.min_survivors

    def encode(self) -> bytes:
        return Writer().u32(self.clients).u32(self.min_survivors).finish()


def decode_params(data: bytes) -> PlainSumParams:
    """Strictly: one encoding for each. WireError, ParameterError."""
    reader = Reader(data)
    params = PlainSumParams(reader.u32("clients"), reader.u32("min_survivors"))
    reader.finish()
    return params


def parameters(threat: Threat) -> PlainSumParams | Infeasible:
    """What the threat's numbers of clients and of dropouts lead to, without a choice."""
    if threat.servers > 1:
        return Infeasible(f"one server has the sum, and the plan has {threat.servers}")
    if threat.liars:
        return Infeasible("no client answers anything here, so none can answer wrongly", "liars=0")
    survivors = threat.min_clients or max(1, threat.clients - threat.dropped)
    return PlainSumParams(threat.clients, survivors)


def check(threat: Threat, params: Params) -> str | None:
    """Why these parameters are not those of that threat; None where they are."""
    return None if params == parameters(threat) else "parameters follow from clients and dropout"


def cost(threat: Threat, params: Params, layout: Layout) -> Cost:
    """The vector once and nothing else: what every other protocol is measured against."""
    upload = HEADER_SIZE + layout.packed_size
    return Cost(
        upload_bytes=upload,
        download_bytes=0,
        client_prg_bytes=0,
        client_agreements=0,
        server_prg_bytes=0,
        server_agreements=0,
        largest_message=max(upload, SMALLEST),
        uploads=(max(upload, SMALLEST),),
    )


def promise(threat: Threat, params: Params, layout: Layout) -> Promise:
    """None; who takes part, and who may drop, is as in any round of one server."""
    return of_one_server(
        threat,
        params.min_clients,
        params.min_survivors,
        learns="none: the server sees every vector",
        collude="nobody needs to: inputs travel in the clear.",
        caveats=("This is the sum in the clear, for tests and comparison only.",),
    )


# Both machines are imported when the first one is made: whoever only plans should not wait for
# kernels to load.
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
    from secagg_protocols.plainsum.client import PlainSumClient  # numba loads on first use

    return PlainSumClient(session, me, randomness=randomness, expander=expander)


def _server(session: Session, *, expander: Expander, signing: Seed | None = None) -> ServerMachine:
    session.check_signing(SERVER, signing)
    from secagg_protocols.plainsum.server import PlainSumServer

    return PlainSumServer(session, expander=expander)


PROTOCOL = ProtocolInfo(
    name="plainsum",
    spec="specs/11-plainsum.md",
    status="test double",
    threat_models=(),
    family=OneServer(_client, _server),
    phases=lambda params, suite: (Phase("upload", UPLOAD, takes_input=True),),
    parameters=parameters,
    check=check,
    decode_params=decode_params,
    cost=cost,
    promise=promise,
    messages=NAMES,
)
