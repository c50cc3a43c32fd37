"""The service that an organisation runs: its configuration, and what its parts are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secagg.service.config import Config


def app(config: Config, version: str = "") -> Any:
    """The service as an ASGI application, for a server of somebody else's: at the root of a host of
    its own, with lifespan. Its console still listens by itself, at [admin] address.

        app = service.app(config.read(Path("service.toml")).get())     # uvicorn module:app

    [listen] address is what clients call, and has the port of their URL; certificates are the
    host's, so insecure_plaintext = true says that TLS is before it. What `secagg serve` bounds at
    its own door is the host's to bound here: TLS 1.3; seconds for a handshake, a header and a body;
    connections that have not said who they are, and open files; the size of a message, to which the
    log gives the number; no compression of messages; pings; and what it buffers for who does not
    read. Of [limits] these are in force here: hello, links, links_each, frames, unsent, enrolments,
    viewers, events, disk_reserve and wal.

    Raises ParameterError for what such a configuration is refused for; the start fails, with the
    error in the host's log, for a state that another process has, or that is damaged.
    """
    from secagg.service.mounted import Mounted

    return Mounted(config, version)
