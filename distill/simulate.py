"""Simulated motor-imagery EEG: the data set that needs no download.

Dipoles in a spherical head (:mod:`distill.headmodel`) drive the electrodes: two hand areas with mu
and beta rhythms that desynchronise while the opposite hand is imagined (Pfurtscheller and Lopes da
Silva 1999), cortical background with 1/f spectra, occipital alpha, blinks; then line noise and
sensor noise. Subjects differ in anatomy, frequencies and strengths, so that crossing them is hard.
Every figure below is a choice of ours inside the range of scalp EEG, not fitted to a recording.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from distill.headmodel import (
    TEN_TWENTY,
    Array,
    check_names,
    electrode_directions,
    lead_field,
    template_montage,
    tilted,
    unit,
)
from targets.errors import InputError

CLASSES = ("left_hand", "right_hand")
LINE_HZ = 50.0
N_BACKGROUND = 32
_LEAD_IN = 2.0  # s of rest before the first cue
_RELEASE = 1.0  # s in which the rhythms come back after a trial
_BLOCK = 8  # background sources synthesised at a time: bounds the memory of long sessions

Signal = NDArray[np.float32]


def _known_channels(names: tuple[str, ...]) -> tuple[str, ...]:
    check_names(names)
    return names


class SimulationConfig(BaseModel):
    """What to simulate; the defaults are the embedded data set.

    `n_trials` counts one session of one subject, half of it each class. The pause between trials
    varies by a quarter around `pause_seconds`. `difficulty` divides the depth of the
    desynchronisation and multiplies background and sensor noise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_subjects: int = Field(12, ge=1, le=10_000)
    n_sessions: int = Field(1, ge=1, le=100)
    n_trials: int = Field(80, ge=2, le=10_000, multiple_of=2)
    sfreq: float = Field(250.0, ge=120.0, le=2048.0)  # the line must stay below Nyquist
    trial_seconds: float = Field(4.0, ge=1.0, le=60.0)
    pause_seconds: float = Field(1.5, ge=0.5, le=60.0)
    ch_names: Annotated[tuple[str, ...], AfterValidator(_known_channels)] = Field(
        TEN_TWENTY, min_length=1
    )
    seed: int = Field(0, ge=0)
    difficulty: float = Field(1.0, gt=0.0, le=10.0)


@dataclass(frozen=True)
class Subject:
    """What stays the same in all sessions of one person. Pairs are (left, right) hemisphere.

    Positions are in head radii, moments in nA m (root mean square), frequencies in Hz.
    """

    head_radius: float  # m
    positions: Array  # (n_sources, 3): mu, beta, alpha, blink pairs, then the background
    orientations: Array  # (n_sources, 3)
    mu_hz: float
    beta_hz: float
    alpha_hz: float
    mu: Array  # (2,)
    beta: Array  # (2,)
    alpha: Array  # (2,)
    background: Array  # (N_BACKGROUND,)
    exponents: Array  # (N_BACKGROUND,) of the power spectra
    mu_depth: Array  # (2,): fraction of the amplitude lost at full desynchronisation
    beta_depth: Array  # (2,)
    ipsilateral: float  # fraction of the amplitude gained on the other side
    blinks_per_second: float
    blink_volts: float  # at Fp1 and Fp2
    line_volts: float
    sensor_volts: float


def make_subject(config: SimulationConfig, subject: int) -> Subject:
    """Draw the person with number `subject`: a function of ``(config.seed, subject)`` alone."""
    rng = _rng(config, subject)

    def around(centre: float, spread: float, n: int = 2) -> Array:
        """Log-normal draws: `spread` is the standard deviation of the logarithm."""
        return np.asarray(centre * np.exp(spread * rng.standard_normal(n)))

    positions, orientations = _place_sources(rng)
    return Subject(
        head_radius=float(np.clip(rng.normal(0.092, 0.004), 0.080, 0.104)),
        positions=positions,
        orientations=orientations,
        mu_hz=float(np.clip(rng.normal(10.8, 0.9), 9.0, 12.5)),
        beta_hz=float(np.clip(rng.normal(20.5, 1.6), 17.5, 24.0)),
        alpha_hz=float(np.clip(rng.normal(10.0, 0.8), 8.5, 12.0)),
        mu=around(float(around(45.0, 0.30, 1)[0]), 0.22),
        beta=around(float(around(16.0, 0.30, 1)[0]), 0.22),
        alpha=around(float(around(55.0, 0.35, 1)[0]), 0.10),
        background=around(40.0, 0.35, N_BACKGROUND),
        exponents=rng.normal(1.6, 0.1) + 0.15 * rng.standard_normal(N_BACKGROUND),
        mu_depth=_depths(rng, 0.42),
        beta_depth=_depths(rng, 0.32),
        ipsilateral=float(rng.uniform(0.0, 0.12)),
        blinks_per_second=float(np.clip(around(0.2, 0.35, 1)[0], 0.05, 0.5)),
        blink_volts=float(rng.uniform(100e-6, 200e-6)),
        line_volts=float(around(2.0e-6, 0.35, 1)[0]),
        sensor_volts=float(around(0.8e-6, 0.2, 1)[0]),
    )


