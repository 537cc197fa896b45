"""Fit a network to nights, and let the validation people say how long."""

from __future__ import annotations

import logging
import math
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from sleepstage.errors import DataError
from sleepstage.features import FEATURE_NAMES, FEATURES
from sleepstage.metrics import agreement
from sleepstage.stages import FOUR_CLASS, UNSCORED
from sleepstage.training.network import LSTMConfig, LSTMNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.random import Generator

    from sleepstage.training.nights import Night

__all__ = ["DEFAULT_FEATURES", "Pass", "TrainingConfig", "fit", "fit_with_early_stopping"]

_log = logging.getLogger(__name__)

DEFAULT_FEATURES: Final = tuple(
    name
    for name in FEATURE_NAMES
    if name not in {"hr_trend_10m", "hr_age", "motion_windows_5m", "steps_24h", "since_walk"}
)
"""Features that help on people not trained on; `docs/approach.md` has the measurements."""

_LOSABLE: Final = ("heart_rate", "motion")


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained; `docs/approach.md` says how the values were found.

    Attributes
    ----------
    features : tuple of str
        Input columns.
    network : LSTMConfig
        Size of the network.
    max_passes, patience : int
        Passes over the training people at most, and without a better validation loss.
    batch_size : int
        Nights per step.
    learning_rate, weight_decay : float
        Of AdamW; the rate follows a one-cycle schedule.
    class_balance : float
        Exponent of the inverse class frequency as weight: 0 none, 1 full balance.
    label_smoothing : float
        Experts agree in four epochs of five only: no label is certain.
    noise, offset : float
        Random change of each value, and one for a whole night, in standard deviations.
    crop_epochs, crop_share : int, float
        This share of the nights is cut to a stretch of this length.
    signal_dropout : float
        Share of the nights from which heart rate or motion is taken away.
    validation_share : float
        Share of the training people that are set apart for choices.
    seed : int
        Of the split, the weights and the order.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``mps``.
    """

    features: tuple[str, ...] = DEFAULT_FEATURES
    network: LSTMConfig = field(default_factory=LSTMConfig)
    max_passes: int = 40
    patience: int = 12
    batch_size: int = 4
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    class_balance: float = 0.5
    label_smoothing: float = 0.05
    noise: float = 0.1
    offset: float = 0.1
    crop_epochs: int = 480
    crop_share: float = 0.5
    signal_dropout: float = 0.1
    validation_share: float = 0.15
    seed: int = 0
    device: str = "auto"


class Pass(NamedTuple):
    """One pass over the training people; NaN without validation people."""

    number: int
    loss: float
    validation_loss: float
    validation_kappa: float


def fit_with_early_stopping(
    train: Sequence[Night],
    validation: Sequence[Night],
    config: TrainingConfig,
    *,
    on_pass: Callable[[int, int, str], None] | None = None,
) -> tuple[LSTMNetwork, list[Pass]]:
    """Find the number of passes on `validation`, then fit that long to both groups together.

    With two dozen people, four more to learn from are worth more than any other choice here.

    Parameters
    ----------
    train, validation : sequence of Night
        Different people.
    config : TrainingConfig
        How.
    on_pass : callable, optional
        Called with passes done, passes planned and a remark with loss and validation kappa.

    Returns
    -------
    network : LSTMNetwork
        Fitted to all nights, on the CPU.
    passes : list of Pass
        How the first fit went.
    """
    planned = 2 * config.max_passes

    def first(done: Pass) -> None:
        remark = f"loss {done.loss:.3f}, validation kappa {done.validation_kappa:.3f}"
        _log.info("pass %d: %s", done.number, remark)
        if on_pass:
            on_pass(done.number, planned, remark)

    _, passes = fit(train, config, n_passes=config.max_passes, validation=validation, after=first)
    best = min(passes, key=lambda one: one.validation_loss)
    _log.info("best after %d passes; fitting so long to all %d people", *best[:1], len(train))

    def second(done: Pass) -> None:
        if on_pass:
            remark = f"loss {done.loss:.3f}, validation kappa was {best.validation_kappa:.3f}"
            on_pass(len(passes) + done.number, len(passes) + best.number, remark)

    network, _ = fit([*train, *validation], config, n_passes=best.number, after=second)
    return network.cpu(), passes


def fit(
    nights: Sequence[Night],
    config: TrainingConfig,
    *,
    n_passes: int,
    validation: Sequence[Night] = (),
    after: Callable[[Pass], None] | None = None,
) -> tuple[LSTMNetwork, list[Pass]]:
    """Fit for `n_passes`, fewer if `validation` does not get better for long.

    The same seed gives the same weights.
    """
    device = _choose_device(config.device)
    columns = [FEATURE_NAMES.index(name) for name in config.features]
    with _own_torch(config.seed):
        rng = np.random.default_rng(config.seed)
        network = _new_network(nights, columns, config).to(device)
        weight_C = _class_weights(nights, config.class_balance).to(device)
        loss_of = nn.CrossEntropyLoss(
            weight_C, ignore_index=UNSCORED, label_smoothing=config.label_smoothing
        )
        n_steps = n_passes * math.ceil(len(nights) / config.batch_size)
        optimizer = torch.optim.AdamW(
            network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, config.learning_rate, total_steps=n_steps
        )
        passes: list[Pass] = []
        for number in range(1, n_passes + 1):
            network.train()
            losses = []
            for rows_BTF, codes_BT in _batches(nights, columns, config, network.std_F.cpu(), rng):
                logits_BTC, _ = network(rows_BTF.to(device), network.begin(len(rows_BTF)))
                loss = loss_of(logits_BTC.flatten(0, 1), codes_BT.to(device).flatten())
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
            passes.append(
                Pass(number, float(np.mean(losses)), *_validate(network, validation, columns))
            )
            if after:
                after(passes[-1])
            best = min(passes, key=lambda one: one.validation_loss)
            if validation and number - best.number >= config.patience:
                break
    return network, passes


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
            msg = f"device {name!r} is not to be had here ({str(error).splitlines()[0]}); use auto"
            raise DataError(msg) from error
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _new_network(
    nights: Sequence[Night], columns: list[int], config: TrainingConfig
) -> LSTMNetwork:
    rows = np.concatenate([night.rows[:, columns] for night in nights])
    known = ~np.isnan(rows)
    # A column that nobody has, or that never changes, is left as it is.
    n_known = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, rows, 0).sum(axis=0) / n_known
    std = np.sqrt((np.where(known, rows - mean, 0) ** 2).sum(axis=0) / n_known)
    std[std < 1e-6] = 1.0
    return LSTMNetwork(
        torch.tensor(mean, dtype=torch.float32),
        torch.tensor(std, dtype=torch.float32),
        len(FOUR_CLASS),
        config.network,
    )


def _class_weights(nights: Sequence[Night], balance: float) -> Tensor:
    codes = np.concatenate([night.codes for night in nights])
    counts = np.bincount(codes[codes != UNSCORED], minlength=len(FOUR_CLASS))
    if not counts.all():
        missing = ", ".join(
            name for name, count in zip(FOUR_CLASS.classes, counts, strict=True) if not count
        )
        msg = f"no epoch of {missing} in the {len(nights)} training nights; use another seed"
        raise DataError(msg)
    weights = (counts.sum() / (len(counts) * counts)) ** balance
    return torch.tensor(weights, dtype=torch.float32)


def _batches(
    nights: Sequence[Night],
    columns: list[int],
    config: TrainingConfig,
    std_F: Tensor,
    rng: Generator,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Augmented nights in random order, padded with epochs that don't count."""
    order = rng.permutation(len(nights))
    for begin in range(0, len(nights), config.batch_size):
        chosen = [nights[i] for i in order[begin : begin + config.batch_size]]
        pairs = [_augment(night, columns, config, std_F, rng) for night in chosen]
        rows_TF, codes_T = zip(*pairs, strict=True)
        yield (
            pad_sequence(list(rows_TF), batch_first=True),
            pad_sequence(list(codes_T), batch_first=True, padding_value=UNSCORED),
        )


