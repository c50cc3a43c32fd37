"""Protocols: messages, parameters, transition tables, machines. Pure: no sockets, clocks, files."""

from __future__ import annotations

from types import MappingProxyType

PROTOCOLS = MappingProxyType(
    {
        "additive": "secagg_protocols.additive:PROTOCOL",
        "plainsum": "secagg_protocols.plainsum:PROTOCOL",
        "secagg": "secagg_protocols.secagg:SECAGG",
        "secagg+": "secagg_protocols.secagg:SECAGG_PLUS",
    }
)
"""Name -> module:attribute; the registry's door in a clone that is not installed."""
