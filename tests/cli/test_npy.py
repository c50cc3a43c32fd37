"""The vector of `secagg join`: what is read equals what numpy reads, and nothing else is read."""

from __future__ import annotations

import io
import itertools
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secagg.cli import pinned
from secagg.cli.npy import Vector
from secagg.errors import InputError, SecAggError, TooLarge
from secagg.fields import FixedPoint
from secagg.npy import array_of, read_header
from secagg.plans.choose import plan


def header(text: str, *, version: bytes = b"\x01\x00") -> bytes:
    width = 2 if version[0] == 1 else 4
    return b"\x93NUMPY" + version + len(text).to_bytes(width, "little") + text.encode()


def of(descr: str = "'<f8'", order: str = "False", shape: str = "(3,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


@pytest.mark.parametrize("dtype", ["i1", "<u2", ">i4", "u8", "f2", "<f4", ">f8"])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3), (2, 0, 3)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_it_reads_what_numpy_writes(
    tmp_path: Path, dtype: str, shape: tuple[int, ...], order: Any
) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype, order=order)
    np.save(tmp_path / "v.npy", array)
    read = Vector.open(tmp_path / "v.npy").values(array.size)
    assert read.dtype == array.dtype and read.shape == array.shape
    assert np.array_equal(read, array)
    held = array_of((tmp_path / "v.npy").read_bytes())
    assert held.dtype == array.dtype and np.array_equal(held, array) and held.shape == shape


@pytest.mark.parametrize("dtype", ["?", "c8", "c16"])
def test_numbers_that_no_field_takes_are_refused_before_a_server_is_met(
    tmp_path: Path, dtype: str
) -> None:
    """With what makes a vector of them, which is then read."""
    np.save(tmp_path / "v.npy", np.ones(3, dtype))
    with pytest.raises(InputError, match="takes integers or floats") as caught:
        Vector.open(tmp_path / "v.npy")
    how = re.search(r"numpy\.save\(.*\)$", str(caught.value))
    assert how is not None
    code = f"import numpy; {how[0]}"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert Vector.open(tmp_path / "vector.npy").values(3).tolist() == [1, 1, 1]


def test_more_dimensions_are_one_vector_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agreed = plan(clients=4, fields={"update": FixedPoint(6, 1.0, 8)})
    array = np.arange(6.0).reshape(2, 3)
    for name, stored in (
        ("c", array),
        ("f", np.asfortranarray(array)),
        ("flat", array.reshape(-1)),
    ):
        np.save(tmp_path / f"{name}.npy", stored)
        read = pinned.read_vector(Vector.open(tmp_path / f"{name}.npy"), agreed)
        assert read.reshape(-1).tolist() == [0, 1, 2, 3, 4, 5]
        told = capsys.readouterr().err
        assert ("of shape (2, 3) is sent as one vector, row by row" in told) == (name != "flat")


def test_other_writers_have_other_spaces_quotes_and_orders() -> None:
    for text in (
        '{"shape":(3,),"descr":"<f8","fortran_order":False}',
        "{ 'shape' : ( 3 , ) ,\n'fortran_order':\tFalse,'descr':'<f8'}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }          \n",
    ):
        for version in (b"\x01\x00", b"\x02\x00"):
            data = header(text, version=version)
            found = read_header(io.BytesIO(data), len(data) + 24)
            assert (found.dtype, found.shape, found.start) == (np.float64, (3,), len(data))


