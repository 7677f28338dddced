"""The files of a comparison: JSON for machines, CSV a row a job, Markdown and PNG for people."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from distill.compare.results import Comparison
from distill.compare.tables import document
from targets.files import read_json, write_json, write_text

NAME = "comparison"


def write(found: Comparison, folder: Path) -> list[Path]:
    """Write comparison.json, .csv, .md and .png into `folder`; return their paths."""
    from distill.compare.plot import draw

    paths = [folder / f"{NAME}.{kind}" for kind in ("json", "csv", "md", "png")]
    write_json(paths[0], found.model_dump(mode="json"))
    write_text(paths[1], as_csv(found))
    write_text(paths[2], document(found) + f"\n![{found.name}]({NAME}.png)\n")
    draw(found, paths[3])
    return paths


def read(folder: Path) -> Comparison:
    """The comparison that stands in `folder`."""
    return Comparison(**read_json(folder / f"{NAME}.json", NAME))


def as_csv(found: Comparison) -> str:
    """A row a teacher and a job, with every metric on validation and test."""
    metrics = list(dict.fromkeys(name for job in found.jobs for name in job.test))
    with io.StringIO(newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["arm", "seed", "labelled", "status",
                         *(f"{split}_{m}" for split in ("val", "test") for m in metrics),
                         "seconds"])  # fmt: skip
        for job in found.jobs:
            scores = [part.get(m, "") for part in (job.val, job.test) for m in metrics]
            writer.writerow([job.arm, job.seed, _blank(job.labelled), job.status, *scores,
                             _blank(job.seconds)])  # fmt: skip
        return text.getvalue()


def _blank(value: float | None) -> float | str:
    return "" if value is None else value
