"""What each operation of a vector file does to this code, and what is then observed.

A vector file is a list of operations (specs/vectors/README.md). Each is performed and gives a
dictionary of outputs, `success` among them; the file holds inputs and outputs side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import accounting
import active_operations
import borderline
import drawing
import numpy as np
import private
import rounding
import service_operations
import spending
import stored

from secagg import decoding, errors, mask, quantize, records, shamir, structure
from secagg.committee import Committee, ServerSecrets
from secagg.crypto import agree, labels, sign
from secagg.crypto.hpke import OpeningKey
from secagg.errors import CryptoError, InvalidShare, RemoteProtocolError, SecAggError, WireError
from secagg.fields import FixedPoint
from secagg.layout import Layout, Segment
from secagg.mask import add_streams
from secagg.plans.plan import Plan
from secagg.plans.task import Task
from secagg.plans.terms import Terms
from secagg.protocol import Session
from secagg.ring import Ring
from secagg.sansio import Aborted, Disputed, Dropped, Event, Finished, Ignored, RingTotal
from secagg.schema import Schema
from secagg.types import SERVER, PartyId, Seed, SessionId, server_id
from secagg.wire import frame
from secagg.wire.codec import Reader, Writer
from secagg.wire.pace import Asked, Later, Ready, decode_pace
from secagg.wire.schema import read_fields
from secagg.wire.vector import read_vector, write_vector
from secagg_protocols.additive.params import AdditiveParams
from secagg_protocols.additive.sharing import NAME, Additive, context_of
from secagg_protocols.reports.context import Context
from secagg_protocols.reports.messages import Head, Included, Receipt, Total, front
from secagg_protocols.secagg import binding, keys
from secagg_protocols.secagg.keys import Endpoint
from secagg_protocols.secagg.messages import AdvertiseKeys
from secagg_protocols.secagg.params import SecAggParams
from secagg_protocols.secagg.rebuilding import Wanted

Data = dict[str, Any]
OUTPUTS = "outputs"
"""The key of an operation under which everything observed lies."""

to_bytes = bytes.fromhex


class Tape:
    """Randomness from a recording; it counts what was drawn, and running out is an error."""

    def __init__(self, data: bytes) -> None:
        self.data, self.drawn = data, 0

    def __call__(self, size: int) -> bytes:
        self.drawn += size
        if self.drawn > len(self.data):
            raise ValueError(f"the tape holds {len(self.data)} bytes, {self.drawn} were drawn")
        return self.data[self.drawn - size : self.drawn]


def observed(action: Callable[[], Data]) -> Data:
    """The outputs of an action; on a refusal the class of the error, and of what caused it."""
    try:
        return {"success": True, **action()}
    except SecAggError as error:
        outputs: Data = {"success": False, "error": _public(error)}
        cause = error.__cause__ or error.__context__
        if isinstance(error, RemoteProtocolError) and isinstance(cause, (WireError, CryptoError)):
            outputs["cause"] = type(cause).__name__
        return outputs


def _public(error: SecAggError) -> str:
    """The class of `secagg.errors` that it is of: narrower ones are this implementation's own."""
    return next(one.__name__ for one in type(error).__mro__ if hasattr(errors, one.__name__))


