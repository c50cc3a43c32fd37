"""Files of a round under an active adversary, with a real plan, for whoever verifies them."""

from __future__ import annotations

from pathlib import Path

import secagg
from secagg.proved import told
from secagg.types import SERVER
from secagg_protocols.secagg.active import statements
from secagg_protocols.secagg.active.equivocation import Said
from tests.active import SERVER_SEED, Cast
from tests.convicts import proof_of_wrong_share


def planned(clients: int = 4) -> Cast:
    """A session of a plan, and not of what stands for one."""
    fields = {"v": secagg.Integer(3, max=7)}
    plan = secagg.plan(
        clients=clients, corrupt=0, dropout=0, fields=fields, adversary="active", protocol="secagg"
    )
    threat, params = plan.threat, plan.params
    return Cast(params, threat.corrupted, layout=plan.layout, plan=plan.encode())  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, Path]:
    """A roster, a transcript, evidence, and what two clients were told that a server lied to."""
    folder.mkdir(exist_ok=True)
    cast = planned()
    network = cast.network()
    network.run()
    said = [network.clients[p].statements() for p in cast.parties[:2]]  # type: ignore[attr-defined]
    session, session_of = statements.SURVIVORS, said[0]
    first = next(one for one in session_of if b"survivors" in one[:16])
    values = (first[13:45], first[45:77], bytes(32), 3)
    lie = session(*values)
    lied = Said(SERVER, lie, lie.signed(SERVER_SEED)).encoded
    contents = {
        "roster": cast.signed.encode(),
        "transcript": b"".join(network.server.transcript()),  # type: ignore[attr-defined]
        "evidence": proof_of_wrong_share(cast),
        "told": told(said[0]),
        "lied": told([one for one in said[1] if b"survivors" not in one[:16]] + [lied]),
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in contents}
