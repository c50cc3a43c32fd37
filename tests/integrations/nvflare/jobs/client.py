"""A site's training script; one of them dies in the middle of a round: client.py DIES ROUND [all],
with the whole site where that is said."""

import os
import signal
import sys
from pathlib import Path

import nvflare.client as flare
from nvflare.apis.fl_constant import FLMetaKey
from walk import accuracy, examples, secret, trained


def kill_the_site() -> None:
    """What would start its processes again, then the one that starts jobs. It tells nobody."""
    words = Path(f"/proc/{os.getppid()}/cmdline").read_text().split("\0")
    workspace = len(words) - 1 - words[::-1].index("-m")
    for name in ("daemon_pid.fl", "pid.fl"):
        os.kill(int((Path(words[workspace + 1]) / name).read_text()), signal.SIGKILL)


flare.init()
site = flare.get_site_name()
while flare.is_running():
    received = flare.receive()
    number = received.current_round
    if [site, str(number)] == sys.argv[1:3]:
        if sys.argv[3:]:
            kill_the_site()
        os.kill(os.getpid(), signal.SIGKILL)
    flare.send(
        flare.FLModel(
            params={"numpy_key": trained(site, number, received.params["numpy_key"])},
            metrics={"accuracy": accuracy(site), "secret": secret(site)},
            meta={FLMetaKey.NUM_STEPS_CURRENT_ROUND: examples(site), "who": "hospital"},
        )
    )
