"""Fit networks to nights, each without a group of people, who then select how to decide."""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from threading import Event, Lock
from typing import Final, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.optim.swa_utils import AveragedModel

from sleepstage.core.agreement import agreement
from sleepstage.engine.features import mark_known
from sleepstage.errors import DataError
from sleepstage.io.source import Progress
from sleepstage.ml.config import TrainingConfig
from sleepstage.ml.dataset import Example, PreparedNight, batches, class_counts, example, input_rows
from sleepstage.ml.networks import CausalNetwork, Dropout, WholeNightNetwork
from sleepstage.stages import SCHEMES, UNSCORED

_log = logging.getLogger(__name__)
_global_generator: Final = Lock()

Network = CausalNetwork | WholeNightNetwork


class Members(NamedTuple):
    """An ensemble, and the probabilities of validation subjects."""

    networks: list[Network]
    """On the CPU, one for each group that was left out."""
    validation: dict[str, NDArray[np.float32]]
    """Probabilities (n_epochs + look_ahead, n_classes) of each training person's night, by the
    network that was fitted without them."""


def fit_members(
    nights: Sequence[PreparedNight],
    groups: Sequence[Sequence[str]],
    configs: Sequence[TrainingConfig],
    *,
    on_epoch: Progress | None = None,
) -> Members:
    """Fit a network for each group of people, to all others; the configurations take turns.

    Together they are the model: the mean of networks that were fitted to different people is
    steadier than any of them (Krogh & Vedelsby 1994, NeurIPS 7). Each also predicts the group that
    was held out from it, which selects prior, temperature and operating point without another fit.

    As many are fitted at a time as torch has threads; the results do not depend on it. Calls
    `on_epoch`, from any thread but one at a time, with training epochs done, of all, and a remark.
    """
    kinds = [configs[number % len(configs)] for number in range(len(groups))]
    planned, done = sum(config.training_epochs for config in kinds), 0
    reporting, stopped = Lock(), Event()

    def report(number: int, loss: float) -> None:
        nonlocal done
        if stopped.is_set():
            raise CancelledError
        with reporting:
            done += 1
            remark = f"network {number + 1} of {len(groups)}, loss {loss:.3f}"
            _log.info("training epoch %d of %d: %s", done, planned, remark)
            if on_epoch:
                on_epoch(done, planned, remark)

    def member(number: int) -> tuple[Network, dict[str, NDArray[np.float32]]]:
        group, config = groups[number], kinds[number]
        others = [example(night, config) for night in nights if night.subject not in group]
        held_out = [night for night in nights if night.subject in group]
        seed = len(groups) * config.seed + number
        network = fit(others, replace(config, seed=seed), after=partial(report, number))
        predicted = predict(network, [input_rows(night, config) for night in held_out])
        kappa = _kappa(held_out, predicted, config)
        _log.info("network %d: validation kappa %s", number + 1, kappa)
        return network, dict(zip([night.subject for night in held_out], predicted, strict=True))

    with _one_thread() as n_threads, ThreadPoolExecutor(n_threads) as pool:
        fits = [pool.submit(member, number) for number in range(len(groups))]
        try:
            for one in as_completed(fits):
                one.result()
        finally:
            stopped.set()  # after an error or an interruption, the others end at once
            pool.shutdown(wait=False, cancel_futures=True)
    networks, predictions = zip(*(one.result() for one in fits), strict=True)
    return Members(list(networks), {name: p for one in predictions for name, p in one.items()})


def fit(
    examples: Sequence[Example],
    config: TrainingConfig,
    *,
    after: Callable[[float], None] | None = None,
) -> Network:
    """Fit one network for the configured number of training epochs.

    Its weights are a running mean over the steps (Polyak & Juditsky 1992, SIAM J Control Optim
    30(4) 838-855) at a constant learning rate. The same seed gives the same weights.

    After each pass `after` is called with the mean loss.
    """
    device = _choose_device(config.device)
    with _one_thread(), ExitStack() as seeded:
        seeded.enter_context(_seeded(config.seed))
        rng = np.random.default_rng(config.seed)
        mean_F, std_F = _moments(examples)
        network = _new_network(mean_F, std_F, config).to(device)
        averaged = AveragedModel(network, avg_fn=partial(_running_mean, decay=config.averaging))
        recurrent = [one for one in network.modules() if isinstance(one, nn.RNNBase)]
        # Between stacked recurrent layers torch drops out by itself.
        if device.type == "cpu" and not any(one.dropout for one in recurrent):
            generator = torch.Generator()
            generator.set_state(torch.get_rng_state())
            for module in network.modules():
                if isinstance(module, Dropout):
                    module.generator = generator
            seeded.close()  # from here on, it shares nothing with what other threads fit
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
                after(float(np.mean(losses)))
    return mean_network.cpu().eval()


@torch.no_grad()
def predict(network: Network, nights: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Probabilities (n_rows, n_classes) of the rows of each night, all of them at once."""
    device = next(network.parameters()).device
    marked = [torch.tensor(mark_known(rows)) for rows in nights]
    rows_BTF = pad_sequence(marked, batch_first=True).to(device)
    lengths_B = torch.tensor([len(rows) for rows in nights], device=device)
    probabilities_BTC = network.score(rows_BTF, lengths_B).softmax(dim=-1).cpu().numpy()
    return [one[: len(rows)] for one, rows in zip(probabilities_BTC, nights, strict=True)]


def _running_mean(mean: Tensor, new: Tensor, n: Tensor | int, *, decay: float) -> Tensor:
    """Exponential mean that forgets its beginning sooner while it is young."""
    return mean.lerp(new, max(1 - decay, 9 / (10 + float(n))))


@contextmanager
def _one_thread() -> Iterator[int]:
    """Let torch work on one thread; gives how many it had.

    A network this small is several times faster on one thread than on two, and sums come out
    the same on every machine.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield n_threads
    finally:
        torch.set_num_threads(n_threads)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's generator, which all threads share, and leave it as it was."""
    with _global_generator, torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


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
    nights: Sequence[PreparedNight],
    predicted: Sequence[NDArray[np.float32]],
    config: TrainingConfig,
) -> float | None:
    """Cohen's kappa over all epochs of people that were left out."""
    scheme = SCHEMES[config.scheme]
    expert = np.concatenate([night.codes_in(scheme) for night in nights])
    in_time = [rows[config.look_ahead :] for rows in predicted]
    guesses = np.concatenate(in_time).argmax(axis=1)
    scored = expert != UNSCORED
    return agreement(expert[scored], guesses[scored].astype(np.int8), scheme).kappa
