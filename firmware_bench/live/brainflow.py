"""A board that BrainFlow knows (extra `brainflow`)."""

from __future__ import annotations

import time
from importlib import resources
from typing import Any

import numpy as np

from firmware_bench.live.stream import Chunk, StreamInfo, empty
from targets.errors import InputError
from targets.target import suggestion

#: BrainFlow has no waiting read: how long to sleep between two looks, and how many looks.
_POLL_SECONDS, _POLLS = 0.004, 25
_HELD_SAMPLES = 45_000


class BrainFlow:
    """A board's EEG channels, in microvolts.

    Parameters
    ----------
    board : name in BrainFlow's BoardIds, in any case, with or without "_BOARD", or its number.
    parameters : fields of BrainFlowInputParams (serial_port, mac_address, ...).
    ch_names : where its electrodes sit, if not as BrainFlow assumes.

    Raises
    ------
    InputError
        brainflow is not installed, unknown board or parameter, no EEG, or a board that is not
        there.
    """

    paced = True

    def __init__(
        self,
        board: str,
        parameters: dict[str, str] | None = None,
        *,
        ch_names: tuple[str, ...] = (),
    ) -> None:
        self._shim = shim = _load()
        self._id = _board_id(shim, board)
        shim.BoardShim.disable_board_logger()
        try:
            described = shim.BoardShim.get_board_descr(self._id)
            self._board = shim.BoardShim(self._id, _parameters(shim, parameters or {}))
        except shim.BrainFlowError as err:
            raise _refused(board, err) from None
        self._rows = list(described.get("eeg_channels", ()))
        names = ch_names or tuple(filter(None, described.get("eeg_names", "").split(",")))
        if not self._rows or len(names) != len(self._rows):
            raise InputError(
                "board needs one name for each of its EEG channels", where=f"--brainflow {board}",
                value=len(names), limit=len(self._rows), todo="Give them with --ch-names.",
            )  # fmt: skip
        self._counter = described["package_num_channel"]
        self._info = StreamInfo(
            "brainflow", str(described["name"]), names, float(described["sampling_rate"]),
            ("uV",) * len(names),
        )  # fmt: skip
        self._where, self._open = board, False

    @property
    def info(self) -> StreamInfo:
        """EEG channels and rate, as BrainFlow describes the board."""
        return self._info

    def start(self) -> None:
        """Connect and begin to stream."""
        try:
            self._board.prepare_session()
            self._open = True
            self._board.start_stream(_HELD_SAMPLES)
        except self._shim.BrainFlowError as err:
            self.close()
            raise _refused(self._where, err) from None

    def read(self) -> Chunk | None:
        """What the board has sent since the last call; waits up to a tenth of a second."""
        for _ in range(_POLLS):
            try:
                data = self._board.get_board_data()
            except self._shim.BrainFlowError as err:
                raise _refused(self._where, err) from None
            if data.shape[1]:
                arrived = time.monotonic_ns()
                eeg = data[self._rows]
                return Chunk(eeg, arrived, counters=np.rint(data[self._counter]).astype(np.int64))
            time.sleep(_POLL_SECONDS)
        return empty(len(self._rows))

    def close(self) -> None:
        """Stop the stream and let the board go."""
        if self._open:
            self._open = False
            self._board.release_session()


def _load() -> Any:
    try:
        from brainflow import board_shim
    except ImportError as err:
        raise InputError(
            f"brainflow cannot be used: {err}", where="--brainflow",
            todo='Install the extra: pip install -e ".[brainflow]".',
        ) from None  # fmt: skip
    # Before Python 3.12 `files` takes packages only; BrainFlow 5.23 gives it a module there and
    # then falls back to pkg_resources, which setuptools 82 no longer has.
    board_shim.files = lambda _module: resources.files("brainflow")
    return board_shim


def _board_id(shim: Any, board: str) -> int:
    if board.lstrip("-").isdigit():
        return int(board)
    names = {one.name: int(one.value) for one in shim.BoardIds}
    wanted = board.upper().replace("-", "_")
    for name in (wanted, f"{wanted}_BOARD"):
        if name in names:
            return names[name]
    raise InputError(
        "board is not known", where="--brainflow", value=board,
        todo=suggestion(wanted, list(names))
        or "Give a name of BrainFlow's BoardIds, such as synthetic or cyton.",
    )  # fmt: skip


def _parameters(shim: Any, given: dict[str, str]) -> Any:
    found = shim.BrainFlowInputParams()
    for key, text in given.items():
        if key not in vars(found):
            raise InputError(
                "parameter is not known", where="--board-param", value=key,
                limit=", ".join(vars(found)),
            )  # fmt: skip
        kind = type(getattr(found, key))
        try:
            setattr(found, key, kind(text))
        except ValueError:
            raise InputError(
                f"parameter {key} is no {kind.__name__}", where="--board-param", value=text
            ) from None
    return found


def _refused(board: str, err: Exception) -> InputError:
    return InputError(
        f"BrainFlow refuses the board: {err}", where="--brainflow", value=board,
        todo="Check that it is on and near, and its --board-param.",
    )  # fmt: skip
