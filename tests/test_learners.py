"""Real learners of the calibration: trained as the product trains, scored as the report scores."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from experiments.learners import scores
from experiments.learners.__main__ import J, rates_of_all
from experiments.learners.bank import IMAGES_PER_PROMPT, Bank, draw_bank
from experiments.learners.scores import (
    CONTRASTS,
    HEADS,
    Outcome,
    plan_rows,
    score_designs,
    train_all,
)
from qa_core.config import run_config_from_flat
from qa_core.modes import resolve
from qa_core.settings.data import ProtocolName
from qa_core.targets import TARGETS, Target
from qa_core.training.training_run import prepare_run
from reports.inference.estimates import Estimate

SEED, EPOCHS = 3, 2


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "EPOCHS", EPOCHS)


@pytest.fixture(scope="module")
def bank() -> Bank:
    return draw_bank(1, 40)


def direct(bank: Bank, found: dict, split: int, rows: np.ndarray) -> np.ndarray:
    """The contrasts by SciPy."""

    def srocc(name: str, target: Target) -> float:
        predicted = found[name][split][TARGETS.index(target), rows]
        result: Any = spearmanr(predicted, bank.mos[target][rows])
        return float(result.statistic)

    return np.array([srocc(first, t) - srocc(second, t) for t, first, second in CONTRASTS])


def test_the_bank_has_distinct_prompts_whose_pictures_fit_them(bank: Bank) -> None:
    assert len(bank.groups) == 40 * IMAGES_PER_PROMPT
    assert len(np.unique(bank.groups)) == 40
    assert (bank.groups.reshape(40, -1) == bank.groups[::IMAGES_PER_PROMPT, None]).all()
    agreement: Any = spearmanr(bank.embeddings.cos, bank.mos[TARGETS[1]])
    assert agreement.statistic > 0.2
    drawn = bank.draw_rows(6, SEED)
    assert len(set(bank.groups[drawn])) == 6
    assert set(drawn) != set(bank.draw_rows(6, SEED + 1))


def test_stacked_learners_score_what_each_would_alone(bank: Bank) -> None:
    splits = plan_rows(bank, bank.draw_rows(15, SEED), "honest", SEED).splits[:2]
    found = train_all(bank, splits, np.empty(0, np.int64), SEED)
    for name, flags in HEADS.items():
        flags = flags | {"epochs": EPOCHS, "seed": SEED, "threads": 1}
        config = resolve(run_config_from_flat(flags), bank.workspace.spec)
        for split, own in zip(splits, found[name], strict=True):
            model, trainer = prepare_run(config, bank.workspace, split)
            model.load_state_dict(trainer.fit().best_state, strict=False)
            with torch.no_grad():
                alone = model.eval()(bank.workspace.features(config).batch(split.test, "cpu"))
            np.testing.assert_allclose(own[0, split.test], alone.q, atol=1e-5)
            np.testing.assert_allclose(own[1, split.test], alone.c, atol=1e-5)
            assert set(np.flatnonzero(~np.isnan(own[0]))) == set(split.test)


@pytest.mark.parametrize(
    ("protocol", "kind"), [("honest", "prompt_influence"), ("grouped_kfold", "nadeau_bengio")]
)
def test_estimates_and_truth_are_means_of_direct_scores(
    bank: Bank, protocol: ProtocolName, kind: str
) -> None:
    drawn = bank.draw_rows(35, SEED)
    table, beside = np.split(drawn, [15 * IMAGES_PER_PROMPT])
    plan = plan_rows(bank, table, protocol, SEED).first(5)
    tested = np.concatenate([split.test for split in plan.splits])
    assert sorted(tested) == sorted(table)
    assert not set(bank.groups[beside]) & set(bank.groups[table])
    outcome = score_designs(bank, plan, beside, {"design": 1}, SEED)
    found = train_all(bank, plan.splits, beside, SEED)
    of_folds = [direct(bank, found, k, split.test) for k, split in enumerate(plan.splits)]
    means = [estimate.mean for estimate in outcome.families["design"]]
    np.testing.assert_allclose(means, np.mean(of_folds, axis=0), atol=1e-9)
    of_truth = [direct(bank, found, k, beside) for k in range(5)]
    np.testing.assert_allclose(outcome.truth["design"], np.mean(of_truth, axis=0), atol=1e-9)
    assert {(one.n, one.kind) for one in outcome.families["design"]} == {(5, kind)}


def test_rates_are_of_estimates_less_the_truth() -> None:
    def outcome(mean: float) -> Outcome:
        family = [Estimate(mean, 0.01, 20, 10, "prompt_influence")] * len(CONTRASTS)
        return Outcome({"kfold2": family}, {"kfold2": np.full(len(CONTRASTS), mean - 0.001)})

    values = np.random.default_rng(0).normal(size=(2, J, len(CONTRASTS)))
    rates = rates_of_all([(outcome(0.3), values[0]), (outcome(0.5), values[1])])
    np.testing.assert_allclose(rates["replicates"]["bias"], 0, atol=1e-12)
    np.testing.assert_allclose(rates["kfold2"]["bias"], 0.001, atol=1e-12)
    np.testing.assert_allclose(rates["kfold2"]["truth"], 0.399, atol=1e-12)
    assert rates["kfold2"]["fwer"] == 1  # .1 off on either side, ten errors
    assert rates["kfold2"]["n"] == rates["replicates"]["n"] == 2
