import eeg_files
import mne
import numpy as np
import pytest
from scipy.signal import welch

from distill.recordings import pick_channels, prepare, read_raw, windows_of_recording
from distill.signal import SignalSpec
from targets.errors import InputError

LABELS = ("rest", "task")
SIGNAL = SignalSpec(
    ch_names=eeg_files.CH_NAMES, sfreq=200, n_times=400, band=(0.5, 45.0), scale=100.0
)
PLAIN = SIGNAL.model_copy(update={"band": None, "sfreq": 250.0, "n_times": 500})
TEN_TWENTY = ("Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2",
              "F7", "F8", "T7", "T8", "P7", "P8", "Fz", "Cz", "Pz")  # fmt: skip


def test_edf_to_windows_keeps_the_volts(tmp_path):
    volts = eeg_files.noise(7.0)
    raw = read_raw(eeg_files.write_edf(tmp_path / "a.edf", volts))
    windows = windows_of_recording(raw, PLAIN, LABELS, subject="00", label="task")
    assert windows.x.shape == (3, 4, 500)
    assert windows.x.dtype == np.float32
    assert windows.y.tolist() == [1, 1, 1]
    # 0.1 microvolt a step, so at most 0.05 microvolt off, here in units of 100 microvolts.
    expected = volts[:, :1500].reshape(4, 3, 500).transpose(1, 0, 2) * 1e6 / 100
    np.testing.assert_allclose(windows.x, expected, atol=0.051 / 100)


def test_stride_overlaps_windows(tmp_path):
    raw = read_raw(eeg_files.write_edf(tmp_path / "a.edf", eeg_files.noise(6.0)))
    windows = windows_of_recording(raw, PLAIN, LABELS, subject="0", label="rest", stride=1.0)
    assert len(windows) == 5
    np.testing.assert_array_equal(windows.x[0, :, 250:], windows.x[1, :, :250])


def test_brainvision_markers_become_labelled_windows(tmp_path):
    volts = np.zeros((4, 2500))
    volts += 1e-6 * np.arange(2500)  # the sample's number, in microvolts
    markers = [("S  1", 250), ("S  2", 1000), ("S  9", 1100), ("S  1", 2400)]
    path = eeg_files.write_brainvision(tmp_path / "a.vhdr", volts, markers)
    signal = PLAIN.model_copy(update={"scale": 1.0})
    windows = windows_of_recording(
        read_raw(path), signal, LABELS, subject="0", offset=0.5,
        events={"Stimulus/S  1": "rest", "Stimulus/S  2": "task"},
    )  # fmt: skip
    # S 9 is not wanted; the last S 1 leaves no room for a window.
    assert windows.y.tolist() == [0, 1]
    np.testing.assert_allclose(windows.x[:, 0, 0], [250 + 125, 1000 + 125], rtol=1e-5)


def test_events_count_from_the_first_sample_of_a_cropped_file(tmp_path):
    raw = eeg_files.as_raw(np.tile(1e-6 * np.arange(2500.0), (4, 1)))
    raw.set_annotations(mne.Annotations([6.0], [0.0], ["go"]))
    raw.crop(tmin=4.0).save(tmp_path / "a_raw.fif", verbose="ERROR")
    signal = PLAIN.model_copy(update={"scale": 1.0})
    windows = windows_of_recording(
        read_raw(tmp_path / "a_raw.fif"), signal, LABELS, subject="0", events={"go": "task"}
    )
    np.testing.assert_allclose(windows.x[0, 0, 0], 1500, rtol=1e-5)


def test_filter_resampling_and_notch_do_what_the_contract_says():
    time = np.arange(250 * 20) / 250
    volts = sum(np.sin(2 * np.pi * f * time) for f in (10, 50, 70)) * 1e-5
    raw = eeg_files.as_raw(np.tile(volts, (4, 1)))
    out = prepare(raw, SIGNAL.model_copy(update={"band": (0.5, 80.0), "notch": 50.0}))
    assert out.info["sfreq"] == 200
    frequencies, power = welch(out.get_data()[0], 200, nperseg=800)
    at = {f: power[np.argmin(abs(frequencies - f))] for f in (10, 50, 70)}
    assert at[50] < 1e-3 * at[10]
    assert at[70] == pytest.approx(at[10], rel=0.1)
    low = prepare(raw, SIGNAL).get_data()[0]
    assert welch(low, 200, nperseg=800)[1][280] < 1e-4 * at[10]  # 70 Hz lies above the band


def test_references():
    volts = eeg_files.noise()
    raw = eeg_files.as_raw(volts)
    average = prepare(raw, PLAIN.model_copy(update={"reference": "average"})).get_data()
    np.testing.assert_allclose(average, volts - volts.mean(axis=0), atol=1e-12)
    cz = prepare(raw, PLAIN.model_copy(update={"reference": "Cz"})).get_data()
    np.testing.assert_allclose(cz, volts - volts[1], atol=1e-12)
    np.testing.assert_array_equal(raw.get_data(), volts)  # the recording itself is not touched
    with pytest.raises(InputError, match=r"reference is none of the electrodes \(found A1"):
        prepare(raw, PLAIN.model_copy(update={"reference": "A1"}))


def test_channels_come_in_the_contracts_order_under_either_name():
    raw = eeg_files.as_raw(eeg_files.noise(), ("EEG T3", "EEG Cz-REF.", "ECG", "EEG T6"))
    assert pick_channels(raw, ("P8", "T7", "Cz"), ("EEG ", "-REF"), "x") == [
        "EEG T6", "EEG T3", "EEG Cz-REF.",
    ]  # fmt: skip
    signal = PLAIN.model_copy(update={"ch_names": ("P8", "T7"), "reference": "T3"})
    out = prepare(raw, signal, strip=("EEG ", "-REF")).get_data()
    np.testing.assert_allclose(out, raw.get_data()[[3, 0]] - raw.get_data()[0], atol=1e-12)


