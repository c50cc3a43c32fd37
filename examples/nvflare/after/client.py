"""A site: it says how good the model is on images of its own, and trains it on others."""

import nvflare.client as flare
from digits import accuracy, images, trained
from nvflare.apis.fl_constant import FLMetaKey

flare.init()
x, y, asked_x, asked_y = images(flare.get_site_name(), sites=4)
while flare.is_running():
    received = flare.receive()
    model = received.params["numpy_key"]
    right = accuracy(model, asked_x, asked_y)
    flare.send(
        flare.FLModel(
            params={"numpy_key": trained(model, x, y)},
            metrics={"accuracy": right},
            meta={FLMetaKey.NUM_STEPS_CURRENT_ROUND: len(y)},
        )
    )
