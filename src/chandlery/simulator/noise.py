"""Randomness without a state: numbers that are a pure function of (key, position), for whole arrays of positions.

Only multiplications, additions and shifts are used, so every machine and every way of slicing gives the same bits.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from chandlery.domain.candle import FloatArray
from chandlery.domain.timeframe import IntArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_SQUARINGS = 10


def key_of(*parts: object) -> int:
    """A 64-bit key for anything that prints."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def uniform(key: int, positions: IntArray) -> FloatArray:
    """A number in [0, 1) for each position: the finalizer of splitmix64 over a Weyl sequence."""
    z = np.uint64(key) + positions.astype(np.uint64) * _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return _fraction(z ^ (z >> np.uint64(31)))


def _fraction(bits: npt.NDArray[np.uint64]) -> FloatArray:
    """The top 53 bits, as many as a double holds, as a fraction."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def wave(key: int, positions: IntArray, period: int) -> FloatArray:
    """A line in [-1, 1] through one random height every ``period`` positions; ``positions`` must ascend by one."""
    if not len(positions):
        return np.zeros(0)
    knot = positions // period
    heights = 2.0 * uniform(key, np.arange(knot[0], knot[-1] + 2)) - 1.0
    left = heights[knot - knot[0]]
    right = heights[knot - knot[0] + 1]
    line: FloatArray = left + (right - left) * ((positions - knot * period) / period)
    return line


def growth(rate: FloatArray) -> FloatArray:
    """``exp(rate)`` to three digits or so for small rates: (1 + rate / 1024) to the power of 1024, by squaring."""
    factor: FloatArray = 1.0 + rate / 2**_SQUARINGS
    for _ in range(_SQUARINGS):
        factor = factor * factor
    return factor
