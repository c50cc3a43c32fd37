"""Adding and subtracting a block of stream, modulo the lane (specs/10-secagg.md §5)."""

from __future__ import annotations

from numba import njit

from secagg.ring import Lane


@njit(cache=True, nogil=True)
def add(out: Lane, stream: Lane) -> None:
    """out[i] += stream[i] modulo the lane; equal dtypes and lengths."""
    for i in range(out.size):
        out[i] += stream[i]


@njit(cache=True, nogil=True)
def subtract(out: Lane, stream: Lane) -> None:
    """out[i] -= stream[i] modulo the lane; equal dtypes and lengths."""
    for i in range(out.size):
        out[i] -= stream[i]
