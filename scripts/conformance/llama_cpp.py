"""llama.cpp as judge: its own libraries, driven through their C interface, print one JSON document.

    llama_cpp.py LIBRARIES info MODEL.gguf
    llama_cpp.py LIBRARIES tokenize MODEL.gguf TEXTS.json [--special]      TEXTS: array of strings
    llama_cpp.py LIBRARIES logits MODEL.gguf IDS.json OUT.npy              IDS: array of windows of token ids
    llama_cpp.py LIBRARIES expected MODEL.gguf FOLDER                      FOLDER: what logits.ts wrote
    llama_cpp.py LIBRARIES divergence REFERENCE.gguf IDS.json MODEL.gguf…  one pass over all windows
    llama_cpp.py LIBRARIES generate MODEL.gguf IDS.json COUNT              greedy, one prompt a window
    llama_cpp.py LIBRARIES quantize IN.gguf OUT.gguf TYPE [--pure] [--requantize] [--output-type T] [--table-type T]

Before the command: --threads N (1: on shared machines idle threads that spin cost more than they bring), --verbose (everything llama.cpp has to say, on the error stream).
LIBRARIES is a folder with libllama*.so and libggml*.so, such as the one that node-llama-cpp brings.
"""

import argparse
import contextlib
import json
import math
import os
import sys
import time

import numpy as np
from safetensors.numpy import load_file

from llama_library import GGML_TYPES, LlamaLibrary


def sum_statistics(reference, logits, targets):
    """KL(reference ‖ model) and losses of one window in nats per token, and squared errors, all summed, in float64."""
    p = log_softmax(reference)
    q = log_softmax(logits)
    rows = np.arange(len(targets))
    return {
        "kld": float((np.exp(p) * (p - q)).sum()),
        "tokens": len(logits),
        "loss": float(-q[rows, targets].sum()),
        "reference_loss": float(-p[rows, targets].sum()),
        "targets": len(targets),
        "error": float(((logits.astype(np.float64) - reference) ** 2).sum()),
        "elements": logits.size,
        "power": float((reference.astype(np.float64) ** 2).sum()),
        "agree": int((logits.argmax(-1) == reference.argmax(-1)).sum()),
    }


def log_softmax(logits):
    x = logits.astype(np.float64)
    x -= x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def compare_models(library, reference_path, windows, paths, threads):
    """Keeps the reference's logits of all windows: windows · tokens · vocabulary · 4 bytes."""
    with library.model(reference_path, threads, longest(windows)) as model:
        reference = [model.logits(window) for window in windows]
    return {"models": [compare(library, path, windows, reference, threads) for path in paths]}


def compare(library, path, windows, reference, threads):
    """How the logits of a model differ from `reference`, arrays [tokens, vocabulary] by window."""
    totals = {}
    with library.model(path, threads, longest(windows)) as model:
        for window, expected in zip(windows, reference, strict=True):
            actual = model.logits(window)
            if actual.shape != expected.shape:
                raise SystemExit(f"{path}: logits {actual.shape}, expected {expected.shape}")
            if not (np.isfinite(actual).all() and np.isfinite(expected).all()):
                raise SystemExit(f"{path}: logits that are not finite")
            for key, value in sum_statistics(expected, actual, window[1:]).items():
                totals[key] = totals.get(key, 0) + value
    return {
        "model": path,
        "bytes": os.path.getsize(path),
        "kld": totals["kld"] / totals["tokens"],
        "nmse": totals["error"] / totals["power"],
        "rmse": math.sqrt(totals["error"] / totals["elements"]),
        "perplexity": math.exp(totals["loss"] / totals["targets"]),
        "reference_perplexity": math.exp(totals["reference_loss"] / totals["targets"]),
        "same_top": totals["agree"] / totals["tokens"],
        "tokens": totals["tokens"],
    }


def longest(windows):
    return max((len(window) for window in windows), default=1)


def read_json(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def run(args, library):
    if args.command == "info":
        with library.model(args.model, args.threads, 8) as model:
            return {"version": library.version(), **model.info()}
    if args.command == "tokenize":
        vocabulary = library.vocabulary(args.model)
        with contextlib.closing(vocabulary):
            return {"ids": [vocabulary.tokenize(text, args.special) for text in read_json(args.texts)]}
    if args.command == "logits":
        windows = read_json(args.ids)
        with library.model(args.model, args.threads, longest(windows)) as model:
            logits = np.stack([model.logits(window) for window in windows])
        np.save(args.out, logits)
        return {"shape": list(logits.shape)}
    if args.command == "expected":
        written = load_file(os.path.join(args.folder, "model.safetensors"))
        windows = written["input_ids"].tolist()
        return compare(library, args.model, windows, list(written["logits"]), args.threads)
    if args.command == "divergence":
        return compare_models(library, args.reference, read_json(args.ids), args.models, args.threads)
    if args.command == "generate":
        windows = read_json(args.ids)
        with library.model(args.model, args.threads, longest(windows) + args.count) as model:
            return {"ids": [model.generate(window, args.count) for window in windows]}
    started = time.monotonic()
    library.quantize(
        args.source,
        args.target,
        args.type,
        pure=args.pure,
        requantize=args.requantize,
        threads=args.threads,
        output_type=args.output_type,
        table_type=args.table_type,
    )
    return {"seconds": time.monotonic() - started, "bytes": os.path.getsize(args.target)}


def parse_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("libraries")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--verbose", action="store_true")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info").add_argument("model")
    tokenize = commands.add_parser("tokenize")
    tokenize.add_argument("model")
    tokenize.add_argument("texts")
    tokenize.add_argument("--special", action="store_true")
    logits = commands.add_parser("logits")
    logits.add_argument("model")
    logits.add_argument("ids")
    logits.add_argument("out")
    expected = commands.add_parser("expected")
    expected.add_argument("model")
    expected.add_argument("folder")
    divergence = commands.add_parser("divergence")
    divergence.add_argument("reference")
    divergence.add_argument("ids")
    divergence.add_argument("models", nargs="+")
    generate = commands.add_parser("generate")
    generate.add_argument("model")
    generate.add_argument("ids")
    generate.add_argument("count", type=int)
    quantize = commands.add_parser("quantize")
    quantize.add_argument("source")
    quantize.add_argument("target")
    quantize.add_argument("type")
    quantize.add_argument("--pure", action="store_true")
    quantize.add_argument("--requantize", action="store_true", help="take quantized tensors too; TYPE F32 dequantizes")
    quantize.add_argument("--output-type", choices=sorted(GGML_TYPES))
    quantize.add_argument("--table-type", choices=sorted(GGML_TYPES))
    return parser.parse_args()


if __name__ == "__main__":
    arguments = parse_arguments()
    print(json.dumps(run(arguments, LlamaLibrary(arguments.libraries, arguments.verbose))))
    sys.stdout.flush()
