"""A site's training script; one of them dies in the middle of a round: client.py DIES ROUND."""

import os
import signal
import sys

import nvflare.client as flare
from nvflare.apis.fl_constant import FLMetaKey
from walk import accuracy, examples, secret, trained

flare.init()
site = flare.get_site_name()
while flare.is_running():
    received = flare.receive()
    number = received.current_round
    if [site, str(number)] == sys.argv[1:3]:
        os.kill(os.getpid(), signal.SIGKILL)
    flare.send(
        flare.FLModel(
            params={"numpy_key": trained(site, number, received.params["numpy_key"])},
            metrics={"accuracy": accuracy(site), "secret": secret(site)},
            meta={FLMetaKey.NUM_STEPS_CURRENT_ROUND: examples(site), "who": "hospital"},
        )
    )