class Stage:
    """The machines of one session, from a file's `setup`."""

    faults: tuple[str, ...] = (
        "malformed",
        "wrong-phase",
        "equivocation",
        "invalid-key",
        "invalid-share",
    )
    """That a message is dropped for: it is a refusal where a server hears it."""

    def __init__(self, setup: Data) -> None:
        self.plan = Plan.decode(to_bytes(setup["plan"]), allow_unprotected=True)
        self.layout = self.plan.layout
        self._payload = to_bytes(setup["payload"])
        self._session = self.plan.session(bytes(16), frame.payload_digest(self._payload))
        self.tapes = {int(p): Tape(to_bytes(c["randomness"])) for p, c in setup["clients"].items()}
        info = self.plan.info
        self._machines: dict[Any, Any] = {
            party: info.family.client(
                self._session, PartyId(party), randomness=tape, expander=mask.add_streams
            )
            for party, tape in self.tapes.items()
        }
        if setup["server"]:
            self._machines["server"] = info.family.server(self._session, expander=mask.add_streams)

    def perform(self, operation: Data) -> Data:
        machine = self._machines[operation["party"]]
        outputs = observed(lambda: self._act(machine, operation))
        events = [e for e in map(self.seen, machine.events()) if e]
        # a fault of the peer's is not raised by a server: it is an event
        heard = operation["operation"] == "receive"
        if any(e[0] == "aborted" or heard and e[-1] in self.faults for e in events):
            outputs["success"] = False
        sends = [_sent(message) for message in machine.outgoing()]
        return (
            outputs | ({"events": events} if events else {}) | ({"sends": sends} if sends else {})
        )

    def seen(self, event: Event) -> list[Any]:
        """As it is written down; nothing of what is not."""
        return event_of(event)

    def _act(self, machine: Any, operation: Data) -> Data:
        match operation["operation"]:
            case "start":
                machine.start()
            case "set_input":
                payload = to_bytes(operation.get("payload", self._payload.hex()))
                vector = to_vector(operation["vector"], self.layout)
                machine.set_input(vector, frame.payload_digest(payload))
            case "receive":
                machine.receive(_party(operation["sender"]), to_bytes(operation["message"]))
            case "lost":
                machine.lost(_party(operation["who"]))
            case "close_phase":
                machine.close_phase()
            case "run_jobs":
                while jobs := machine.jobs():
                    for job in jobs:
                        machine.finish(job, job())
            case "result":
                return _total(machine.result())
            case "check_counts":
                total = machine.result()
                records.check_counts(self.plan.schema, total.vector, len(total.contributors))
            case unknown:
                raise ValueError(f"operation {unknown} is unknown")
        return {}


def _party(name: str | int) -> PartyId:
    return SERVER if name == "server" else PartyId(int(name))


def _name(party: PartyId) -> str | int:
    return "server" if party == SERVER else party


def _sent(message: Any) -> Data:
    sent = {"to": _name(message.to), "message": message.data.hex()}
    return sent | ({"commit": True} if message.commit else {})


def event_of(event: Event) -> list[Any]:
    match event:
        case Disputed(dealer, holder):
            return ["disputed", dealer, holder]
        case Dropped(party, fault):
            return ["dropped", party, fault.value]
        case Ignored(sender):
            return ["ignored", _name(sender)]
        case Aborted(reason):
            return ["aborted", reason.value]
        case Finished():
            return ["finished"]
    return []


def _total(total: RingTotal) -> Data:
    return {
        "vector": [lane.tolist() for lane in total.vector],
        "contributors": sorted(total.contributors),
        "dropped": sorted(total.dropped),
    }


def to_vector(lanes: list[list[int]], layout: Layout) -> tuple[Any, ...]:
    return tuple(
        np.array(lane, segment.group.dtype)
        for lane, segment in zip(lanes, layout.segments, strict=True)
    )


# Operations without machines: inputs by name, outputs by name


def perform(operation: Data) -> Data:
    """What an operation without a session gives."""
    inputs = {k: v for k, v in operation.items() if k not in ("operation", OUTPUTS)}
    return observed(lambda: _ALONE[operation["operation"]](**inputs))


def _key_pair(random: str) -> Data:
    pair = agree.KeyPair.from_random(to_bytes(random))
    return {"secret": pair.secret.expose().hex(), "public": pair.public.hex()}


def _check_public(key: str) -> Data:
    agree.check_public(to_bytes(key))
    return {}


def _commit(b: str, session: str, index: int) -> Data:
    return {"commitment": keys.commit(Seed(to_bytes(b)), SessionId(to_bytes(session)), index).hex()}


def _self_keys(b: str, session: str, index: int, segments: int) -> Data:
    made = keys.self_keys(Seed(to_bytes(b)), SessionId(to_bytes(session)), index, segments)
    return {"keys": [key.hex() for key in made]}


