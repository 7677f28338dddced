import time

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.signal import butter, sosfiltfilt, welch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import LeaveOneGroupOut, cross_val_score

from distill.headmodel import TEN_TWENTY
from distill.simulate import SimulationConfig, make_subject, simulate, simulate_session
from targets.errors import InputError

CONFIG = SimulationConfig()
SMALL = SimulationConfig(n_subjects=3, n_trials=6, trial_seconds=2.0)
NEIGHBOURS = {"C3": ("F3", "P3", "T7", "Cz"), "C4": ("F4", "P4", "T8", "Cz")}
BANDS = {"mu": (8.0, 13.0), "beta": (16.0, 26.0)}


def as_arrays(raw):
    """Microvolts (n_chans, n_times), cue samples, label of each trial."""
    onsets = np.round(raw.annotations.onset * raw.info["sfreq"]).astype(int)
    return raw.get_data() * 1e6, onsets, np.array([str(d) for d in raw.annotations.description])


@pytest.fixture(scope="module")
def recordings():
    """The default data as arrays, by name of the subject."""
    return {name: as_arrays(raw) for name, _, raw in simulate(CONFIG)}


def channel(data, name):
    return data[TEN_TWENTY.index(name)]


def laplacian(data, name):
    return channel(data, name) - np.mean([channel(data, n) for n in NEIGHBOURS[name]], axis=0)


def band(data, low, high):
    return sosfiltfilt(butter(4, [low, high], "band", fs=CONFIG.sfreq, output="sos"), data)


def spectrum(data):
    return welch(data, CONFIG.sfreq, nperseg=1000)


def in_trials(data, onsets, start, stop):
    """Stretches (..., n_trials, n_samples) from `start` to `stop` seconds after each cue."""
    span = np.arange(round(start * CONFIG.sfreq), round(stop * CONFIG.sfreq))
    return data[..., onsets[:, None] + span]


# The recording as a file ----------------------------------------------------------------------


def test_recording_is_a_normal_mne_raw():
    raw = simulate_session(SMALL, 1)
    assert raw.ch_names == list(TEN_TWENTY)
    assert set(raw.get_channel_types()) == {"eeg"}
    assert raw.info["sfreq"] == 250.0
    assert raw.info["line_freq"] == 50.0
    assert np.isfinite(raw.get_data()).all()
    where = raw.get_montage().get_positions()["ch_pos"]
    assert where["C3"][0] < 0 < where["C4"][0]


def test_trials_are_balanced_and_leave_pauses(recordings):
    for data, onsets, labels in recordings.values():
        assert sorted(set(labels)) == ["left_hand", "right_hand"]
        assert (labels == "left_hand").sum() == 40
        pauses = np.diff(onsets) / CONFIG.sfreq - CONFIG.trial_seconds
        assert pauses.min() > 1.1
        assert pauses.max() < 1.9
        assert pauses.std() > 0.1
        assert onsets[-1] + 5.0 * CONFIG.sfreq < data.shape[1]
    orders = {tuple(labels) for _, _, labels in recordings.values()}
    assert len(orders) == len(recordings)


def test_annotations_last_the_trial():
    raw = simulate_session(SMALL, 0)
    assert set(raw.annotations.duration) == {2.0}
    np.testing.assert_allclose(raw.annotations.onset * 250.0 % 1.0, 0.0, atol=1e-6)


def test_simulate_names_subjects_and_sessions():
    config = SMALL.model_copy(update={"n_sessions": 2})
    names = [(subject, session) for subject, session, _ in simulate(config)]
    assert names == [(s, k) for s in ("S00", "S01", "S02") for k in ("0", "1")]


@pytest.mark.parametrize("names", [("C4",), ("FCC3h", "C3", "Oz", "TP9")])
def test_any_electrodes_of_the_10_05_system(names):
    config = SMALL.model_copy(update={"ch_names": names})
    raw = simulate_session(config, 0)
    assert raw.ch_names == list(names)
    assert (raw.get_data().std(axis=1) > 3e-6).all()


def test_sampling_rate_changes_the_samples_not_the_seconds():
    raw = simulate_session(SMALL.model_copy(update={"sfreq": 160.0}), 0)
    slow, usual = raw.annotations.onset, simulate_session(SMALL, 0).annotations.onset
    np.testing.assert_allclose(slow, usual, atol=0.01)
    assert raw.n_times == pytest.approx(raw.info["sfreq"] * (slow[-1] + 2.0 + 3.5), abs=100)


