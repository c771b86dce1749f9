"""Train the demonstration model: `python -m benchmarks.embedded_model.train --out FOLDER`.

Seeded and, with one BLAS thread and the default --steps, reproducible on one CPU type. Runs some three minutes on an idle core.
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
import random
import time
from typing import Any

import numpy as np

from anyclaude_lab.engine import embedded
from benchmarks.embedded_model import forms, vocabulary, wiring
from benchmarks.embedded_model.conversations import TRAINING, Speaker, training_conversation

Sample = tuple[list[int], list[int]]
DECIDES = 20  # a tool, an argument, a span's first token: against so many copied tokens that the wiring gets right

SURE = 8  # the saved logits are multiplied by this: old clients sample at temperature 1


class Samples:
    """Batches of token rows with the answers' tokens marked as targets, and the few that decide marked heavier."""

    def __init__(self, tokenizer: Any, template: str, seed: int, longest: int) -> None:
        from transformers import PreTrainedTokenizerFast

        self.tokenizer = tokenizer
        self.chat = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
        self.chat.chat_template = template
        self.speaker = Speaker(TRAINING, random.Random(seed))
        self.longest = longest
        self.shuffle = random.Random(seed)
        self.waiting: list[list[Sample]] = []
        vocab = tokenizer.get_vocab(with_added_tokens=True)
        self.answer_starts = {vocab[token] for token in [*vocabulary.STEP_MARKERS, "<|no_tools|>"]}
        self.end = vocab["<|im_end|>"]
        self.openings = {vocab[token] for tokens in vocabulary.OPENINGS.values() for token in tokens}

    def one(self) -> Sample:
        while True:
            messages, tools = training_conversation(self.speaker)
            text = self.chat.apply_chat_template(messages, tools=tools, tokenize=False)
            ids = self.tokenizer.encode(text, add_special_tokens=False).ids
            if len(ids) <= self.longest:
                return ids, self._targets(ids)

    def _targets(self, ids: list[int]) -> list[int]:
        """The weight of each token as a target: 0 outside answers (from the step marker to the end)."""
        inside, marks = False, []
        for token, last in zip(ids, [0, *ids], strict=False):
            decides = token in self.openings or last in self.openings or last in self.answer_starts
            marks.append(inside * (DECIDES if decides else 1))
            inside = token in self.answer_starts or (inside and token != self.end)
        return marks

    def batch(self, size: int) -> tuple[Any, Any, Any, Any]:
        """Token rows (B, L), flat positions whose next token is a target, those targets and their weights."""
        import mlx.core as mx

        if not self.waiting:  # batches of like length, in random order
            drawn = sorted((self.one() for _ in range(size * 10)), key=lambda sample: len(sample[0]))
            self.waiting = [drawn[start : start + size] for start in range(0, len(drawn), size)]
            self.shuffle.shuffle(self.waiting)
        samples = self.waiting.pop()
        length = max(len(ids) for ids, _ in samples)
        rows = np.zeros((size, length), np.int32)
        marks = np.zeros((size, length), np.int32)
        for n, (ids, targets) in enumerate(samples):
            rows[n, : len(ids)], marks[n, : len(ids)] = ids, targets
        weights = marks[:, 1:].reshape(-1)
        places = np.flatnonzero(weights).astype(np.int32)
        targets = rows[:, 1:].reshape(-1)[places]
        return mx.array(rows), mx.array(places), mx.array(targets), mx.array(weights[places].astype(np.float32))


def wired_layer(layer: Any, x: Any) -> Any:
    """A frozen layer. The gradient goes only through what its heads carry, not through where they look: far cheaper."""
    import mlx.core as mx

    fixed = mx.stop_gradient(x)
    attention = layer.self_attn
    scale = mx.rsqrt(mx.mean(fixed * fixed, axis=-1, keepdims=True) + layer.input_layernorm.eps)
    batch, length, _ = x.shape

    def heads(projected: Any) -> Any:
        return projected.reshape(batch, length, forms.HEADS, forms.HEAD).transpose(0, 2, 1, 3)

    queries, keys = (attention.rope(heads(p(fixed * scale))) for p in (attention.q_proj, attention.k_proj))
    scores = (queries @ keys.transpose(0, 1, 3, 2)) * attention.scale
    looks = mx.stop_gradient(mx.softmax(mx.where(mx.tri(length, dtype=mx.bool_), scores, -mx.inf), axis=-1))
    carried = (looks @ heads(attention.v_proj(x * scale))).transpose(0, 2, 1, 3).reshape(batch, length, -1)
    x = x + attention.o_proj(carried)
    return x + mx.stop_gradient(layer.mlp(layer.post_attention_layernorm(mx.stop_gradient(x))))


