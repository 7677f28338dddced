"""Metrics of the field, from scikit-learn; which one selects depends on the number of classes.

Several classes: balanced accuracy, Cohen's kappa (selects), weighted F1. Two classes: balanced
accuracy, AUC-PR, AUROC (selects). These are the two families of the foundation-model papers.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

#: How tables name them.
TITLES = {
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "auc_pr": "AUC-PR",
    "kappa": "Cohen's kappa",
    "f1_weighted": "weighted F1",
    "teacher_agreement": "teacher agreement",
}


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


def chance(y: NDArray[np.int64], n_outputs: int) -> dict[str, float]:
    """What :func:`evaluate` gives, in the long run, one who guesses all classes equally often.

    Parameters
    ----------
    y : (n,) true classes.
    """
    share = np.bincount(y, minlength=n_outputs) / len(y)
    guess = 1 / n_outputs
    found = {"balanced_accuracy": guess}
    if n_outputs == 2:
        found |= {"auroc": 0.5, "auc_pr": float(share[1])}
    else:
        f1 = 2 * share * guess / (share + guess)  # precision: the class's share; recall: the guess
        found |= {"kappa": 0.0, "f1_weighted": float(share @ f1)}
    return found


def chance_limit(
    y: NDArray[np.int64], n_outputs: int, *, level: float = 0.95, draws: int = 20_000
) -> float:
    """Balanced accuracy that a guesser exceeds by luck in 1 - `level` of all tests of this size.

    Few windows make it far higher than 1 / n_outputs (Mueller-Putz et al. 2008; Combrisson and
    Jerbi 2015). By simulation, always with the same seed.

    Parameters
    ----------
    y : (n,) true classes.
    """
    counts = np.bincount(y, minlength=n_outputs)
    counts = counts[counts > 0]
    hits = np.random.default_rng(0).binomial(counts, 1 / n_outputs, size=(draws, len(counts)))
    return float(np.quantile((hits / counts).mean(axis=1), level, method="higher"))


def mean_std(values: list[float]) -> dict[str, float | list[float]]:
    """Mean, sample standard deviation (0 for one value) and the values, rounded to 1e-6."""
    std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {
        "mean": round(float(np.mean(values)), 6),
        "std": round(std, 6),
        "values": [round(float(v), 6) for v in values],
    }
