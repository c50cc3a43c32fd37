"""Compiled kernels: (out, in..., constants) -> None over contiguous arrays.

Only here is numba imported. A kernel checks nothing, allocates nothing and knows no Python
object; the wrapper beside it, or the module above, owns every check. Each kernel's meaning is in
`reference`, in plain Python ints, and the tests compare the two. Integer kernels use one unsigned
width and cast every literal and loop index to it: `uint64 + int64` is a float64 to numba.

The same source runs without the JIT (NUMBA_DISABLE_JIT=1), where numpy scalars wrap around with a
RuntimeWarning that the caller silences by `np.errstate(over="ignore")`.
"""
