"""What anybody may ask by plain HTTP: health, and payloads by their digest, also in parts."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from secagg.errors import InputError, StorageError
from secagg.service import public
from secagg.service.public import Payloads, application
from secagg.wire.frame import payload_digest

DATA = bytes(range(256)) * 300


@pytest.fixture
def payloads(tmp_path: Path) -> Payloads:
    (tmp_path / "model").write_bytes(DATA)
    found = Payloads(tmp_path / "payloads")
    assert found.keep(tmp_path / "model") == (DATA, payload_digest(DATA))
    return found


class Asker:
    """Requests of an application, without a socket."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        return asyncio.run(self._ask(method, path, **more))

    async def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="https://sum") as client:
            return await client.request(method, path, **more)


@pytest.fixture
def client(payloads: Payloads) -> Asker:
    return Asker(application(payloads))


def path(data: bytes = DATA) -> str:
    return f"/v1/payload/{payload_digest(data).hex()}"


def test_health(client: Asker) -> None:
    assert client.get("/healthz").status_code == 200


def test_a_payload_comes_whole(client: Asker) -> None:
    found = client.get(path())
    assert (found.status_code, found.content) == (200, DATA)
    assert found.headers["content-type"] == "application/octet-stream"
    assert found.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("bytes=0-0", DATA[:1]), ("bytes=1000-", DATA[1000:]), ("bytes=-7", DATA[-7:])],
)
def test_or_in_parts(asked: str, expected: bytes, client: Asker) -> None:
    """70: a download that broke off goes on."""
    found = client.get(path(), headers={"range": asked})
    assert (found.status_code, found.content) == (206, expected)


def test_a_part_that_there_is_not(client: Asker) -> None:
    found = client.get(path(), headers={"range": f"bytes={len(DATA)}-"})
    assert found.status_code == 416


def test_many_ranges_are_no_flood(client: Asker) -> None:
    asked = "bytes=" + ",".join(f"{i}-{len(DATA) - 1}" for i in range(0, 2000, 2))
    found: httpx.Response = client.get(path(), headers={"range": asked})
    assert len(found.content) <= len(DATA) + 4096


WORDS = (
    "00" * 32,
    "../server.key",
    "..%2fserver.key",
    "%2e%2e/server.key",
    payload_digest(DATA).hex().upper(),
    payload_digest(DATA).hex()[:-1],
    payload_digest(DATA).hex() + "%00",
    "",
    "é" * 32,
)


@pytest.mark.parametrize("word", WORDS)
def test_no_word_leads_elsewhere(word: str, client: Asker, tmp_path: Path) -> None:
    (tmp_path / "server.key").write_text("secret")
    found = client.get(f"/v1/payload/{word}")
    assert found.status_code == 404
    assert "secret" not in found.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_is_changed_by_http(method: str, client: Asker) -> None:
    """78"""
    assert client.request(method, path()).status_code == 405
    assert client.get(path()).content == DATA


def test_links_are_not_followed(payloads: Payloads, tmp_path: Path) -> None:
    name = payload_digest(b"secret").hex()
    (tmp_path / "server.key").write_bytes(b"secret")
    os.symlink(tmp_path / "server.key", tmp_path / "payloads" / name)
    assert payloads.find(name) is None


def test_a_file_that_is_replaced_changes_no_payload(payloads: Payloads, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"other")
    found = payloads.find(payload_digest(DATA).hex())
    assert found is not None
    assert found.read_bytes() == DATA


def test_a_damaged_copy_is_made_anew(payloads: Payloads, tmp_path: Path) -> None:
    """97"""
    found = payloads.find(payload_digest(DATA).hex())
    assert found is not None
    found.write_bytes(DATA[:-1] + b"\0")
    payloads.keep(tmp_path / "model")
    assert found.read_bytes() == DATA


def test_what_is_pursued_no_more_goes(payloads: Payloads, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"b")
    payloads.keep(tmp_path / "b")
    payloads.drop(frozenset({payload_digest(b"b")}))
    assert payloads.find(payload_digest(DATA).hex()) is None
    assert payloads.find(payload_digest(b"b").hex()) is not None


def test_95_a_disk_without_room_is_said_and_what_cannot_go_stays(
    payloads: Payloads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither ends what looks after the service by the clock, nor is it a bug's trace."""

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(public, "write_whole", full)
    (tmp_path / "other").write_bytes(b"other")
    with pytest.raises(StorageError, match="payloads/.* cannot be written: No space"):
        payloads.keep(tmp_path / "other")
    (tmp_path / "payloads" / "folder").mkdir()
    payloads.drop(frozenset())
    assert [path.name for path in (tmp_path / "payloads").iterdir()] == ["folder"]
    (tmp_path / "payloads" / "folder").rmdir()
    (tmp_path / "payloads").rmdir()
    payloads.drop(frozenset())


def test_files_that_cannot_be_had(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be made"):
        Payloads(tmp_path / "file" / "payloads")
    with pytest.raises(InputError, match="cannot be read"):
        Payloads(tmp_path / "payloads").keep(tmp_path / "none")


@pytest.mark.parametrize("step", [1, 3])
def test_many_ranges_cost_no_more_than_the_payload(client: Asker, step: int) -> None:
    """Overlapping or apart, as many as a header holds: starlette before 0.49.1 took time that grew
    with their square, CVE-2025-62727."""
    wanted = ",".join(f"{at}-{at + 1}" for at in range(0, 5000 * step, step))
    begun = time.process_time()
    found = client.get(path(), headers={"range": f"bytes={wanted}"})
    assert found.status_code in (200, 206, 400, 416) and len(found.content) <= 20 * len(DATA)
    assert time.process_time() - begun < 2.0
