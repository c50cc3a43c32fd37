"""What the commands of multi-server sums share: the task that each of them pins, and its field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy.typing as npt

from secagg.cli import keyfile
from secagg.cli.files import read_at_most
from secagg.cli.npy import Vector
from secagg.cli.output import notice
from secagg.committee import ServerSecrets
from secagg.errors import (
    CryptoError,
    InputError,
    ParameterError,
    PolicyRefused,
    SecAggError,
    WireError,
)
from secagg.plans.plan import MAX_ENCODED, Plan
from secagg.plans.task import MAX_TASK, Task
from secagg.plans.terms import Terms, looks_like_terms
from secagg.transport import websocket
from secagg.transport.base import DEFAULT_MAX_SIZE
from secagg.wire.frame import DIGEST_SIZE

NO_TASK = (
    "a sum over several servers needs --task FILE, from somebody who is none of the servers: "
    "one that a server hands out is not taken, as whoever chooses the servers' keys could be all "
    "of them at once and read every input"
)


def read_task(path: Path, digest: bytes | None = None) -> Task:
    """The task of several servers in a file, as read_any_task; ParameterError for one of one
    server, and for terms."""
    task = counted(path, read_any_task(path, digest))
    _ = task.committee  # which only a task of several has
    return task


def counted(path: Path, task: Task | Terms) -> Task:
    """That of a number of clients; ParameterError for terms, which are of a range."""
    if isinstance(task, Terms):
        raise ParameterError(
            f"--task {path} is for {task.least} to {task.most} clients, which only a service "
            "counts before each round; `secagg task` with one number of --clients is for this"
        )
    return task


def read_any_task(path: Path, digest: bytes | None = None) -> Task | Terms:
    """The task in a file, of one server or several, or the terms of one for a range of clients,
    which no bytes are both. digest: what the user says it is; PolicyRefused for another."""
    data = read_at_most(path, MAX_TASK, "--task")
    task: Task | Terms
    with _read_as("--task", path, data, Plan.decode, "a plan, of which `secagg task` makes one"):
        task = _task_or_terms(data)
    if digest is not None and task.digest() != digest:
        raise PolicyRefused(
            f"{path} is the task {task.digest().hex()}, and pinned is {digest.hex()}: get the "
            "file again, from somebody whom you trust"
        )
    return task


def _task_or_terms(data: bytes) -> Task | Terms:
    return Terms.decode(data) if looks_like_terms(data) else Task.decode(data)


def read_plan(path: Path, *, allow_unprotected: bool = False) -> Plan:
    """The plan in a file. allow_unprotected: also one that protects nobody, if that is the choice.

    Raises WireError for bytes that are no plan, InputError, ParameterError, PolicyRefused.
    """
    data = read_at_most(path, MAX_TASK, "--plan")
    with _read_as("--plan", path, data, _task_or_terms, "a task, which --task takes"):
        return Plan.decode(data, allow_unprotected=allow_unprotected)


@contextmanager
def _read_as(
    option: str, path: Path, data: bytes, other: Callable[[bytes], object], it_is: str
) -> Iterator[None]:
    """Whatever is wrong with bytes of a file is said of the file, and of one of the other kind
    that it is one."""
    try:
        yield
    except (WireError, CryptoError, ParameterError) as error:
        if _takes(other, data):
            raise InputError(f"{option} {path} is {it_is}") from None
        raise type(error)(f"{option} {path}: {error}") from None


def _takes(decode: Callable[[bytes], object], data: bytes) -> bool:
    try:
        decode(data)
    except SecAggError:
        return False
    return True


def read_payload(path: Path | None) -> bytes:
    """What a task is about; nothing where no file is named. TooLarge for what no client takes."""
    # an announcement is the only frame that carries either; clients refuse larger ones
    return b"" if path is None else read_at_most(path, DEFAULT_MAX_SIZE - MAX_ENCODED, "--payload")


def parse_digest(text: str, whose: str) -> bytes:
    """32 bytes of hexadecimal digits; ParameterError for others. whose: a plan or a task."""
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != DIGEST_SIZE:
        raise ParameterError(f"a {whose}'s digest is {2 * DIGEST_SIZE} hexadecimal digits")
    return digest


def explain_task(task: Task | Terms) -> None:
    """What it promises and its digest, for whoever has not said which one it must be."""
    found = task.digest().hex()
    notice(task.explain() if isinstance(task, Terms) else task.plan.explain())
    notice(f"Digest of this task: {found}", task_digest=found)


def read_server_key(path: Path, task: Task) -> tuple[int, ServerSecrets]:
    """(index, secrets) of the server whose key the file holds; ParameterError if it is in no task.

    Which server a process is follows from its key: an index that was typed could only be wrong.
    """
    secrets = keyfile.read_server(path)
    if secrets.public not in task.committee.servers:
        raise ParameterError(
            f"{path} is not the key of any of the {len(task.committee.servers)} servers of this "
            "task: `secagg inspect` shows the public key of either file"
        )
    return task.committee.servers.index(secrets.public), secrets


def only_field(plan: Plan) -> str:
    """The name of the field that a file of one vector is for."""
    names = [name for name, _ in plan.schema.given]
    if len(names) != 1:
        raise ParameterError(
            f"the plan has {len(names)} fields, and a .npy file holds one: use the library"
        )
    return names[0]


def read_vector(vector: Vector, plan: Plan) -> npt.NDArray[Any]:
    """The values for the plan's one field; InputError for another number of them.

    Of several dimensions each is a step in one vector, as a field has none: that is said, as two
    clients whose arrays are transposed would be averaged into nonsense. Where the unit of privacy
    is an example, the first dimension is of examples.
    """
    length = dict(plan.schema.fields)[only_field(plan)].length
    if plan.privacy is not None and plan.privacy.unit == "example":
        return vector.rows(length, plan.privacy.examples)
    if len(shape := vector.header.shape) > 1:
        notice(
            f"{vector.path} of shape {shape} is sent as one vector, row by row; the mean comes "
            "back as one: reshape it"
        )
    return vector.values(length)


def check_urls(urls: list[str], expected: int, who: str) -> None:
    """ParameterError, and PolicyRefused for an address that would not be spoken to."""
    if len(urls) != expected:
        raise ParameterError(f"{who} needs {expected} URLs, and {len(urls)} are given")
    for url in urls:
        websocket.check_url(url)
