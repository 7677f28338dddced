"""Checkpoints in braindecode's and in the authors' key names.

The authors' files are made here from random weights: their names, their extra keys, their nesting.
"""

import argparse
import re

import pytest
import torch
from teacher_makers import NAMES, contract, make, scramble, windows

from distill.checkpoints import save_weights, state_hash
from targets.errors import InputError

every = pytest.mark.parametrize("name", NAMES)


def weight(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(7))


def labram(state, pretrained):
    """935963004/LaBraM: modeling_pretrain.py (NeuralTransformerForMEM), modeling_finetune.py."""
    out = {}
    for key, value in state.items():
        new = key.replace("position_embedding", "pos_embed")
        new = new.replace("temporal_embedding", "time_embed")
        new = new.replace("patch_embed.temporal_conv.", "patch_embed.")
        new = new.replace(".mlp.0.", ".mlp.fc1.").replace(".mlp.2.", ".mlp.fc2.")
        out[new.replace("final_layer.", "head.")] = value
    out["time_embed"] = torch.cat([out["time_embed"], weight(1, 11, 200)], dim=1)  # 16 rows
    if not pretrained:
        return {"model": out}
    for key in ("head.weight", "head.bias", "fc_norm.weight", "fc_norm.bias"):
        del out[key]
    out |= {"mask_token": weight(1, 1, 200), "norm.weight": weight(200), "norm.bias": weight(200),
            "lm_head.weight": weight(16, 200), "lm_head.bias": weight(16)}  # fmt: skip
    out = {f"student.{key}": value for key, value in out.items()}
    out |= {"lm_head.weight": weight(16, 200), "lm_head.bias": weight(16), "logit_scale": weight(),
            "projection_head.0.weight": weight(200, 200),
            "projection_head.0.bias": weight(200)}  # fmt: skip
    return {"model": out, "epoch": 49, "args": argparse.Namespace(lr=5e-4, output_dir="out")}


def cbramod(state, pretrained):
    """wjq-learning/CBraMod: braindecode kept the names; pre-training has no head."""
    return {k: v for k, v in state.items() if not (pretrained and k.startswith("final_layer."))}


def biot(state, pretrained):
    """ycq091044/BIOT: a bare BIOTEncoder when pre-trained, a BIOTClassifier when fine-tuned."""
    out = {key.removeprefix("encoder."): value for key, value in state.items()
           if key.startswith("encoder.")} | {"index": torch.arange(3)}  # fmt: skip
    if pretrained:
        return out
    head = {key.replace("final_layer.classification_head.", "classifier.clshead.1."): value
            for key, value in state.items() if key.startswith("final_layer.")}  # fmt: skip
    return {f"biot.{key}": value for key, value in out.items()} | head


def eegpt(state, pretrained):
    """BINE022/EEGPT: a Lightning checkpoint of all parts, or the encoder alone."""
    encoder = {key.removeprefix("target_encoder."): value for key, value in state.items()
               if key.startswith("target_encoder.")}  # fmt: skip
    if not pretrained:
        return encoder
    target = {f"target_encoder.{key}": value for key, value in encoder.items()}
    online = {f"encoder.{key}": value + 1 for key, value in encoder.items()}
    others = {"predictor.mask_token": weight(1, 1, 512), "predictor.time_embed.freqs": weight(8),
              "predictor.predictor_blocks.0.norm1.weight": weight(512),
              "reconstructor.mask_token": weight(1, 1, 512),
              "reconstructor.chan_embed.weight": weight(62, 512)}  # fmt: skip
    return {"state_dict": online | target | others, "epoch": 199, "global_step": 1,
            "pytorch-lightning_version": "1.9.4"}  # fmt: skip


AUTHORS = {"labram": labram, "cbramod": cbramod, "biot": biot, "eegpt": eegpt}


def same_outputs(name, one, other):
    with torch.no_grad():
        ours, theirs = one.hidden(windows(name)), other.hidden(windows(name))
    return max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))


