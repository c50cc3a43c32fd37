"""How frames of rounds travel in NVFLARE's messages: as bytes, under a key of our own.

The exchanges before and after the input are auxiliary requests of the server, and their replies;
the input itself is the result of the task. In all of them there is one entry more, or no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import ReservedHeaderKey, Shareable, make_reply

from secagg.errors import WireError
from secagg.integrations.exchange import STEPS, Frames
from secagg.shown import short

TOPIC = "secagg"
"""Of the auxiliary requests."""
VERSION = 1
KEY = "secagg"
MAX_FRAMES = 64


@dataclass(frozen=True, slots=True)
class Asked:
    """step: which exchange this is."""

    step: str
    frames: Frames

    __repr__ = short


def asking(step: str, frames: Frames) -> Shareable:
    """An auxiliary request."""
    made = Shareable()
    made[KEY] = {"version": VERSION, "step": step, "frames": list(frames)}
    return made


def read(request: Shareable) -> Asked:
    """What a request asks. Raises WireError."""
    about = _about(request.get(KEY))
    step = about.get("step")
    if not isinstance(step, str) or step not in STEPS:
        raise WireError("a request of a secure round says its step")
    return Asked(str(step), _frames(about))


def answer(frames: Iterable[bytes]) -> Shareable:
    """The reply to a request."""
    made = make_reply(ReturnCode.OK)
    made[KEY] = {"version": VERSION, "frames": list(frames)}
    return made


def refusal(why: str) -> Shareable:
    """The reply of a site that takes no part."""
    made = make_reply(ReturnCode.OK)
    made[KEY] = {"version": VERSION, "refused": why}
    return made


def result(frames: Iterable[bytes]) -> Shareable:
    """All that a site returns as the result of a task."""
    about = {"version": VERSION, "frames": list(frames)}
    made: Shareable = DXO(DataKind.APP_DEFINED, data={KEY: about}).to_shareable()
    return made


def code_of(reply: Any) -> str:
    """The return code of whatever a site has sent; none where that is no text.

    Shareable's own methods compare what is there, which raises for an array, and for headers that
    are a list: an error of one site would be the server's.
    """
    headers = reply.get(ReservedHeaderKey.HEADERS) if isinstance(reply, Mapping) else None
    code = headers.get(ReservedHeaderKey.RC) if isinstance(headers, Mapping) else None
    return code if isinstance(code, str) else ""


def refused(given: Mapping[str, Any]) -> str | None:
    """Why the site takes no part, if it says so. Raises WireError."""
    why = _about(given.get(KEY)).get("refused")
    if not isinstance(why, str | None):
        raise WireError("a refusal says why in a text")
    return why


def frames_of(given: Any) -> Frames:
    """Of a reply, or of a result's data. Raises WireError where there are none."""
    return _frames(_about(given.get(KEY) if isinstance(given, Mapping) else None))


def _about(about: Any) -> Mapping[str, Any]:
    if not isinstance(about, Mapping):
        raise WireError("a message of a secure round has frames")
    version = about.get("version")
    # whatever a peer has put there: an array that is compared is an array, and true of nothing
    if type(version) is not int or version != VERSION:
        raise WireError(
            "the other side speaks another version of this adapter: install one release of secagg "
            "on the server and at all sites"
        )
    return about


def _frames(about: Mapping[str, Any]) -> Frames:
    frames = about.get("frames")
    if not isinstance(frames, list) or len(frames) > MAX_FRAMES:
        raise WireError(f"frames are a list of at most {MAX_FRAMES}")
    if not all(type(frame) is bytes for frame in frames):
        raise WireError("a frame is bytes")
    return tuple(frames)
