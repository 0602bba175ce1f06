"""The small chain of the stage tests, trained a little longer so that attention matters, with a plain evaluation."""

from __future__ import annotations

import pytest
from stage_chain import Chain, packed_chain

from golfpipe.store.artifact import Artifact


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return packed_chain(tmp_path_factory.mktemp("trial"), "train.max_steps=60")


@pytest.fixture(scope="session")
def evaluation(chain: Chain) -> Artifact:
    """Of the packed model, by the sliding window."""
    return chain.run("evaluate", "a/evaluate-pack", inherit=chain.packed, model=chain.packed, data=chain.data)
