"""A comparison as tables and sentences, once; written as Markdown, or with rich on a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distill.compare.results import Comparison, Count, Difference, Gap, Pair, Row, Spread
from distill.metrics import TITLES

if TYPE_CHECKING:
    from rich.console import Console

AGREEMENT = "teacher_agreement"
#: Below so many test subjects an interval over subjects is no more than a hint.
FEW_SUBJECTS = 6


@dataclass(frozen=True)
class Table:
    """One table: a title, column names, rows of text, sentences below."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def tables(found: Comparison, count: Count) -> list[Table]:
    """The tables of one number of labelled windows; those without a row are left out."""
    every = [_scores(found, count), _differences(found, count), _subjects(found, count),
             _people(found, count)]  # fmt: skip
    return [table for table in every if table.rows]


def heading(count: Count) -> str:
    """The number of labelled windows in words."""
    every = "" if count.labelled else ", as [split] gives them"
    return f"{count.windows} labelled training windows{every}"


def about(found: Comparison) -> list[str]:
    """Sentences on the data, the seeds and what failed."""
    held = ", ".join(
        f"{name} {_many(len(part.subjects), 'subject')}, {_many(part.windows, 'window')}"
        for name, part in found.split.items()
    )
    people = ", ".join(found.split["test"].subjects)
    lines = [
        f"Classes {', '.join(found.labels)}; split {found.split_kind}: {held}. "
        f"Test subjects: {people}.",
        f"{_many(len(found.seeds), 'seed')} ({', '.join(map(str, found.seeds))}), "
        f"{'one teacher for all' if found.one_teacher else 'a teacher each'}. Differences are "
        f"against `{found.reference}`; intervals are 95 %.",
    ]
    if any(count.labelled for count in found.counts):
        lines.append("Labels are withheld from the students alone, not from the teacher.")
    lost = [job for job in found.jobs if job.status != "done"]
    if lost:
        named = "; ".join(f"{job.arm}, seed {job.seed}"
                          + (f", {job.labelled} labelled" if job.labelled else "")
                          + f": {job.status}, log {job.log}" for job in lost)  # fmt: skip
        lines.append(
            f"**Incomplete**: {len(lost)} of {len(found.jobs)} jobs are missing ({named})."
        )
    return lines


def choice(found: Comparison, count: Count) -> str:
    """The arm that validation chooses, and whether test would have chosen another."""
    chosen, metric = count.selection, TITLES[found.selected_by]
    if chosen is None:
        return "No arm is chosen: the arms share no seed that finished."
    text = f"Chosen on validation: `{chosen.chosen}` ({metric} {chosen.mean:.3f}, "
    text += f"mean of {_many(len(chosen.seeds), 'seed')})."
    if chosen.best_on_test == chosen.chosen:
        return text + " It is the best on test too."
    return text + (
        f" On test `{chosen.best_on_test}` is higher by {chosen.test_lead:.3f}; the choice stays, "
        "or the test would no longer be one."
    )


def _scores(found: Comparison, count: Count) -> Table:
    metrics = [*found.metrics, AGREEMENT]
    rows: dict[str, Row] = {"teacher": count.teacher} if count.teacher else {}
    rows |= count.arms
    chance = [_figure(found.chance.get(metric)) for metric in metrics]
    limit = f"Of guessers, 95 % have a balanced accuracy of at most {found.chance_limit:.3f} here."
    return Table(
        "Test, mean ± standard deviation over seeds",
        ("", *(TITLES[metric] for metric in metrics), "seeds"),
        (
            *(
                (name, *(_spread(row.test.get(m)) for m in metrics), str(_seeds(row)))
                for name, row in rows.items()
            ),
            ("chance", *chance, ""),
        ),
        (limit,),
    )


def _seeds(row: Row) -> int:
    return len(next(iter(row.test.values())).values)


def _differences(found: Comparison, count: Count) -> Table:
    rows = []
    silent: dict[str, list[str]] = {}  # why a gap has no value or interval -> metrics
    for name, against in count.against.items():
        for metric, one in against.metrics.items():
            title, gap = TITLES[metric], against.gap[metric]
            rows.append((name, title, _signed(one.mean), _interval(one.interval),
                         _p(one.p), _p(one.p_holm), _gap(gap)))  # fmt: skip
            if gap.note and title not in silent.setdefault(gap.note, []):
                silent[gap.note].append(title)
    return Table(
        f"Difference to {found.reference}, paired over seeds",
        ("", "metric", "difference", "95 % interval", "p", "p (Holm)", "gap closed"),
        tuple(rows),
        (
            *(f"Gap in {', '.join(titles)}: {note}." for note, titles in silent.items()),
            *_power(one for each in count.against.values() for one in each.metrics.values()),
        ),
    )


