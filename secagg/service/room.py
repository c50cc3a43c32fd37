"""Whether the disk has room for another round (specs/50-service.md §2, rule 12).

A round that began has to end: its rows are written until it does, and its result after that. So
what `[limits] disk_reserve` names stays free when it begins, and is there for it.
"""

from __future__ import annotations

import shutil

from secagg.service.config import Config


def wanting(config: Config) -> str:
    """Why no round begins, in words; nothing where there is room. A disk that cannot be asked, as
    where the folder is gone, has none."""
    try:
        free = shutil.disk_usage(config.state).free
    except OSError as error:
        return f"disk: the folder of the state cannot be looked at: {error.strerror}"
    if free >= config.limits.disk_reserve:
        return ""
    return (
        f"disk: {free >> 20} MiB are free, fewer than [limits] disk_reserve, "
        f"{config.limits.disk_reserve >> 20} MiB; no round begins until there is room"
    )
