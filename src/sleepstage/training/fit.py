"""Fit a network to nights, and let the validation people say how long."""

from __future__ import annotations

import copy
import logging
import math
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from sleepstage.errors import DataError
from sleepstage.features import FEATURE_NAMES, FEATURES
from sleepstage.metrics import agreement
from sleepstage.stages import FOUR_CLASS, UNSCORED
from sleepstage.training.network import LSTMNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.random import Generator

    from sleepstage.training.config import TrainingConfig
    from sleepstage.training.nights import Night

__all__ = [
    "Pass",
    "best_pass",
    "fit",
    "fit_members",
]

_log = logging.getLogger(__name__)

_LOSABLE: Final = ("heart_rate", "motion")


class Pass(NamedTuple):
    """One pass over the training people; NaN without validation people."""

    number: int
    loss: float
    validation_loss: float
    validation_kappa: float


def fit_members(
    nights: Sequence[Night],
    groups: Sequence[Sequence[str]],
    config: TrainingConfig,
    *,
    on_pass: Callable[[int, int, str], None] | None = None,
) -> tuple[list[LSTMNetwork], list[list[Pass]]]:
    """Fit the networks of an ensemble, each without one of the groups, which says when to stop.

    So everyone serves for fitting and for validation, but never both for one network, and the
    mean of a few networks is steadier than each of them (Krogh & Vedelsby 1994, NeurIPS 7).

    Parameters
    ----------
    nights : sequence of Night
        Of the training people.
    groups : sequence of sequence of str
        Their names.
    config : TrainingConfig
        How.
    on_pass : callable, optional
        Called with passes done, passes planned at most, and a remark.

    Returns
    -------
    networks : list of LSTMNetwork
        As many as the configuration's members, on the CPU.
    passes : list of list of Pass
        How the fit of each went.
    """
    networks, histories = [], []
    for member in range(config.members):
        group = groups[member % len(groups)]
        _log.info("network %d of %d, validated on %s", member + 1, config.members, ", ".join(group))

        def tell(done: Pass, before: int = member * config.max_passes) -> None:
            remark = f"loss {done.loss:.3f}, validation kappa {done.validation_kappa:.3f}"
            _log.info("pass %d: %s", done.number, remark)
            if on_pass:
                on_pass(before + done.number, config.members * config.max_passes, remark)

        network, passes = fit(
            [night for night in nights if night.subject not in group],
            replace(config, seed=config.seed * config.members + member),
            validation=[night for night in nights if night.subject in group],
            after=tell,
        )
        best = best_pass(passes)
        _log.info("best after %d passes, validation kappa %.3f", best.number, best.validation_kappa)
        networks.append(network)
        histories.append(passes)
    return networks, histories


def best_pass(passes: Sequence[Pass]) -> Pass:
    """The pass with the lowest validation loss."""
    return min(passes, key=lambda one: one.validation_loss)


def fit(
    nights: Sequence[Night],
    config: TrainingConfig,
    *,
    validation: Sequence[Night] = (),
    after: Callable[[Pass], None] | None = None,
) -> tuple[LSTMNetwork, list[Pass]]:
    """Fit one network; with `validation`, keep its best state and stop when it gets no better.

    The same seed gives the same weights.

    Parameters
    ----------
    nights, validation : sequence of Night
        Different people.
    config : TrainingConfig
        How.
    after : callable, optional
        Called after each pass.

    Returns
    -------
    network : LSTMNetwork
        On the CPU.
    passes : list of Pass
        How it went.
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
        n_steps = config.max_passes * math.ceil(len(nights) / config.batch_size)
        optimizer = torch.optim.AdamW(
            network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, config.learning_rate, total_steps=n_steps
        )
        passes: list[Pass] = []
        kept = network.state_dict()
        for number in range(1, config.max_passes + 1):
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
            best = best_pass(passes).number if validation else number
            if best == number:
                kept = copy.deepcopy(network.state_dict())
            elif number - best >= config.patience:
                break
        network.load_state_dict(kept)
    return network.cpu(), passes


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
