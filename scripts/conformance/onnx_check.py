"""Runs an ONNX folder of ours in onnxruntime and compares logits with those recorded by halfbyte.

`--expected FILE` is a safetensors file with `input_ids` I32 [B, T] and `logits` F32 [B, T, V]. All windows go through the
decoder as one batch; the first one again as a prefill of half its tokens and single steps through the cache. The graph is
checked by onnx.checker, which must be told about onnxruntime's operator in ONNX's own domain, and the external data by its
rules for paths.

    python onnx_check.py DIR --expected logits.safetensors
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file


def register_simplified_layer_norm():
    """SimplifiedLayerNormalization lives in ONNX's domain, but only onnxruntime knows it."""
    schema = onnx.defs.OpSchema(
        "SimplifiedLayerNormalization",
        "",
        1,
        inputs=[onnx.defs.OpSchema.FormalParameter(name, "T") for name in ("X", "scale")],
        outputs=[onnx.defs.OpSchema.FormalParameter("Y", "T")],
        type_constraints=[("T", ["tensor(float)", "tensor(float16)"], "floats")],
        attributes=[
            onnx.defs.OpSchema.Attribute("axis", onnx.defs.OpSchema.AttrType.INT, "axis", required=False),
            onnx.defs.OpSchema.Attribute("stash_type", onnx.defs.OpSchema.AttrType.INT, "type", required=False),
            onnx.defs.OpSchema.Attribute("epsilon", onnx.defs.OpSchema.AttrType.FLOAT, "epsilon", required=False),
        ],
    )
    onnx.defs.register_schema(schema)


def empty_cache(session, batch):
    """What transformers.js makes of the inputs' shapes: numbers kept, batch_size replaced, other symbols 0."""
    types = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
    cache = {}
    for value in session.get_inputs():
        if value.name.startswith("past_key_values."):
            shape = [batch if dim == "batch_size" else dim if isinstance(dim, int) else 0 for dim in value.shape]
            cache[value.name] = np.zeros(shape, types[value.type])
    return cache


def run(session, tokens, cache, length):
    """Logits [B, T, V] of tokens [B, T] that follow `length` others, and the cache after them."""
    batch, count = tokens.shape
    feeds = {"input_ids": tokens, "attention_mask": np.ones((batch, length + count), np.int64), **cache}
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, feeds), strict=True))
    present = {name.replace("present", "past_key_values"): value for name, value in outputs.items() if name != "logits"}
    return outputs["logits"].astype(np.float64), present


def stepped(session, tokens):
    """Logits [1, T, V] of one window: half at once, the rest token by token."""
    half = tokens.shape[1] // 2
    logits, cache = run(session, tokens[:, :half], empty_cache(session, 1), 0)
    parts = [logits]
    for position in range(half, tokens.shape[1]):
        logits, cache = run(session, tokens[:, position : position + 1], cache, position)
        parts.append(logits)
    return np.concatenate(parts, axis=1)


def nmse(actual, expected):
    if actual.shape != expected.shape or not (np.isfinite(actual).all() and np.isfinite(expected).all()):
        raise SystemExit(f"logits of {actual.shape} and {expected.shape} are not comparable")
    return float(((actual - expected) ** 2).sum() / (expected**2).sum())


def perplexity(logits, tokens):
    """Of every token of a window but its first."""
    shifted = logits[:, :-1] - logits[:, :-1].max(-1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    chosen = np.take_along_axis(log_probs, tokens[:, 1:, None], axis=-1)
    return float(np.exp(-chosen.mean()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--expected", required=True)
    options = parser.parse_args()
    (file,) = (options.folder / "onnx").glob("*.onnx")
    register_simplified_layer_norm()
    onnx.checker.check_model(str(file))
    recorded = load_file(options.expected)
    tokens = recorded["input_ids"].astype(np.int64)
    expected = recorded["logits"].astype(np.float64)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    logits, _ = run(session, tokens, empty_cache(session, len(tokens)), 0)
    operators = sorted({node.op_type for node in onnx.load(str(file), load_external_data=False).graph.node})
    print(
        json.dumps(
            {
                "file": file.name,
                "operators": operators,
                "nmse": nmse(logits, expected),
                "nmseStepped": nmse(stepped(session, tokens[:1]), expected[:1]),
                "perplexity": perplexity(logits, tokens),
                "perplexityExpected": perplexity(expected, tokens),
            }
        )
    )


if __name__ == "__main__":
    main()
