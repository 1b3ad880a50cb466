"""Collecting candles from an exchange into an output."""

from chandlery.services.collect.collector import Collector
from chandlery.services.collect.following import Follower, Round
from chandlery.services.collect.run import Bulk, Progress, SeriesReport, Wanted

__all__ = ["Bulk", "Collector", "Follower", "Progress", "Round", "SeriesReport", "Wanted"]
