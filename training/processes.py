"""Several processes that fit one network together, started by torchrun. Usually there is only one process."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch import distributed as dist


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Join the group of processes that torchrun started, and leave it at the end.

    Without torchrun this context has no effect.

    Args:
        device: the device to compute on.

    Raises:
        ValueError: this machine has fewer CUDA devices than processes.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield
        return
    if device.type == "cuda":
        local_rank, devices = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local_rank >= devices:
            raise ValueError(
                f"device cuda: this machine has {devices} CUDA devices, but process {local_rank + 1} needs its own"
            )
        torch.cuda.set_device(local_rank)  # from here on "cuda" means this device
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
        dist.barrier()  # gloo aborts a process if its peer leaves the group while the two still communicate
    finally:
        gc.collect()  # a remaining reference to the group would keep its threads, which abort the process at exit
        dist.destroy_process_group()


def count() -> int:
    """The number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The rank of this process. The process of rank 0 prints messages and writes files for all processes."""
    return dist.get_rank() if dist.is_initialized() else 0


def check_divisible(field: str, rows: int, among: int) -> None:
    """Check that the rows of a batch divide evenly among processes.

    Args:
        field: the field of the recipe, for the error message.
        rows: the value of the field.
        among: the number of processes.

    Raises:
        ValueError: the rows do not divide evenly.
    """
    if rows % among:
        raise ValueError(f"{field}: {rows} rows do not divide evenly among {among} processes")


def add_up(values: Tensor) -> Tensor:
    """Sum the values of all processes, in place; without torchrun the values are unchanged."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values
