import numpy as np
import torch

from distill.batches import WindowSet, batches, batches_in_order, training_batches
from distill.outputs import TeacherOutputs
from distill.tasks import Means


def outputs(n):
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((n, 2, 4, 2, 8)).astype(np.float32)
    return TeacherOutputs(rng.standard_normal((n, 2)).astype(np.float32), hidden)


def test_batches_in_order_are_copies(splits):
    x = splits["train"].x
    parts = list(batches(x, 5))
    assert [len(part) for part in parts] == [5, 5, 5, 1]
    np.testing.assert_array_equal(torch.cat(parts), x)
    before = float(x[0, 0, 0])
    parts[0][0, 0, 0] += 1.0
    assert float(x[0, 0, 0]) == before


def test_a_loader_gives_whole_batches_with_the_teachers_view_of_their_windows(splits):
    data = splits["train"]
    seen = outputs(len(data))
    loader = training_batches(WindowSet(data, seen), 6, seed=0)
    x, y, logits, tokens = map(list, zip(*loader, strict=True))
    assert [len(part) for part in x] == [6, 6, 4] == [len(view) for view in tokens]
    order = list(loader.sampler)
    np.testing.assert_array_equal(torch.cat(x), data.x[np.array(order)])
    np.testing.assert_array_equal(torch.cat(y), data.y[np.array(order)])
    np.testing.assert_array_equal(torch.cat(logits), seen.logits[order])
    torch.testing.assert_close(
        torch.cat([view.hidden() for view in tokens]), torch.from_numpy(seen.hidden[order])
    )


def test_a_last_batch_of_one_is_dropped_in_training_alone(splits):
    data = WindowSet(splits["train"])
    assert [len(x) for x, _ in training_batches(data, 5, seed=0)] == [5, 5, 5]
    assert [len(x) for x, _ in batches_in_order(data, 5)] == [5, 5, 5, 1]


def test_means_weigh_steps_by_their_windows_and_start_again():
    means = Means()
    means.add({"a": torch.tensor(1.0), "b": torch.tensor(0.0)}, 6)
    means.add({"a": torch.tensor(4.0), "b": torch.tensor(8.0)}, 2)
    assert {name: float(value) for name, value in means.take().items()} == {"a": 1.75, "b": 2.0}
    assert means.take() == {}
    means.add({"a": torch.tensor(3.0)}, 1)
    assert {name: float(value) for name, value in means.take().items()} == {"a": 3.0}
