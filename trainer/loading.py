"""Fetches batches, in this process or in workers."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterable, Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from trainer.errors import UserError
from trainer.interfaces import Batch, Dataset


def load_batches(
    dataset: Dataset, indices: Iterable[np.ndarray], *, workers: int, pin_memory: bool
) -> Generator[Batch]:
    """Return the batches of these samples, in their order.

    Workers start now, and end when what is returned is closed, or after an error.

    Args:
        dataset: Has the samples.
        indices: Of each batch.
        workers: How many processes fetch ahead; 0: this one does, when it is asked.
        pin_memory: Put what workers fetch where a GPU takes it without waiting.
    """
    if workers == 0:
        return _each(map(dataset.__getitems__, indices))
    loader = DataLoader(
        _Reporting(dataset),  # type: ignore[arg-type] - fetched by __getitems__ alone
        batch_sampler=indices,  # type: ignore[arg-type]
        collate_fn=_collated_already,  # type: ignore[arg-type]
        num_workers=workers,
        pin_memory=pin_memory,
        # Forked workers share the resident data and know the plugins loaded from files.
        multiprocessing_context="fork",
        # Its own generator: otherwise creating the iterator would draw from the global one.
        generator=torch.Generator(),
        worker_init_fn=_leave_signals_to_the_trainer,
    )
    return _each(iter(loader))


class _Reporting:
    """Gives a user's error in the place of a batch: raised in a worker it came as a traceback."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def __getitems__(self, indices: np.ndarray) -> Batch | UserError:
        try:
            return self._dataset.__getitems__(indices)
        except UserError as error:
            return error


def _each(batches: Iterator[Batch | UserError]) -> Generator[Batch]:
    """Yield the batches; what makes them has ended when this has."""
    try:
        for batch in batches:
            if isinstance(batch, UserError):
                raise batch
            yield batch
    except ConnectionError as error:  # before torch has noticed that the process is gone
        if not isinstance(batches, _MultiProcessingDataLoaderIter):
            raise
        raise RuntimeError(
            "a data-loader worker ended while it handed a batch over, as one that is killed by "
            "signal does, most often for want of memory: lower data.num_workers or data.batch_size"
        ) from error
    finally:
        # An error's traceback would keep the workers, and they this process, for ever.
        if isinstance(batches, _MultiProcessingDataLoaderIter):
            batches._shutdown_workers()


def _collated_already(batch: Batch | UserError) -> Batch | UserError:
    return batch


def _leave_signals_to_the_trainer(_: int) -> None:
    """Go on loading when a whole process group is told to stop: the loop still has to save."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
