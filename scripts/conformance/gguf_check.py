"""A GGUF file (or the parts of a split one) as the gguf package reads it; prints one JSON document.

    gguf_check.py FILE.gguf… [--reference FOLDER]

FOLDER holds the same weights as 16- or 32-bit safetensors with Hugging Face names (`halfbyte convert … --to hf`): every
tensor is dequantized by the gguf package, put back into Hugging Face's row order and compared.
"""

import argparse
import glob
import json
import os
import re

import gguf
import numpy as np
from safetensors import safe_open

PARTS = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OUTER = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight", "output.weight": "lm_head.weight"}
# Half a unit in the last place of the reference's dtype, relative to a value; plus float32's for the arithmetic.
ROUNDING = {"torch.bfloat16": 2**-8, "torch.float16": 2**-11, "torch.float32": 0.0}
ARITHMETIC = 2**-21


def hugging_face_name(name):
    if name in OUTER:
        return OUTER[name]
    layer, part, kind = re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", name).groups()
    return f"model.layers.{layer}.{PARTS[part]}.{kind}"


def unpermute(rows, heads):
    """llama.cpp rotates neighbouring rows of a head, Hugging Face halves: rows 0, 1, 2, 3 … go to 0, d/2, 1, d/2 + 1 …"""
    return rows.reshape(heads, rows.shape[0] // heads // 2, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def read_reference(folder):
    tensors = {}
    for path in glob.glob(os.path.join(folder, "*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():
                tensor = file.get_tensor(name)
                tensors[name] = (tensor.float().numpy().astype(np.float64), ROUNDING[str(tensor.dtype)])
    return tensors


def field(readers, key):
    value = next((reader.fields[key] for reader in readers if key in reader.fields), None)
    return None if value is None else value.contents()


def compare(readers, reference):
    architecture = field(readers, "general.architecture")
    heads = {
        "attn_q": field(readers, f"{architecture}.attention.head_count"),
        "attn_k": field(readers, f"{architecture}.attention.head_count_kv"),
    }
    worst = {"name": None, "excess": 0.0}
    for tensor in (tensor for reader in readers for tensor in reader.tensors):
        if tensor.name == "rope_freqs.weight":
            continue
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float64)
        part = tensor.name.split(".")[2] if tensor.name.startswith("blk.") else ""
        if architecture == "llama" and part in heads:
            values = unpermute(values, heads[part])
        name = hugging_face_name(tensor.name)
        expected, rounding = reference.pop(name)
        if values.shape != expected.shape:
            raise SystemExit(f"{tensor.name}: shape {values.shape}, expected {expected.shape}")
        # By how many times a value differs more than rounding explains.
        allowed = np.abs(values) * rounding + np.abs(values).max() * ARITHMETIC + 1e-30
        excess = float((np.abs(values - expected) / allowed).max())
        if not excess <= worst["excess"]:
            worst = {"name": tensor.name, "excess": excess}
    return {"worst": worst, "close": worst["excess"] <= 1.001, "left": sorted(reference)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="+")
    parser.add_argument("--reference")
    arguments = parser.parse_args()
    readers = [gguf.GGUFReader(path) for path in arguments.files]
    tensors = [tensor for reader in readers for tensor in reader.tensors]
    result = {
        "architecture": field(readers, "general.architecture"),
        "tokenizer": field(readers, "tokenizer.ggml.model"),
        "tokens": len(field(readers, "tokenizer.ggml.tokens") or []),
        "tensors": len(tensors),
        "types": sorted({tensor.tensor_type.name for tensor in tensors}),
    }
    if arguments.reference is not None:
        result.update(compare(readers, read_reference(arguments.reference)))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
