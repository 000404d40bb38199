"""Writes fixtures/preference.json: what preference objectives come to on random log-probabilities of tokens.

Plain PyTorch says what each formula comes to, in double precision. TRL's own DPOTrainer.dpo_loss and BCOTrainer.bco_loss, called alone on the
sums, have to say the same before anything is written: a trainer is nothing there but a namespace with beta and what the path reads.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from trl import BCOTrainer, DPOTrainer
from trl.trainer.utils import RunningMoments

BETAS = [0.01, 0.1, 0.5]
DELTAS = [0.0, 0.7]


def text(generator, tokens, spread):
    """Log-probabilities of tokens, as single precision holds them, under the candidate and under the start."""
    start = -4.0 * torch.rand(tokens, generator=generator)
    moved = torch.minimum(start + spread * torch.randn(tokens, generator=generator), torch.zeros(tokens))
    return moved.float().tolist(), start.float().tolist()


def dpo_trainer(beta):
    return SimpleNamespace(
        accelerator=SimpleNamespace(device="cpu"),
        reference_free=False,
        f_divergence_type=None,
        f_divergence_params=None,
        beta=beta,
        label_smoothing=0.0,
    )


def bco_trainer(beta, delta):
    return SimpleNamespace(beta=beta, running=SimpleNamespace(mean=delta), match_underlying_distribution=False)


def expected(pair, beta, delta):
    tensor = {name: torch.tensor(values, dtype=torch.float64) for name, values in pair.items()}
    chosen, rejected = tensor["chosen"], tensor["rejected"]
    sums = [tensor[name].sum() for name in ("chosen", "rejected", "chosen_start", "rejected_start")]
    delta_chosen, delta_rejected = sums[0] - sums[2], sums[1] - sums[3]
    dpo = -F.logsigmoid(beta * delta_chosen - beta * delta_rejected)
    ln = -F.logsigmoid(beta * delta_chosen / len(chosen) - beta * delta_rejected / len(rejected))
    x_chosen, x_rejected = -chosen.mean(), -rejected.mean()
    link = lambda x: x / (torch.exp(x) - 1)
    mapo = x_chosen - beta * F.logsigmoid(link(x_chosen) - link(x_rejected))
    bco_chosen = -F.logsigmoid(beta * delta_chosen - delta)
    bco_rejected = -F.logsigmoid(-(beta * delta_rejected - delta))

    batch = [one.reshape(1) for one in sums]
    losses, rewards_chosen, rewards_rejected = DPOTrainer.dpo_loss(dpo_trainer(beta), *batch)
    assert torch.allclose(losses, dpo.reshape(1), atol=1e-12)
    # Length-normalised: the same loss of TRL on means instead of sums.
    means = [one / len(tensor[name]) for one, name in zip(batch, ("chosen", "rejected", "chosen_start", "rejected_start"))]
    assert torch.allclose(DPOTrainer.dpo_loss(dpo_trainer(beta), *means)[0], ln.reshape(1), atol=1e-12)
    bco, *_ = BCOTrainer.bco_loss(bco_trainer(beta, delta), *batch, None, None, do_train=False)
    assert torch.allclose(bco, torch.stack([bco_chosen, bco_rejected]), atol=1e-12)
    return {
        "dpo": dpo.item(),
        "ln_dpo": ln.item(),
        "mapo": mapo.item(),
        "bco": bco.mean().item(),
        "bco_chosen": bco[0].item(),
        "bco_rejected": bco[1].item(),
        "chosen": rewards_chosen.item(),
        "rejected": rewards_rejected.item(),
        "accuracy": (rewards_chosen > rewards_rejected).double().item(),
    }


def main():
    # What BCO's delta is a running mean of is 0 at the start, where policy and reference are the same.
    running = RunningMoments(accelerator=SimpleNamespace(use_distributed=False))
    running.update(torch.zeros(8))
    assert running.mean == 0.0
    generator = torch.Generator().manual_seed(1)
    cases = []
    for number in range(24):
        pair = {}
        for side in ("chosen", "rejected"):
            tokens = 1 + int(torch.randint(40, (1,), generator=generator))
            pair[side], pair[f"{side}_start"] = text(generator, tokens, [0.05, 0.5, 3.0][number % 3])
        beta, delta = BETAS[number % len(BETAS)], DELTAS[number // 3 % len(DELTAS)]
        cases.append({**pair, "beta": beta, "delta": delta, "losses": expected(pair, beta, delta)})
    lines = ",\n".join(json.dumps(case) for case in cases)
    Path(__file__).with_name("fixtures").joinpath("preference.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
