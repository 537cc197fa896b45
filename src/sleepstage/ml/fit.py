"""Fit networks to nights; held-out subjects select the training epochs and how to decide."""

from __future__ import annotations

import logging
import math
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.optim.swa_utils import AveragedModel

from sleepstage.core.agreement import agreement
from sleepstage.errors import DataError
from sleepstage.ml.dataset import Example, batches, class_counts, example
from sleepstage.ml.networks import CausalNetwork, WholeNightNetwork
from sleepstage.stages import SCHEMES, UNSCORED, Scheme

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from sleepstage.io.source import Progress
    from sleepstage.ml.config import TrainingConfig
    from sleepstage.ml.dataset import PreparedNight

_log = logging.getLogger(__name__)

Network = CausalNetwork | WholeNightNetwork


class Members(NamedTuple):
    """An ensemble, and the probabilities of validation subjects."""

    networks: list[Network]
    """On the CPU."""
    n_training_epochs: int
    """How long each was fitted."""
    validation: dict[str, NDArray[np.float32]]
    """Probabilities (n_epochs + look_ahead, n_classes) of each training person's night, by a
    network fitted that long without them."""


@dataclass
class _Progress:
    """Counts training epochs and reports them."""

    planned: int
    on_epoch: Progress | None
    done: int = 0

    def report(self, remark: str) -> None:
        self.done += 1
        _log.info("training epoch %d of %d: %s", self.done, self.planned, remark)
        if self.on_epoch:
            self.on_epoch(self.done, self.planned, remark)


def fit_members(
    nights: Sequence[PreparedNight],
    groups: Sequence[Sequence[str]],
    config: TrainingConfig,
    *,
    on_epoch: Progress | None = None,
) -> Members:
    """Find out how long to fit on people taken out, then fit an ensemble that long on all.

    Each group of people validates a network fitted without them. The number of epochs after which
    the mean of their kappas is highest is what all members are fitted for. With two dozen people,
    a few more to learn from matter more than any other choice here; and the mean of a few networks
    is steadier than each (Krogh & Vedelsby 1994, NeurIPS 7).

    Calls `on_epoch` with epochs done, epochs planned, and a remark.
    """
    people = {night.subject: example(night, config) for night in nights}
    longest = config.training_epochs or config.max_training_epochs
    progress = _Progress((len(groups) + config.members) * longest, on_epoch)
    outputs, kappas = zip(
        *(
            _take_out(
                people,
                group,
                replace(config, seed=config.seed + number, training_epochs=longest),
                progress,
            )
            for number, group in enumerate(groups)
        ),
        strict=True,
    )
    mean = np.nan_to_num(np.array(kappas)).mean(axis=0)
    n_training_epochs = config.training_epochs or int(mean.argmax()) + 1
    kappa = mean[n_training_epochs - 1]
    _log.info("%d training epochs, validation kappa %.3f", n_training_epochs, kappa)
    progress.planned = progress.done + config.members * n_training_epochs
    networks = [
        fit(
            list(people.values()),
            replace(
                config,
                seed=config.members * config.seed + member,
                training_epochs=n_training_epochs,
            ),
            after=lambda _, loss: progress.report(f"loss {loss:.3f}, final fit on all"),
        )
        for member in range(config.members)
    ]
    validation = {
        subject: probabilities
        for passes in outputs
        for subject, probabilities in passes[n_training_epochs - 1].items()
    }
    return Members(networks, n_training_epochs, validation)


def _take_out(
    people: dict[str, Example], group: Sequence[str], config: TrainingConfig, progress: _Progress
) -> tuple[list[dict[str, NDArray[np.float32]]], list[float]]:
    """Fit to the others; probabilities and kappa of the group after each training epoch."""
    _log.info("without %s, who validate", ", ".join(group))
    held_out = {subject: people[subject] for subject in group}
    passes: list[dict[str, NDArray[np.float32]]] = []
    kappas: list[float] = []

    def validate(network: Network, loss: float) -> None:
        predicted = predict(network, [one.rows for one in held_out.values()])
        passes.append(dict(zip(held_out, predicted, strict=True)))
        kappas.append(_kappa(held_out, passes[-1], SCHEMES[config.scheme]))
        progress.report(f"loss {loss:.3f}, validation kappa {kappas[-1]:.3f}")

    others = [one for subject, one in people.items() if subject not in held_out]
    fit(others, config, after=validate)
    return passes, kappas


