"""The pure floor: candles, time and instruments. No I/O, no clock, no environment."""