MALFORMED = {
    "nothing": b"",
    "magic only": b"\x93NUMPY",
    "version 9": header(of(), version=b"\x09\x00"),
    "version 3": header(of(), version=b"\x03\x00"),
    "cut": header(of())[:30],
    "header bomb": header(of() + " " * 60_000),
    "4 GiB of header": b"\x93NUMPY\x02\x00" + b"\xff" * 4 + b"{",
    "8 TiB": header(of(shape=f"({1 << 40},)")),
    "product past 2^64": header(of(shape=f"({1 << 62}, {1 << 62})")),
    "negative": header(of(shape="(-5,)")),
    "no tuple": header(of(shape="3")),
    "a number in brackets": header(of(shape="(3)")),
    "true as a size": header(of(shape="(True,)")),
    "20 digits": header(of(shape=f"({10**20},)")),
    "1,000 dimensions": header(of(shape="(" + "1," * 1000 + ")")),
    "nesting": header("{'descr': '<f8', 'fortran_order': False, 'shape': " + "(" * 3000),
    "unclosed": header("{'descr': '<f8'"),
    "code": header(of(descr="__import__('os').getpid()")),
    "objects": header(of(descr="'|O'")),
    "records": header(of(descr="[('a', '<f8')]")),
    "text": header(of(descr="'<U5'")),
    "dates": header(of(descr="'<M8[ns]'")),
    "no such float": header(of(descr="'<f3'")),
    "no such type": header(of(descr="'<i0'")),
    "order as a number": header(of(order="0")),
    "a key twice": header("{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': ()}"),
    "a key too many": header("{'a': '1', 'descr': '<f8', 'fortran_order': False, 'shape': ()}"),
    "a key too few": header("{'descr': '<f8', 'shape': (3,)}"),
    "no UTF-8": header(of()).replace(b"<f8", b"\xff\xfe\xff"),
    "NUL": header(of()).replace(b"<f8", b"\0\0\0"),
    "data missing": header(of()) + bytes(23),
    "data following": header(of()) + bytes(25),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_an_input_error_of_one_line(tmp_path: Path, name: str) -> None:
    """Threats 14 and 17: no code runs, and a promise of terabytes is held against the file."""
    file = tmp_path / "v.npy"
    file.write_bytes(MALFORMED[name])
    with pytest.raises(InputError, match="v.npy") as caught:
        Vector.open(file)
    assert "\n" not in str(caught.value)
    if MALFORMED[name]:
        with pytest.raises(SecAggError):
            read_header(io.BytesIO(MALFORMED[name]), len(MALFORMED[name]))


def test_the_last_header_and_the_last_dimension_that_are_read() -> None:
    """One byte or one dimension more is refused, however well it is formed."""
    longest = of().ljust(4096)
    assert read_header(io.BytesIO(header(longest)), 10 + 4096 + 24).elements == 3
    with pytest.raises(TooLarge, match="4097 bytes; 4096"):
        read_header(io.BytesIO(header(longest + " ")), 10 + 4097 + 24)
    most = header(of(shape="(" + "1, " * 32 + ")"))
    assert len(read_header(io.BytesIO(most), len(most) + 8).shape) == 32
    more = header(of(shape="(" + "1, " * 33 + ")"))
    with pytest.raises(InputError, match="33 dimensions; 32"):
        read_header(io.BytesIO(more), len(more) + 8)


def archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.npy", b"")


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("data.csv", b"0.125,0.25\n", "numpy.loadtxt('data.csv', delimiter=',')"),
        ("data.csv", b"0.125;0.25\n", "delimiter=';'"),
        ("data.tsv", b"0.125\t0.25\n", r"delimiter='\t'"),
        ("data.txt", b"0.125 0.25\r\n", "numpy.loadtxt('data.txt'))"),
        ("data.npy", b"0.125\n", "is text"),
        ("data.csv", "\ufeffgr\u00f6\u00dfe,0.125\n".encode() * 60, "numpy.loadtxt"),
        ("data.npz", None, "numpy.load('data.npz')['NAME']"),
        ("data.pt", None, "torch.load('data.pt', weights_only=True)"),
        ("data.pt", b"\x80\x02}q\x00.", "weights_only=True"),
        ("data.bin", bytes(range(256)), "is no .npy file, which numpy.save"),
        ("data.npy", b"", "is empty"),
    ],
)
def test_what_is_no_npy_file_is_told_how_to_become_one(
    tmp_path: Path, name: str, data: bytes | None, says: str
) -> None:
    """No word of pickle, no option that is not there, and nothing of what the file holds."""
    file = tmp_path / name
    archive(file) if data is None else file.write_bytes(data)
    with pytest.raises(InputError) as caught:
        Vector.open(file)
    message = str(caught.value)
    assert says in message and name in message
    assert not any(word in message for word in ("pickle", "0.125", "0.25", "\n"))


def test_the_advice_for_a_csv_file_can_be_followed(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("0.125,0.25\n0.5,1\n")
    with pytest.raises(InputError) as caught:
        Vector.open(tmp_path / "data.csv")
    advice = str(caught.value).partition("in Python, ")[2]
    done = subprocess.run([sys.executable, "-c", f"import numpy; {advice}"], cwd=tmp_path)
    assert done.returncode == 0
    assert Vector.open(tmp_path / "vector.npy").values(4).tolist() == [[0.125, 0.25], [0.5, 1.0]]


def test_another_length_is_refused_before_a_value_is_read(tmp_path: Path) -> None:
    file = tmp_path / "v.npy"
    with file.open("wb") as large:
        large.write(header(of(shape=f"({1 << 30},)")))
        large.truncate(large.tell() + (8 << 30))
    with pytest.raises(InputError, match=f"holds {1 << 30} elements, and the plan's field has 10"):
        Vector.open(file).values(10)


def test_a_file_that_changes_is_not_another_vector(tmp_path: Path) -> None:
    file = tmp_path / "v.npy"
    np.save(file, np.zeros(3))
    vector = Vector.open(file)
    np.save(file, np.zeros(3, np.float32))
    with pytest.raises(InputError, match="has changed"):
        vector.values(3)
    file.unlink()
    with pytest.raises(InputError, match="No such file"):
        vector.values(3)


def test_a_header_is_judged_in_linear_time() -> None:
    """The longest that is read, of what a careless grammar would try in every way."""
    for one, end in itertools.product(("1,", "1 , ", " ", "'", "(", "a", "\\"), ("", "x", ")}")):
        text = ("{'shape': (" + one * 4096)[: 4096 - len(end)] + end
        data = header(text)
        with pytest.raises(SecAggError):
            read_header(io.BytesIO(data), len(data))
