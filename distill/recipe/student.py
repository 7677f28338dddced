"""[student]: the small model, and how it is trained."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from distill.mic import MiCConfig
from distill.mic_sizes import SIZES, SizeName
from targets.target import all_ids, suggestion

StudentName = Literal["mic", "eegnet", "shallow", "eegconformer", "atcnet"]
#: Networks that others published, by their class in braindecode: for comparison, not for devices.
BASELINES: dict[StudentName, str] = {
    "eegnet": "EEGNet",  # Lawhern et al. 2018, 10.1088/1741-2552/aace8c
    "shallow": "ShallowFBCSPNet",  # Schirrmeister et al. 2017, 10.1002/hbm.23730
    "eegconformer": "EEGConformer",  # Song et al. 2023, 10.1109/TNSRE.2022.3230250
    "atcnet": "ATCNet",  # Altaheri et al. 2023, 10.1109/TII.2022.3197419
}
#: What dlink gives to a baseline itself.
GIVEN = ("n_chans", "n_outputs", "n_times", "sfreq", "chs_info", "input_window_seconds")


class StudentTable(MiCConfig):
    """[student]: which model and what size; its training, the same for the matched student.

    Attributes
    ----------
    name : MiC, or a baseline of braindecode.
    size : a named size of MiC. MiC's own keys (width, blocks, ...) override the size's.
    arguments : keyword arguments of a baseline's class in braindecode.
    target : board that the student must fit, which is checked as soon as it is built.
    ch_names : electrodes of [signal] that the student sees, in this order; empty for all.
    epoch_windows : windows drawn in one epoch; None for each training window once.
    """

    name: StudentName = "mic"
    size: SizeName | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    target: str | None = None
    ch_names: tuple[str, ...] = ()
    epochs: int = Field(default=60, ge=1)
    epoch_windows: int | None = Field(default=None, ge=2)
    batch: int = Field(default=64, ge=2)
    lr: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)

    @field_validator("target")
    @classmethod
    def _known_board(cls, target: str | None) -> str | None:
        boards = all_ids()
        if target is not None and target not in boards:
            close = suggestion(target, boards)
            raise ValueError(f"no such board. {close or 'Known: ' + ', '.join(boards)}")
        return target

    @field_validator("ch_names")
    @classmethod
    def _each_once(cls, ch_names: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({name for name in ch_names if ch_names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} more than once")
        return ch_names

    @model_validator(mode="after")
    def _keys_suit_the_name(self) -> StudentTable:
        if self.name == "mic":
            if self.arguments:
                raise ValueError(
                    f"arguments are a baseline's ({', '.join(BASELINES)}): with the name 'mic' "
                    f"write {', '.join(MiCConfig.model_fields)}"
                )
            return self
        foreign = sorted(self.model_fields_set & {*MiCConfig.model_fields, "size", "target"})
        if foreign:
            raise ValueError(
                f"only MiC has {', '.join(foreign)}; keywords of {BASELINES[self.name]} "
                "go into arguments"
            )
        given = sorted(set(self.arguments) & set(GIVEN))
        if given:
            raise ValueError(f"arguments must leave out {', '.join(given)}: the signal says so")
        return self

    @model_validator(mode="after")
    def _take_the_size(self) -> StudentTable:
        # Into the fields, so that what a run records is what was built; not into the set of
        # given keys, so that another size can still replace this one.
        if self.size is not None:
            sizes = SIZES[self.size].model_dump()
            own = {key: sizes[key] for key in sizes if key not in self.model_fields_set}
            self.__dict__.update(own)
        return self

    @property
    def label(self) -> str:
        """The model in a table of results: "MiC", "mic-s", "mic-s (width 80)", "EEGNet"."""
        if self.name != "mic":
            return BASELINES[self.name]
        if self.size is None:
            return "MiC"
        own = sorted(self.model_fields_set & set(MiCConfig.model_fields))
        changed = ", ".join(f"{key} {getattr(self, key)}" for key in own)
        return f"{self.size} ({changed})" if changed else self.size

    def sizes(self) -> MiCConfig:
        """The architecture's part, for MiC."""
        return MiCConfig(**self.model_dump(include=set(MiCConfig.model_fields)))

    def replaced(self, other: StudentTable) -> StudentTable:
        """This table with the keys that `other` gives in place of its own.

        A baseline in place of a MiC leaves MiC's keys behind, and the other way round; a size
        stands for all keys that it has a value for, so it replaces this table's single ones too.
        """
        mine = self.model_dump(exclude_unset=True)
        dropped: set[str] = set()
        if "size" in other.model_fields_set:
            dropped = set(MiCConfig.model_fields)
        if "name" in other.model_fields_set and other.name != self.name:
            dropped = {*MiCConfig.model_fields, "size", "target", "arguments"}
        mine = {key: value for key, value in mine.items() if key not in dropped}
        return StudentTable(**{**mine, **other.model_dump(exclude_unset=True)})
