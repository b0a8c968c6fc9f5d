"""Train the demo model on one CPU thread (or a few) within a wall-clock budget.

Stage 1 is teacher forcing. Stage 2 replaces most context frames by the model's own
one-step predictions, so that it learns to repair its mistakes instead of piling
them up. Saved every minute: the weights, their moving average, and the optimizers.

    python train.py --minutes 90 --out weights.pt
"""
import argparse
import time

import numpy as np
import torch
from torch import nn

import data
from model import Network, Shape, patchify


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=90, help="wall-clock budget")
    parser.add_argument("--self-context-at", type=float, default=0.45,
                        help="share of the budget after which stage 2 starts")
    parser.add_argument("--decay-at", type=float, default=0.6,
                        help="share of the budget after which the learning rate falls")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--patch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--optimizer", choices=["muon", "adamw"], default="muon")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", help="checkpoint to start from")
    parser.add_argument("--out", default="weights.pt")
    parser.add_argument("--eager", action="store_true", help="do not use torch.compile")
    return parser.parse_args()


class Optimizers:
    """Muon for the blocks' matrices and AdamW for the rest, or AdamW for all."""

    def __init__(self, network, kind):
        matrices = [p for p in network.blocks.parameters() if p.ndim == 2 and min(p.shape) > 6]
        if kind == "adamw":
            matrices = []
        chosen = {id(p) for p in matrices}
        rest = [p for p in network.parameters() if id(p) not in chosen]
        self.parts = [torch.optim.AdamW(rest, betas=(0.9, 0.97), weight_decay=0.01)]
        if matrices:
            self.parts.append(torch.optim.Muon(matrices, weight_decay=0.01, momentum=0.95,
                                               adjust_lr_fn="match_rms_adamw"))

    def step(self, rate):
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate
            part.step()
            part.zero_grad(set_to_none=True)


def mix_noise(clean, t, noise=None):
    """x_t = (1 - t) x + t noise, for t of shape clean.shape[:2]."""
    t = t[..., None, None]
    return clean * (1 - t) + t * (torch.randn_like(clean) if noise is None else noise)


def draw_timesteps(batch, count):
    """Timesteps of the noisy frames: 40% exactly 1, the rest spread over (0.1, 1)."""
    t = torch.rand(batch, count) * 0.9 + 0.1
    return torch.where(torch.rand(batch, count) < 0.4, torch.ones(()), t)


def draw_context_noise(batch, count):
    """Small noise levels on half of the clips' contexts, told to the model."""
    return torch.rand(batch, count) * 0.25 * (torch.rand(batch, 1) < 0.5)


def forget_words(prompt, nothing):
    """Prompts [B, 2, 3] as the context and as the noisy frames read them. In two clips of
    five the noisy frames miss most words and must find them in the keys and values of
    the context. So prompts live in the cache as well, as they do in large models, and a
    cache that was made under an old prompt misleads."""
    told = prompt[:, None].repeat(1, 2, 1)
    forgotten = (torch.rand(len(prompt), 1) < 0.4) & (torch.rand(prompt.shape) < 0.7)
    told[:, 1] = torch.where(forgotten, nothing, prompt)
    return told


def own_context(network, context, level, prompt, replaceable):
    """Replace the replaceable context frames by one-step predictions of the model.

    The frames are predicted in parallel from the given context, under the prompt that
    they were made with. A frame with nothing or only an old sink before it (slots 0
    and 1) cannot be foreseen: it is predicted from a low noise level."""
    batch, count = context.shape[:2]
    slot = torch.arange(count).expand(batch, -1)
    t = torch.rand(batch, count) * 0.5 + 0.5
    t[:, :2] = torch.rand(batch, 2) * 0.4 + 0.2
    with torch.no_grad():
        own = network(context, mix_noise(context, t), torch.cat([level, t], 1),
                      prompt[:, None].repeat(1, 2, 1), slot,
                      torch.zeros(batch, dtype=torch.bool)).clamp(-1, 1)
    context = torch.where(replaceable[..., None, None], own, context)
    return context, level * ~replaceable


def main():
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    torch.set_float32_matmul_precision("medium")
    rng = np.random.default_rng(options.seed)
    shape = Shape(patch=options.patch)
    network = Network(shape)
    optimizers = Optimizers(network, options.optimizer)
    average = {name: value.clone() for name, value in network.state_dict().items()}
    losses, step = [], 0
    if options.resume:
        resumed = torch.load(options.resume)
        network.load_state_dict(resumed["raw"])
        average, step = resumed["weights"], resumed["step"]
        for part, state in zip(optimizers.parts, resumed["optimizers"]):
            part.load_state_dict(state)
    forward = network if options.eager else torch.compile(network)
    start = saved = reported = time.time()

    def save():
        torch.save(dict(weights=average, raw=network.state_dict(), step=step,
                        patch=options.patch, optimizers=[p.state_dict() for p in optimizers.parts]),
                   options.out)

    while (share := (time.time() - start) / 60 / options.minutes) < 1:
        batch = data.make_batch(rng, options.batch)
        context, target, noise = (patchify(torch.from_numpy(batch[k]), shape.patch)
                                  for k in ("context", "target", "noise"))
        prompt, old_prompt, slot = (torch.from_numpy(batch[k])
                                    for k in ("prompt", "old_prompt", "slot"))
        pixels = torch.from_numpy(batch["weight"])[:, :, None].expand(-1, -1, 3, -1, -1)
        pixels = patchify(pixels, shape.patch)
        level = draw_context_noise(*context.shape[:2])
        context = mix_noise(context, level)
        t = draw_timesteps(*target.shape[:2])
        noisy = mix_noise(target, t, noise)
        with torch.autocast("cpu", torch.bfloat16):
            if share > options.self_context_at and step % 4 == 1:
                chosen = torch.rand(level.shape) < 0.7
                for key, words in (("old", old_prompt), ("new", prompt)):
                    if key == "old" or step % 8 == 5:
                        context, level = own_context(forward, context, level, words,
                                                     chosen & torch.from_numpy(batch[key]))
            told = forget_words(prompt, shape.words)
            predicted = forward(context, noisy, torch.cat([level, t], 1), told, slot,
                                torch.rand(len(t)) < 0.1)
        weight = 1 / t.clamp(min=0.3)[..., None, None].square()
        complete = (told[:, 0] == told[:, 1]).all(1)
        weight[:, -1] *= complete[:, None, None]       # a first frame has no context to ask
        error = (predicted - target).square() * pixels
        loss = (error * weight).mean() / weight.mean()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        falling = (1 - share) / (1 - options.decay_at)
        optimizers.step(options.rate * min(1, (step + 1) / 100, max(0.02, falling)))
        step += 1
        keep = min(0.99, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, value in network.state_dict().items():
                average[name].lerp_(value, 1 - keep)
        losses.append([loss.item(), error[t == 1].mean().item(),
                       error[complete, -1].mean().item()])
        if step % 50 == 0:
            now = time.time()
            print(f"step {step} minute {(now - start) / 60:.1f} loss, at t = 1, first frames:",
                  *(f"{x:.4f}" for x in np.mean(losses[-50:], 0)),
                  f"{(now - reported) / 50:.2f} s/step", flush=True)
            reported = now
        if time.time() - saved > 60:
            saved = time.time()
            save()
    save()


if __name__ == "__main__":
    main()
