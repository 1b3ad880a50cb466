"""Prices far from where they were: bad ticks, which come back at once, and jumps, which stay.

How far a candle reaches is measured from the close before it, in logarithms, so that halving is as far as doubling.
What is far is measured by the market itself: the median reach of the candles around, which a few wild ones do not move.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chandlery.domain.candle import BoolArray, CandleRows, FloatArray
from chandlery.domain.instrument import Series
from chandlery.domain.quality.finding import Finding, Rule, finding
from chandlery.domain.quality.quiet import is_quiet
from chandlery.domain.quality.runs import bars
from chandlery.domain.timeframe import IntArray

TIMES_USUAL = 50
"""How many median reaches are told of. The wildest real candles at hand (two weeks of BTC in minutes, eight months of
DOGE in five minutes, with crashes and news in them) reach about 40."""

SMALLEST = 0.01
"""Less than one per cent is never told of: a stablecoin hardly moves, and a coarse tick is many of its medians."""

BLOCK = 1_024
"""Candles that are measured together; each is measured by the larger median of its own block and the one before."""

FEWEST = 30
"""Fewer candles have no median worth the name."""

_BACK = 0.25
"""A spike has come back when the next close, or its own, is within a quarter of its reach of where it was."""

_BEFORE, _AFTER = 2, 1


@dataclass(slots=True)
class _Traded:
    """Traded candles: bar numbers and logarithms of high, low and close."""

    ordinal: IntArray
    high: FloatArray
    low: FloatArray
    close: FloatArray

    def __len__(self) -> int:
        return len(self.ordinal)

    def take(self, rows: slice) -> _Traded:
        return _Traded(self.ordinal[rows], self.high[rows], self.low[rows], self.close[rows])

    def followed_by(self, other: _Traded) -> _Traded:
        pairs = ((getattr(self, name), getattr(other, name)) for name in self.__slots__)
        return _Traded(*(np.concatenate(pair) for pair in pairs))


class JumpCheck:
    """Looks for spikes and jumps in candles that ascend in time, piece by piece; it keeps about a block of them.

    Quiet candles tell no price and are left out. Where bars lie between two traded candles the price may have gone
    further, by the square root of their number, as random walks do: so what opens after a halt is no jump by itself.
    """

    def __init__(self, series: Series) -> None:
        self._series = series
        self._held: _Traded | None = None
        self._scale_before = 0.0
        self._found: list[Finding] = []

    def feed(self, rows: CandleRows) -> None:
        """Sound candles, later than those before."""
        traded = rows.take(~is_quiet(rows))
        if not len(traded):
            return
        new = _Traded(
            self._series.timeframe.ordinal(traded.open_time),
            np.log(traded.high),
            np.log(traded.low),
            np.log(traded.close),
        )
        if self._held is None:  # nothing lies before the first candle: it is measured by itself
            new = _repeated(new.take(slice(0, 1)), _BEFORE).followed_by(new)
            self._held = new
        else:
            self._held = self._held.followed_by(new)
        while len(self._held) >= _BEFORE + BLOCK + _AFTER:
            self._judge(self._held.take(slice(0, _BEFORE + BLOCK + _AFTER)))
            self._held = self._held.take(slice(BLOCK, None))

    def findings(self) -> list[Finding]:
        """Everything found, the last candles included. Call it once, at the end."""
        if self._held is not None and len(self._held) > _BEFORE:
            self._judge(self._held.followed_by(_repeated(self._held.take(slice(-1, None)), _AFTER)))
            self._held = None
        return self._found

    def _judge(self, held: _Traded) -> None:
        """Judge what lies between the two candles before and the one after."""
        own = held.take(slice(_BEFORE, len(held) - _AFTER))
        reach, pace = _reach(held, 1)
        further_reach, further_pace = _reach(held, 2)
        scale = float(np.median(pace)) if len(own) >= FEWEST else 0.0
        usual = max(scale, self._scale_before)
        self._scale_before = scale or self._scale_before
        if not usual:
            return
        # far from the last two closes: the candle after a bad tick is near the one before it
        far = (np.minimum(pace, further_pace) > TIMES_USUAL * usual) & (np.minimum(reach, further_reach) > SMALLEST)
        back = _comes_back(held, reach)
        for row in np.flatnonzero(far).tolist():
            self._found.append(self._finding(int(own.ordinal[row]), float(reach[row]), bool(back[row]), usual))

    def _finding(self, ordinal: int, reach: float, back: bool, usual: float) -> Finding:
        rule = Rule.PRICE_SPIKE if back else Rule.PRICE_JUMP
        message = (
            f"{np.expm1(reach):.1%} away from the close before and {'back' if back else 'not back'} at once;"
            f" usual here is {np.expm1(usual):.2%}"
        )
        return finding(rule, self._series, bars(self._series.timeframe, ordinal, ordinal), 1, message)


def _reach(held: _Traded, back: int) -> tuple[FloatArray, FloatArray]:
    """How far each candle reaches from the close ``back`` candles before it: in all, and by the root of time."""
    rows, before = slice(_BEFORE, len(held) - _AFTER), slice(_BEFORE - back, len(held) - _AFTER - back)
    reference = held.close[before]
    reach = np.maximum(np.abs(held.high[rows] - reference), np.abs(held.low[rows] - reference))
    distance = np.maximum(1, held.ordinal[rows] - held.ordinal[before])
    return reach, reach / np.sqrt(distance)


def _comes_back(held: _Traded, reach: FloatArray) -> BoolArray:
    """Whether a candle's close, or the next one, is near the close before it again."""
    before, own, after = held.close[1:-2], held.close[2:-1], held.close[3:]
    returned: BoolArray = np.minimum(np.abs(own - before), np.abs(after - before)) < _BACK * reach
    return returned


def _repeated(row: _Traded, times: int) -> _Traded:
    return _Traded(*(np.repeat(getattr(row, name), times) for name in row.__slots__))
