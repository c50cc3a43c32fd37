"""Row 106: with asserts stripped, every validation is still active.

pytest's own asserts vanish under -O too, so the cases run in a subprocess that raises by itself.
-OO strips what -O does, and the docstrings. There is no bytecode of the dependencies under either,
and compiling them takes ten seconds: but for a soak, only our own modules are stripped.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

STRIPPED = """
import sys
from importlib.machinery import PathFinder, SourceFileLoader

class Stripped(SourceFileLoader):
    def get_code(self, name):
        path = self.get_filename(name)
        return compile(self.get_data(path), path, "exec", dont_inherit=True, optimize=2)

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        spec = super().find_spec(name, path, target)
        if name.partition(".")[0] in ("secagg", "secagg_protocols") and spec and spec.loader:
            spec.loader = Stripped(name, spec.origin)
        return spec

sys.meta_path.insert(0, Finder)
exec(compile(sys.argv[1], "cases", "exec", optimize=2))
"""
SCRIPT = """
import sys
import numpy as np
from secagg import errors, fields, records, shamir
from secagg.plans import choose
from secagg.plans.plan import Plan
from secagg.crypto import agree
from secagg.party import Client, Server
from secagg.sim import run
from secagg.types import SERVER, PartyId, Seed
from secagg.wire.codec import Reader

if __debug__:
    sys.exit("this interpreter does not strip asserts")

def refuses(kind, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except kind:
        return
    sys.exit(f"{call} accepted {args} {kwargs}")

field = fields.FixedPoint(length=2, clip=1.0, bits=8)
plan = choose.plan(clients=5, fields={"x": field}, protocol="secagg")
schema = plan.schema
refuses(errors.RangeError, records.encode, schema, {"x": [0.0, float("nan")]}, 1, bytes)
refuses(errors.InputError, records.encode, schema, {"x": [0.0]}, 1, bytes)
refuses(errors.RangeError, records.encode, schema, {"x": [0.0, 0.0]}, 2, bytes)
refuses(errors.HeadroomError, type(schema).of, {"x": fields.Integer(1, 2**62)}, 100)
refuses(errors.ParameterError, choose.plan, clients=2, fields={"x": field})
refuses(errors.ParameterError, choose.plan, clients=10, fields={"x": field}, corrupt=0.6)
refuses(errors.Truncated, Reader(b"abc").u32, "a number")
refuses(errors.TrailingBytes, Reader(b"abc").finish)
refuses(errors.InvalidKey, agree.check_public, bytes(32))
refuses(errors.InvalidKey, agree.check_public, b"\\xff" * 32)
refuses(errors.InvalidShare, shamir.check_share, b"\\xff" * 40)
refuses(errors.InvalidShare, shamir.combine, {}, 1)
refuses(errors.WireError, Plan.decode, plan.encode() + b"x")

client = Client(plan, PartyId(0), nonce=bytes(16), payload_digest=bytes(32))
refuses(errors.InputError, client.set_input, {"x": [0, 0]}, payload_digest=b"1" * 32)
client = Client(plan, PartyId(0), nonce=bytes(16), payload_digest=bytes(32))
client.start()
refuses(errors.RemoteProtocolError, client.receive, SERVER, b"not a message")
server = Server(plan, nonce=bytes(16), payload_digest=bytes(32))
server.start()
server.receive(PartyId(1), b"not a message")
if PartyId(1) in server.alive:
    sys.exit("garbage did not cost its sender anything")
refuses(errors.LocalProtocolError, server.result)
if Reader.__doc__ is not None and sys.flags.optimize != 1:
    sys.exit("the docstrings are there, and so are the asserts")

done = run(plan, lambda party: {"x": [0.5, -0.5]})
if not done.exact or len(done.aggregate.contributors) != 5:
    sys.exit("the round did not end in the exact sum")
print("ok")
"""


WAYS = {"ours": ["-c", STRIPPED, SCRIPT]}
if "SECAGG_SOAK" in os.environ:
    WAYS |= {flag: [flag, "-c", SCRIPT] for flag in ("-O", "-OO")}


@pytest.mark.parametrize("way", WAYS)
def test_validation_survives_stripped_asserts(way: str) -> None:
    done = subprocess.run(
        [sys.executable, *WAYS[way]],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'protocols'}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stdout.strip(), done.stderr) == ("ok", ""), done.stderr