def _power(differences: Iterable[Difference]) -> list[str]:
    best = max((one.smallest_p or 0 for one in differences), default=0)
    if best <= 0.05:
        return []
    return [
        f"So few seeds can show no p below {best:.3g}, whatever the arms do: read the interval."
    ]


def _subjects(found: Comparison, count: Count) -> Table:
    known = {name: one.by_subject for name, one in count.against.items()}
    few = [one.subjects for one in known.values() if one.subjects < FEW_SUBJECTS]
    notes = (f"With {few[0]} test subjects this is a hint, no more.",) if few else ()
    return Table(
        f"Difference to {found.reference} in balanced accuracy by subject, over seeds and subjects",
        ("", "difference", "95 % interval", "bootstrap", "p", "p (Holm)", "better / worse"),
        tuple(
            (name, _signed(one.mean), _interval(one.interval), _interval(one.bootstrap),
             _p(one.p), _p(one.p_holm), f"{one.better} / {one.worse} of {one.subjects}")
            for name, one in known.items()
        ),
        notes,
    )  # fmt: skip


def _people(found: Comparison, count: Count) -> Table:
    rows = {"teacher": count.teacher, **count.arms}
    known = {name: row.by_subject for name, row in rows.items() if row and row.by_subject}
    names = list(dict.fromkeys(subject for row in known.values() for subject in row))
    return Table(
        "Balanced accuracy of each test subject, mean ± standard deviation over seeds",
        ("subject", *known),
        tuple((name, *(_spread(row.get(name)) for row in known.values())) for name in names),
    )


def _many(count: int, word: str) -> str:
    return f"{count} {word}" + ("" if count == 1 else "s")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _signed(value: float) -> str:
    return f"{value:+.3f}"


def _spread(one: Spread | None) -> str:
    if one is None:
        return "-"
    return _figure(one.mean) + (f" ± {one.std:.3f}" if one.std is not None else "")


def _interval(pair: Pair | None) -> str:
    return "-" if pair is None else f"{pair[0]:+.3f} to {pair[1]:+.3f}"


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _gap(gap: Gap) -> str:
    if gap.value is None:
        return "-"
    span = f" ({gap.interval[0]:.2f} to {gap.interval[1]:.2f})" if gap.interval else ""
    return f"{gap.value:.2f}{span}"


def markdown(table: Table, level: int) -> str:
    """The table as Markdown under a heading of this level."""
    lines = [f"{'#' * level} {table.title}", "", _line(table.columns)]
    lines.append(_line([":--", *["--:"] * (len(table.columns) - 1)]))
    lines += [_line(row) for row in table.rows]
    return "\n".join([*lines, *(f"\n{note}" for note in table.notes), ""])


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def document(found: Comparison, *, level: int = 1) -> str:
    """The whole comparison as Markdown, its title a heading of this level."""
    parts = [f"{'#' * level} {found.name}\n", *(line + "\n" for line in about(found))]
    for count in found.counts:
        parts += [f"{'#' * (level + 1)} {heading(count)}\n", choice(found, count) + "\n"]
        parts += [markdown(table, level + 2) for table in tables(found, count)]
    return "\n".join([*parts, *provenance(found)]) + "\n"


def provenance(found: Comparison) -> list[str]:
    """Command, machine, versions and time as Markdown lines."""
    p = found.provenance
    commit = (p.git.get("commit") or "unknown")[:12] + (
        ", changed since" if p.git.get("dirty") else ""
    )
    versions = ", ".join(f"{name} {version}" for name, version in p.versions.items())
    return [
        "```sh", p.command, "```", "",
        f"{p.machine}; {p.parallel} at a time ({p.launcher}); {duration(p.wall_seconds)}, "
        f"all jobs added {duration(p.seconds)}.",
        f"Recipe {p.recipe_hash}, windows {p.windows_hash}, dlink at {commit}; {versions}.",
    ]  # fmt: skip


def duration(seconds: float) -> str:
    """Seconds for a reader: "42 s", "12 min 5 s", "3 h 2 min"."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def show(found: Comparison, console: Console) -> None:
    """Print the tables on a terminal, but for the one of single subjects."""
    import rich.table
    from rich.markup import escape

    for line in about(found):
        console.print(escape(line.replace("`", "").replace("**", "")))
    for count in found.counts:
        console.print(f"\n[bold]{escape(heading(count))}[/bold]")
        for table in tables(found, count):
            if table.columns[0] == "subject":
                continue
            grid = rich.table.Table(title=escape(table.title), title_justify="left")
            for k, column in enumerate(table.columns):
                grid.add_column(column, justify="right" if k else "left")
            for row in table.rows:
                grid.add_row(*map(escape, row))
            console.print(grid)
            for note in table.notes:
                console.print(escape(note.replace("`", "")))
        console.print(escape(choice(found, count).replace("`", "")))
