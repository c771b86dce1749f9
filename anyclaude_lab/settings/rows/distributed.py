"""One model on several machines."""

from __future__ import annotations

from anyclaude_lab.settings.kinds import Choice, Hosts, Integer
from anyclaude_lab.settings.rows.row import Setting

DISTRIBUTED = (
    Setting(
        "backends.local.distributed",
        Hosts(),
        "Machines that hold modelPath together, this one first. The others are reached by ssh without a password and "
        "have this package's Python and the model at the same paths. They talk without a key: on networks of your own.",
        unset="this machine alone",
        env=("ANYCLAUDE_DISTRIBUTED_HOSTS",),
    ),
    Setting(
        "backends.local.distributedBackend",
        Choice(("auto", "ring", "jaccl")),
        "How the machines talk: ring over TCP; jaccl over RDMA (Thunderbolt 5), which auto takes where every host "
        "names its rdma devices.",
        default="auto",
    ),
    Setting(
        "backends.local.distributedSharding",
        Choice(("tensor", "pipeline")),
        "Whether each machine has a part of every layer or some of the layers.",
        default="tensor",
    ),
    Setting(
        "backends.local.distributedPort",
        Integer(1024, 65000),
        "First of the ports on which the machines talk.",
        unset="32323; free ones where all ranks are on this machine",
    ),
)
