"""The processes that train together: who this one is, as the environment tells, and how they talk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from tuneforge.errors import ConfigError

if TYPE_CHECKING:
    import lightning.pytorch as pl

    from tuneforge.settings import Run

T = TypeVar("T")
PATIENCE = timedelta(hours=2)
"""How long a process waits for the others before it gives up: rank 0 may write a large checkpoint meanwhile."""
SLURM_PORTS = 15000


class World(NamedTuple):
    """One process among `size`, of which `local_size` share this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    ours: bool = False
    """Whether `tuneforge` itself started the processes, not torchrun or srun."""

    @property
    def nodes(self) -> int:
        """Machines."""
        return self.size // self.local_size


def current() -> World:
    """The world of this process. ConfigError where the environment describes half of one."""
    _from_slurm()
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        return World()
    try:
        rank, size, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
        local_size = int(os.environ["LOCAL_WORLD_SIZE"])
    except (KeyError, ValueError) as error:
        raise ConfigError(
            f"the environment sets WORLD_SIZE={os.environ['WORLD_SIZE']}, but not RANK, LOCAL_RANK and LOCAL_WORLD_SIZE"
            f" ({error}); start the processes with torchrun or srun, or unset it"
        ) from error
    if size % local_size:
        raise ConfigError(f"{size} processes cannot be {local_size} on every machine: start as many on each")
    return World(rank, size, local, local_size, "TUNEFORGE_RANKS" in os.environ)


def _from_slurm() -> None:
    """Say what srun says in the words that torch uses."""
    size = os.environ.get("SLURM_STEP_NUM_TASKS", "1")
    if "WORLD_SIZE" in os.environ or size == "1":
        return
    from lightning.fabric.plugins.environments import SLURMEnvironment

    nodes = int(os.environ.get("SLURM_STEP_NUM_NODES", "1"))
    first = SLURMEnvironment.resolve_root_node_address(os.environ.get("SLURM_STEP_NODELIST", "127.0.0.1"))
    port = SLURM_PORTS + int(os.environ.get("SLURM_JOB_ID", "0")) % 10000
    os.environ |= {
        "RANK": os.environ["SLURM_PROCID"], "LOCAL_RANK": os.environ["SLURM_LOCALID"], "WORLD_SIZE": size,
        "LOCAL_WORLD_SIZE": str(int(size) // nodes), "NODE_RANK": os.environ.get("SLURM_NODEID", "0"),
    }  # fmt: skip
    os.environ.setdefault("MASTER_ADDR", first)
    os.environ.setdefault("MASTER_PORT", str(port))


def identity() -> str:
    """What the processes of one start have in common, and those of another start have not."""
    names = ("TUNEFORGE_RANKS", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "SLURM_JOB_ID",
             "SLURM_STEP_ID", "SLURM_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE")  # fmt: skip
    return " ".join(os.environ.get(name, "-") for name in names)


def check(run: Run, world: World) -> None:
    """ConfigError where torchrun or srun started other processes than the config asks for."""
    from tuneforge.training.optimise import local_devices

    settings = run.trainer
    if world.size == 1:
        if settings.num_nodes > 1:
            raise ConfigError(
                f"trainer.num_nodes={settings.num_nodes}: on several machines torchrun or srun starts one process per"
                " device; here there is one alone (docs/scale-out.md shows the commands)"
            )
        return
    if settings.num_nodes != world.nodes:
        raise ConfigError(
            f"trainer.num_nodes={settings.num_nodes}, but {world.size} processes were started on {world.nodes}"
            f" machine(s): set trainer.num_nodes={world.nodes}"
        )
    if str(settings.devices).strip() not in ("auto", "-1") and local_devices(run) != world.local_size:
        raise ConfigError(
            f"trainer.devices={settings.devices}, but {world.local_size} processes were started on each machine:"
            f" set trainer.devices={world.local_size}, or auto"
        )


@contextmanager
def joined(trainer: pl.Trainer) -> Iterator[World]:
    """Join the processes before Lightning does, so that they can compare what they are about to train."""
    here = current()
    if here.size == 1:
        yield here
        return
    import torch.distributed as dist
    from lightning.fabric.utilities.distributed import _init_dist_connection

    strategy: Any = trainer.strategy
    strategy.accelerator.setup_device(strategy.root_device)
    backend = "gloo" if strategy.root_device.type == "cpu" else "nccl"
    device = None if backend == "gloo" else strategy.root_device
    _init_dist_connection(
        strategy.cluster_environment, backend, here.rank, here.size, timeout=PATIENCE, device_id=device
    )  # fmt: skip
    try:
        yield here
    finally:
        dist.destroy_process_group()


def place() -> tuple[int, int]:
    """(rank, number of processes) of those that are connected."""
    import torch.distributed as dist

    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def from_first(value: T) -> T:
    """The value that rank 0 has, in every process."""
    import torch.distributed as dist

    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def from_all(value: T) -> list[T]:
    """The values of all processes, in the order of their ranks."""
    import torch.distributed as dist

    if not dist.is_initialized():
        return [value]
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, value)
    return found
