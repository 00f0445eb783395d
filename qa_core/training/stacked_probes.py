"""Heads on frozen CLIP that differ in settings, seeds or splits, trained as one computation.

The heads of a probe are so small that starting an operation takes longer than computing it;
stacked, one operation serves all members. Every member is trained as it would be alone: its own
start, order of images, dropout, rates, decay and clipping. Only the order of sums differs, so that
its last digits depend on which members it is stacked with; a study therefore stacks fixed members.
"""

import copy
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from qa_core.backbones.backbone import average_views
from qa_core.config import RunConfig
from qa_core.data.splits import Split
from qa_core.errors import UserError
from qa_core.features.inputs import take
from qa_core.features.workspace import Workspace
from qa_core.measures.epoch_measures import gap_measures, validation_measures
from qa_core.system.seeding import derived_seed
from qa_core.training.given_dropout import give_dropout
from qa_core.training.losses import with_missing_filled
from qa_core.training.optim import StackedAdamW, lr_factor
from qa_core.training.trainer import Trainer, TrainingDiverged
from qa_core.training.trainer_state import TrainerState
from qa_core.training.training_run import prepare_run

WIDTH = 16
"""Members of one computation. More would save little, and their gradients would be too large for
the allocator to use the same memory again; `benchmarks.bench --only probes` has the figures."""
FREE = ("lr", "weight_decay", "warmup_ratio", "residual_scale_q", "residual_scale_c", "seed")
"""Settings in which members may differ."""

_PLAIN = {
    "freeze_clip": True,
    "cache": True,
    "use_refinement": False,
    "use_explanations": False,
    "antonym_prompts": False,
    "w_plcc": 0.0,
    "w_rank": 0.0,
    "grad_accum_steps": 1,
    "early_stopping_patience": 0,
}

MemberOutcome = TrainerState | TrainingDiverged


def train_probes(
    configs: Sequence[RunConfig], workspace: Workspace, split: Split
) -> list[MemberOutcome]:
    """Train linear probes together on one split, whose test part is not read.

    Args:
        configs: Resolved configurations that differ only in `FREE` settings.
        workspace: Table, images and backbone.
        split: Rows to train on and to choose on.

    Returns:
        How each went, in order, as `Trainer.fit` would return or raise it.

    Raises:
        UserError: The configurations cannot be trained together.
    """
    require_stackable(configs)
    workspace, split = workspace.holding(split)
    return _train_stacks([(config, split) for config in configs], workspace)


def train_on_splits(
    config: RunConfig, workspace: Workspace, splits: Sequence[Split]
) -> list[MemberOutcome]:
    """Train one configuration on many splits of a table without blocks, equally large together.

    Returns:
        How each went, in order, as `train_probes` returns it.

    Raises:
        UserError: The configuration is no plain probe.
    """
    require_stackable([config])
    sizes = [(len(split.train), len(split.validation)) for split in splits]
    found: dict[int, MemberOutcome] = {}
    for size in sorted(set(sizes)):
        places = [place for place, own in enumerate(sizes) if own == size]
        outcomes = _train_stacks([(config, splits[place]) for place in places], workspace)
        found |= dict(zip(places, outcomes, strict=True))
    return [found[place] for place in range(len(splits))]


def _train_stacks(
    members: Sequence[tuple[RunConfig, Split]], workspace: Workspace
) -> list[MemberOutcome]:
    stacks = [members[start : start + WIDTH] for start in range(0, len(members), WIDTH)]
    return [outcome for own in stacks for outcome in _train_stack(own, workspace)]


def _train_stack(
    own: Sequence[tuple[RunConfig, Split]], workspace: Workspace
) -> list[MemberOutcome]:
    configs = [config for config, _ in own]
    stack = _Stack([prepare_run(config, workspace, split)[1] for config, split in own])
    members = [TrainerState(history=[measures]) for measures in stack.validation_measures()]
    diverged: dict[int, TrainingDiverged] = {}
    for epoch in range(1, configs[0].train.epochs + 1):
        for member, measures in enumerate(stack.epoch(epoch)):
            if member in diverged:  # it stays in the stack, where its NaN reaches no other member
                continue
            if not np.isfinite(measures["loss"]):
                sentence = (
                    f"The loss became {measures['loss']:g} in epoch {epoch}; try a smaller --lr."
                )
                diverged[member] = TrainingDiverged(sentence)
                continue
            least = configs[member].train.early_stopping_min_delta
            members[member].record(measures, least, lambda member=member: stack.state(member))
    return [diverged.get(member, state) for member, state in enumerate(members)]