# The same again, and different where it should be ------------------------------------------------


def test_reproducible_and_independent_of_how_many_there_are():
    first = simulate_session(SMALL, 2).get_data()
    np.testing.assert_array_equal(first, simulate_session(SMALL, 2).get_data())
    more = SMALL.model_copy(update={"n_subjects": 40, "n_sessions": 3})
    np.testing.assert_array_equal(first, simulate_session(more, 2).get_data())


def test_seed_subject_and_session_all_matter():
    config = SMALL.model_copy(update={"n_sessions": 2})
    seeded = config.model_copy(update={"seed": 1})
    raws = [simulate_session(*a) for a in ((config, 0), (config, 1), (config, 0, 1), (seeded, 0))]
    shortest = min(raw.n_times for raw in raws)
    signals = np.array([raw.get_data()[0, :shortest] for raw in raws])
    assert np.abs(np.corrcoef(signals) - np.eye(4)).max() < 0.2


def test_sessions_share_the_person_not_the_cap():
    config = CONFIG.model_copy(update={"n_sessions": 2, "n_trials": 40})
    maps = []  # where alpha shows, for two sessions of three subjects
    for subject in range(3):
        for session in range(2):
            data = simulate_session(config, subject, session).get_data() * 1e6
            maps.append(band(data, 8.0, 13.0).var(axis=1))
    likeness = np.corrcoef(np.log(maps))
    same = [likeness[2 * s, 2 * s + 1] for s in range(3)]
    others = [
        likeness[2 * s, 2 * t + k] for s in range(3) for t in range(3) if s != t for k in (0, 1)
    ]
    assert min(same) > 0.9
    assert max(same) < 0.9999
    assert max(others) < min(same)


def test_people_differ():
    people = [make_subject(CONFIG, s) for s in range(12)]
    assert np.ptp([p.head_radius for p in people]) > 0.006
    assert np.ptp([p.mu_hz for p in people]) > 1.5
    assert np.ptp([p.mu_depth.mean() for p in people]) > 0.2
    assert np.ptp([p.blinks_per_second for p in people]) > 0.05
    assert np.ptp([np.log(p.mu[0] / p.mu[1]) for p in people]) > 0.3
    assert all((np.linalg.norm(p.positions, axis=1) < 0.9).all() for p in people)


# Spectra --------------------------------------------------------------------------------------


def test_amplitudes_are_those_of_eeg(recordings):
    for data, _, _ in recordings.values():
        quiet = band(data, 1.0, 40.0)
        # The median leaves the blinks out.
        spread = np.median(np.abs(quiet), axis=1) / 0.6745
        assert spread.min() > 4.0
        assert spread.max() < 30.0
        assert 8.0 < np.median(spread) < 20.0


def test_background_falls_as_one_over_f(recordings):
    for data, _, _ in recordings.values():
        freqs, power = spectrum(data)
        for low, high in ((1.5, 6.0), (28.0, 45.0)):
            part = (freqs >= low) & (freqs <= high)
            slopes = np.polyfit(np.log(freqs[part]), np.log(power[2:, part]).T, 1)[0]
            assert -2.4 < np.median(slopes) < -0.9, (low, np.median(slopes))


def test_line_peak_at_50_hz_on_every_channel_by_its_own_gain(recordings):
    for data, _, _ in recordings.values():
        freqs, power = spectrum(data)
        at, beside = power[:, freqs == 50.0][:, 0], power[:, (freqs > 44) & (freqs < 48)]
        peak = at / beside.mean(axis=1)
        assert peak.min() > 3.0
        assert at.max() > 2.0 * at.min()


def test_alpha_peak_over_the_occiput(recordings):
    for i, (data, _, _) in enumerate(recordings.values()):
        freqs, power = spectrum(data)
        hz = make_subject(CONFIG, i).alpha_hz
        near = (freqs > 6.0) & (freqs < 15.0)
        floor = power[:, ((freqs > 4) & (freqs < 6)) | ((freqs > 14) & (freqs < 16))].mean(axis=1)
        for name in ("O1", "O2"):
            own = channel(power, name)
            assert abs(freqs[near][np.argmax(own[near])] - hz) < 1.0
            assert own[near].max() > 4.0 * channel(floor, name)


