"""Greetings of a server over links: `secagg.rounds.greeting`, said and heard in time."""

from __future__ import annotations

import asyncio

from secagg.errors import LinkTimeout
from secagg.rounds.greeting import TIMEOUT, Met, Script
from secagg.transport.base import Link


async def greet(link: Link, script: Script, timeout: float = TIMEOUT) -> Met:
    """Whom it has met. Raises what the script does, and LinkTimeout."""
    try:
        async with asyncio.timeout(timeout):
            return await _converse(link, script)
    except TimeoutError:
        raise LinkTimeout(f"the handshake took more than {timeout} seconds") from None


async def _converse(link: Link, script: Script) -> Met:
    try:
        said = next(script)
        while True:
            if said:
                await link.send(said)
            said = script.send(await link.receive())
    except StopIteration as over:
        met: Met = over.value
    if met.say:
        await link.send(met.say)
    return met
