"""Unmodified Flower with `model.fit` on the same rows: the app of `bench/plain_flower` on Flower's own programs."""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import httpx
import numpy as np
import psutil

from bench.reference import SiteRows
from db.ports import free_port
from fl.runtime.children import stop_processes
from fl.statistics import moments_of, pooled_preprocessing

APP = Path(__file__).resolve().parent / "plain_flower"
TUNED_BY_US = ("FLWR_SUPEREXEC_TASK_POLL_INTERVAL",)


def plain_flower(
    sites: Sequence[tuple[SiteRows, SiteRows]], folder: Path, rounds: int
) -> tuple[float, float]:
    """Run Flower's FedAvg over the Sites' training and held-out rows.

    Returns
    -------
    tuple of float
        Seconds a Round, median, and processor seconds a Round of all of Flower's processes.
    """
    folder.mkdir()
    app, log_file = folder / "app", folder / "rounds.txt"
    shutil.copytree(APP, app, ignore=shutil.ignore_patterns("__pycache__"))
    files = _rows_as_files(sites, folder)
    with _flower(files, folder) as (superlink, processes):
        config = f'num-rounds={rounds} num-sites={len(files)} log-file="{log_file}"'
        before = _cpu_seconds(processes)
        subprocess.run(
            ["flwr", "run", str(app), "bench", "--run-config", config],
            env=_environment(folder),
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 300 * rounds
        while len(times := _times(log_file)) <= rounds:
            if time.monotonic() > deadline or superlink.poll() is not None:
                raise SystemExit("Unmodified Flower did not end its rounds.")
            time.sleep(0.5)
        used = _cpu_seconds(processes) - before
    return statistics.median(later - earlier for earlier, later in pairwise(times)), used / rounds


def _rows_as_files(sites: Sequence[tuple[SiteRows, SiteRows]], folder: Path) -> list[Path]:
    preprocessing = pooled_preprocessing(moments_of(trains.inputs, trains.cost) for trains, _ in sites)
    files = []
    for number, (trains, held_out) in enumerate(sites):
        files.append(folder / f"site{number}.npz")
        np.savez(
            files[-1],
            x_train=preprocessing.scale_inputs(trains.inputs),
            y_train=preprocessing.scale_target(trains.cost),
            x_test=preprocessing.scale_inputs(held_out.inputs),
            y_test=preprocessing.scale_target(held_out.cost),
        )
    return files


@contextlib.contextmanager
def _flower(
    files: Sequence[Path], folder: Path
) -> Iterator[tuple[subprocess.Popen[bytes], list[psutil.Process]]]:
    """Start a SuperLink and a SuperNode for each file, with nothing but what they need to run side by side here."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    environment = _environment(folder)
    home = Path(environment["FLWR_HOME"])
    home.mkdir()
    (home / "config.toml").write_text(f'[superlink.bench]\naddress = "{address}"\ninsecure = true\n')
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> subprocess.Popen[bytes]:
        with (folder / "flower.log").open("ab") as log:
            started.append(
                subprocess.Popen(
                    command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True
                )
            )
        return started[-1]

    try:
        superlink = start("flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(port))
        for _ in range(600):
            with contextlib.suppress(httpx.HTTPError):
                httpx.get(f"http://{address}/health", timeout=1)
                break
            time.sleep(0.1)
        for file in files:
            own = ("--port", str(free_port()), "--node-config", f'data="{file}"')
            start("flower-supernode", "--insecure", "--superlink", address, *own)
        yield superlink, [psutil.Process(process.pid) for process in started]
    finally:
        stop_processes(psutil.Process(process.pid) for process in started if process.poll() is None)
        for process in started:
            process.wait()


def _environment(folder: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in TUNED_BY_US}
    return {
        **inherited,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "FLWR_HOME": str(folder / "flwr"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    }


def _times(log_file: Path) -> list[float]:
    return [float(line) for line in log_file.read_text().split()] if log_file.exists() else []


def _cpu_seconds(roots: Sequence[psutil.Process]) -> float:
    """Return the processor seconds of processes and of the children that they have waited for."""
    total = 0.0
    for root in roots:
        with contextlib.suppress(psutil.Error):
            for process in (root, *root.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    total += sum(process.cpu_times()[:4])
    return total
