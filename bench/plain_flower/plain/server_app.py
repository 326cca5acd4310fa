"""Flower's FedAvg, and a line in a file when a Round is over."""

from __future__ import annotations

import time
from pathlib import Path

from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from .task import build

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Conduct the Rounds; the file gets a time before the first and after each."""
    config = context.run_config
    log_file, sites = Path(str(config["log-file"])), int(config["num-sites"])

    def after_round(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        with log_file.open("a") as log:
            log.write(f"{time.time()}\n")
        return MetricRecord({"round": server_round})

    strategy = FedAvg(min_available_nodes=sites, min_train_nodes=sites, min_evaluate_nodes=sites)
    strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(build().get_weights()),
        num_rounds=int(config["num-rounds"]),
        evaluate_fn=after_round,
    )
