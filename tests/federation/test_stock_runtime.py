"""The same Run on unmodified Flower SuperNodes makes the same model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.consortium import Consortium
from db.embedded import EmbeddedPostgres
from db.states import RunStatus
from fl.model import weights_from_bytes
from fl.settings import RunSettings
from tests.federation.conftest import consortium_databases

SETTINGS = RunSettings(round_time_limit=240)


def test_unmodified_flower_and_warm_supernodes_make_the_same_weights(
    postgres_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    urls = consortium_databases(postgres_server, ("northeast", "southeast"))
    weights = {}
    for runtime in ("warm", "stock"):
        with Consortium(urls, tmp_path / runtime, runtime) as consortium:
            consortium.wait_until_up()
            run_id = consortium.request_run(num_rounds=1, seed=33, settings=SETTINGS)
            run = consortium.wait_until_ended(run_id, timeout=400)
            assert (run.status, run.error) == (RunStatus.COMPLETED, None)
            version = consortium.version(run_id)
            assert version is not None
            weights[runtime] = weights_from_bytes(version.weights)
            status = consortium.status()
            assert status is not None and status.runtime == runtime
    np.testing.assert_allclose(weights["stock"], weights["warm"], atol=1e-5)
