"""Fit networks to nights, and let people taken out of the training part say how long."""

from __future__ import annotations

import logging
import math
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.optim.swa_utils import AveragedModel

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

__all__ = ["Pass", "fit", "fit_members"]

_log = logging.getLogger(__name__)

_LOSABLE: Final = ("heart_rate", "motion")


class Pass(NamedTuple):
    """One pass over the nights; kappa is NaN without people to measure it on."""

    number: int
    loss: float
    validation_kappa: float


def fit_members(
    nights: Sequence[Night],
    groups: Sequence[Sequence[str]],
    config: TrainingConfig,
    *,
    on_pass: Callable[[int, int, str], None] | None = None,
) -> tuple[list[LSTMNetwork], int]:
    """Find out how long to fit on people taken out, then fit an ensemble that long on all.

    Each group of people validates a network fitted without them. The number of passes after which
    the mean of their kappas is highest is what all members are fitted for. With two dozen people,
    a few more to learn from matter more than any other choice here; and the mean of a few networks
    is steadier than each (Krogh & Vedelsby 1994, NeurIPS 7).

    Parameters
    ----------
    nights : sequence of Night
        Of the training people.
    groups : sequence of sequence of str
        Their names.
    config : TrainingConfig
        How.
    on_pass : callable, optional
        Called with passes done, passes planned, and a remark.

    Returns
    -------
    networks : list of LSTMNetwork
        As many as the configuration's members, on the CPU.
    n_passes : int
        How long each was fitted.
    """
    done, planned = 0, (len(groups) + config.members) * config.max_passes

    def tell(one: Pass) -> None:
        nonlocal done
        done += 1
        remark = f"loss {one.loss:.3f}, validation kappa {one.validation_kappa:.3f}"
        _log.info("pass %d: %s", one.number, remark)
        if on_pass:
            on_pass(done, planned, remark)

    curves = []
    for number, group in enumerate(groups):
        _log.info("without %s, who validate", ", ".join(group))
        _, passes = fit(
            [night for night in nights if night.subject not in group],
            replace(config, seed=config.seed + number),
            n_passes=config.max_passes,
            validation=[night for night in nights if night.subject in group],
            after=tell,
        )
        curves.append([one.validation_kappa for one in passes])
    mean = np.nan_to_num(np.array(curves)).mean(axis=0)
    n_passes = int(mean.argmax()) + 1
    _log.info("validation kappa is highest, %.3f, after %d passes", mean.max(), n_passes)

    def tell_final(one: Pass) -> None:
        nonlocal done
        done += 1
        if on_pass:
            remark = f"loss {one.loss:.3f}, validation kappa was {mean.max():.3f}"
            on_pass(done, len(groups) * config.max_passes + config.members * n_passes, remark)

    networks = [
        fit(
            nights,
            replace(config, seed=config.members * config.seed + member),
            n_passes=n_passes,
            after=tell_final,
        )[0]
        for member in range(config.members)
    ]
    return networks, n_passes


def fit(
    nights: Sequence[Night],
    config: TrainingConfig,
    *,
    n_passes: int,
    validation: Sequence[Night] = (),
    after: Callable[[Pass], None] | None = None,
) -> tuple[LSTMNetwork, list[Pass]]:
    """Fit one network.

    Its weights are a running mean over the steps (Polyak & Juditsky 1992, SIAM J Control Optim
    30(4) 838-855) at a constant learning rate, so that the network after a number of passes does
    not depend on how many were planned. The same seed gives the same weights.

    Parameters
    ----------
    nights : sequence of Night
        To learn from.
    config : TrainingConfig
        How.
    n_passes : int
        How often each night is seen.
    validation : sequence of Night, optional
        Other people, on whom the network is measured after each pass.
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
        averaged = AveragedModel(network, avg_fn=partial(_running_mean, decay=config.averaging))
        mean_network = cast("LSTMNetwork", averaged.module)
        weight_C = _class_weights(nights, config.class_balance).to(device)
        loss_of = nn.CrossEntropyLoss(
            weight_C, ignore_index=UNSCORED, label_smoothing=config.label_smoothing
        )
        optimizer = torch.optim.AdamW(
            network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        warm_up = torch.optim.lr_scheduler.LinearLR(
            optimizer, 1 / config.warm_up_steps, total_iters=config.warm_up_steps
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
                warm_up.step()
                averaged.update_parameters(network)
                losses.append(loss.item())
            kappa = _validate(mean_network, validation, columns)
            passes.append(Pass(number, float(np.mean(losses)), kappa))
            if after:
                after(passes[-1])
    return mean_network.cpu().eval(), passes


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
            msg = f"device {name!r} is not to be had here; use auto, or cpu, cuda or mps"
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
def _validate(network: LSTMNetwork, nights: Sequence[Night], columns: list[int]) -> float:
    """Cohen's kappa over all epochs of the validation people."""
    if not nights:
        return math.nan
    network.eval()
    predicted = []
    for night in nights:
        rows_BTF = torch.tensor(night.rows[np.newaxis][..., columns], device=network.mean_F.device)
        logits_BTC, _ = network(rows_BTF, network.begin(1))
        predicted.append(logits_BTC[0].argmax(dim=-1).cpu().numpy().astype(np.int8))
    codes = np.concatenate([night.codes for night in nights])
    scored = codes != UNSCORED
    kappa = agreement(codes[scored], np.concatenate(predicted)[scored], FOUR_CLASS).kappa
    return math.nan if kappa is None else kappa