def test_mu_peak_at_the_hand_areas_in_the_pauses(recordings):
    """Mu stands out of its own background at C3 and C4 more than at their neighbours."""
    ratios = {name: [] for name in TEN_TWENTY}
    for i, (data, onsets, _) in enumerate(recordings.values()):
        pause = in_trials(data, onsets, -1.1, 0.2)
        freqs, power = welch(pause, CONFIG.sfreq, nperseg=325)
        power = power.mean(axis=1)
        hz = make_subject(CONFIG, i).mu_hz
        peak = power[:, np.abs(freqs - hz) < 1.0].mean(axis=1)
        floor = power[:, ((freqs > 4) & (freqs < 6)) | ((freqs > 14) & (freqs < 16))].mean(axis=1)
        for name in TEN_TWENTY:
            ratios[name].append(np.log(channel(peak / floor, name)))
    mean = {name: np.mean(values) for name, values in ratios.items()}
    for name, around in NEIGHBOURS.items():
        assert mean[name] > np.log(4.0)
        assert all(mean[name] > mean[other] + 0.3 for other in around), mean


def test_blinks_are_frontal_and_as_large_and_frequent_as_stated(recordings):
    for i, (data, _, _) in enumerate(recordings.values()):
        person = make_subject(CONFIG, i)
        slow = sosfiltfilt(butter(2, [0.5, 5.0], "band", fs=250.0, output="sos"), data)
        front = channel(slow, "Fp1") + channel(slow, "Fp2")
        high = front > person.blink_volts * 1e6  # half the sum of both
        blinks = np.flatnonzero(np.diff(high.astype(int)) == 1)
        expected = person.blinks_per_second * data.shape[1] / CONFIG.sfreq
        assert abs(len(blinks) - expected) < 4.0 * np.sqrt(expected) + 3
        waves = in_trials(data, blinks[3:-3], -0.5, 0.5)
        height = waves.mean(axis=1).max(axis=1) - waves.mean(axis=1)[:, :50].mean(axis=1)
        assert 80.0 < channel(height, "Fp1") < 240.0
        assert channel(height, "Fp1") > 5.0 * abs(channel(height, "O1"))


# Desynchronisation ----------------------------------------------------------------------------


def changes(recordings, which):
    """Log power of the trial against the pause before it: (n_subjects, C3|C4, left|right hand)."""
    low, high = BANDS[which]
    table = []
    for data, onsets, labels in recordings.values():
        local = band(np.array([laplacian(data, "C3"), laplacian(data, "C4")]), low, high)
        during = in_trials(local, onsets, 1.0, 4.0).var(axis=-1)
        before = in_trials(local, onsets, -0.5, 0.2).var(axis=-1)
        table.append(
            [
                np.log(during[:, labels == hand].mean(axis=1) / before.mean(axis=1))
                for hand in ("left_hand", "right_hand")
            ]
        )
    return np.array(table).swapaxes(1, 2)


@pytest.mark.parametrize(("which", "least"), [("mu", 0.5), ("beta", 0.2)])
def test_imagery_lowers_the_opposite_side(recordings, which, least):
    change = changes(recordings, which)
    (c3_left, c3_right), (c4_left, c4_right) = change.mean(axis=0)
    assert c3_right < c3_left - least
    assert c4_left < c4_right - least
    assert c3_right < -least
    assert c4_left < -least
    # Nearly everybody, not some few people.
    lateral = (change[:, 0, 1] - change[:, 1, 1]) - (change[:, 0, 0] - change[:, 1, 0])
    assert (lateral < 0).mean() >= 0.9


def test_imagery_raises_the_same_side_a_little(recordings):
    change = changes(recordings, "mu").mean(axis=0)
    assert -0.05 < (change[0, 0] + change[1, 1]) / 2 < 0.35


def test_desynchronisation_begins_half_a_second_after_the_cue(recordings):
    courses = []
    for data, onsets, labels in recordings.values():
        for name, hand in (("C3", "right_hand"), ("C4", "left_hand")):
            power = band(laplacian(data, name), *BANDS["mu"]) ** 2
            course = in_trials(power, onsets[labels == hand], -0.8, 2.0).mean(axis=0)
            courses.append(course / course[:150].mean())
    course = np.convolve(np.mean(courses, axis=0), np.ones(25) / 25, "same")
    seconds = np.arange(-0.8, 2.0, 1.0 / CONFIG.sfreq)
    low = course[(seconds > 1.2) & (seconds < 1.9)].mean()
    half = seconds[(seconds > 0.0) & (course < (1.0 + low) / 2)][0]
    assert low < 0.7
    assert 0.35 < half < 0.75


