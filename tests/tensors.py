"""What a framework's tensor looks like to who does not import the framework."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from secagg.tensors import in_bfloat16


class Tensor:
    """On a device and in a graph, with the attributes that secagg uses and no others.

    type: without the library's name, as in "bfloat16", whose values are rounded to it.
    """

    def __init__(self, values: Any, type: str = "float32", **attributes: Any) -> None:
        numpy_lacks = type.startswith(("bfloat", "float8", "float4", "q", "bits"))
        self._held = np.array(values, np.float32 if numpy_lacks else type)
        if type == "bfloat16":
            self._held = in_bfloat16(self._held.astype(np.float64)).astype(np.float32)
        self._ready, self._type, self.reads = not numpy_lacks, type, 0
        self.dtype, self.shape = Named(f"torch.{type}"), self._held.shape
        self.__dict__.update({"layout": "torch.strided", "device": "cpu"} | attributes)

    def detach(self) -> Tensor:
        self.reads += 1
        return self

    def cpu(self) -> Tensor:
        return self

    def float(self) -> Tensor:
        return Tensor(self._held)

    def new_tensor(self, values: Any) -> Tensor:
        """Of this type and on this device; where that rounds, somebody should have before."""
        made = Tensor(values, self._type, device=self.__dict__["device"])
        assert np.array_equal(made._held.astype(np.float64), np.asarray(values, np.float64))
        return made

    def tolist(self) -> Any:
        return self._held.tolist()

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        if not self._ready:
            raise TypeError("Got unsupported ScalarType")
        return self._held


@dataclass(frozen=True)
class Named:
    """torch's types have no name: theirs is their text."""

    text: str

    def __str__(self) -> str:
        return self.text


class Frame:
    """Of a pandas frame, what secagg uses."""

    iloc = None

    def __init__(self, held: dict[str, Any], columns: list[str] | None = None) -> None:
        self.held, self.columns = held, columns or list(held)

    def __getitem__(self, names: Any) -> Any:
        if isinstance(names, list):
            return Frame({name: self.held[name] for name in names})
        return self.held[names]

    def __setitem__(self, name: str, values: Any) -> None:
        self.held[name] = values

    def copy(self) -> Frame:
        return Frame(dict(self.held))

    def astype(self, types: dict[str, Any]) -> Frame:
        return Frame({name: self.held[name].astype(type) for name, type in types.items()})
