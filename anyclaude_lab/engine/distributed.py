"""One model on several machines, as a server that is started for the user: see `group.py` and `rank.py`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from anyclaude_lab.engine.group import Host, Order
from anyclaude_lab.engine.mlx_server import ground_for, mlx_lm_server
from anyclaude_lab.engine.spec import ServerSpec
from anyclaude_lab.errors import SettingsError
from anyclaude_lab.settings import DistributedSettings

ENGINE = "distributed mlx_lm.server"


def distributed_server(
    model: str | Path, chosen: DistributedSettings, *, port: int | None = None, startup_timeout_s: float = 120.0
) -> ServerSpec:
    """The stock server over several ranks. Raises SettingsError where hosts, model and mlx do not go together."""
    hosts = tuple(Host(host.ssh, host.ips, host.rdma) for host in chosen.hosts)
    if not hosts[0].here:
        raise SettingsError(
            f"The first of backends.local.distributed is {hosts[0].ssh}, but rank 0 answers the proxy: "
            'put this machine first, as {"ssh": "127.0.0.1", "ips": ["its address for the others"]}.'
        )
    ground = ground_for(model)
    _check_heads(Path(ground.model), len(hosts), chosen.sharding)
    base = mlx_lm_server(model, port=port, startup_timeout_s=startup_timeout_s)
    order = Order(
        hosts,
        ("server", *(("--pipeline",) if chosen.sharding == "pipeline" else ())),
        jaccl=_jaccl(chosen, hosts),
        starting_port=chosen.starting_port,
        join_s=startup_timeout_s / 2,
    )
    return replace(
        base,
        engine=ENGINE,
        program="anyclaude_lab.engine.group",
        arguments=(order.text(), *base.arguments[1:]),
        remarks=(*base.remarks, f"host file for mlx.launch: {host_file(order)}"),
    )


def host_file(order: Order) -> str:
    """What `mlx.launch --hostfile` would read for the same ranks."""
    hosts = [{"ssh": host.ssh, "ips": host.ips, "rdma": host.rdma} for host in order.hosts]
    return json.dumps({"backend": "jaccl" if order.jaccl else "ring", "envs": [], "hosts": hosts})


def _jaccl(chosen: DistributedSettings, hosts: tuple[Host, ...]) -> bool:
    """Whether the ranks talk over RDMA: where it is asked for, or every host names its devices and mlx has it."""
    complete = all(len(host.rdma) == len(hosts) and host.rdma[i] is None for i, host in enumerate(hosts))
    if chosen.backend == "jaccl" and not complete:
        raise SettingsError(
            "backends.local.distributedBackend is jaccl, but not every host has an rdma list with one device per host "
            "and null for itself: `mlx.distributed_config --backend jaccl` finds them."
        )
    if chosen.backend == "ring" or not complete:
        return False
    import mlx.core as mx

    available = mx.distributed.is_available("jaccl")
    if chosen.backend == "jaccl" and not available:
        raise SettingsError("backends.local.distributedBackend is jaccl, which mlx lacks on this machine: use ring.")
    return available


def _check_heads(folder: Path, ranks: int, sharding: str) -> None:
    """Refuse what mlx-lm would fail at with a stack trace on every machine."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return  # a hub id; its server will tell
    heads = config.get("num_key_value_heads") or config.get("num_attention_heads")
    if sharding == "tensor" and isinstance(heads, int) and heads % ranks:
        raise SettingsError(
            f"{folder} has {heads} key-value heads, which {ranks} machines cannot share evenly: use as many machines "
            "as divide it, or backends.local.distributedSharding pipeline."
        )
    if sharding == "pipeline" and not (folder / "model.safetensors.index.json").is_file():
        raise SettingsError(
            f"{folder} has no model.safetensors.index.json, which mlx-lm needs to give each machine its layers: use a "
            "sharded copy of the model, or backends.local.distributedSharding tensor."
        )
