"""The four files, and the section of a report."""

import csv
import json

import made_up
import matplotlib.image
import numpy as np
import pytest

from distill.compare.output import as_csv, read, write
from distill.compare.plot import draw
from distill.compare.report import replace_section
from distill.compare.summary import summarise
from targets.errors import InputError


def test_files_say_the_same(tmp_path):
    found = made_up.comparison()
    names = [path.name for path in write(found, tmp_path)]
    assert names == ["comparison.json", "comparison.csv", "comparison.md", "comparison.png"]
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    assert read(tmp_path) == found
    assert json.loads((tmp_path / "comparison.json").read_text())["schema_version"] == 1
    text = (tmp_path / "comparison.md").read_text()
    assert text.startswith("# made-up\n")
    assert text.endswith("![made-up](comparison.png)\n")


def test_csv_has_a_row_a_job():
    rows = list(csv.DictReader(as_csv(made_up.comparison()).splitlines()))
    assert rows == [
        {"arm": "teacher", "seed": "0", "labelled": "", "status": "done", "val_auroc": "0.9",
         "test_auroc": "0.8", "seconds": "12.5"},
        {"arm": "kd", "seed": "4", "labelled": "50", "status": "failed", "val_auroc": "",
         "test_auroc": "", "seconds": ""},
    ]  # fmt: skip


def test_what_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="finite"):
        made_up.comparison(chance_limit=float("nan"))


@pytest.mark.parametrize("kept", [0, 1, 2])
@pytest.mark.parametrize("seeds", [1, 5])
def test_plot_of_none_one_and_several_counts(tmp_path, kept, seeds):
    counts = [summarise(made_up.trial(seeds=range(seeds)), n, n) for n in (50, 500)][:kept]
    draw(made_up.comparison(counts), tmp_path / "plot.png")
    image = matplotlib.image.imread(tmp_path / "plot.png")
    assert image.shape[1] > image.shape[0] * 0.3
    assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > (20 if kept else 1)


def test_plot_shows_what_changes(tmp_path):
    """Another arm's figures, another picture; the same figures, the same bytes."""
    for name, level in {"a": 0.6, "b": 0.6, "c": 0.75}.items():
        count = summarise(made_up.trial({"matched": 0.6, "kd": level}), 50, 50)
        draw(made_up.comparison([count], arms=("matched", "kd")), tmp_path / name)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


# The section of a report --------------------------------------------------------------------------


def test_a_new_section_stands_at_the_end(tmp_path):
    path = tmp_path / "benchmarks.md"
    replace_section(path, "one", "first\n")
    replace_section(path, "two", "second")
    assert path.read_text() == (
        "<!-- compare:one -->\nfirst\n<!-- /compare:one -->\n\n"
        "<!-- compare:two -->\nsecond\n<!-- /compare:two -->\n"
    )


def test_an_old_section_is_replaced_and_the_rest_is_left(tmp_path):
    path = tmp_path / "benchmarks.md"
    around = ("# Ours\r\n\r\nText with \\1 and µ.\r\n", "\r\n\r\n## More without a last line end")
    path.write_bytes(f"{around[0]}<!-- compare:x -->old<!-- /compare:x -->{around[1]}".encode())
    replace_section(path, "x", r"new \g<0>")
    expected = f"{around[0]}<!-- compare:x -->\nnew \\g<0>\n<!-- /compare:x -->{around[1]}"
    assert path.read_bytes() == expected.encode()
    before = path.read_bytes()
    replace_section(path, "x", r"new \g<0>")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "text",
    ["<!-- compare:x -->", "<!-- /compare:x -->", "<!-- /compare:x --><!-- compare:x -->",
     "<!-- compare:x --><!-- /compare:x -->" * 2],
)  # fmt: skip
def test_markers_that_do_not_pair_are_refused(tmp_path, text):
    path = tmp_path / "benchmarks.md"
    path.write_text(text)
    with pytest.raises(InputError, match="markers of section 'x' do not pair"):
        replace_section(path, "x", "new")
    assert path.read_text() == text


def test_a_name_that_would_break_the_marker_and_a_file_that_is_no_text(tmp_path):
    with pytest.raises(InputError, match="section name is not usable"):
        replace_section(tmp_path / "a.md", "x -->", "new")
    (tmp_path / "b.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="report cannot be read"):
        replace_section(tmp_path / "b.md", "x", "new")