def _pair_keys(secret: str, own: int, peer: int, public: str, session: str, segments: int) -> Data:
    mine = Seed(to_bytes(secret))
    made = keys.pair_keys(
        mine,
        Endpoint(own, agree.public_key(mine)),
        Endpoint(peer, to_bytes(public)),
        SessionId(to_bytes(session)),
        segments,
    )
    return {"keys": [key.hex() for key in made], "sign": keys.sign(own, peer)}


def _seal(secret: str, dealer: int, holder: int, public: str, session: str, plain: str) -> Data:
    mine = Seed(to_bytes(secret))
    sealed = keys.seal_pair(
        agree.shared_secret(mine, to_bytes(public)),
        SessionId(to_bytes(session)),
        Endpoint(dealer, agree.public_key(mine)),
        Endpoint(holder, to_bytes(public)),
        to_bytes(plain),
    )
    return {"sealed": sealed.hex()}


def _open(secret: str, dealer: int, holder: int, public: str, session: str, sealed: str) -> Data:
    mine = Seed(to_bytes(secret))
    plain = keys.unseal_pair(
        agree.shared_secret(mine, to_bytes(public)),
        SessionId(to_bytes(session)),
        Endpoint(dealer, to_bytes(public)),
        Endpoint(holder, agree.public_key(mine)),
        to_bytes(sealed),
    )
    return {"plain": plain.hex()}


def _offer(protocol: str, plan_digest: str, payload_digest: str) -> Data:
    # parameters and layout are bound by the plan digest alone: any will do here
    params, layout = SecAggParams(3, 2, 2, 3, 3), Layout((Segment(Ring(8), 1),))
    session = Session(bytes(16), to_bytes(plan_digest), to_bytes(payload_digest), params, layout)
    return {"offer": session.offer(protocol).hex()}


def _session_id(offer: str, clients: int, members: list[list[Any]]) -> Data:
    leaves = [
        binding.leaf(
            to_bytes(offer), index, PartyId(party), AdvertiseKeys(to_bytes(c_pk), to_bytes(s_pk))
        )
        for index, (party, c_pk, s_pk) in enumerate(members)
    ]
    root = binding.tree_root(leaves)
    session = binding.session_id(to_bytes(offer), clients, [m[0] for m in members], root)
    return {"leaves": [leaf.hex() for leaf in leaves], "root": root.hex(), "session": session.hex()}


def _graph(session: str, size: int, degree: int, only: list[int] | None = None) -> Data:
    sid = SessionId(to_bytes(session))
    chosen = range(size) if only is None else only
    return {"neighbours": [list(binding.neighbours(sid, size, degree, i)) for i in chosen]}


def _split(secret: str, threshold: int, points: list[int], random: str) -> Data:
    tape = Tape(to_bytes(random))
    shares = shamir.split(Seed(to_bytes(secret)), threshold, points, tape)
    return {"shares": [share.hex() for share in shares], "drawn": tape.drawn}


def _combine(shares: dict[str, str], threshold: int) -> Data:
    given = {int(x): to_bytes(share) for x, share in shares.items()}
    return {"secret": shamir.combine(given, threshold).expose().hex()}


def _decode(shares: dict[str, str], threshold: int) -> Data:
    given = {int(x): to_bytes(share) for x, share in shares.items()}
    found = decoding.nearest(decoding.Answers.of(given), threshold)
    if found is None:
        raise InvalidShare("no polynomials are near enough")
    return {"secret": found.secret.expose().hex(), "wrong": sorted(found.wrong)}


def _subset(
    session: str, dealer: int, points: list[int], threshold: int, attempts: list[int]
) -> Data:
    answers = decoding.Answers(tuple(points), bytes(40 * len(points)))
    asked = Wanted(SessionId(to_bytes(session)), dealer, True, b"", threshold, answers)
    return {"subsets": [asked.subset(attempt) for attempt in attempts]}


