"""What every method in the table promises."""

from dataclasses import replace

import numpy as np
import pytest
from test_score_first import new_network, text, work

from golfpipe.adapt.config import TttConfig
from golfpipe.adapt.methods import METHODS
from golfpipe.config.schema import all_keys, build_config
from golfpipe.errors import ConfigError

SMALL = {"epochs": 2, "lr": 0.01, "context_length": 16, "chunk_tokens": 8, "batch_sequences": 2, "batch_documents": 2}


def small_recipe(name):
    recipe = METHODS.load(name).recipe()
    return replace(recipe, **{key: value for key, value in SMALL.items() if hasattr(recipe, key)})


@pytest.mark.parametrize("name", METHODS.names)
def test_it_returns_scores_if_and_only_if_it_scores_first_and_tells_of_its_work(name):
    method, recipe, tokens = METHODS.load(name), small_recipe(name), text()
    scored, steps, epochs = [], [], []
    nats = method.run(
        work(
            new_network(), tokens, on_scored=lambda *e: scored.append(e), on_step=steps.append,
            on_epoch=lambda *e: epochs.append(e),
        ),
        recipe,
    )  # fmt: skip
    if method.score_first:
        assert nats.dtype == np.float32 and len(nats) == len(tokens) - 1 and np.isfinite(nats).all()
        assert sum(count for count, _ in scored) == len(nats)
        assert sum(total for _, total in scored) == pytest.approx(nats.sum(), rel=1e-5)
        assert not steps and not epochs
    else:
        assert nats is None and not scored
        assert sum(steps) == recipe.epochs * (len(tokens) - 1)
        assert [epoch for epoch, _, _ in epochs] == [1, 2]


@pytest.mark.parametrize("name", METHODS.names)
def test_its_recipe_is_a_section_and_epochs_and_lr_of_ttt_are_said_over_it(name):
    assert {f"ttt.{name}.epochs", f"ttt.{name}.lr"} <= set(all_keys())
    config = TttConfig(method=name, epochs=7)
    assert config.recipe() == replace(METHODS.load(name).recipe(), epochs=7)
    assert f"{config.chosen.about} (7 epochs, lr " in config.chosen.describe(config.recipe())


@pytest.mark.parametrize(
    ("ttt", "message", "hint"),
    [
        ({"method": "cosin"}, "ttt.method: unknown test-time training method cosin", "did you mean cosine?"),
        ({"score_first_lora": {"rank": 0}}, "ttt.score_first_lora.rank=0 must be at least 1", None),
        ({"cosine": {"grad_clip": -1.0}}, "ttt.cosine.grad_clip=-1.0 must be at least 0", None),
        ({"method": "score_first_sgd", "lr": -1.0}, "ttt.score_first_sgd.lr=-1.0 must be at least 0", None),
    ],
)
def test_wrong_settings_are_named(ttt, message, hint):
    with pytest.raises(ConfigError) as caught:
        build_config({"ttt": ttt})
    assert (caught.value.message, caught.value.hint) == (message, hint)