def _depths(rng: np.random.Generator, mean: float) -> Array:
    """Desynchronisation of both hemispheres: one ability a person, a little apart on each side."""
    ability = rng.normal(mean, 0.12) + 0.04 * rng.standard_normal(2)
    return np.clip(ability, 0.08, 0.75)


def _place_sources(rng: np.random.Generator) -> tuple[Array, Array]:
    """Positions and orientations, in the order that :class:`Subject` states."""
    hands = electrode_directions(("C3", "C4"))
    back = np.array([0.0, -0.06, 0.0])  # beta comes from before the central sulcus, mu from behind
    occipital = unit(np.array([[-0.28, -0.95, 0.15], [0.28, -0.95, 0.15]]))
    eyes = unit(np.array([[-0.33, 0.93, -0.32], [0.33, 0.93, -0.32]]))
    # Patches of cortex are centimetres wide; a point dipole that stands for one lies deeper, or it
    # would show at one electrode only.
    areas = [
        (tilted(rng, unit(hands + back), 5.0), 0.66, 22.0),
        (tilted(rng, unit(hands - back), 5.0), 0.66, 22.0),
        (tilted(rng, occipital, 8.0), 0.62, 25.0),
        (tilted(rng, eyes, 2.0), 0.80, 5.0),
    ]
    cortex = unit(rng.standard_normal((8 * N_BACKGROUND, 3)))
    cortex = cortex[cortex[:, 2] > -0.35][:N_BACKGROUND]  # above the base of the skull
    depths = rng.uniform(0.35, 0.78, (N_BACKGROUND, 1))
    positions = [depth * place for place, depth, _ in areas] + [depths * cortex]
    orientations = [tilted(rng, place, tilt) for place, _, tilt in areas]
    free = unit(rng.standard_normal((N_BACKGROUND, 3)))  # folds point anywhere
    return np.vstack(positions), np.vstack([*orientations, free])


def simulate_session(config: SimulationConfig, subject: int, session: int = 0) -> Any:
    """Simulate one continuous recording.

    Returns
    -------
    mne.io.RawArray
        Volts against infinity (no reference), (n_chans, n_times), template electrode positions.
        Annotations ``left_hand`` and ``right_hand`` begin at the cue and last `trial_seconds`. The
        same for any `n_subjects` and `n_sessions`.

    Raises
    ------
    InputError
        `subject` or `session` outside the configuration.
    """
    _check_number("subject", subject, config.n_subjects)
    _check_number("session", session, config.n_sessions)
    person = make_subject(config, subject)
    trials, source, sensor, cap = _rng(config, subject, session).spawn(4)
    onsets, hands, n_times = _schedule(config, trials)
    fields = _session_fields(config, person, cap)
    eeg = np.zeros((len(config.ch_names), n_times), np.float32)
    for columns, waves in _sources(config, person, onsets, hands, n_times, trials, source):
        eeg += (fields[:, columns] * 1e-9).astype(np.float32) @ waves  # nA m to A m
    _add_sensor_noise(eeg, config, person, sensor)
    eeg *= cap.normal(1.0, 0.03, (len(eeg), 1)).astype(np.float32)  # amplifier gains
    return _as_raw(config, eeg, onsets, hands, subject)


def simulate(config: SimulationConfig) -> Iterator[tuple[str, str, Any]]:
    """Yield ``("S00", "0", RawArray)`` for every subject and session, one in memory at a time."""
    for subject in range(config.n_subjects):
        for session in range(config.n_sessions):
            yield f"S{subject:02d}", str(session), simulate_session(config, subject, session)


def _check_number(what: str, number: int, count: int) -> None:
    if not 0 <= number < count:
        raise InputError(
            f"there is no simulated {what} of this number",
            value=number,
            limit=f"0 to {count - 1}",
            todo=f"Raise n_{what}s or choose another {what}.",
        )


def _rng(config: SimulationConfig, *key: int) -> np.random.Generator:
    # The key's length keeps subject 3 apart from session 0 of subject 3.
    return np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(len(key), *key)))


