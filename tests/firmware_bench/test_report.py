"""The page: one file, nothing from outside, with every figure and its evidence word."""

import copy
import html.parser
import re

import pytest
from artefacts import MANIFEST, SHARED, TRAINING, flash, ratio, results

from firmware_bench import static
from firmware_bench.artefact import load as load_artefact
from firmware_bench.gate import judge
from firmware_bench.plots import all_plots
from firmware_bench.report import render
from firmware_bench.results import Interval, Samples, figure
from targets.budget import load

VOID = {"meta", "br", "img", "link", "hr", "input"}


class Page(html.parser.HTMLParser):
    """Collects attributes and text, and checks that tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.resources, self.ids, self.words, self.tags = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for key, value in attrs:
            if key == "id":
                self.ids.append(value)
            if key in ("src", "srcset", "data", "poster") or (key == "href" and tag != "a"):
                self.resources.append(value)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def found(artefact_folder):
    latency = [
        figure(
            "host", model, "latency_median", time, "measured", format="fp32.onnx",
            samples=Samples(count=9, median=time, mad=0, p90=time, p99=2 * time, worst=2 * time),
        )
        for model, time in (("student", 0.0714), ("teacher", 37.2))
    ]  # fmt: skip
    board = [
        flash(40_713),
        figure(
            "nucleo-l4r5zi", "student", "latency_estimated", 61.4, "estimated",
            interval=Interval(low=51.6, high=90.3, kind="model band"),
        ),
        figure("nucleo-l4r5zi", "teacher", "flash_factor", 2.77, "estimated", note="does not fit"),
        figure("host", "student", "model_rss", 5_000_000, "measured", format="fp32.onnx"),
    ]  # fmt: skip
    model = static.measurements(load_artefact(artefact_folder))
    return results(*latency, *board, ratio(480.0, 521.0, 530.0), *model, environment=SHARED)


@pytest.fixture(scope="module")
def text(found, tmp_path_factory):
    path = tmp_path_factory.mktemp("b") / "budgets.toml"
    path.write_text(
        "".join(
            f'[[budget]]\ntarget = "{t}"\nmodel = "{m}"\nmetric = "{k}"\nlimit = "{v}"\n'
            for t, m, k, v in (
                ("nucleo-l4r5zi", "student", "flash_bytes", "128 KiB"),
                ("nucleo-l4r5zi", "student", "instructions", "12 M"),
                ("host", "student", "latency_median", "5 ms"),
            )
        )
    )
    return render(found, judge(load(path), found))


def test_one_file_with_nothing_from_outside(text):
    page = Page(text)
    assert page.open == []
    assert [r for r in page.resources if not r.startswith("#")] == []
    assert "script" not in page.tags
    assert not re.search(r"@import|url\((?!#)", text)
    assert "<?xml" not in text
    assert len(page.ids) == len(set(page.ids))
    assert {r[1:] for r in page.resources} <= set(page.ids)
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(page.ids)


def test_figures_verdicts_and_evidence_are_on_it(text):
    words = " ".join(" ".join(Page(text).words).split())
    for expected in (
        "39.8 KiB", "71.4 µs", "37.2 ms", "61.4 ms", "521x", "0.680 ± 0.016", "0.650 ± 0.008",
        "pass", "missing", "inconclusive", "a virtual machine shares its processor",
        "emulated", "estimated", "measured", "c0ffee", "0123abc", "Router weight", "92 % of",
        "Training loss", "does not fit", "S33, S34, S35, S36",
    ):  # fmt: skip
        assert expected in words, expected


def test_user_text_is_escaped(found):
    manifest = copy.deepcopy(MANIFEST) | {"name": "<script>alert(1)</script>"}
    page = Page(render(found.model_copy(update={"manifest": manifest}), []))
    assert "script" not in page.tags


def test_plots_are_drawn_for_what_is_there_and_nothing_else(found):
    titles = [plot.title for plot in all_plots(found)]
    assert titles == [
        "Accuracy",
        "Parameters and multiply-accumulates",
        "Size of the model files",
        "Latency on host",
        "Latency on nucleo-l4r5zi",
        "Resident memory of the model",
        "Share of the memory of nucleo-l4r5zi",
        "Router weight of each teacher layer",
        "Training loss",
        "Validation accuracy",
    ]
    bare = found.model_copy(update={"manifest": {}, "training": None, "measurements": ()})
    assert all_plots(bare) == []
    assert Page(render(bare, [])).open == []


def test_wide_spans_are_logarithmic_and_every_plot_names_its_evidence(found):
    plots = {plot.title: plot for plot in all_plots(found)}
    assert "logarithmic" in plots["Latency on host"].caption
    assert "logarithmic" not in plots["Resident memory of the model"].caption
    for plot in plots.values():
        assert re.search("measured|emulated|estimated", plot.caption), plot.title


def test_drawings_take_the_colours_of_the_page_and_are_reproducible(found):
    first, again = all_plots(found), all_plots(found)
    assert [plot.svg for plot in first] == [plot.svg for plot in again]
    assert all("currentColor" in plot.svg and "#123456" not in plot.svg for plot in first)
    assert all("<style" not in plot.svg and "http" not in plot.svg for plot in first)


def test_a_single_epoch_and_a_single_layer_are_drawn(found):
    training = copy.deepcopy(TRAINING)
    training["router"] = {"layers": ["last"], "mean_weight": [1.0]}
    training["curves"] = {"teacher": {"epoch": [1], "train_loss": [0.7]}}
    plots = all_plots(found.model_copy(update={"training": training}))
    assert "Training loss" in [plot.title for plot in plots]
