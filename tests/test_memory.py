"""Memory that does not suffice: the batch is split, the step stays the same, said once."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook

from qa_core.config import RunConfig, run_config_from_flat
from qa_core.data.splits import Split
from qa_core.errors import UserError
from qa_core.features.workspace import Workspace
from qa_core.model.quality_model import QualityModel
from qa_core.modes import resolve
from qa_core.system.memory import in_pieces_that_fit
from qa_core.training.trainer import EVAL_BATCH
from qa_core.training.training_run import prepare_run, train_run

ROOM = 3
"""Images that the pretended device has room for."""


@pytest.fixture
def small_device() -> Iterator[Callable[[str], None]]:
    """Models run out of memory beyond ROOM images: training, in its backward pass, or scoring."""
    handles: list[Any] = []

    def overflow(*_: object) -> None:
        raise torch.OutOfMemoryError("out of memory, so to speak")

    def limit(where: str) -> None:
        def watch(module: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if not isinstance(module, QualityModel) or len(output.q) <= ROOM:
                return
            if where == "backward":
                output.img.register_hook(overflow)  # by then the heads have their gradients
            elif module.training == (where == "training"):
                overflow()

        handles.append(register_module_forward_hook(watch))

    yield limit
    for handle in handles:
        handle.remove()


def config(workspace: Workspace, **flags: Any) -> RunConfig:
    defaults = {"backbone": "narrow-3", "pretrained": "none", "epochs": 2, "threads": 1}
    return resolve(run_config_from_flat(defaults | flags), workspace.spec)


def test_a_split_batch_trains_as_accumulation_does_to_the_last_digit(
    workspace: Workspace,
    split: Split,
    small_device: Callable[[str], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    # 12 images a step; halved to 6 and to 3, which fit
    accumulated = config(workspace, batch_size=3, grad_accum_steps=4)
    expected = train_run(accumulated, workspace, split, test=True)
    assert "rows_at_once" not in expected.metrics and not caplog.records
    small_device("training")
    found = train_run(config(workspace, batch_size=12), workspace, split, test=True)
    assert found.predictions is not None and expected.predictions is not None
    np.testing.assert_array_equal(found.predictions["q"], expected.predictions["q"])
    np.testing.assert_array_equal(found.predictions["c"], expected.predictions["c"])
    assert found.history[-1]["loss"] == expected.history[-1]["loss"]
    assert found.metrics["rows_at_once"] == ROOM
    (said,) = caplog.records
    assert said.getMessage().startswith("warning: batches of 12 do not fit into the memory")


def test_the_gradient_is_that_of_the_whole_batch(
    workspace: Workspace, split: Split, small_device: Callable[[str], None]
) -> None:
    def gradients() -> dict[str, torch.Tensor]:
        whole = config(workspace, batch_size=7, dropout=0.0, max_grad_norm=0.0, lr=1e-9)
        model, trainer = prepare_run(whole, workspace, split)
        model.eval()  # no dropout of patches, whose draws follow the pieces
        trainer._step([split.train[:7]])  # 7 rows: pieces of 2, 2, 2 and 1
        return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}

    whole = gradients()
    small_device("backward")  # the overflow comes late, when part of the gradients is there
    pieces = gradients()
    assert whole.keys() == pieces.keys() and len(whole) > 10
    for name, gradient in whole.items():
        torch.testing.assert_close(pieces[name], gradient, rtol=1e-4, atol=1e-7)


def test_scoring_goes_on_in_smaller_parts(
    workspace: Workspace, split: Split, small_device: Callable[[str], None]
) -> None:
    _, trainer = prepare_run(config(workspace), workspace, split)
    whole = trainer.predict(split.train)
    small_device("scoring")
    parts = trainer.predict(split.train)
    for name, values in whole.items():
        np.testing.assert_allclose(parts[name], values, atol=1e-5)


def test_where_not_even_one_image_fits_it_is_said() -> None:
    tried: list[int] = []

    def attempt(rows: int) -> None:
        tried.append(rows)
        raise torch.OutOfMemoryError

    with pytest.raises(UserError, match="Not even one image fits"):
        in_pieces_that_fit(EVAL_BATCH, attempt)
    assert tried == [64, 32, 16, 8, 4, 2, 1]
    assert in_pieces_that_fit(5, lambda rows: rows) == (5, 5)
