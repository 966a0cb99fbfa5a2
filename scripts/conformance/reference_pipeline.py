"""An independent PyTorch reference of the whole pipeline: calibrate, quantize, evaluate, print JSON.

GPTQ is written in its published form (Frantar et al. 2022: Cholesky of the inverse Hessian, one
column at a time with an immediate rank-one update), not in the inverse-free form that halfbyte uses,
and the forward pass is that of transformers, so that agreement means something.

Protocol: calibration windows are the first `--samples` consecutive, non-overlapping windows of
`--seq-len` tokens of the text, without special tokens; linears of a decoder layer are quantized in the
order q,k,v; o; gate,up; down, each with inputs computed through the parts already quantized; scales
are rounded to float16 before codes are computed, and a group's scale comes from the weights as
corrected at the group's first column. Perplexity and KL divergence (reference to quantized, in nats)
are taken over non-overlapping windows, the first token of each window not scored.

    python reference_pipeline.py --model DIR --calib calibration.txt --text evaluation.txt \
        --samples 32 --seq-len 512 --bits 4 --group-size 128 --method gptq --dtype float64
"""

import argparse
import copy
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

LINEAR_GROUPS = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("self_attn.o_proj",),
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.down_proj",),
)


@dataclass
class Grid:
    """An affine grid: bits, columns per group (K for a whole row), symmetric or not."""

    bits: int
    group: int
    symmetric: bool

    @property
    def top(self):
        """The largest code."""
        return 2**self.bits - 1

    def fit(self, weights):
        """Scale and zero of each row [N, 1] from weights [N, g]; the scale is a float16 number."""
        low = weights.amin(1, keepdim=True).clamp(max=0)
        high = weights.amax(1, keepdim=True).clamp(min=0)
        if self.symmetric:
            high = torch.maximum(high, -low)
            low = -high
        empty = high == low
        low, high = torch.where(empty, -1.0, low), torch.where(empty, 1.0, high)
        scale = ((high - low) / self.top).to(torch.float16).to(weights.dtype)
        middle = torch.full_like(scale, 2 ** (self.bits - 1))
        zero = middle if self.symmetric else torch.round(-low / scale).clamp(0, self.top)
        return scale, zero

    def snap(self, weights, scale, zero):
        """Nearest representable values of weights [N, m], rounding half to even."""
        return scale * ((torch.round(weights / scale) + zero).clamp(0, self.top) - zero)


def quantize_rtn(weight, grid):
    """Round to nearest: weight [N, K] to its grid values [N, K]."""
    result = torch.empty_like(weight)
    for start in range(0, weight.shape[1], grid.group):
        part = weight[:, start : start + grid.group]
        result[:, start : start + grid.group] = grid.snap(part, *grid.fit(part))
    return result


def inverse_factor(hessian, damp):
    """Upper Cholesky factor of the inverse of the damped Hessian [K, K]."""
    damped = hessian + damp * hessian.diagonal().mean() * torch.eye(len(hessian), dtype=hessian.dtype)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    return torch.linalg.cholesky(inverse, upper=True)


def quantize_gptq(weight, hessian, grid, damp):
    """GPTQ, column by column: weight [N, K], hessian [K, K] to grid values [N, K]."""
    work, result = weight.clone(), torch.zeros_like(weight)
    hessian = hessian.clone()
    dead = hessian.diagonal() == 0
    hessian[dead, dead] = 1
    work[:, dead] = 0
    factor = inverse_factor(hessian, damp)
    scale = zero = None
    for column in range(work.shape[1]):
        if column % grid.group == 0:
            scale, zero = grid.fit(work[:, column : column + grid.group])
        current = work[:, column : column + 1]
        chosen = grid.snap(current, scale, zero)
        error = (current - chosen) / factor[column, column]
        result[:, column] = chosen[:, 0]
        work[:, column:] -= error * factor[column, column:]
    return result


def layer_loss(weight, quantized, hessian):
    """tr((W-Q) H (W-Q)^T)."""
    delta = weight - quantized
    return ((delta @ hessian) * delta).sum().item()


def windows_of(tokenizer, path, seq_len, count):
    """Non-overlapping windows [n, seq_len] of a text's tokens without special tokens."""
    text = Path(path).read_text(encoding="utf-8")
    ids = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    available = len(ids) // seq_len
    if available == 0:
        raise SystemExit(f"{path}: {len(ids)} tokens are fewer than one window of {seq_len}")
    count = min(count or available, available)
    return torch.tensor(ids[: count * seq_len]).view(count, seq_len)


class StopForward(Exception):
    """Raised by a hook to end a forward pass once the wanted input has been seen."""


def catch_layer_input(model, ids):
    """Hidden states entering decoder layer 0, and the keyword arguments it is called with."""
    caught = {}

    def hook(_module, args, kwargs):
        caught["hidden"] = args[0] if args else kwargs.pop("hidden_states")
        caught["kwargs"] = kwargs
        raise StopForward

    handle = model.model.layers[0].register_forward_pre_hook(hook, with_kwargs=True)
    try:
        model.model(input_ids=ids, use_cache=False)
    except StopForward:
        pass
    finally:
        handle.remove()
    return caught["hidden"], caught["kwargs"]