def _schedule(
    config: SimulationConfig, rng: np.random.Generator
) -> tuple[Array, NDArray[np.int64], int]:
    """Cue times in s (n_trials,), imagined hand 0 or 1 (n_trials,), length of the recording."""
    hands = rng.permutation(np.arange(config.n_trials) % 2)
    pauses = config.pause_seconds * rng.uniform(0.75, 1.25, config.n_trials)
    ends = _LEAD_IN + np.cumsum(config.trial_seconds + pauses)
    onsets = np.concatenate([[_LEAD_IN], ends[:-1]])
    # A cue falls on a sample, so that resampling is the only thing that can move it.
    onsets = np.round(onsets * config.sfreq) / config.sfreq
    return onsets, hands, int(np.ceil((ends[-1] + _LEAD_IN) * config.sfreq))


def _session_fields(config: SimulationConfig, person: Subject, rng: np.random.Generator) -> Array:
    """Lead field (n_chans, n_sources) in V/(A m) under today's placement of the cap."""
    # Every 10-20 electrode is placed too: the blink is known at Fp1 and Fp2 even if they are not
    # recorded.
    names = tuple(dict.fromkeys((*TEN_TWENTY, *config.ch_names)))
    turn = rng.normal(0.0, np.deg2rad(2.0), 3)  # the whole cap, about each axis
    template = electrode_directions(names)
    placed = tilted(rng, unit(template + np.cross(turn, template)), 1.0)
    fields = lead_field(placed, person.positions, person.orientations, person.head_radius)
    blink = slice(6, 8)
    frontal = fields[[names.index("Fp1"), names.index("Fp2")], blink].sum(axis=1).mean()
    fields[:, blink] *= person.blink_volts / (frontal * 1e-9)
    return fields[[names.index(name) for name in config.ch_names]]


def _sources(
    config: SimulationConfig,
    person: Subject,
    onsets: Array,
    hands: NDArray[np.int64],
    n_times: int,
    trials: np.random.Generator,
    rng: np.random.Generator,
) -> Iterator[tuple[slice, Signal]]:
    """Yield moments in nA m, (n_sources, n_times), and the columns of the lead field to drive."""
    rhythm = functools.partial(_rhythm, rng, n_times, config.sfreq)
    gains = functools.partial(_motor_gain, config, onsets, hands, n_times, trials)
    state = np.exp(0.15 * rng.standard_normal())  # vigilance of the day
    today = np.exp(0.08 * rng.standard_normal((2, 2)))
    mu, beta = person.mu * today[0], person.beta * today[1]
    yield slice(0, 2), rhythm(person.mu_hz, 0.8, mu) * gains(person, person.mu_depth, 0.0)
    yield slice(2, 4), rhythm(person.beta_hz, 1.8, beta) * gains(person, person.beta_depth, 0.2)
    # Both occipital lobes share most of their alpha.
    own = rhythm(person.alpha_hz, 0.7, person.alpha * state)
    yield slice(4, 6), np.float32(0.6) * own + np.float32(0.8) * own[::-1]
    yield slice(6, 8), np.repeat(_blinks(config, person, n_times, rng)[None], 2, axis=0)
    noise = person.background * config.difficulty
    for start in range(0, N_BACKGROUND, _BLOCK):
        part = slice(start, start + _BLOCK)
        waves = _one_over_f(rng, n_times, config.sfreq, person.exponents[part], noise[part])
        yield slice(8 + part.start, 8 + part.stop), waves


def _motor_gain(
    config: SimulationConfig,
    onsets: Array,
    hands: NDArray[np.int64],
    n_times: int,
    rng: np.random.Generator,
    person: Subject,
    depths: Array,
    rebound: float,
) -> Signal:
    """Amplitude of a motor rhythm in both hemispheres over time, (2, n_times); 1 at rest.

    Half a second after the cue the amplitude falls opposite the imagined hand and rises a little
    on the same side; when the trial ends it returns, beta with a rebound.
    """
    gain = np.ones((2, n_times), np.float32)
    length = int((config.trial_seconds + _RELEASE) * config.sfreq)
    time = np.arange(length) / config.sfreq
    back = _smoothstep((time - config.trial_seconds) / _RELEASE)
    bump = np.sin(np.pi * np.clip((time - config.trial_seconds) / _RELEASE, 0.0, 1.0)) ** 2
    for onset, hand in zip(onsets, hands, strict=True):
        contra = 1 - hand
        delay = max(0.15, rng.normal(0.35, 0.08))
        # Attention comes and goes, and some trials are missed altogether.
        effort = 0.0 if rng.random() < 0.10 else rng.uniform(0.5, 1.3)
        on = effort * _smoothstep((time - delay) / 0.4) * (1.0 - back)
        depth = min(0.9, depths[contra] / config.difficulty)
        start = round(onset * config.sfreq)
        part = slice(start, start + length)
        gain[contra, part] *= np.maximum(0.05, 1.0 - depth * on + rebound * bump)
        gain[hand, part] *= 1.0 + person.ipsilateral / config.difficulty * on
        gain[:, part] *= np.exp(0.12 * rng.standard_normal((2, 1)))  # slow waxing and waning
    return gain