@every
@pytest.mark.parametrize("pretrained", [True, False])
def test_the_authors_names_give_the_model_that_the_weights_came_from(name, pretrained, tmp_path):
    donor = scramble(make(name, n_layers=2))
    state = donor.model.state_dict()
    torch.save(AUTHORS[name](state, pretrained), tmp_path / "authors.pth")
    teacher = make(name, n_layers=2, seed=8, checkpoint=tmp_path / "authors.pth")
    # What pre-training does not have stays fresh, and nothing else.
    new = {key for key in state if key.startswith(("final_layer.", "fc_norm.", "chans_id"))}
    if not pretrained and name != "eegpt":
        new = set()
    assert set(teacher.fresh) == new
    with torch.no_grad():
        for key in new - {"chans_id"}:
            teacher.model.get_parameter(key).copy_(state[key])
    assert same_outputs(name, donor, teacher) == 0.0


def test_the_authors_names_made_here_are_the_authors():
    """Read off their classes; one block of each."""
    block = {"gamma_1", "gamma_2", "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias",
             "attn.qkv.weight", "attn.q_norm.weight", "attn.q_norm.bias", "attn.k_norm.weight",
             "attn.k_norm.bias", "attn.proj.weight", "attn.proj.bias", "mlp.fc1.weight",
             "mlp.fc1.bias", "mlp.fc2.weight", "mlp.fc2.bias"}  # fmt: skip
    stem = {f"{part}{k}.{kind}" for part in ("conv", "norm") for k in (1, 2, 3)
            for kind in ("weight", "bias")}  # fmt: skip
    whole = {"cls_token", "pos_embed", "time_embed", "fc_norm.weight", "fc_norm.bias",
             "head.weight", "head.bias"}  # fmt: skip
    whole |= {f"patch_embed.{key}" for key in stem} | {f"blocks.0.{key}" for key in block}
    assert set(labram(make("labram").model.state_dict(), False)["model"]) == whole

    fn = {"to_q.weight", "to_k.weight", "to_v.weight", "to_out.weight", "to_out.bias"}
    feed = {f"fn.fn.{w}.{kind}" for w in ("w1", "w2") for kind in ("weight", "bias")}
    whole = {"patch_embedding.projection.weight", "patch_embedding.projection.bias",
             "positional_encoding.pe", "channel_tokens.weight", "index"}  # fmt: skip
    whole |= {f"transformer.layers.layers.0.0.fn.{key}" for key in fn}
    whole |= {f"transformer.layers.layers.0.1.{key}" for key in feed}
    whole |= {f"transformer.layers.layers.0.{k}.norm.{kind}" for k in (0, 1)
              for kind in ("weight", "bias")}  # fmt: skip
    assert set(biot(make("biot").model.state_dict(), True)) == whole

    block = {f"{part}.{kind}" for part in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1",
             "mlp.fc2") for kind in ("weight", "bias")}  # fmt: skip
    whole = {"summary_token", "chan_embed.weight", "patch_embed.proj.weight",
             "patch_embed.proj.bias", "norm.weight", "norm.bias"}  # fmt: skip
    whole |= {f"blocks.0.{key}" for key in block}
    assert set(eegpt(make("eegpt").model.state_dict(), False)) == whole

    assert len(cbramod(make("cbramod", n_layers=12).model.state_dict(), True)) == 211


@every
@pytest.mark.parametrize("naming", ["braindecode", "authors"])
def test_one_renamed_missing_or_unexpected_key_is_listed(name, naming, tmp_path):
    state = make(name).model.state_dict()
    if naming == "authors":
        state = AUTHORS[name](state, True)
        state = state.get("model", state.get("state_dict", state))
    dropped = ("encoder.blocks", "encoder.norm", "student.norm")
    target = next(
        k for k in state if re.search(r"norm1?\.weight$", k) and not k.startswith(dropped)
    )
    wrong = target.replace("weight", "gain")
    value = state.pop(target)
    torch.save(state, tmp_path / "t.pt")
    with pytest.raises(InputError) as caught:
        make(name, checkpoint=tmp_path / "t.pt")
    assert re.search(r"missing: [\w.]*norm1?\.weight\.", str(caught.value))
    assert "unexpected" not in str(caught.value)
    torch.save(state | {wrong: value}, tmp_path / "t.pt")
    with pytest.raises(InputError) as caught:
        make(name, checkpoint=tmp_path / "t.pt")
    assert re.search(rf"missing: [\w.]*norm1?\.weight; unexpected: {re.escape(wrong)}\.",
                     str(caught.value))  # fmt: skip
    torch.save(state | {target: value, "extra": value}, tmp_path / "t.pt")
    with pytest.raises(InputError, match=r"of another model; unexpected: extra\."):
        make(name, checkpoint=tmp_path / "t.pt")