def _accumulate(lane_bits: int, start: list[int], key: str, sign: int, first: int) -> Data:
    lane: Any = np.array(start, f"u{lane_bits // 8}")
    mask.add_stream(lane, to_bytes(key), sign, first=first)
    return {"lane": lane.tolist()}


def _layout(segments: list[list[int]]) -> Layout:
    return Layout(tuple(Segment(Ring(width), length) for width, length in segments))


def _pack(segments: list[list[int]], vector: list[list[int]]) -> Data:
    layout = _layout(segments)
    return {"packed": write_vector(Writer(), layout, to_vector(vector, layout)).finish().hex()}


def _unpack(segments: list[list[int]], packed: str) -> Data:
    reader = Reader(to_bytes(packed))
    vector = read_vector(reader, _layout(segments))
    reader.finish()
    return {"vector": [lane.tolist() for lane in vector.unpack()]}


def _quantize(
    values: list[str], clip: str, bits: int, rounding: Any, random: str = "", type: str = "f8"
) -> Data:
    field = FixedPoint(len(values), float.fromhex(clip), bits, rounding)
    reals = np.array([float.fromhex(value) for value in values], type)
    levels, clipped = quantize.quantize(reals, field, Tape(to_bytes(random)))
    return {"levels": levels.tolist(), "clipped": clipped}


def _schema(clients: int, schema: str) -> Schema:
    max_weight, fields = read_fields(Reader(to_bytes(schema)))
    return Schema(fields, clients, max_weight)


def _encode_record(clients: int, schema: str, values: dict[str, list[Any]], weight: int) -> Data:
    parsed = _schema(clients, schema)
    fixed = {name for name, field in parsed.fields if isinstance(field, FixedPoint)}
    given = {n: [float.fromhex(x) for x in v] if n in fixed else v for n, v in values.items()}
    encoded = records.encode(parsed, given, weight, Tape(b""))
    return {"vector": [lane.tolist() for lane in encoded.vector]}


def _decode_sum(clients: int, schema: str, vector: list[list[int]], contributors: int) -> Data:
    parsed = _schema(clients, schema)
    lanes = to_vector(vector, parsed.layout)
    records.check_counts(parsed, lanes, contributors)
    decoded = records.decode(parsed, lanes, contributors)
    levels = {name: lane.tolist() for name, lane in decoded.levels.items()}
    return {"levels": levels, "weight": decoded.weight}


def _decode_plan(plan: str, pinned: bool = False) -> Data:
    decoded = Plan.decode(to_bytes(plan), allow_unprotected=pinned)
    return {
        "protocol": decoded.protocol,
        "digest": decoded.digest().hex(),
        "segments": [[s.group.width, s.length] for s in decoded.layout.segments],
        "structure": [digest.hex() for digest in decoded.structure],
        "encoded": decoded.encode().hex(),
    }


def _decode_terms(terms: str) -> Data:
    read = Terms.decode(to_bytes(terms))
    return {
        "encoded": read.encode().hex(),
        "digest": read.digest().hex(),
        "sizes": list(read.sizes),
    }


def _plan_of_terms(terms: str, clients: int, population: int) -> Data:
    return {"plan": Terms.decode(to_bytes(terms)).plan(clients, population).encode().hex()}


def _decode_pace(pace: str) -> Data:
    match decode_pace(to_bytes(pace)):
        case Asked(nonce, seconds):
            return {"nonce": nonce.hex(), "kind": 12, "seconds": seconds}
        case Ready(nonce):
            return {"nonce": nonce.hex(), "kind": 13}
        case Later(nonce, milliseconds, why):
            found = {"milliseconds": milliseconds, "why": why.code}
            return {"nonce": nonce.hex(), "kind": 14, **found}


def _tensor(place: int, field: str, name: str, shape: list[int], dtype: str) -> Data:
    return {"digest": structure.digest(place, field, name, shape, dtype).hex()}


def _payload_digest(payload: str) -> Data:
    return {"digest": frame.payload_digest(to_bytes(payload)).hex()}


