"""The methods by name, and the recipe's [method] table made of their configs."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Discriminator, Tag

from distill.methods.base import Method, Setting
from distill.methods.dlink import DLink, DLinkConfig
from distill.methods.fitnet import FitNet, FitNetConfig
from distill.methods.kd import KD, KDConfig
from distill.methods.none import Labels, LabelsConfig
from distill.methods.subdistill import SubDistill, SubDistillConfig
from distill.methods.topology import Topology, TopologyConfig

METHODS: dict[str, type[Method]] = {
    "dlink": DLink,
    "kd": KD,
    "fitnet": FitNet,
    "subdistill": SubDistill,
    "topology": Topology,
    "none": Labels,
}


def method_name(table: Any) -> str | None:
    """Which method a [method] table means; without a name it is DLink."""
    if isinstance(table, BaseModel):
        return getattr(table, "name", None)
    return table.get("name", "dlink") if isinstance(table, dict) else None


MethodTable = Annotated[
    Annotated[DLinkConfig, Tag("dlink")]
    | Annotated[KDConfig, Tag("kd")]
    | Annotated[FitNetConfig, Tag("fitnet")]
    | Annotated[SubDistillConfig, Tag("subdistill")]
    | Annotated[TopologyConfig, Tag("topology")]
    | Annotated[LabelsConfig, Tag("none")],
    Discriminator(method_name),
]


def build_method(config: Any, setting: Setting) -> Method:
    """The method of a [method] table."""
    return METHODS[config.name].build(config, setting)
