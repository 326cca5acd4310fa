"""Real SuperLink and SuperNode processes over real databases, shared by the tests of a module."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from bench.consortium import Consortium, load_institutions
from bench.data import cohort_of
from db.cohort import REGIONS, generate
from db.embedded import EmbeddedPostgres
from db.engines import engine_for
from db.provision import DatabaseUrls, provision


def consortium_databases(server: EmbeddedPostgres, regions: tuple[str, ...] = REGIONS) -> DatabaseUrls:
    """Make databases of their own on a server and fill them with generated patients."""
    urls = provision(server, regions, prefix=f"fed_{uuid.uuid4().hex[:8]}_")
    frames = [vars(generate(334, seed=number, region=region)) for number, region in enumerate(regions)]
    load_institutions(urls, cohort_of(pd.concat([pd.DataFrame(frame) for frame in frames])).frame)
    return urls


@pytest.fixture(scope="module")
def consortium(
    postgres_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Consortium]:
    """Four Sites with warm SuperNodes, up."""
    data_dir: Path = tmp_path_factory.mktemp("federation")
    urls = consortium_databases(postgres_server)
    with Consortium(urls, data_dir) as running:
        running.wait_until_up()
        yield running
    for url in (urls.central, *urls.sites.values()):
        engine_for(url).dispose()
