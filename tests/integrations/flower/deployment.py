"""Flower's deployment runtime on this machine: a SuperLink, SuperNodes, and runs of an app."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parent.parent.parent.parent


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Deployment:
    """Processes of a federation of `nodes`, with all that they write under `folder`."""

    def __init__(self, folder: Path, ledgers: Path, nodes: int) -> None:
        self.folder, self.ledgers = folder, ledgers
        self.home = folder / "home"
        self.home.mkdir()
        paths = os.pathsep.join([str(ROOT), str(ROOT / "protocols")])
        self.env = os.environ | {
            "FLWR_HOME": str(self.home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "PYTHONPATH": paths,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        }
        self.link, *self.ports = free_ports(1 + nodes)
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        address = f"127.0.0.1:{self.link}"
        (self.home / "config.toml").write_text(
            f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "{address}"\n'
            "insecure = true\n"
        )
        host = ["--host", "127.0.0.1", "--port", str(self.link)]
        quiet = ["--insecure", "--disable-runtime-dependency-installation"]
        self.begin("superlink", "flower-superlink", *quiet, *host)
        self._listening(self.link)
        for place in range(len(self.ports)):
            self.node(place)
        return self

    def _listening(self, port: int, patience: float = 120) -> None:
        until = time.monotonic() + patience
        while time.monotonic() < until:
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.2)
        raise TimeoutError(f"nobody listens on port {port}")

    def node(self, place: int) -> None:
        """A SuperNode, or the same one started again."""
        config = f"partition-id={place} num-partitions={len(self.ports)} "
        config += f'secagg-state="{self.ledgers}"'
        self.begin(
            f"supernode{place}",
            "flower-supernode",
            "--insecure",
            "--superlink",
            f"127.0.0.1:{self.link}",
            "--port",
            str(self.ports[place]),
            "--node-config",
            config,
        )

    def begin(self, name: str, program: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [str(BIN / program), *arguments],
                env=self.env,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                start_new_session=True,
            )

    def run(self, app: Path, timeout: float = 300, **config: object) -> str:
        """What `flwr run` shows of it, to the end."""
        given = [f"{name}={value}" for name, value in config.items()]
        override = ["--run-config", " ".join(given)] if given else []
        done = subprocess.run(
            [str(BIN / "flwr"), "run", str(app), "here", "--stream", *override],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=timeout,
        )
        return done.stdout

    def kill(self, name: str) -> None:
        """With all that it has started."""
        process = self.running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in list(self.running):
            self.kill(name)
