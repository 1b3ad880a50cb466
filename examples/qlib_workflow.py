"""From stored candles to a model and a backtest in Qlib.

    python examples/qlib_workflow.py qlib-data                             an exported folder
    python examples/qlib_workflow.py postgresql://user@host/database       the database itself, with the same numbers

It computes the 158 factors of Alpha158 for hourly candles of all symbols, trains LightGBM on the first 60 % of the
time, stops it by the next 20 %, and trades the best three coins in the last 20 %, with a fee of 0.1 %. It needs Qlib
(``pip install pyqlib``). The made-up market of ``chandlery simulate`` is a random walk: a model that earns money on it
would be wrong.
"""

# ruff: noqa: T201  a script that reports on standard output

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

FREQ = "60min"
BARS_A_YEAR = 8_760  # Qlib's own figures are for an exchange that closes at night: 952


def connect(source: str) -> None:
    """Make Qlib read a folder, or the database behind a connection string."""
    if "://" in source:
        import chandlery.qlib

        chandlery.qlib.init(source)
        return
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # or recent mlflow refuses Qlib's way to keep its runs
    import qlib

    qlib.init(provider_uri=source, region="us", kernels=1, trade_unit=None)


def thirds() -> dict[str, tuple[Any, Any]]:
    """Train, validate and test on 60, 20 and 20 % of the time; the last bars have no label yet."""
    from qlib.data import D

    times = D.calendar(freq=FREQ)[:-3]
    first, second = int(len(times) * 0.6), int(len(times) * 0.8)
    return {
        "train": (times[0], times[first - 1]),
        "valid": (times[first], times[second - 1]),
        "test": (times[second], times[-1]),
    }


def predictions(segments: dict[str, tuple[Any, Any]]) -> Any:
    """The model's guess, for each symbol and bar of the test, of the change that comes."""
    from qlib.contrib.data.handler import Alpha158
    from qlib.contrib.model.gbdt import LGBModel
    from qlib.data.dataset import DatasetH
    from qlib.workflow import R

    handler = Alpha158(
        instruments="all",
        start_time=segments["train"][0],
        end_time=segments["test"][1],
        fit_start_time=segments["train"][0],
        fit_end_time=segments["train"][1],
        freq=FREQ,
    )
    dataset = DatasetH(handler=handler, segments=segments)
    model = LGBModel(loss="mse", num_leaves=31, learning_rate=0.05, num_threads=2, seed=7, deterministic=True)
    with R.start(experiment_name="chandlery"):
        model.fit(dataset, num_boost_round=60, early_stopping_rounds=20, verbose_eval=0)
    return model.predict(dataset, segment="test")


def trade(guesses: Any, segments: dict[str, tuple[Any, Any]], benchmark: str) -> Any:
    """Hold the three coins with the best guesses, exchange one an hour; a row for each bar."""
    from qlib.backtest import backtest
    from qlib.backtest.executor import SimulatorExecutor
    from qlib.contrib.strategy import TopkDropoutStrategy

    metrics, _ = backtest(
        start_time=segments["test"][0],
        end_time=segments["test"][1],
        strategy=TopkDropoutStrategy(signal=guesses, topk=3, n_drop=1),
        executor=SimulatorExecutor(time_per_step=FREQ, generate_portfolio_metrics=True),
        benchmark=benchmark,
        account=1_000_000,
        exchange_kwargs={
            "freq": FREQ,
            "limit_threshold": None,
            "deal_price": "close",
            "open_cost": 0.001,
            "close_cost": 0.001,
            "min_cost": 0,
        },
    )
    return metrics[FREQ][0]


def main() -> None:
    """Read, train, trade, and print what came of it."""
    parser = argparse.ArgumentParser(description="From stored candles to a model and a backtest in Qlib.")
    parser.add_argument("source", help="an exported folder, or postgresql://...")
    parser.add_argument("--benchmark", default="BTC-USDT", help="the symbol to compare with")
    given = parser.parse_args()
    if "://" not in given.source and not Path(given.source).is_dir():
        sys.exit(f"There is no folder {given.source}. Make it: chandlery export qlib {given.source} --timeframe 1h")
    connect(given.source)
    segments = thirds()
    report = trade(predictions(segments), segments, given.benchmark)

    from qlib.contrib.evaluate import risk_analysis

    earned = report["return"] - report["cost"]
    shown = {"strategy": earned, given.benchmark: report["bench"], "strategy before fees": report["return"]}
    print(f"{len(report):,} hours from {report.index[0]} to {report.index[-1]}, UTC")
    for name, returns in shown.items():
        risk = risk_analysis(returns, N=BARS_A_YEAR)["risk"]
        print(
            f"{name:22} a year {risk['annualized_return']:+8.1%}   "
            f"information ratio {risk['information_ratio']:+6.2f}   deepest fall {risk['max_drawdown']:+7.1%}"
        )


if __name__ == "__main__":
    main()
