"""Several processes that fit one network together, as torchrun starts them; one alone is the usual case."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch import distributed as dist


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun started beside this one, if it did, and leave them at the end."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield
        return
    if device.type == "cuda":
        local, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= there:
            raise ValueError(f"device cuda: process {local + 1} of this machine, which has {there}")
        torch.cuda.set_device(local)  # what "cuda" means from here on
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
        dist.barrier()  # gloo aborts a process whose group is taken down while another still speaks to it
    finally:
        gc.collect()  # what still holds the group would keep its threads to the end of the process, and abort it there
        dist.destroy_process_group()


def count() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is; the first, 0, speaks and writes for all."""
    return dist.get_rank() if dist.is_initialized() else 0


def check_divisible(field: str, rows: int, among: int) -> None:
    """Check that the rows of a batch divide evenly among processes.

    Args:
        field: the field of the recipe, for the message.
        rows: its value.
        among: the number of processes.

    Raises:
        ValueError: the rows do not divide evenly.
    """
    if rows % among:
        raise ValueError(f"{field}: {rows} rows do not divide evenly among {among} processes")


def add_up(values: Tensor) -> Tensor:
    """The sum over all processes of their values."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values