def _decode_frame(frame_bytes: str, limit: int) -> Data:
    match frame.decode_frame(to_bytes(frame_bytes), limit=limit):
        case frame.Announce(nonce, party, deadlines, plan, payload) as announce:
            inline = isinstance(payload, bytes)
            return {
                "kind": "announce",
                "nonce": nonce.hex(),
                "party": party,
                "deadlines": list(deadlines),
                "plan": plan.hex(),
                "payload": payload.hex() if isinstance(payload, bytes) else None,
                "payload_digest": announce.payload_digest.hex(),
                "inline": inline,
                "payload_size": payload.size if isinstance(payload, frame.DigestOnly) else 0,
            }
        case frame.Message(nonce, data):
            return {"kind": "message", "nonce": nonce.hex(), "data": data.hex()}
        case frame.Over(nonce, reason, contributors, dropped, standing):
            return {
                "kind": "over",
                "nonce": nonce.hex(),
                "reason": reason.value if reason else None,
                "contributors": contributors,
                "dropped": dropped,
                "standing": standing.value if standing else None,
            }
    raise ValueError("a kind of frame that no vector file knows")


def _digest(label: str, parts: list[Any]) -> Data:
    raw = [part if isinstance(part, int) else to_bytes(part) for part in parts]
    return {
        "encoded": labels.encode(label.encode(), *raw).hex(),
        "digest": labels.digest(label.encode(), *raw).hex(),
    }


# Of several servers

_SEED = Seed(bytes(range(32)))


def _task(task: str) -> Data:
    decoded = Task.decode(to_bytes(task))
    common = {"encoded": decoded.encode().hex(), "digest": decoded.digest().hex()}
    if decoded.members is None:
        offer = decoded.session(bytes(16)).offer(decoded.plan.protocol)
        return {**common, "offer": offer.hex()}
    context = context_of(decoded.batch(), add_streams)
    return {
        **common,
        "committee_digest": decoded.committee.digest.hex(),
        "servers": [[s.sealing.hex(), s.signing.hex()] for s in decoded.committee.servers],
        "collector": decoded.committee.collector.hex(),
        "epoch": decoded.committee.epoch,
        "params": list(asdict(decoded.plan.params).values())[:4],
        "id": context.id.hex(),
        "batches": [context.batch(number).hex() for number in (0, 1)],
        "nonces": [decoded.nonce(number).hex() for number in (None, 0, 1)],
    }


def _server_party(server: int) -> Data:
    return {"party": server_id(server)}


def _context(task: str) -> Context:
    """Of a task id alone, which stands for all the rest; three segments."""
    pairs = (ServerSecrets.generate(lambda size, k=k: bytes([k]) * size) for k in range(2))
    committee = Committee(tuple(pair.public for pair in pairs), agree.public_key(_SEED), 0)
    layout = _layout([[8, 1], [16, 1], [32, 1]])
    id = to_bytes(task)
    scheme = Additive(layout, 2, id, add_streams)
    return Context(NAME, AdditiveParams(3, 2, 3), layout, committee, id, scheme)


def _share_info(task: str, report: str, key: str, public: str, server: int) -> Data:
    bound = front(to_bytes(key), to_bytes(public))
    made = _context(task).share_info(to_bytes(report), bound, server)
    return {"info": made.hex()}


def _total_info(task: str, number: int, digest: str, count: int, server: int) -> Data:
    included = Included(count, to_bytes(digest))
    return {"info": _context(task).total_info(number, included, server).hex()}


def _stream_keys(seed: str, task: str, report: str, server: int, segments: int) -> Data:
    made = _context(task).scheme.stream_keys(Seed(to_bytes(seed)), to_bytes(report), server)
    return {"keys": [key.hex() for key in made[:segments]]}


def _hpke_open(secret: str, info: str, sealed: str) -> Data:
    opened = OpeningKey(Seed(to_bytes(secret))).open(to_bytes(sealed), to_bytes(info))
    return {"plain": opened.hex()}


