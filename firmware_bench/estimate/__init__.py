"""Milliseconds on a Raspberry Pi without the board: counts under emulation, a stated model, a band.

:mod:`~firmware_bench.estimate.mca` turns executed blocks into core cycles,
:mod:`~firmware_bench.estimate.model` adds what the memory costs and gives milliseconds with their
band, or a reason why not; :mod:`~firmware_bench.estimate.fit` fits the constants to published
figures, :mod:`~firmware_bench.estimate.validation` says how far off they are, and
:mod:`~firmware_bench.estimate.user_fit` fits them to one's own board.
"""