def train(out: pathlib.Path, tokenizer: Any, steps: int, size: int, rate: float, seed: int, longest: int) -> None:
    import mlx.core as mx
    import mlx.nn as nn
    import mlx.optimizers as optim
    from mlx.utils import tree_flatten, tree_unflatten
    from mlx_lm.models import llama

    config = forms.config(tokenizer.token_to_id("<|im_end|>"))
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    template = json.loads((out / "tokenizer_config.json").read_text(encoding="utf-8"))["chat_template"]
    samples = Samples(tokenizer, template, seed + 1, longest)

    mx.random.seed(seed)
    model = llama.Model(llama.ModelArgs.from_dict(config))
    wired = wiring.wire(tokenizer, seed)
    model.load_weights([(name, mx.array(value)) for name, value in wired.weights.items()], strict=True)
    model.freeze()
    for part in (model.model.embed_tokens, model.layers[-1], model.lm_head):
        part.unfreeze()
    masks = {name: mx.array(mask) for name, mask in wired.trainable.items()}

    def loss(model: Any, rows: Any, places: Any, targets: Any, weights: Any) -> Any:
        hidden = model.model.embed_tokens(rows[:, :-1])
        for n, layer in enumerate(model.layers[:-1]):
            if n in wiring.CARRIES_SENSES:
                hidden = wired_layer(layer, hidden)
            else:
                hidden = hidden + mx.stop_gradient(layer(hidden, "causal") - hidden)
        hidden = model.model.norm(model.layers[-1](hidden, "causal")).reshape(-1, forms.WIDTH)[places]
        return (weights * nn.losses.cross_entropy(model.lm_head(hidden), targets)).sum() / weights.sum()

    optimizer = optim.Adam(learning_rate=rate, betas=[0.9, 0.98], bias_correction=True)
    step_of = nn.value_and_grad(model, loss)
    started, average = time.monotonic(), None
    for step in range(steps):
        optimizer.learning_rate = rate * min(1, (step + 1) / 30) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        value, gradients = step_of(model, *samples.batch(size))
        moved = {name: masks[name] * g for name, g in tree_flatten(gradients) if name in masks}
        optimizer.update(model, tree_unflatten(list(moved.items())))
        mx.eval(model.parameters(), optimizer.state, value)
        average = value.item() if average is None else 0.95 * average + 0.05 * value.item()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step}: loss {average:.4f}, {time.monotonic() - started:.0f} s", flush=True)
        if step % 100 == 99 or step == steps - 1:
            weights = dict(tree_flatten(model.parameters()))
            weights["lm_head.weight"] = weights["lm_head.weight"] * SURE
            mx.save_safetensors(str(out / "model.safetensors"), weights, {"format": "mlx"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the model")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=16, help="conversations a step")
    parser.add_argument("--rate", type=float, default=6e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=int, default=300, help="tokens; longer conversations are drawn again")
    parser.add_argument(
        "--new-tokenizer", action="store_true", help="learn the tokenizer again instead of the committed one"
    )
    options = parser.parse_args()

    from tokenizers import Tokenizer

    options.out.mkdir(parents=True, exist_ok=True)
    committed = embedded.folder() / "tokenizer.json"
    tokenizer = vocabulary.learn() if options.new_tokenizer else Tokenizer.from_file(str(committed))
    vocabulary.save(tokenizer, options.out)
    train(options.out, tokenizer, options.steps, options.batch, options.rate, options.seed, options.longest)


if __name__ == "__main__":
    main()