def _augment(
    night: Night, columns: list[int], config: TrainingConfig, std_F: Tensor, rng: Generator
) -> tuple[Tensor, Tensor]:
    """Another night that the same person might have had."""
    begin, end = 0, len(night.codes)
    if rng.random() < config.crop_share and end > config.crop_epochs:
        # Starts of nights more often than chance: there the network has no state to lean on.
        begin = 0 if rng.random() < 0.3 else int(rng.integers(end - config.crop_epochs))
        end = begin + config.crop_epochs
    rows = night.rows[begin:end, columns].astype(np.float64)
    shift = rng.normal(0, config.offset, size=(1, len(columns)))
    rows = rows + std_F.numpy() * (rng.normal(0, config.noise, size=rows.shape) + shift)
    if rng.random() < config.signal_dropout:
        signals = np.array([FEATURES[column].signal for column in columns])
        rows[:, signals == rng.choice(_LOSABLE)] = np.nan
    codes = night.codes[begin:end].astype(np.int64)
    return torch.tensor(rows, dtype=torch.float32), torch.tensor(codes)


@torch.no_grad()
def _validate(
    network: LSTMNetwork, nights: Sequence[Night], columns: list[int]
) -> tuple[float, float]:
    """Mean loss and Cohen's kappa over all epochs of the validation people."""
    if not nights:
        return math.nan, math.nan
    network.eval()
    all_logits, all_codes = [], []
    for night in nights:
        rows_BTF = torch.tensor(night.rows[np.newaxis][..., columns], device=network.mean_F.device)
        logits_BTC, _ = network(rows_BTF, network.begin(1))
        scored = night.codes != UNSCORED
        all_logits.append(logits_BTC[0].cpu()[torch.tensor(scored)])
        all_codes.append(night.codes[scored])
    logits, codes = torch.cat(all_logits), np.concatenate(all_codes)
    loss = nn.functional.cross_entropy(logits, torch.tensor(codes, dtype=torch.int64)).item()
    kappa = agreement(codes, logits.argmax(dim=-1).numpy().astype(np.int8), FOUR_CLASS).kappa
    return loss, math.nan if kappa is None else kappa