def fit(
    examples: Sequence[Example],
    config: TrainingConfig,
    *,
    after: Callable[[Network, float], None] | None = None,
) -> Network:
    """Fit one network for the configured number of training epochs.

    Its weights are a running mean over the steps (Polyak & Juditsky 1992, SIAM J Control Optim
    30(4) 838-855) at a constant learning rate, so that the network after a number of epochs does
    not depend on how many were planned. The same seed gives the same weights.

    After each pass `after` is called with the network so far and the mean loss.
    """
    device = _choose_device(config.device)
    with _own_torch(config.seed):
        rng = np.random.default_rng(config.seed)
        mean_F, std_F = _moments(examples)
        network = _new_network(mean_F, std_F, config).to(device)
        averaged = AveragedModel(network, avg_fn=partial(_running_mean, decay=config.averaging))
        mean_network = cast("Network", averaged.module)
        loss_of = nn.CrossEntropyLoss(
            _class_weights(examples, config).to(device),
            ignore_index=UNSCORED,
            label_smoothing=config.label_smoothing,
        )
        optimizer = torch.optim.AdamW(
            network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        warm_up = torch.optim.lr_scheduler.LinearLR(
            optimizer, 1 / config.warm_up_steps, total_iters=config.warm_up_steps
        )
        for _ in range(config.training_epochs):
            network.train()
            losses = []
            for rows_BTF, codes_BT, lengths_B in batches(examples, config, std_F, rng):
                logits_BTC = network.score(rows_BTF.to(device), lengths_B.to(device))
                loss = loss_of(logits_BTC.flatten(0, 1), codes_BT.to(device).flatten())
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                warm_up.step()
                averaged.update_parameters(network)
                losses.append(loss.item())
            if after:
                after(mean_network.eval(), float(np.mean(losses)))
    return mean_network.cpu().eval()


@torch.no_grad()
def predict(network: Network, nights: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Probabilities (n_rows, n_classes) of the rows of each night, all of them at once."""
    device = next(network.parameters()).device
    rows_BTF = pad_sequence([torch.tensor(rows) for rows in nights], batch_first=True).to(device)
    lengths_B = torch.tensor([len(rows) for rows in nights], device=device)
    probabilities_BTC = network.score(rows_BTF, lengths_B).softmax(dim=-1).cpu().numpy()
    return [one[: len(rows)] for one, rows in zip(probabilities_BTC, nights, strict=True)]


def _running_mean(mean: Tensor, new: Tensor, n: Tensor | int, *, decay: float) -> Tensor:
    """Exponential mean that forgets its beginning sooner while it is young."""
    return mean.lerp(new, max(1 - decay, 9 / (10 + float(n))))


@contextmanager
def _own_torch(seed: int) -> Iterator[None]:
    """Seed torch, on one thread, and leave its global state as it was.

    A network this small is several times faster on one thread than on two, and sums come out
    the same on every machine.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(n_threads)


def _choose_device(name: str) -> torch.device:
    if name != "auto":
        try:
            return torch.empty(0, device=name).device
        except (RuntimeError, AssertionError) as error:
            msg = f"device {name!r} is not available; use auto, or cpu, cuda or mps"
            raise DataError(msg) from error
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _moments(examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each column over what is known."""
    rows = np.concatenate([one.rows for one in examples])
    known = ~np.isnan(rows)
    # A column that nobody has, or that never changes, is left as it is.
    n_known = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, rows, 0).sum(axis=0) / n_known
    std = np.sqrt((np.where(known, rows - mean, 0) ** 2).sum(axis=0) / n_known)
    std[std < 1e-6] = 1.0
    return torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32)


def _new_network(mean_F: Tensor, std_F: Tensor, config: TrainingConfig) -> Network:
    n_classes, n_trace = len(SCHEMES[config.scheme]), len(config.columns) - len(config.features)
    build = partial(config.network.build, n_classes=n_classes, n_trace=n_trace)
    if config.whole_night:
        return WholeNightNetwork(*map(build, mean_F.chunk(2), std_F.chunk(2)))
    return build(mean_F, std_F)


def _class_weights(examples: Sequence[Example], config: TrainingConfig) -> Tensor:
    counts = class_counts([one.codes for one in examples], SCHEMES[config.scheme])
    weights = (counts.sum() / (len(counts) * counts)) ** config.class_balance
    return torch.tensor(weights, dtype=torch.float32)


def _kappa(
    held_out: dict[str, Example], outputs: dict[str, NDArray[np.float32]], scheme: Scheme
) -> float:
    """Cohen's kappa over all epochs of the validation people."""
    codes = np.concatenate([held_out[subject].codes for subject in outputs])
    guesses = np.concatenate([one.argmax(axis=1).astype(np.int8) for one in outputs.values()])
    scored = codes != UNSCORED
    kappa = agreement(codes[scored], guesses[scored], scheme).kappa
    return math.nan if kappa is None else kappa
