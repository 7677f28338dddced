import numpy as np
import planted
import pytest
import torch
from pydantic import ValidationError

from distill.methods.kd import KD, KDConfig


@pytest.fixture(scope="module")
def found():
    return planted.setting(planted.windows(24))


def test_losses_by_hand(found):
    data = planted.batch(found)
    named, notes = KD(KDConfig(ce=0.5, kd=3.0, temperature=2.0)).losses(found.student.eval(), data)
    logits = found.student(data.x).detach().double().numpy()
    teacher = data.teacher_logits.double().numpy()

    def log_softmax(z):
        return z - np.log(np.exp(z).sum(1, keepdims=True))

    log_p, log_q = log_softmax(teacher / 2), log_softmax(logits / 2)
    ce = -log_softmax(logits)[np.arange(24), data.y].mean()
    kl = (np.exp(log_p) * (log_p - log_q)).sum(1).mean()
    assert notes == {}
    assert {k: v.item() for k, v in named.items()} == pytest.approx(
        {"ce": 0.5 * ce, "kd": 3 * 4 * kl}, rel=1e-4
    )


def test_a_window_without_a_label_still_teaches(found):
    data = planted.batch(found)._replace(y=torch.full((24,), -1))
    named, _ = KD().losses(found.student.train(), data)
    assert named["ce"].item() == 0.0
    torch.stack(list(named.values())).sum().backward()
    assert found.student.stem[0].weight.grad.abs().sum() > 0


def test_a_student_trained_on_soft_decisions_alone_agrees_with_the_teacher():
    found = planted.setting(planted.windows(96))
    history = planted.train(KD(KDConfig(ce=0.0)), found)
    assert set(history[0]) == {"kd"}
    assert history[-1]["kd"] < 0.3 * history[0]["kd"]


def test_no_weight_left_is_refused():
    with pytest.raises(ValidationError, match="all weights are 0: ce, kd"):
        KDConfig(ce=0.0, kd=0.0)
    with pytest.raises(ValidationError, match="finite"):
        KDConfig(kd=float("inf"))
