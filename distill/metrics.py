"""Metrics of the field, from scikit-learn; which one selects depends on the number of classes.

Several classes: balanced accuracy, Cohen's kappa (selects), weighted F1. Two classes: balanced
accuracy, AUC-PR, AUROC (selects). These are the two families of the foundation-model papers.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray


def selection_metric(n_outputs: int) -> str:
    """Name of the metric that chooses the epoch and the seed, on validation data only."""
    return "auroc" if n_outputs == 2 else "kappa"


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Row-wise softmax of (n, n_outputs)."""
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = shifted - shifted.max(axis=1, keepdims=True)
    exps = np.exp(shifted)
    return exps / exps.sum(axis=1, keepdims=True)


def evaluate(logits: NDArray[np.floating], y: NDArray[np.int64]) -> dict[str, float]:
    """All metrics of one model on labelled windows.

    Parameters
    ----------
    logits : (n, n_outputs).
    y : (n,) true classes.
    """
    from sklearn import metrics

    predicted = np.asarray(logits).argmax(axis=1)
    n_outputs = logits.shape[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one class only, in a sanity check: the value says so
        found = {"balanced_accuracy": metrics.balanced_accuracy_score(y, predicted)}
        if n_outputs == 2:
            score = softmax(logits)[:, 1]
            both = len(np.unique(y)) == 2
            found["auroc"] = metrics.roc_auc_score(y, score) if both else 0.5
            found["auc_pr"] = metrics.average_precision_score(y, score) if both else float(y[0])
        else:
            found["kappa"] = metrics.cohen_kappa_score(y, predicted)
            found["f1_weighted"] = metrics.f1_score(y, predicted, average="weighted")
    return {name: float(np.nan_to_num(value)) for name, value in found.items()}


def agreement(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Share of windows on which two models choose the same class."""
    return float(np.mean(np.asarray(a).argmax(axis=1) == np.asarray(b).argmax(axis=1)))


def by_subject(
    logits: NDArray[np.floating], y: NDArray[np.int64], subject: NDArray[np.str_]
) -> dict[str, float]:
    """Balanced accuracy of each subject."""
    return {
        str(name): evaluate(logits[subject == name], y[subject == name])["balanced_accuracy"]
        for name in sorted(set(subject.tolist()))
    }


def mean_std(values: list[float]) -> dict[str, float | list[float]]:
    """Mean, sample standard deviation (0 for one value) and the values, rounded to 1e-6."""
    std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {
        "mean": round(float(np.mean(values)), 6),
        "std": round(std, 6),
        "values": [round(float(v), 6) for v in values],
    }
