"""Loads a GPTQ folder with its real consumer and compares logits with those recorded by halfbyte.

`--loader gptqmodel` loads through transformers with GPTQModel and optimum on the CPU; `--loader torch`
is an independent dequantizer in plain PyTorch (v1 and v2 zero points, 2/3/4/8 bits, any g_idx) that
fills an ordinary transformers model; `auto` takes the first if it can be imported, else the second.
The output says which one ran and, for `auto`, why the other did not.

`--expected FILE` is a safetensors file with `input_ids` I32 or I64 [B, T] and `logits` F32 [B, T, V].

    python load_gptq.py DIR --expected logits.safetensors --loader auto
"""

import argparse
import importlib.util
import json
import os
import sys
from pathlib import Path

# GPTQModel compiles its PyTorch kernel with torch.compile, minutes on a small CPU; eager is the same sum.
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, GPTQConfig

PARTS = ("qweight", "qzeros", "scales", "g_idx")


def read_tensors(folder):
    """All tensors of a folder's shards by name."""
    index = folder / "model.safetensors.index.json"
    names = sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.exists() else ["model.safetensors"]
    tensors = {}
    for name in names:
        with safe_open(folder / name, "pt") as handle:
            tensors.update({key: handle.get_tensor(key) for key in handle.keys()})
    return tensors


def unpack_stream(words, bits, count):
    """Codes [count, M] from int32 words [count*bits/32, M] that form one little-endian bit string per
    column: code i takes bits i*bits … i*bits+bits-1 of the string."""
    unsigned = words.to(torch.int64) & 0xFFFFFFFF
    places = torch.arange(32, dtype=torch.int64)
    string = ((unsigned[:, None, :] >> places[None, :, None]) & 1).reshape(-1, words.shape[1])
    fields = string[: count * bits].reshape(count, bits, words.shape[1])
    weights = (1 << torch.arange(bits, dtype=torch.int64))[None, :, None]
    return (fields * weights).sum(1)


def dequantize(parts, bits, first_version):
    """Weight [N, K] in float32 from the four GPTQ tensors of a linear."""
    groups, outputs = parts["scales"].shape
    group_of = parts["g_idx"].long()
    codes = unpack_stream(parts["qweight"], bits, len(group_of))
    zeros = unpack_stream(parts["qzeros"].T.contiguous(), bits, outputs).T
    assert zeros.shape == (groups, outputs) and codes.shape == (len(group_of), outputs)
    zeros = (zeros + 1) & (2**bits - 1) if first_version else zeros
    return (parts["scales"].float()[group_of] * (codes - zeros[group_of])).T.contiguous()


def quantization_of(folder):
    """The quantization_config of a folder: config.json's, else quantize_config.json."""
    config = json.loads((folder / "config.json").read_text()).get("quantization_config")
    return config or json.loads((folder / "quantize_config.json").read_text())


def load_torch(folder):
    """A float32 transformers model with every GPTQ linear dequantized by this file."""
    settings = quantization_of(folder)
    version = settings.get("checkpoint_format") or settings.get("format") or "gptq"
    if version not in ("gptq", "gptq_v2"):
        raise SystemExit(f"{folder}: checkpoint_format {version} is not gptq or gptq_v2")
    tensors = read_tensors(folder)
    state = {name: value.float() for name, value in tensors.items() if name.rsplit(".", 1)[-1] not in PARTS}
    for name in [n.removesuffix(".qweight") for n in tensors if n.endswith(".qweight")]:
        parts = {part: tensors[f"{name}.{part}"] for part in PARTS}
        state[f"{name}.weight"] = dequantize(parts, settings["bits"], version == "gptq")
    config = AutoConfig.from_pretrained(folder)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    missing, unexpected = model.load_state_dict(state, strict=False)
    missing = [n for n in missing if not (n == "lm_head.weight" and config.tie_word_embeddings)]
    if missing or unexpected:
        raise SystemExit(f"{folder}: missing {missing}, unexpected {unexpected}")
    model.tie_weights()
    return model.eval()


def load_gptqmodel(folder, dtype, backend):
    """The folder as transformers with GPTQModel loads it on the CPU. The `backend` names GPTQModel's
    kernel; its automatic choice may compile a C++ extension for minutes, so `torch` is our default."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    settings = {k: v for k, v in quantization_of(folder).items() if k != "quant_method"}
    model = AutoModelForCausalLM.from_pretrained(
        folder, device_map="cpu", dtype=getattr(torch, dtype), attn_implementation="eager",
        quantization_config=GPTQConfig(**{**settings, "backend": backend}),
    )
    return model.eval()


def kernels_of(model):
    """Class names of the quantized linears, with counts."""
    counts = {}
    for module in model.modules():
        if hasattr(module, "qweight"):
            counts[type(module).__name__] = counts.get(type(module).__name__, 0) + 1
    return counts


def choose(loader):
    """The loader to use and, when `auto` had to fall back, why."""
    if loader != "auto":
        return loader, None
    absent = [name for name in ("gptqmodel", "optimum") if importlib.util.find_spec(name) is None]
    return ("torch", f"not installed: {', '.join(absent)}") if absent else ("gptqmodel", None)


def compare(actual, expected):
    """NMSE against the expected logits, same-top share and the largest difference; fails on NaN."""
    actual, expected = actual.double(), expected.double()
    if not (torch.isfinite(actual).all() and torch.isfinite(expected).all()):
        raise SystemExit("logits are not finite")
    return {
        "nmse": (((actual - expected) ** 2).sum() / (expected**2).sum()).item(),
        "same_top": (actual.argmax(-1) == expected.argmax(-1)).double().mean().item(),
        "max_abs": (actual - expected).abs().max().item(),
        "positions": actual.shape[0] * actual.shape[1],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--expected", required=True)
    parser.add_argument("--loader", choices=["auto", "torch", "gptqmodel"], default="auto")
    parser.add_argument("--dtype", default="float32", help="activation dtype of the gptqmodel loader")
    parser.add_argument("--backend", default="gptq_torch", help="GPTQModel kernel of the gptqmodel loader")
    options = parser.parse_args()
    recorded = load_file(options.expected)
    loader, reason = choose(options.loader)
    # Libraries print banners on stdout while loading; stdout is for the JSON alone.
    stdout, sys.stdout = sys.stdout, sys.stderr
    if loader == "torch":
        model = load_torch(options.folder)
    else:
        model = load_gptqmodel(options.folder, options.dtype, options.backend)
    with torch.no_grad():
        logits = model(input_ids=recorded["input_ids"].long(), use_cache=False).logits
    sys.stdout = stdout
    result = compare(logits, recorded["logits"])
    print(json.dumps({"loader": loader, "fallbackReason": reason, "kernels": kernels_of(model), **result}))


if __name__ == "__main__":
    main()
