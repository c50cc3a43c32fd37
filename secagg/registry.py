"""Protocols by name: `load` and `available`.

A protocol is an entry point of the group `secagg.protocols` whose object is a ProtocolInfo; our own
come in by the same door as anybody's. In a bare clone, where nothing is installed, the table
`secagg_protocols.PROTOCOLS` stands in for them. It is imported by string: this package never
depends on its protocols.
"""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from secagg.errors import ParameterError
from secagg.protocol import ProtocolInfo

GROUP = "secagg.protocols"
_BUILT_IN = "secagg_protocols"


def available() -> tuple[str, ...]:
    """The names that `load` knows, sorted."""
    return tuple(sorted(_table()))


@cache
def load(name: str) -> ProtocolInfo:
    """The protocol of that name.

    Raises ParameterError for an unknown name (the message lists the known ones), for a name that
    two packages claim, and for an entry point that does not lead to a ProtocolInfo of that name.
    """
    points = _table().get(name)
    if points is None:
        raise ParameterError(f"no protocol {name!r}; available: {', '.join(available())}")
    if len(points) > 1:
        raise ParameterError(
            f"protocol {name!r} is claimed by {' and '.join(sorted(points))}; uninstall all but one"
        )
    return _resolve(EntryPoint(name, next(iter(points)), GROUP))


def _resolve(point: EntryPoint) -> ProtocolInfo:
    try:
        info = point.load()
    except (ImportError, AttributeError) as error:
        raise ParameterError(
            f"protocol {point.name!r}: {point.value} cannot be imported: {error}"
        ) from error
    if not isinstance(info, ProtocolInfo) or info.name != point.name:
        raise ParameterError(
            f"protocol {point.name!r}: {point.value} is not a ProtocolInfo of that name"
        )
    return info


@cache
def _table() -> dict[str, frozenset[str]]:
    """Name -> every "module:attribute" that claims it.

    A set, because an editable install beside a checkout lists the same value twice, which is
    harmless; two different values are two protocols of one name, and neither may win silently.
    """
    claims: dict[str, frozenset[str]] = {}
    installed = [(point.name, point.value) for point in entry_points(group=GROUP)]
    for name, value in [*installed, *_built_in().items()]:
        claims[name] = claims.get(name, frozenset()) | {value}
    return claims


def _built_in() -> dict[str, str]:
    """Always merged: in a bare clone a third party's protocol may be installed and ours not."""
    try:
        module = importlib.import_module(_BUILT_IN)
    except ModuleNotFoundError as error:
        if error.name != _BUILT_IN:
            raise
        return {}
    return dict(module.PROTOCOLS)
