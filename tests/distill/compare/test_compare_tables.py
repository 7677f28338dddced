"""What people read: the same figures as in comparison.json."""

import made_up
import pytest
from rich.console import Console

from distill.compare.summary import summarise
from distill.compare.tables import (
    Table,
    about,
    choice,
    document,
    duration,
    heading,
    markdown,
    show,
    tables,
)


@pytest.fixture
def found():
    return made_up.comparison()


def cells(table, name):
    return [row for row in table.rows if row[0] == name]


def test_every_table_has_teacher_and_chance(found):
    scores = tables(found, found.counts[0])[0]
    assert [row[0] for row in scores.rows] == ["teacher", "matched", "kd", "dlink", "chance"]
    one = found.counts[0].arms["dlink"].test["auroc"]
    assert cells(scores, "dlink")[0][2] == f"{one.mean:.3f} ± {one.std:.3f}"
    assert cells(scores, "chance")[0][1:] == ("0.500", "0.500", "0.500", "0.500", "")
    assert scores.columns[1:] == (
        "balanced accuracy", "AUROC", "AUC-PR", "teacher agreement", "seeds",
    )  # fmt: skip
    assert "0.557" in scores.notes[0]


def test_differences_show_interval_p_and_gap(found):
    table = tables(found, found.counts[0])[1]
    row = next(row for row in table.rows if row[:2] == ("dlink", "AUROC"))
    against = found.counts[0].against["dlink"]
    one, gap = against.metrics["auroc"], against.gap["auroc"]
    assert row[2:] == (
        f"{one.mean:+.3f}", f"{one.interval[0]:+.3f} to {one.interval[1]:+.3f}",
        f"{one.p:.3f}", f"{one.p_holm:.3f}",
        f"{gap.value:.2f} ({gap.interval[0]:.2f} to {gap.interval[1]:.2f})",
    )  # fmt: skip
    assert not any(row[0] == "matched" for row in table.rows)
    assert [note[:42] for note in table.notes] == ["So few seeds can show no p below 0.0625, w"]


def test_six_seeds_can_show_a_p_and_are_not_told_otherwise():
    count = summarise(made_up.trial(seeds=range(6)), 50, 50)
    assert tables(made_up.comparison([count]), count)[1].notes == ()


def test_a_gap_that_cannot_be_said_is_explained():
    count = summarise(made_up.trial(teacher=0.4), 50, 50)
    table = tables(made_up.comparison([count]), count)[1]
    assert {row[-1] for row in table.rows} == {"-"}
    assert table.notes[0] == (
        "Gap in balanced accuracy, AUROC, AUC-PR: the teacher is not better than the reference."
    )


def test_subjects(found):
    table, people = tables(found, found.counts[0])[2:]
    assert cells(table, "dlink")[0][-1] == "7 / 0 of 7"
    assert table.notes == ()
    assert people.columns == ("subject", "teacher", "matched", "kd", "dlink")
    assert [row[0] for row in people.rows] == list(made_up.SUBJECTS)


def test_few_subjects_are_a_hint():
    given = made_up.trial()
    for one in (one for runs in given.arms.values() for one in runs.values()):
        one["test"]["by_subject"] = dict(list(one["test"]["by_subject"].items())[:4])
    count = summarise(given, 50, 50)
    table = tables(made_up.comparison([count]), count)[2]
    assert table.notes == ("With 4 test subjects this is a hint, no more.",)


def test_nothing_to_compare_leaves_the_scores_alone():
    given = made_up.trial()
    given.arms["matched"].clear()
    count = summarise(given, 50, 50)
    shown = tables(made_up.comparison([count]), count)
    assert [table.columns[0] for table in shown] == ["", "subject"]
    assert choice(made_up.comparison([count]), count).startswith("No arm is chosen")


def test_the_choice_is_said_and_what_test_would_have_chosen(found):
    text = choice(found, found.counts[0])
    assert text.startswith("Chosen on validation: `dlink` (AUROC 0.")
    assert text.endswith("It is the best on test too.")
    selection = found.counts[0].selection.model_copy(
        update={"best_on_test": "kd", "test_lead": 0.0123}
    )
    other = choice(found, found.counts[0].model_copy(update={"selection": selection}))
    assert "On test `kd` is higher by 0.012; the choice stays" in other


def test_data_seeds_and_failures_are_named(found):
    text = "\n".join(about(found))
    assert "train 2 subjects, 640 windows, val 1 subject, 40 windows, test 7 subjects, 280" in text
    assert "Test subjects: S20, S21" in text
    assert "5 seeds (0, 1, 2, 3, 4), a teacher each" in text
    assert "1 of 2 jobs are missing (kd, seed 4, 50 labelled: failed, log logs/kd" in text
    assert "withheld from the students alone" in text
    assert "one teacher for all" in "\n".join(about(made_up.comparison(one_teacher=True)))
    assert "Incomplete" not in "\n".join(about(made_up.comparison(jobs=found.jobs[:1])))


def test_document_is_whole_and_says_where_it_comes_from(found):
    text = document(found, level=2)
    assert text.startswith("## made-up\n")
    assert "### 50 labelled training windows\n" in text
    assert "### 500 labelled training windows\n" in text
    assert "```sh\ndlink-distill compare recipe.toml -o runs/made-up\n```" in text
    assert "CPU (x86_64), 2 cores; 2 at a time (processes); 1 h 1 min" in text
    assert "dlink at 0123456789ab, changed since; python 3.11.2, torch 2.13.0." in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")


def test_a_count_as_the_split_gives_it_says_so(found):
    count = found.counts[0].model_copy(update={"labelled": None, "windows": 640})
    assert heading(count) == "640 labelled training windows, as [split] gives them"


def test_markdown_columns_agree_and_signs_of_tables_are_escaped(found):
    table = tables(found, found.counts[0])[3]
    odd = markdown(Table("t", ("subject", "x"), (("a|b", "1"),), ("A note.",)), 3)
    assert odd == "### t\n\n| subject | x |\n| :-- | --: |\n| a\\|b | 1 |\n\nA note.\n"
    assert len({line.count("|") for line in markdown(table, 3).splitlines() if "|" in line}) == 1


def test_names_in_square_brackets_survive_the_terminal(found):
    console = Console(width=150, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    show(found.model_copy(update={"reference": "[red]"}), console)
    text = console.export_text()
    assert "Difference to [red], paired over seeds" in text
    assert "subject " not in text.split("Test, mean")[1].split("Difference")[0]
    assert "Chosen on validation: dlink" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (7325, "2 h 2 min")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text