def require_stackable(configs: Sequence[RunConfig]) -> None:
    """Refuse configurations that cannot be trained together.

    Raises:
        UserError: They differ in more than `FREE`, or are no plain linear probes; it names in what.
    """
    flats = [config.flat() for config in configs]
    wrong = [name for name, value in _PLAIN.items() if flats[0][name] != value]
    if wrong or flats[0]["scale_schedule"] == "curriculum":
        name = (*wrong, "scale_schedule")[0]
        raise UserError(f"Only plain linear probes train together; --{name} stands in the way.")
    for name, value in flats[0].items():
        if name not in FREE and any(flat[name] != value for flat in flats):
            raise UserError(f"Probes that differ in --{name} cannot be trained together.")


class _Stack:
    """The heads of all members, every parameter stacked along a first dimension.

    Args:
        trainers: What would train each member alone, on equally many images. The seed that a
            trainer has is its split's own, so members of one seed have one split too.
    """

    def __init__(self, trainers: Sequence[Trainer]):
        self.trainers, self.data = trainers, trainers[0].data
        self.configs, self.device = [t.config for t in trainers], trainers[0].device
        heads = [trainer.model.heads for trainer in trainers]
        self.kept = tuple(heads[0].state_dict())
        self.template = copy.deepcopy(heads[0])
        self.hidden = give_dropout(self.template)
        stacked, self.buffers = stack_module_state(list(heads))
        self.parameters = {name: _in_order_of_gradient(value) for name, value in stacked.items()}
        self.optimizer = StackedAdamW(self.parameters, [config.optim for config in self.configs])
        self.train_of = {t.config.train.seed: t.data.train for t in trainers}
        self.seeds = sorted(self.train_of)
        self.seed_of = np.array([self.seeds.index(c.train.seed) for c in self.configs])
        self._load_data()

    def _load_data(self) -> None:
        # CLIP is frozen, so an image is one short vector, and the whole table fits on the device.
        features = self.data.features
        everything = np.arange(len(features.prompt_of))
        img = take(features.images, everything).to(self.device)  # (n, [views,] width)
        self.averaged = img if features.views == 1 else average_views(img)
        self.trained = img  # what steps see, (n, [pictures,] width)
        if (drawn := features.drawn) is not None:
            crops = take(drawn.images, np.arange(len(drawn.images))).to(self.device)
            self.trained = crops[torch.from_numpy(drawn.place_of)]
        self.txt = torch.from_numpy(features.texts[features.prompt_of]).to(self.device)
        self.mos = {
            target: torch.tensor(values, dtype=torch.float32, device=self.device)
            for target, values in self.data.mos.items()
        }

    def epoch(self, epoch: int) -> list[dict[str, float]]:
        """Train every member once over its images; the measures of each."""
        started, losses = time.perf_counter(), self._train(epoch)
        measures = self.validation_measures()
        subsets = np.stack([trainer.data.train_subset for trainer in self.trainers])
        for member, columns in enumerate(self._columns(subsets)):
            measures[member] |= gap_measures(columns, measures[member]) | losses[member]
        seconds = (time.perf_counter() - started) / len(measures)  # of all, shared out evenly
        return [found | {"seconds_per_epoch": seconds} for found in measures]

    def validation_measures(self) -> list[dict[str, float]]:
        """Measures of each member on the validation part."""
        rows = np.stack([trainer.data.validation for trainer in self.trainers])
        pairs = zip(self._columns(rows), self.configs, strict=True)
        return [validation_measures(columns, c.train.selection_metric) for columns, c in pairs]

    def state(self, member: int) -> dict[str, Tensor]:
        """A copy, on the CPU, of a member's state, as `trained_state` gives it."""
        everything = self.parameters | self.buffers
        return {f"heads.{n}": everything[n][member].detach().cpu().clone() for n in self.kept}

    def _train(self, epoch: int) -> list[dict[str, float]]:
        """Every member's steps of an epoch; mean losses and the last rate of each."""
        self.template.train()
        seeds = [derived_seed(seed, "epoch", epoch) for seed in self.seeds]
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        # A seed fixes order and dropout, so members of one seed share both: draw per seed, once.
        orders = np.stack([self._order(seed, epoch) for seed in self.seeds])  # (seeds, n)
        size, per_epoch = self.configs[0].train.batch_size, self.trainers[0].steps_per_epoch
        total_steps = self.trainers[0].total_steps
        sums: dict[str, Tensor] = {}
        factors: list[float] = []
        for step in range(per_epoch):
            rows = orders[:, step * size : (step + 1) * size]
            position = (epoch - 1) * per_epoch + step
            factors = [lr_factor(position, total_steps, per_epoch, c.optim) for c in self.configs]
            for name, values in self._step(rows, generators, factors).items():
                sums[name] = sums.get(name, torch.zeros(())) + values.cpu() * rows.shape[1]
        means = {name: (values / orders.shape[1]).tolist() for name, values in sums.items()}
        return [
            {name: values[member] for name, values in means.items()}
            | {"lr": factors[member] * float(config.optim.lr or 0.0)}
            for member, config in enumerate(self.configs)
        ]

    def _order(self, seed: int, epoch: int) -> np.ndarray:
        rng = np.random.default_rng(derived_seed(seed, "order", epoch))
        return rng.permutation(self.train_of[seed])

    def _step(
        self, rows: np.ndarray, generators: Sequence[torch.Generator], factors: Sequence[float]
    ) -> dict[str, Tensor]:
        """One step on rows (seeds, batch); the losses (members,) by name."""
        images = self._drawn_images(rows, generators)
        self._draw_masks(generators, rows.shape[1])
        # one seed: all members read the same images, which then need not be repeated
        of_members = 0 if len(self.seeds) == 1 else self.seed_of
        output = self._forward(rows[of_members], images[of_members])
        parts: dict[str, Tensor] = {}
        loss = torch.zeros((), device=self.device)
        for target, values in self.mos.items():
            mos, predicted = values[torch.from_numpy(rows[self.seed_of])], output[target.prediction]
            error = predicted - with_missing_filled(mos, predicted)
            parts[f"loss_{target.letter}"] = error.square().mean(dim=1)
            weight: float = getattr(self.configs[0].loss, f"w_{target.letter}")
            loss = loss + weight * parts[f"loss_{target.letter}"]
        # Members share no parameter, so the gradient of the sum is each one's own gradient.
        gradients = torch.autograd.grad(loss.sum(), list(self.parameters.values()))
        self.optimizer.step(gradients, factors)
        return {name: value.detach() for name, value in (parts | {"loss": loss}).items()}

    def _drawn_images(self, rows: np.ndarray, generators: Sequence[torch.Generator]) -> Tensor:
        """Embeddings (seeds, batch, width) of rows, over the pictures that each seed draws."""
        chosen = torch.from_numpy(rows)
        if self.trained.ndim == 2:
            return self.trained[chosen]
        drawn = (self.data.features.draw(rows.shape[1], generator) for generator in generators)
        pictures = torch.stack([own for own in drawn if own is not None])
        seen = self.trained[chosen[..., None], pictures]
        return seen[..., 0, :] if pictures.shape[-1] == 1 else average_views(seen)

    def _draw_masks(self, generators: Sequence[torch.Generator], rows: int) -> None:
        """Masks (members, rows, hidden) of each dropout, as each member alone would draw them."""
        keep = 1 - self.configs[0].head.dropout
        for name, hidden in self.hidden.items():
            drawn = [torch.empty(rows, hidden).bernoulli_(keep, generator=g) for g in generators]
            masks = torch.stack(drawn).div_(keep)[torch.from_numpy(self.seed_of)]
            self.buffers[f"{name}.mask"] = masks.to(self.device)

    def _forward(self, rows: np.ndarray, images: Tensor | None = None) -> dict[str, Tensor]:
        """Named parts (members, batch) on rows (batch,), or (members, batch) of each its own.

        Args:
            rows: Rows of the table.
            images: Their embeddings; None takes those over all views.
        """
        chosen = torch.from_numpy(np.array(rows))
        img = self.averaged[chosen] if images is None else images
        txt = self.txt[chosen]
        shared = None if rows.ndim == 1 else 0  # vmap's axis: none where all read the same rows

        def one(parameters: dict, buffers: dict, img: Tensor, txt: Tensor) -> dict[str, Tensor]:
            cos = (img * txt).sum(dim=-1)
            output = functional_call(self.template, (parameters, buffers), (img, txt, cos))
            return {name: part for name, part in vars(output).items() if part is not None}

        batched = vmap(one, in_dims=(0, 0, shared, shared))
        return batched(self.parameters, self.buffers, img, txt)

    @torch.no_grad()
    def _columns(self, rows: np.ndarray) -> list[dict[str, np.ndarray]]:
        """Each member's predictions and scores on its rows (members, n), in eval mode."""
        self.template.eval()
        same = bool((rows == rows[0]).all())
        output = self._forward(rows[0] if same else rows)
        parts = {name: part.double().cpu().numpy() for name, part in output.items()}
        scales = self._scales()
        return [
            {name: values[member] for name, values in parts.items()}
            | {name: np.full(rows.shape[1], values[member]) for name, values in scales.items()}
            | self.data.mos_columns(rows[member])
            for member in range(len(rows))
        ]

    def _scales(self) -> dict[str, np.ndarray]:
        scales: dict[str, np.ndarray] = {}
        for name in ("residual_scale_q", "residual_scale_c"):
            if f"{name}.logit" in self.parameters:  # learnable; else fixed, or absent
                scales[name] = torch.sigmoid(self.parameters[f"{name}.logit"]).cpu().numpy()
            elif f"{name}.value" in self.buffers:
                scales[name] = self.buffers[f"{name}.value"].cpu().numpy()
        return scales


def _in_order_of_gradient(value: Tensor) -> Tensor:
    """Stacked weights (members, out, in) in the memory order of their gradients, input first.

    The optimizer then need not copy gradients, which are too large together for any cache.
    """
    if value.ndim < 3:
        return value
    return value.detach().mT.contiguous().mT.requires_grad_()
