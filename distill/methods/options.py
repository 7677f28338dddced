"""What several methods' tables share: weights of the logit losses, and the choice of a layer."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, model_validator

from targets.errors import InputError

NAMED_LAYERS = ("middle", "last")


class LogitOptions(BaseModel):
    """Labels and soft decisions, as every method weighs them; a weight of 0 turns its term off.

    Attributes
    ----------
    weights : fields that weigh a loss; one of them must be above 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    weights: ClassVar[tuple[str, ...]] = ("ce", "kd")

    # Few labels are learnt by heart: on validation people (docs/benchmarks.md) every method gained
    # when they weighed less than what the teacher says.
    ce: float = Field(default=0.3, ge=0, description="weight of the cross-entropy on the labels")
    kd: float = Field(default=4.0, ge=0, description="weight of the teacher's soft decisions")
    temperature: float = Field(
        default=2.0, gt=0, description="softens both decisions before they are compared"
    )

    @model_validator(mode="after")
    def _learns_something(self) -> Self:
        if not any(getattr(self, name) for name in self.weights):
            raise ValueError(f"all weights are 0: {', '.join(self.weights)}")
        return self


def _index_or_name(value: Any) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and value in NAMED_LAYERS:
        return value
    raise ValueError('a layer is its number from 0 on, or "middle" or "last"')


Layer = Annotated[int | str, PlainValidator(_index_or_name)]


def layer_index(layer: int | str, n_layers: int, *, where: str) -> int:
    """Number of a layer among a teacher's tapped ones. "middle" has half of the others before it.

    Raises
    ------
    InputError
        The teacher has no such layer.
    """
    index = {"middle": (n_layers - 1) // 2, "last": n_layers - 1}.get(str(layer), layer)
    if not isinstance(index, int) or not 0 <= index < n_layers:
        raise InputError(
            "the teacher has no such layer", where=where, value=layer,
            limit=", ".join([f"0 to {n_layers - 1}", *NAMED_LAYERS]),
        )  # fmt: skip
    return index