def run_layer(layer, hidden, kwargs):
    """One decoder layer over hidden states [B, T, D]."""
    output = layer(hidden, **kwargs)
    return output[0] if isinstance(output, tuple) else output


def collect_hessian(layer, linear, batches):
    """H = (2/n) X^T X of the inputs of one linear over all batches of (hidden, kwargs)."""
    width = linear.weight.shape[1]
    total, rows = torch.zeros(width, width, dtype=linear.weight.dtype), 0

    def hook(_module, args):
        nonlocal total, rows
        inputs = args[0].reshape(-1, width)
        total += inputs.T @ inputs
        rows += len(inputs)
        raise StopForward

    handle = linear.register_forward_pre_hook(hook)
    for hidden, kwargs in batches:
        try:
            run_layer(layer, hidden, kwargs)
        except StopForward:
            pass
    handle.remove()
    return total * (2 / rows)


@torch.no_grad()
def quantize_model(model, windows, options):
    """Quantizes the decoder's linears in place; returns a record per linear."""
    records = []
    batches = [catch_layer_input(model, part) for part in windows.split(options.batch)]
    for index, layer in enumerate(model.model.layers):
        for names in LINEAR_GROUPS:
            hessian = collect_hessian(layer, layer.get_submodule(names[0]), batches)
            for name in names:
                weight = layer.get_submodule(name).weight
                group = weight.shape[1] if options.group_size == -1 else options.group_size
                grid = Grid(options.bits, group, not options.asym)
                rounded = quantize_rtn(weight, grid)
                chosen = rounded if options.method == "rtn" else quantize_gptq(weight, hessian, grid, options.damp)
                records.append({
                    "name": f"model.layers.{index}.{name}",
                    "loss": layer_loss(weight, chosen, hessian),
                    "rtnLoss": layer_loss(weight, rounded, hessian),
                    "relativeOutputError": layer_loss(weight, chosen, hessian)
                    / layer_loss(weight, torch.zeros_like(weight), hessian),
                })
                weight.copy_(chosen)
        batches = [(run_layer(layer, hidden, kwargs), kwargs) for hidden, kwargs in batches]
    return records


@torch.no_grad()
def compare(reference, model, windows):
    """Perplexities, KL divergence in nats and same-top share over all scored positions."""
    losses, reference_losses, divergences, same = [], [], [], []
    for window in windows:
        ids = window[None]
        expected = reference(input_ids=ids, use_cache=False).logits[0, :-1].double().log_softmax(-1)
        actual = model(input_ids=ids, use_cache=False).logits[0, :-1].double().log_softmax(-1)
        target = window[1:, None]
        losses.append(-actual.gather(1, target)[:, 0])
        reference_losses.append(-expected.gather(1, target)[:, 0])
        divergences.append((expected.exp() * (expected - actual)).sum(-1))
        same.append(expected.argmax(-1) == actual.argmax(-1))
    divergence = torch.cat(divergences)
    return {
        "ppl": math.exp(torch.cat(losses).mean().item()),
        "ppl_ref": math.exp(torch.cat(reference_losses).mean().item()),
        "kld_mean": divergence.mean().item(),
        "kld_median": divergence.median().item(),
        "kld_p99": divergence.quantile(0.99).item(),
        "kld_max": divergence.max().item(),
        "same_top": torch.cat(same).double().mean().item(),
        "tokens": len(divergence),
        "windows": len(windows),
    }


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--calib", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--seq-len", type=int, default=2048)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--group-size", type=int, default=128)
    parser.add_argument("--asym", action="store_true")
    parser.add_argument("--method", choices=["gptq", "rtn"], default="gptq")
    parser.add_argument("--damp", type=float, default=0.01)
    parser.add_argument("--max-windows", type=int, default=0, help="evaluation windows; 0 means all")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--batch", type=int, default=8, help="calibration windows per forward pass")
    parser.add_argument("--threads", type=int, default=0, help="torch threads; 0 leaves the default")
    parser.add_argument("--save-weights", help="write the quantized model's linears to this safetensors file")
    return parser.parse_args()


def save_weights(model, records, path):
    """Writes the dequantized linears [N, K] under their checkpoint names."""
    names = [record["name"] for record in records]
    save_file({f"{name}.weight": model.get_submodule(name).weight.detach().contiguous() for name in names}, path)


def main():
    options = parse()
    if options.threads:
        torch.set_num_threads(options.threads)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    reference = AutoModelForCausalLM.from_pretrained(options.model, dtype=getattr(torch, options.dtype)).eval()
    seq_len = min(options.seq_len, reference.config.max_position_embeddings)
    model = copy.deepcopy(reference)
    calibration = windows_of(tokenizer, options.calib, seq_len, options.samples)
    started = time.time()
    records = quantize_model(model, calibration, options)
    seconds = time.time() - started
    result = compare(reference, model, windows_of(tokenizer, options.text, seq_len, options.max_windows))
    if options.save_weights:
        save_weights(model, records, options.save_weights)
    settings = {"samples": len(calibration), "seqLen": seq_len, **{
        key: getattr(options, key) for key in ("method", "bits", "group_size", "asym", "damp", "dtype")
    }}
    print(json.dumps({**result, "settings": settings, "seconds": round(seconds, 2), "layers": records}))


if __name__ == "__main__":
    main()
