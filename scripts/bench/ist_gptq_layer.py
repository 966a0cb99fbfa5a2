"""Times the published GPTQ algorithm in PyTorch float32 on the CPU for one decoder layer.

The yardstick of halfbyte's cpu engine. Written by us from the paper (Frantar et al. 2022) in the form
that its authors' reference repository runs: each linear accumulates its own Hessian as a running mean
over samples; damp 0.01 of the mean diagonal; Cholesky, inverse, upper Cholesky of the inverse; blocks
of 128 columns with rank-one updates inside a block and one product for everything behind it; symmetric
groups of 128 whose scale is taken when the group begins. Weights and correlated inputs are synthetic
and seeded; producing them, and the forward pass, are not timed.

    python ist_gptq_layer.py --tokens 2048 --threads 2
"""

import argparse
import json
import platform
import time

import torch

BLOCK = 128


def layer_shapes(hidden, intermediate, key_value):
    """name -> (N, K) of a Llama-like decoder layer's linears."""
    return {
        "q_proj": (hidden, hidden), "k_proj": (key_value, hidden), "v_proj": (key_value, hidden),
        "o_proj": (hidden, hidden), "gate_proj": (intermediate, hidden), "up_proj": (intermediate, hidden),
        "down_proj": (hidden, intermediate),
    }


def synthetic_inputs(tokens, width, generator):
    """Inputs [tokens, width] with a strong common subspace, unequal channel scales and noise."""
    rank = max(8, width // 32)
    shared = torch.randn(tokens, rank, generator=generator) @ torch.randn(rank, width, generator=generator)
    scales = torch.exp(0.5 * torch.randn(width, generator=generator))
    return (shared / rank**0.5 + 0.3 * torch.randn(tokens, width, generator=generator)) * scales


def accumulate_hessian(samples):
    """Running mean H = (2/n) X^T X [K, K] over samples [n_i, K], as calibration delivers them."""
    width = samples[0].shape[1]
    hessian, seen = torch.zeros(width, width), 0
    for sample in samples:
        rows = len(sample)
        hessian *= seen / (seen + rows)
        seen += rows
        scaled = sample * (2 / seen) ** 0.5
        hessian += scaled.T @ scaled
    return hessian


def inverse_factor(hessian, damp):
    """Upper Cholesky factor of the inverse of the damped Hessian, by three dense steps."""
    hessian.diagonal().add_(damp * hessian.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    return torch.linalg.cholesky(inverse, upper=True)


def symmetric_scale(weights, top):
    """Scale [N, 1] of weights [N, g] on a symmetric grid with codes 0 … top."""
    largest = weights.abs().amax(1, keepdim=True)
    return torch.where(largest == 0, torch.ones_like(largest), largest) * (2 / top)


def quantize_block(block, factor, bits, group, whole, start):
    """Quantizes the columns of one block [N, m] one after another; returns values and scaled errors.

    `whole` is the matrix in which a group that begins inside the block finds its columns.
    """
    top, zero = 2**bits - 1, 2 ** (bits - 1)
    values, errors = torch.zeros_like(block), torch.zeros_like(block)
    scale = None
    for column in range(block.shape[1]):
        if scale is None or (start + column) % group == 0:
            scale = symmetric_scale(whole[:, start + column : start + column + group], top)
        current = block[:, column : column + 1]
        snapped = scale * (torch.clamp(torch.round(current / scale) + zero, 0, top) - zero)
        error = (current - snapped) / factor[column, column]
        block[:, column:] -= error @ factor[column : column + 1, column:]
        values[:, column : column + 1], errors[:, column : column + 1] = snapped, error
    return values, errors


def quantize(weight, hessian, bits, group, damp):
    """GPTQ of weight [N, K] with hessian [K, K] (both are overwritten); returns values [N, K]."""
    dead = hessian.diagonal() == 0
    hessian[dead, dead] = 1
    weight[:, dead] = 0
    factor = inverse_factor(hessian, damp)
    result = torch.zeros_like(weight)
    for start in range(0, weight.shape[1], BLOCK):
        end = min(start + BLOCK, weight.shape[1])
        block = weight[:, start:end].clone()
        result[:, start:end], errors = quantize_block(block, factor[start:end, start:end], bits, group, weight, start)
        weight[:, end:] -= errors @ factor[start:end, end:]
    return result


def relative_loss(weight, values, hessian):
    """tr((W-Q) H (W-Q)^T) / tr(W H W^T)."""
    delta = weight - values
    return (((delta @ hessian) * delta).sum() / ((weight @ hessian) * weight).sum()).item()


def matmul_rate(size, repeats=5):
    """Best rate of torch's float32 matrix product at size³, in GFLOP/s."""
    left, right = torch.randn(size, size), torch.randn(size, size)
    left @ right
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best / 1e9


def time_linear(shape, options, generator):
    """Seconds of both stages for one linear, with the relative loss as a sign of life."""
    rows, width = shape
    weight = torch.randn(rows, width, generator=generator) / width**0.5
    samples = synthetic_inputs(options.tokens, width, generator).split(options.sample_tokens)
    started = time.perf_counter()
    hessian = accumulate_hessian(samples)
    middle = time.perf_counter()
    values = quantize(weight.clone(), hessian.clone(), options.bits, options.group_size, options.damp)
    ended = time.perf_counter()
    return {
        "shape": [rows, width], "hessianSeconds": middle - started, "quantizeSeconds": ended - middle,
        "relativeOutputError": relative_loss(weight, values, hessian),
    }


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=2048)
    parser.add_argument("--intermediate", type=int, default=5632)
    parser.add_argument("--key-value", type=int, default=256, help="rows of k_proj and v_proj")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--sample-tokens", type=int, default=2048, help="tokens per Hessian update")
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--group-size", type=int, default=128)
    parser.add_argument("--damp", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="torch threads; 0 leaves the default")
    return parser.parse_args()


@torch.no_grad()
def main():
    options = parse()
    if options.threads:
        torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(options.seed)
    shapes = layer_shapes(options.hidden, options.intermediate, options.key_value)
    rates = {f"{size}": round(matmul_rate(size), 1) for size in (1024, 2048)}
    linears = {name: time_linear(shape, options, generator) for name, shape in shapes.items()}
    hessian = sum(row["hessianSeconds"] for row in linears.values())
    chosen = sum(row["quantizeSeconds"] for row in linears.values())
    print(json.dumps({
        "algorithm": "GPTQ as published, PyTorch float32, CPU", "torch": torch.__version__,
        "machine": platform.machine(), "threads": torch.get_num_threads(), "tokens": options.tokens,
        "matmulGflops": rates, "seconds": {"hessian": hessian, "quantize": chosen, "total": hessian + chosen},
        "linears": linears,
    }))


if __name__ == "__main__":
    main()