def _smoothstep(x: Array) -> Array:
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def _rhythm(
    rng: np.random.Generator, n_times: int, sfreq: float, hz: float, width: float, rms: Array
) -> Signal:
    """Gaussian noise (len(rms), n_times): its amplitude spectrum is a bell, `width` Hz wide."""
    freqs, synthesise = _noise_synthesis(rng, n_times, sfreq)
    return synthesise(np.exp(-0.5 * ((freqs - hz) / width) ** 2)[None], rms)


def _one_over_f(
    rng: np.random.Generator, n_times: int, sfreq: float, exponents: Array, rms: Array
) -> Signal:
    """Noise (len(rms), n_times) with power f**-exponent, flat below 1 Hz, nothing at 0."""
    freqs, synthesise = _noise_synthesis(rng, n_times, sfreq)
    spectra = np.maximum(freqs, 1.0)[None] ** (-exponents[:, None] / 2)
    spectra[:, 0] = 0.0
    return synthesise(spectra, rms)


def _noise_synthesis(rng: np.random.Generator, n_times: int, sfreq: float) -> Any:
    """Frequencies of the spectrum, and the function from (amplitudes, rms) to noise."""
    from scipy import fft

    n_fft = fft.next_fast_len(n_times, real=True)
    freqs = np.fft.rfftfreq(n_fft, 1.0 / sfreq)

    def synthesise(amplitudes: Array, rms: Array) -> Signal:
        shape = (len(rms), len(freqs))
        spectrum = np.empty(shape, np.complex64)
        spectrum.real = rng.standard_normal(shape, np.float32)
        spectrum.imag = rng.standard_normal(shape, np.float32)
        spectrum *= amplitudes.astype(np.float32)
        waves = fft.irfft(spectrum, n_fft, axis=1)[:, :n_times]
        return np.asarray(waves * (rms / waves.std(axis=1)).astype(np.float32)[:, None])

    return freqs, synthesise


def _blinks(
    config: SimulationConfig, person: Subject, n_times: int, rng: np.random.Generator
) -> Signal:
    """Blinks at Poisson times, height about 1: the lid closes in 0.1 s and opens in 0.2 s."""
    seconds = n_times / config.sfreq
    times = rng.uniform(0.0, seconds, rng.poisson(person.blinks_per_second * seconds))
    lid = np.zeros(n_times, np.float32)
    time = np.arange(-0.3, 0.6, 1.0 / config.sfreq)
    for onset in times:
        start = round((onset - 0.3) * config.sfreq)
        pulse = np.exp(-0.5 * (time / np.where(time < 0.0, 0.05, 0.10)) ** 2)
        pulse *= rng.normal(1.0, 0.12)
        first, last = max(start, 0), min(start + len(time), n_times)
        lid[first:last] += pulse[first - start : last - start]
    return lid


def _add_sensor_noise(
    eeg: Signal, config: SimulationConfig, person: Subject, rng: np.random.Generator
) -> None:
    """Add, in place, mains hum as each electrode's impedance couples it, and white noise."""
    n_chans, n_times = eeg.shape
    phase = 2.0 * np.pi * (LINE_HZ * np.arange(n_times) / config.sfreq + rng.random())
    coupling = person.line_volts * np.exp(0.4 * rng.standard_normal(n_chans))
    eeg += coupling.astype(np.float32)[:, None] * np.sin(phase).astype(np.float32)
    volts = np.float32(person.sensor_volts * config.difficulty)
    for i in range(n_chans):
        eeg[i] += volts * rng.standard_normal(n_times, np.float32)


def _as_raw(
    config: SimulationConfig,
    eeg: Signal,
    onsets: Array,
    hands: NDArray[np.int64],
    subject: int,
) -> Any:
    import mne

    info = mne.create_info(list(config.ch_names), config.sfreq, "eeg", verbose="error")
    info["subject_info"] = {"his_id": f"S{subject:02d}"}
    info["line_freq"] = LINE_HZ
    raw = mne.io.RawArray(eeg.astype(np.float64), info, verbose="error")
    raw.set_montage(template_montage(), verbose="error")
    labels = [CLASSES[hand] for hand in hands]
    raw.set_annotations(mne.Annotations(onsets, config.trial_seconds, labels), verbose="error")
    return raw
