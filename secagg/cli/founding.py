"""The folder of a new service: its configuration, its identity, certificates for a trial.

Whatever is there already stays: an identity that was replaced would be unknown to everybody who
pins it, and a second authority to everybody who trusts the first. So the command may be given again
after it was interrupted, and to renew the server's certificate of a trial.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from secagg.cli.enrolling import Whose, new_seed, read_seed, write_seed
from secagg.cli.files import read_at_most
from secagg.cli.keyfile import read_private
from secagg.cli.targets import write_whole
from secagg.crypto import sign
from secagg.errors import InputError, ParameterError
from secagg.service import tables, trial
from secagg.service.trial import Authority
from secagg.types import Seed

FILE, IDENTITY, STATE = "service.toml", "server.key", "state"
CHAIN, KEY, AUTHORITY_KEY = "chain.pem", "key.pem", "trial-ca.key"
_TLS = "tls"
_RENEWED = timedelta(days=30)
"""Before a certificate's end, from when on another is made."""
_LARGEST = 64 << 10
"""Bytes of a PEM file."""

_CONFIG = """\
# A service of secagg. `secagg service check {file}` prints every value that is in force.

[service]
name = "{name}"
state = "{state}"

[listen]
address = "{address}"
{certificates}
[admin]
# 0 takes a free port, which commands on this machine find; give one to a Prometheus
address = "127.0.0.1:0"

# One table for each task; its plan is made by `secagg task`.
# [tasks.mortality]
# plan = "mortality.task"
# clients = {{ min = 5, target = 8, spare = 0.25 }}
# every = "1d"
# deadlines = {{ default = "60s", masked-input = "10m" }}

[retention]
results = "30d"
audit = "400d"
"""
_CERTIFIED = 'certificate = "tls/chain.pem"\nkey = "tls/key.pem"\n'
_UNCERTIFIED = "# certificate and key, PEM files, before it can listen beyond loopback\n"


def found(
    folder: Path, name: str, trial_ca: bool, now: datetime, address: str | None = None
) -> dict[str, object]:
    """address: to listen on; by default port 443 of all addresses, or loopback where there is no
    certificate. Returns what there is afterwards: the configuration, the server's public key, the
    authority's fingerprint where there is one, until when the certificate is valid.

    Raises ParameterError for a name that is none of a host and for what cannot be written.
    """
    tables.host_name("--name", name)
    if address is not None:
        tables.address("--address", address)
    for each in (folder, folder / STATE):
        make_folder(each)
    seed = _identity(folder / STATE / IDENTITY)
    made: dict[str, object] = {"folder": str(folder), "public": sign.public_key(seed).hex()}
    if trial_ca:
        made |= _certificates(folder / _TLS, name, now)
    config = folder / FILE
    if not config.exists():
        write_whole(config, _text(name, trial_ca, address).encode(), force=False)
    return made | {"config": str(config)}


def _text(name: str, trial_ca: bool, address: str | None) -> str:
    address = address or ("0.0.0.0:443" if trial_ca else "127.0.0.1:8000")
    certificates = _CERTIFIED if trial_ca else _UNCERTIFIED
    return _CONFIG.format(
        file=FILE, name=name, state=STATE, address=address, certificates=certificates
    )


def make_folder(folder: Path) -> None:
    """For its owner alone; also one that is there, if it is a folder."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "a file's name has no NUL character"
        raise ParameterError(f"{folder}: no folder can be made there: {why}") from None


def _identity(path: Path) -> Seed:
    if path.exists():
        return read_seed(path, Whose.IDENTITY)
    seed = new_seed()
    write_seed(path, Whose.IDENTITY, seed)
    return seed


def _certificates(folder: Path, name: str, now: datetime) -> dict[str, object]:
    make_folder(folder)
    authority = _authority(folder, name, now)
    chain = folder / CHAIN
    if not chain.exists() or trial.expires(_read(chain)) < now + _RENEWED:
        certificate, key = authority.issue(name, now)
        # the key first: a chain without its key would be taken for whole the next time
        write_whole(folder / KEY, key, force=True, mode=0o600)
        write_whole(chain, certificate, force=True)
    return {
        "authority": trial.fingerprint(authority.certificate).hex(),
        "certificate_until": trial.expires(_read(chain)).isoformat(),
    }


def _authority(folder: Path, name: str, now: datetime) -> Authority:
    """The one that is there, or the first. Half of one is what somebody has lost, and no reason to
    make another that nobody trusts."""
    certificate, key = folder / trial.TRIAL, folder / AUTHORITY_KEY
    if certificate.exists() != key.exists():
        missing = key if certificate.exists() else certificate
        raise InputError(
            f"{missing} is missing, and there is only one authority: put it back, or remove "
            f"{folder} and give every client a new code"
        )
    if certificate.exists():
        return Authority(_read(certificate), read_private(key, "the trial authority's key"))
    made = Authority.new(name, now)
    # of two that begin at once the second finds a key, and stops
    write_whole(key, made.key, force=False, mode=0o600)
    write_whole(certificate, made.certificate, force=False)
    return made


def _read(path: Path) -> bytes:
    return read_at_most(path, _LARGEST, "the certificate")