def test_the_online_encoder_of_eegpt_is_not_the_target_encoder(tmp_path):
    parts = eegpt(make("eegpt").model.state_dict(), True)["state_dict"]
    online = {k: v for k, v in parts.items() if not k.startswith("target_encoder.")}
    torch.save(online, tmp_path / "t.ckpt")
    with pytest.raises(InputError, match=r"missing: target_encoder\.summary_token"):
        make("eegpt", checkpoint=tmp_path / "t.ckpt")


@every
def test_a_data_parallel_prefix_is_taken_off(name, tmp_path):
    donor = scramble(make(name))
    state = {f"module.{key}": value for key, value in donor.model.state_dict().items()}
    torch.save(state, tmp_path / "t.pt")
    assert state_hash(make(name, seed=3, checkpoint=tmp_path / "t.pt")) == state_hash(donor)


def test_a_weight_that_is_named_twice_is_refused(tmp_path):
    state = labram(make("labram").model.state_dict(), True)["model"]
    state["cls_token"] = state["student.cls_token"]
    torch.save(state, tmp_path / "t.pt")
    with pytest.raises(InputError, match=r"one weight twice: student\.cls_token and cls_token"):
        make("labram", checkpoint=tmp_path / "t.pt")


def test_sizes_of_the_montage_and_the_window_must_suffice(tmp_path):
    torch.save(biot(make("biot").model.state_dict(), True), tmp_path / "biot.ckpt")
    five = contract("biot", ch_names=("C3", "Cz", "C4", "O1", "O2"))
    with pytest.raises(InputError, match=r"channel_tokens\.weight \(3, 256\) instead of \(5, 256"):
        make("biot", signal=five, checkpoint=tmp_path / "biot.ckpt")
    torch.save(labram(make("labram").model.state_dict(), True), tmp_path / "labram.pth")
    long = contract("labram", patches=16)
    with pytest.raises(InputError, match=r"temporal_embedding \(1, 16, 200\) instead of \(1, 17"):
        make("labram", signal=long, checkpoint=tmp_path / "labram.pth")


# braindecode's names ----------------------------------------------------------------------------


@every
def test_a_checkpoint_of_the_same_model_loads_whole(name, tmp_path):
    donor = scramble(make(name))
    save_weights(donor.model, tmp_path / "t.safetensors")
    again = make(name, seed=9, checkpoint=tmp_path / "t.safetensors")
    assert state_hash(again) == state_hash(donor)
    assert set(again.fresh) <= {"chans_id"}


@every
def test_a_checkpoint_for_other_classes_gives_its_body_and_a_new_head(name, tmp_path):
    donor = scramble(make(name, n_outputs=5))
    torch.save({"model": donor.model.state_dict()}, tmp_path / "t.pth")
    teacher = make(name, n_outputs=2, checkpoint=tmp_path / "t.pth")
    theirs = donor.model.state_dict()
    for key, value in teacher.model.state_dict().items():
        assert key.startswith("final_layer.") or torch.equal(value, theirs[key]), key
    assert teacher(windows(name)).shape == (2, 2)


def test_a_checkpoint_of_another_model_or_depth_is_refused(tmp_path):
    path = tmp_path / "t.safetensors"
    save_weights(make("labram", n_layers=2).model, path)
    with pytest.raises(InputError, match=r"of another model; missing: .*; unexpected: .*blocks"):
        make("cbramod", checkpoint=path)
    with pytest.raises(InputError, match=r"unexpected: blocks\.1\.") as caught:
        make("labram", n_layers=1, checkpoint=path)
    assert "missing" not in str(caught.value)
    with pytest.raises(InputError, match=r"missing: blocks\.2\."):
        make("labram", n_layers=3, checkpoint=path)
