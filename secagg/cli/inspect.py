"""`secagg inspect`: what a file holds, without trusting it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secagg import npy, registry
from secagg.cli import keyfile, options, private
from secagg.cli.enrolling import Whose, parse_seed
from secagg.cli.files import read_at_most
from secagg.cli.npy import mistaken
from secagg.cli.output import handled, report, rows
from secagg.cli.plan import summary
from secagg.cli.range import agreed
from secagg.cli.roster import of_file
from secagg.cli.task import described
from secagg.committee import ServerSecrets
from secagg.crypto.sign import public_key
from secagg.errors import InputError, SecAggError, TooLarge, WireError
from secagg.plans.plan import Plan
from secagg.plans.task import Task
from secagg.plans.terms import Terms
from secagg.roster import Enrolment, SignedRoster, moment
from secagg.wire.codec import Reader
from secagg.wire.frame import Announce, DigestOnly, Frame, Over, decode_frame
from secagg.wire.header import read_header

if TYPE_CHECKING:
    import numpy as np

MAX_SIZE = 1 << 28
"""Above the largest message of any sensible plan; what is larger is refused unread."""
_MAX_JSON = 1 << 22
"""Bytes of a test vector: those of the project have 70,000, and parsed they take 20 times that."""

Found = dict[str, object]


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    as_json: options.Json = False,
) -> None:
    """Say what a file holds.

    It reads a plan, a task or its terms, a roster or a request to be in one, a frame, a protocol
    message, a .npy array or a test vector, and shows sizes, names and digests, never the contents
    of a message; of a key file the public key.
    """
    with handled(as_json):
        data = read_at_most(file, MAX_SIZE, "FILE")
        found: Found = {"file": str(file), "bytes": len(data), **_recognised(file, data)}
        report(found, as_json, lambda: rows(_flat(found)))


def _recognised(file: Path, data: bytes) -> Found:
    """Of what somebody took for an array of ours it is told how to make one of it."""
    try:
        return recognise(data)
    except WireError as error:
        if not (told := mistaken(file, data)):
            raise
        raise InputError(f"{file} {told}; {error}") from None


def recognise(data: bytes) -> Found:
    """What the bytes are, or a WireError that says why they are none of what we know.

    A plan, an announcement and a message begin alike; the stricter grammars are tried first, and
    the first that takes all of the bytes is right.
    """
    if data.startswith(npy.MAGIC):
        return _array(data)
    if data[:1] in (b"{", b"["):
        return _vector_file(data)
    if keyfile.recognised(data):
        return _key(data)
    if data.startswith(tuple(whose.head for whose in Whose)):
        whose, seed = parse_seed(data, "the file")
        return {"kind": f"secret key of an {whose.value}", "public": public_key(seed).hex()}
    refusals = []
    for kind, read in _BINARY.items():
        try:
            return {"kind": kind, **read(data)}
        except SecAggError as error:
            refusals.append(f"as a {kind}: {error}")
    raise WireError("not a file that we know; " + "; ".join(refusals))


def _key(data: bytes) -> Found:
    """Whoever may read the file may know what it is for; the secret stays where it is."""
    key = keyfile.parse(data)
    whose = "server" if isinstance(key, ServerSecrets) else "collector"
    return {"kind": f"secret key of a {whose}", "public": keyfile.public(key).hex()}


def _task(data: bytes) -> Found:
    return described(Task.decode(data, allow_unprotected=True))


def _terms(data: bytes) -> Found:
    return agreed(Terms.decode(data))


def _plan(data: bytes) -> Found:
    return summary(Plan.decode(data, allow_unprotected=True))


def _frame(data: bytes) -> Found:
    frame = decode_frame(data, limit=MAX_SIZE)
    return {"nonce": frame.nonce.hex(), **_frame_body(frame)}


def _size(payload: bytes | DigestOnly) -> int | None:
    """None where it is not said."""
    return (payload.size or None) if isinstance(payload, DigestOnly) else len(payload)


def _frame_body(frame: Frame) -> Found:
    if isinstance(frame, Announce):
        by_digest = isinstance(frame.payload, DigestOnly)
        return {
            "frame": "announce",
            "party": frame.party,
            "deadlines_ms": list(frame.deadlines),
            "payload": "by digest" if by_digest else "inline",
            "payload_digest": frame.payload_digest.hex(),
            "payload_bytes": _size(frame.payload),
            "plan": _plan(frame.plan),
        }
    if isinstance(frame, Over):
        return {
            "frame": "over",
            "outcome": frame.reason.value if frame.reason else "done",
            "contributors": frame.contributors,
            "dropped": frame.dropped,
            "standing": frame.standing.value if frame.standing else None,
        }
    return {"frame": "message", "message": _message(frame.data)}


def _message(data: bytes) -> Found:
    """A message does not say its protocol: every installed one that has its tag is named."""
    reader = Reader(data)
    tag, binding = read_header(reader)
    names = {p: registry.load(p).messages.get(tag) for p in registry.available()}
    known = {protocol: name for protocol, name in names.items() if name is not None}
    return {
        "tag": tag,
        "name": known or "unknown: no installed protocol has this tag",
        "binding": binding.hex(),
        "body_bytes": reader.remaining,
    }


def _request(data: bytes) -> Found:
    """Who asks to be enrolled, and has shown that the key is his."""
    request = Enrolment.decode(data)
    return {"name": request.name, "public": request.key.hex()}


_BINARY: dict[str, Callable[[bytes], Found]] = {
    "plan": _plan,
    "task": _task,
    "terms of a task": _terms,
    "signed roster": lambda data: of_file(SignedRoster.decode(data)),
    "request to be enrolled": _request,
    "frame": _frame,
    "protocol message": _message,
}


def _array(data: bytes) -> Found:
    header = npy.read_header(io.BytesIO(data), len(data))
    found: Found = {"kind": "array", "dtype": str(header.dtype), "shape": list(header.shape)}
    return found | _range(data[header.start :], header.dtype)


def _range(data: bytes, dtype: np.dtype[Any]) -> Found:
    """What tells whether a plan's clip fits: only floats have one."""
    import numpy as np

    if dtype.kind != "f" or not data:
        return {}
    with np.errstate(all="ignore"):  # what a wider type holds and a float does not is infinite
        array = np.frombuffer(data, dtype).astype(np.float64)
    finite = np.isfinite(array)
    largest = float(np.abs(array[finite]).max(initial=0.0))
    return {"finite": bool(finite.all()), "max_magnitude": largest}


def _vector_file(data: bytes) -> Found:
    if len(data) > _MAX_JSON:
        raise TooLarge(f"{len(data)} bytes of JSON; a test vector has at most {_MAX_JSON}")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError("begins like JSON and is not") from error
    if not isinstance(content, dict):
        raise InputError("JSON, but not an object as a test vector is")
    operations = content.get("operations")
    if not isinstance(operations, list):
        raise InputError('JSON, but without the "operations" of a test vector')
    return {
        "kind": "test vector",
        "operations": len(operations),
        **{name: _text(content.get(name, "")) for name in ("about", "spec", "expect")},
    }


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise InputError("JSON, but not as a test vector is: what it is about is no text")
    return value


def _flat(found: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested objects as dotted names, for lines of text."""
    lines: dict[str, object] = {}
    for name, value in found.items():
        if name == "privacy":
            lines |= {f"{prefix}{told}": text for told, text in private.lines(value).items()}
        elif isinstance(value, Mapping):
            lines |= _flat(value, f"{prefix}{name}.")
        elif name == "not_after" and isinstance(value, int):
            lines[prefix + name] = moment(value)
        else:
            lines[prefix + name] = value
    return lines