@pytest.mark.parametrize(
    ("rate", "band", "refused"),
    [(250, (0.5, 45.0), False), (90, (0.5, 45.0), True), (89, (0.5, 45.0), True),
     (91, (0.5, 45.0), False), (150, None, True)],
)  # fmt: skip
def test_the_rate_must_carry_the_band(rate, band, refused):
    raw = eeg_files.as_raw(eeg_files.noise(sfreq=rate), sfreq=rate)
    signal = SIGNAL.model_copy(update={"band": band})
    if refused:
        with pytest.raises(InputError, match="sampling rate is too low"):
            prepare(raw, signal)
    else:
        assert prepare(raw, signal).info["sfreq"] == 200


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda v: v[1].__setitem__(7, np.nan), "channels Cz hold NaN or infinite samples"),
        (lambda v: v[0].__setitem__(7, np.inf), "channels C3 hold NaN or infinite samples"),
        (lambda v: v[3].fill(5e-5), r"channels Fz are flat"),
    ],
)
def test_spoiled_channels_are_named(tmp_path, spoil, message):
    volts = eeg_files.noise()
    spoil(volts)
    raw = read_raw(eeg_files.write_fif(tmp_path / "a_raw.fif", volts))
    with pytest.raises(InputError, match=message):
        prepare(raw, SIGNAL, where="a_raw.fif")


def test_a_recording_shorter_than_a_window_is_refused():
    raw = eeg_files.as_raw(eeg_files.noise(1.9))
    with pytest.raises(InputError, match=r"shorter than one window \(found 1.9 s, allowed >= 2 s"):
        windows_of_recording(raw, PLAIN, LABELS, subject="0", label="rest")


def test_absent_events_are_listed():
    raw = eeg_files.as_raw(eeg_files.noise())
    raw.set_annotations(mne.Annotations([1.0], [0.0], ["blink"]))
    with pytest.raises(InputError, match=r"none of the wanted events \(found blink, allowed go\)"):
        windows_of_recording(raw, PLAIN, LABELS, subject="0", events={"go": "task"})


@pytest.mark.parametrize("keep", [100, 300, 1280, -2])
def test_truncated_edf_is_refused_before_it_is_read(tmp_path, keep):
    path = eeg_files.write_edf(tmp_path / "a.edf", eeg_files.noise())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"recording (is truncated|cannot be read)") as caught:
        read_raw(path)
    assert caught.value.where == path


def test_unknown_and_disguised_formats_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match=r"file format is not known \(found .txt"):
        read_raw(tmp_path / "a.txt")
    (tmp_path / "a.fif").write_bytes(b"not a fif" * 99)
    with pytest.raises(InputError, match="recording cannot be read"):
        read_raw(tmp_path / "a.fif")


# Real EEG ---------------------------------------------------------------------------------------


def test_eegmat_reads_as_its_authors_describe_it(data_folder):
    signal = SIGNAL.model_copy(update={"ch_names": TEN_TWENTY, "n_times": 800})
    raw = read_raw(data_folder / "eegmat" / "Subject00_2.edf")
    assert "EEG T3" in raw.ch_names  # the file has the older name, the contract the present one
    windows = windows_of_recording(raw, signal, LABELS, subject="00", label="task", strip=("EEG ",))
    assert windows.x.shape == (15, 19, 800)  # 62 s
    spread = windows.x.std(axis=(0, 2)) * 100
    assert np.all((spread > 1) & (spread < 50)), spread  # microvolts of cleaned EEG
    t7 = windows.x[:, TEN_TWENTY.index("T7")] * 1e-4
    direct = raw.copy().pick(["EEG T3"]).load_data(verbose="ERROR")
    direct = direct.filter(0.5, 45, verbose="ERROR").resample(200, verbose="ERROR").get_data()[0]
    np.testing.assert_allclose(t7.ravel(), direct[:12000], atol=1e-9)


def test_ssvep_classes_are_the_frequencies_that_flickered(data_folder):
    names = ("Oz", "O1", "O2", "PO3", "POz", "PO7", "PO8", "PO4")
    path = next((data_folder / "ssvepexo" / "subject04").glob("*_raw.fif"))
    raw = read_raw(path)
    events = mne.read_events(path.with_name(path.name.replace("_raw.fif", "-eve.fif")))
    classes = {1: "rest", 2: "13 Hz", 3: "21 Hz", 4: "17 Hz"}
    raw.set_annotations(mne.annotations_from_events(events, raw.info["sfreq"], classes,
                                                    raw.first_samp))  # fmt: skip
    signal = SignalSpec(ch_names=names, sfreq=200, n_times=800, band=(5.0, 45.0))
    windows = windows_of_recording(
        raw, signal, tuple(classes.values()), subject="04", offset=1.0,
        events={name: name for name in classes.values()},
    )  # fmt: skip
    assert windows.x.shape == (32, 8, 800)
    assert np.bincount(windows.y).tolist() == [8, 8, 8, 8]
    power = np.abs(np.fft.rfft(windows.x))[:, 0] ** 2  # Oz, 0.25 Hz a bin
    for label, hertz in ((1, 13), (2, 21), (3, 17)):
        at = power[:, 4 * hertz]
        assert at[windows.y == label].mean() > 2 * at[windows.y != label].mean()