# The independent check: can a plain classifier read the hand? -----------------------------------


def log_band_power(recordings):
    features, labels, groups = [], [], []
    for name, (data, onsets, names) in recordings.items():
        average = data - data.mean(axis=0)
        bands = [band(average, *limits) for limits in BANDS.values()]
        power = [np.log(in_trials(b, onsets, 0.5, 4.0).var(axis=-1)) for b in bands]
        features.append(np.concatenate(power).T)
        labels.extend(names == "right_hand")
        groups.extend([name] * len(names))
    return np.concatenate(features), np.array(labels), np.array(groups)


def balanced_accuracy(features, labels, groups=None):
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    folds = 5 if groups is None else LeaveOneGroupOut()
    return cross_val_score(
        model, features, labels, groups=groups, cv=folds, scoring="balanced_accuracy"
    )


def test_lda_reads_the_hand_across_subjects_and_better_within(recordings):
    features, labels, groups = log_band_power(recordings)
    across = balanced_accuracy(features, labels, groups)
    within = [balanced_accuracy(features[groups == g], labels[groups == g]) for g in recordings]
    print(f"across subjects {across.mean():.3f}, within {np.mean(within):.3f}")
    assert 0.65 < across.mean() < 0.85
    assert np.mean(within) > across.mean() + 0.07
    assert across.std() > 0.05  # some people are much harder than others


def test_lda_is_at_chance_when_labels_are_shuffled(recordings):
    features, labels, groups = log_band_power(recordings)
    rng = np.random.default_rng(0)
    for name in recordings:
        labels[groups == name] = rng.permutation(labels[groups == name])
    # 960 trials: three standard errors of a coin are 0.048.
    assert abs(balanced_accuracy(features, labels, groups).mean() - 0.5) < 0.05


def test_difficulty_makes_it_harder(recordings):
    config = CONFIG.model_copy(update={"n_subjects": 4, "difficulty": 2.5})
    hard = {name: as_arrays(raw) for name, _, raw in simulate(config)}
    scores = []
    for chosen in (hard, {name: recordings[name] for name in hard}):
        features, labels, groups = log_band_power(chosen)
        within = [balanced_accuracy(features[groups == g], labels[groups == g]) for g in chosen]
        scores.append(np.mean(within))
    assert scores[0] < scores[1] - 0.15


# Speed and refusals ---------------------------------------------------------------------------


def test_a_thousand_trials_in_seconds():
    simulate_session(SMALL, 0)  # imports and the sphere
    start = time.perf_counter()
    raw = simulate_session(CONFIG.model_copy(update={"n_trials": 1000}), 0)
    seconds = time.perf_counter() - start
    print(f"1,000 trials x {len(raw.ch_names)} channels x 4 s: {seconds:.1f} s")
    assert len(raw.annotations) == 1000
    assert seconds < 20.0  # about 2 s on two cores; slack for a loaded machine


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ch_names": ("C3", "C44")}, "'C44' is not in the 10-05 system"),
        ({"ch_names": ("C3", "C3")}, "more than once: C3"),
        ({"ch_names": ()}, "ch_names"),
        ({"n_subjects": 0}, "n_subjects"),
        ({"n_trials": -4}, "n_trials"),
        ({"n_trials": 7}, "multiple of 2"),
        ({"sfreq": 100.0}, "sfreq"),
        ({"trial_seconds": -1.0}, "trial_seconds"),
        ({"pause_seconds": float("nan")}, "pause_seconds"),
        ({"difficulty": 0.0}, "difficulty"),
        ({"seed": -1}, "seed"),
        ({"n_subject": 3}, "n_subject"),
    ],
)
def test_bad_configuration_is_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        SimulationConfig(**wrong)


@pytest.mark.parametrize(("subject", "session"), [(3, 0), (-1, 0), (0, 1)])
def test_subject_or_session_that_is_not_there(subject, session):
    with pytest.raises(InputError, match=r"there is no simulated s.*allowed 0 to"):
        simulate_session(SMALL, subject, session)


def test_configuration_cannot_be_changed_afterwards():
    with pytest.raises(ValidationError, match="frozen"):
        CONFIG.seed = 5
