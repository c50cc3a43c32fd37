"""Any bytes are a schema whose sums cannot wrap or a SecAggError, never anything else.

What is accepted is written again to the same bytes: there is one encoding only.
"""

from __future__ import annotations

from secagg.errors import SecAggError
from secagg.fields import FixedPoint, Integer
from secagg.schema import Schema
from secagg.wire.codec import Writer
from secagg.wire.schema import write_schema
from tests import decoders
from tests.fuzz.engine import main

SCHEMAS = [
    Schema.of({"x": FixedPoint(3, clip=1.0, bits=8)}, clients=10),
    Schema.of({"x": FixedPoint(3, clip=1.0, bits=8), "n": Integer(1, max=9)}, 10, 7),
]

CORPUS = [write_schema(Writer(), schema).finish() for schema in SCHEMAS]


def target(data: bytes) -> None:
    try:
        again = decoders.schema(data)
    except SecAggError:
        return
    assert again == data


if __name__ == "__main__":
    main(target, CORPUS)
