"""Facts of a made-up but likely model: four classes, nine test subjects, from chance upwards."""

from __future__ import annotations

import numpy as np

from distill.metrics import agreement, by_subject, evaluate
from distill.signal import SignalSpec
from export.card import CardFacts, Training
from export.parity import check, compare

LABELS = ("left hand", "right hand", "feet", "tongue")
SUBJECTS, EACH = tuple(f"A{k:02d}" for k in range(1, 10)), 48


def logits():
    """Logits of the student in float32 and int8, classes and subjects."""
    rng = np.random.default_rng(0)
    n = len(SUBJECTS) * EACH
    subject, y = np.repeat(SUBJECTS, EACH), np.tile(np.arange(4), n // 4)
    full = rng.standard_normal((n, 4)).astype(np.float32)
    full[np.arange(n), y] += np.repeat(np.linspace(0, 2.4, len(SUBJECTS)), EACH)
    integer = full + 0.1 * rng.standard_normal(full.shape).astype(np.float32)
    return full, integer, y, subject


def measured(value):
    return {"mean": value, "std": 0.01, "values": [value]}


def training(subject_scores):
    split = {
        part: {"subjects": list(SUBJECTS), "windows": 432} for part in ("train", "val", "test")
    }
    arms = {
        "teacher": {
            "balanced_accuracy": measured(0.62),
            "by_subject": {k: measured(min(1.0, v + 0.05)) for k, v in subject_scores.items()},
        },
        "distilled": {
            "balanced_accuracy": measured(0.58),
            "teacher_agreement": measured(0.9),
            "by_subject": {},
        },
    }
    weights = [0.02, 0.03, 0.04, 0.05, 0.08, 0.12, 0.16, 0.17, 0.13, 0.1, 0.06, 0.04]
    layers = [f"blocks.{k}" for k in range(12)]
    return Training(
        arm="distilled", arms=arms, split=split, split_kind="cross_subject", seeds=[0, 1, 2],
        selected_seed=2, selected_by="val_kappa of the distilled student", teacher="labram",
        teacher_params=5_818_372, router={"layers": layers, "mean_weight": weights,
                                          "std_weight": [0.01] * 12, "entropy": 0.92},
    )  # fmt: skip


def score(snr_db, drop=0.01):
    return {"drop": drop, "agreement": 0.98, "rmse": 0.1, "snr_db": snr_db}


def quantisation():
    """What the ladder says, as its as_dict() gives it."""
    rows = [
        {"operator": f"conv_{k}", "kind": "Conv", "tensor": f"t{k}", "alone": score(30.0 - 3 * k),
         "without": score(20.0), "output_snr_db": 31.0}
        for k in range(6)
    ]  # fmt: skip
    rows.append({**rows[0], "operator": "pool", "kind": "Pool", "alone": score(None)})
    rung = {"before": None, "kept": True, "passed": True, "seconds": 1.0}
    return {
        "method": "percentile", "wide": ["conv_5"], "passed": True, "sensitivity": rows,
        "rungs": [
            {**rung, "name": "calibration", "what": "as it comes", "after": score(20.0, 0.034)},
            {**rung, "name": "int16x8", "what": "conv_5", "after": score(26.0, None)},
            {**rung, "name": "finetune", "what": "3 epochs", "after": score(9.0), "kept": False},
        ],
    }  # fmt: skip


def whole():
    """Return facts in which every section has something to say."""
    full, integer, y, subject = logits()
    reference = evaluate(full, y)["balanced_accuracy"]
    formats = {}
    for name, out in (("torch", full), ("fp32.onnx", full), ("int8.tflite", integer)):
        scores = evaluate(out, y)
        drop = reference - scores["balanced_accuracy"]
        formats[name] = {
            **scores, "top1_agreement": agreement(out, full), "accuracy_drop": drop,
        }  # fmt: skip
    names = tuple(f"E{k}" for k in range(22))
    return CardFacts(
        name="bnci",
        what="MiC student of runs/bnci, distilled, seed 2",
        signal=SignalSpec(ch_names=names, sfreq=200, n_times=800, band=(0.5, 45), scale=100),
        labels=LABELS,
        params=30_512,
        formats=formats,
        parity=[("student.int8.tflite", check("tflite.int8", compare(full, integer)))],
        left_out={"int16x8.tflite": "an operator has no 16-bit form"},
        training=training(by_subject(full, y, subject)),
        quantisation=quantisation(),
        preprocessing={
            "kind": "iir", "input_sfreq": 250.0, "input_unit": "uV", "input_ch_names": names,
            "delay_seconds": 0.042, "correlation": 0.991, "relative_rms": 0.12,
        },
        predictions={"fp32.onnx": full, "int8.tflite": integer},
        y=y,
        subject=subject,
    )  # fmt: skip