def _report_digest(report: str, key: str, public: str, manifest: list[str]) -> Data:
    digests = tuple(map(to_bytes, manifest))
    head = Head(to_bytes(report), to_bytes(key), to_bytes(public), digests, b"")
    return {"digest": head.digest.hex()}


def _sign_report(seed: str, task: str, report: str, public: str, manifest: list[str]) -> Data:
    digests = tuple(map(to_bytes, manifest))
    bound, secret = to_bytes(task), Seed(to_bytes(seed))
    head = Head.sign(bound, to_bytes(report), to_bytes(public), digests, secret)
    return {"message": head.to_sign(bound).hex(), "signature": head.signature.hex()}


def _sign_receipt(seed: str, task: str, digest: str, server: int) -> Data:
    return _signed(seed, Receipt.to_sign(to_bytes(task), server, to_bytes(digest)))


def _set_digest(reports: list[list[str]]) -> Data:
    included = Included.of({to_bytes(id): to_bytes(digest) for id, digest in reports})
    return {"count": included.count, "digest": included.digest.hex()}


def _sign_statement(seed: str, batch: str, count: int, digest: str) -> Data:
    signed = Included(count, to_bytes(digest)).to_sign(to_bytes(batch))
    return _signed(seed, signed)


def _sign_total(seed: str, batch: str, count: int, digest: str, server: int, sealed: str) -> Data:
    included = Included(count, to_bytes(digest))
    return _signed(seed, Total.to_sign(to_bytes(batch), server, included, to_bytes(sealed)))


def _signed(seed: str, message: bytes) -> Data:
    signature = sign.sign(Seed(to_bytes(seed)), message)
    return {"message": message.hex(), "signature": signature.hex()}


def _sign(seed: str, message: str) -> Data:
    secret = Seed(to_bytes(seed))
    signature = sign.sign(secret, to_bytes(message))
    return {"key": sign.public_key(secret).hex(), "signature": signature.hex()}


def _verify(key: str, message: str, signature: str) -> Data:
    sign.verify(to_bytes(key), to_bytes(message), to_bytes(signature))
    return {}


def _check_signing_key(key: str) -> Data:
    sign.check_public(to_bytes(key))
    return {}


_ALONE: dict[str, Callable[..., Data]] = {
    "task": _task,
    "server_party": _server_party,
    "share_info": _share_info,
    "total_info": _total_info,
    "stream_keys": _stream_keys,
    "hpke_open": _hpke_open,
    "report_digest": _report_digest,
    "sign_report": _sign_report,
    "sign_receipt": _sign_receipt,
    "set_digest": _set_digest,
    "sign_statement": _sign_statement,
    "sign_total": _sign_total,
    "sign": _sign,
    "verify": _verify,
    "check_signing_key": _check_signing_key,
    "digest": _digest,
    "key_pair": _key_pair,
    "check_public": _check_public,
    "commit": _commit,
    "self_keys": _self_keys,
    "pair_keys": _pair_keys,
    "seal": _seal,
    "open": _open,
    "offer": _offer,
    "session_id": _session_id,
    "graph": _graph,
    "split": _split,
    "combine": _combine,
    "decode": _decode,
    "subset": _subset,
    "accumulate": _accumulate,
    "pack": _pack,
    "unpack": _unpack,
    "quantize": _quantize,
    "encode_record": _encode_record,
    "decode_sum": _decode_sum,
    "decode_plan": _decode_plan,
    "decode_terms": _decode_terms,
    "plan_of_terms": _plan_of_terms,
    "decode_pace": _decode_pace,
    "tensor": _tensor,
    "choose_plan": borderline.choose,
    "choose_active_plan": borderline.choose_active,
    "judge_plan": borderline.judge,
    "payload_digest": _payload_digest,
    "decode_frame": _decode_frame,
    **stored.ALONE,
    **spending.ALONE,
    **drawing.ALONE,
    **accounting.ALONE,
    **rounding.ALONE,
    **private.OPERATIONS,
    **active_operations.OPERATIONS,
    **service_operations.OPERATIONS,
}
