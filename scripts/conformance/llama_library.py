"""llama.cpp's C interface through ctypes, by value-checked layouts.

The structures of settings change between releases, so none is declared whole: each is a block larger than any release's,
filled by llama.cpp's own *_default_params, in which only fields are changed whose place was verified by their default
values. (A structure this large is returned through a pointer and passed on the stack, where extra bytes are harmless.)
"""

import ctypes
import glob
import os
import struct
import sys
from contextlib import contextmanager

import numpy as np

BLOCK_BYTES = 1024

# llama_ftype and ggml_type numbers (llama.h, ggml.h).
FILE_TYPES = {
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9,
    "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18,
}  # fmt: skip
GGML_TYPES = {
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q4_K": 12, "Q5_K": 13, "Q6_K": 14,
}  # fmt: skip

# llama_context_params: n_ctx, n_batch, n_ubatch, n_seq_max lead; they are verified by these defaults.
CONTEXT_HEAD = (512, 2048, 512, 1)
# Then: rope_scaling, pooling, attention type and flash attention, all −1 (unspecified, automatic).
AUTOMATIC = struct.pack("<4i", -1, -1, -1, -1)
# The types of the key and value cache: both F16 (1), after eight bytes of pointer that are null.
CACHE_TYPES = struct.pack("<qii", 0, 1, 1)
FLASH_ATTENTION_OFF = 0

# llama_model_params: the flags, of which vocab_only is the first and use_extra_bufts the third, after pointers.
MODEL_FLAGS_AT = 72
MODEL_FLAGS = bytes([0, 0, 1, 0, 0])
EXTRA_BUFFERS = 2

# llama_model_quantize_params: threads 0, file type, output and table type (both "none": the number of types), then
# flags: allow_requantize, quantize_output_tensor, only_copy, pure.
QUANTIZE_FLAGS = bytes([0, 1, 0, 0])


class Block(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint8 * BLOCK_BYTES)]

    def view(self):
        return memoryview(self).cast("B")


class Batch(ctypes.Structure):
    _fields_ = [
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.c_void_p),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    ]


LOG_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)

# ggml_log_level: warnings, errors, and continuations of a line.
LOG_WARNING = 3

P = ctypes.c_void_p
INT = ctypes.c_int32
SIGNATURES = {
    "llama_backend_init": (None, []),
    "llama_log_set": (None, [P, P]),
    "llama_version": (ctypes.c_char_p, []),
    "llama_model_default_params": (Block, []),
    "llama_context_default_params": (Block, []),
    "llama_model_quantize_default_params": (Block, []),
    "llama_model_load_from_file": (P, [ctypes.c_char_p, Block]),
    "llama_model_free": (None, [P]),
    "llama_init_from_model": (P, [P, Block]),
    "llama_free": (None, [P]),
    "llama_set_n_threads": (None, [P, INT, INT]),
    "llama_get_memory": (P, [P]),
    "llama_memory_clear": (None, [P, ctypes.c_bool]),
    "llama_model_get_vocab": (P, [P]),
    "llama_vocab_n_tokens": (INT, [P]),
    "llama_vocab_get_add_bos": (ctypes.c_bool, [P]),
    "llama_vocab_get_add_eos": (ctypes.c_bool, [P]),
    "llama_vocab_bos": (INT, [P]),
    "llama_vocab_eos": (INT, [P]),
    "llama_vocab_is_eog": (ctypes.c_bool, [P, INT]),
    "llama_tokenize": (INT, [P, ctypes.c_char_p, INT, P, INT, ctypes.c_bool, ctypes.c_bool]),
    "llama_model_desc": (INT, [P, ctypes.c_char_p, ctypes.c_size_t]),
    "llama_model_chat_template": (ctypes.c_char_p, [P, ctypes.c_char_p]),
    "llama_model_n_params": (ctypes.c_uint64, [P]),
    "llama_batch_init": (Batch, [INT, INT, INT]),
    "llama_batch_free": (None, [Batch]),
    "llama_decode": (INT, [P, Batch]),
    "llama_get_logits": (ctypes.POINTER(ctypes.c_float), [P]),
    "llama_model_quantize": (ctypes.c_uint32, [ctypes.c_char_p, ctypes.c_char_p, P]),
}


class LlamaLibrary:
    def __init__(self, folder, verbose=False):
        # The base library first: the others need its symbols.
        self.parts = [self._open(folder, name) for name in ("libggml-base", "libggml", "libllama")]
        ggml, self.c = self.parts[1], self.parts[2]
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(self.c, name)
            function.restype, function.argtypes = result, arguments
        self.messages = []
        self.log = LOG_CALLBACK(lambda level, text, _: self._note(level, text, verbose))
        self.c.llama_log_set(ctypes.cast(self.log, P), None)
        ggml.ggml_backend_load_all_from_path.argtypes = [ctypes.c_char_p]
        ggml.ggml_backend_load_all_from_path.restype = None
        ggml.ggml_backend_load_all_from_path(os.fsencode(folder))
        self.c.llama_backend_init()

    @staticmethod
    def _open(folder, stem):
        found = sorted(glob.glob(os.path.join(folder, f"{stem}.so*")) + glob.glob(os.path.join(folder, f"{stem}.v*.so")))
        if not found:
            raise SystemExit(f"no {stem}*.so in {folder}")
        return ctypes.CDLL(found[0], mode=ctypes.RTLD_GLOBAL)

    def _note(self, level, text, verbose):
        line = text.decode("utf-8", "replace")
        if level >= LOG_WARNING:
            self.messages = [*self.messages[-40:], line]
        if verbose:
            print(line, end="", file=sys.stderr)

    def fail(self, what):
        raise SystemExit(f"{what}\n{''.join(self.messages)}")

    def version(self):
        return self.c.llama_version().decode()

    def _load(self, path, vocab_only=False):
        params = self.c.llama_model_default_params()
        view = params.view()
        # Where the flags are not found the whole model is loaded, which does as well where there are weights.
        if bytes(view[MODEL_FLAGS_AT : MODEL_FLAGS_AT + len(MODEL_FLAGS)]) == MODEL_FLAGS:
            view[MODEL_FLAGS_AT] = 1 if vocab_only else 0
            # Weights as they lie in the file: the rearranged ones for AMX give NaN for Q8_0 and Q4_0 rows of 32 columns,
            # also in files that llama.cpp quantized itself (seen in 0.5.0 on Sapphire Rapids).
            view[MODEL_FLAGS_AT + EXTRA_BUFFERS] = 0
        model = self.c.llama_model_load_from_file(os.fsencode(path), params)
        if not model:
            self.fail(f"llama.cpp does not load {path}")
        return model

    @contextmanager
    def model(self, path, threads, tokens):
        """A loaded model with a context of `tokens` positions, float32 cache, no flash attention."""
        pointer = self._load(path)
        context = self.c.llama_init_from_model(pointer, self._context_params(tokens))
        if not context:
            self.fail(f"llama.cpp makes no context for {path}")
        self.c.llama_set_n_threads(context, threads, threads)
        try:
            yield Model(self, pointer, context)
        finally:
            self.c.llama_free(context)
            self.c.llama_model_free(pointer)

    def _context_params(self, tokens):
        params = self.c.llama_context_default_params()
        view = params.view()
        if struct.unpack_from("<4I", view, 0) != CONTEXT_HEAD:
            raise SystemExit("this llama.cpp lays out llama_context_params in a way this script does not know")
        struct.pack_into("<4I", view, 0, tokens, tokens, tokens, 1)
        head = bytes(view[:192])
        automatic = head.find(AUTOMATIC)
        cache = head.find(CACHE_TYPES)
        if automatic < 0 or cache < 0:
            raise SystemExit("llama_context_params: fields for flash attention or cache types not found")
        struct.pack_into("<i", view, automatic + 12, FLASH_ATTENTION_OFF)
        struct.pack_into("<2i", view, cache + 8, GGML_TYPES["F32"], GGML_TYPES["F32"])
        return params

    def vocabulary(self, path):
        return Vocabulary(self, self._load(path, vocab_only=True))

    def quantize(self, source, target, kind, *, pure, requantize, threads, output_type, table_type):
        params = self.c.llama_model_quantize_default_params()
        view = params.view()
        threads_now, _, output_now, table_now = struct.unpack_from("<4i", view, 0)
        if threads_now != 0 or output_now != table_now or not 40 <= output_now < 128 or bytes(view[16:20]) != QUANTIZE_FLAGS:
            raise SystemExit("this llama.cpp lays out llama_model_quantize_params in a way this script does not know")
        output = output_now if output_type is None else GGML_TYPES[output_type]
        table = table_now if table_type is None else GGML_TYPES[table_type]
        struct.pack_into("<4i", view, 0, threads, FILE_TYPES[kind], output, table)
        view[16] = 1 if requantize else 0
        view[19] = 1 if pure else 0
        if self.c.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.addressof(params)) != 0:
            self.fail(f"llama.cpp does not quantize {source} to {kind}")


class Vocabulary:
    def __init__(self, library, model):
        self.c = library.c
        self.library = library
        self.model = model
        self.pointer = self.c.llama_model_get_vocab(model)

    def tokenize(self, text, special):
        """Ids without BOS and EOS; `special`: texts of control tokens become their ids."""
        data = text.encode("utf-8")
        room = len(data) + 16
        ids = (ctypes.c_int32 * room)()
        count = self.c.llama_tokenize(self.pointer, data, len(data), ids, room, False, special)
        if count < 0:
            self.library.fail(f"llama_tokenize wants {-count} places for {len(data)} bytes")
        return list(ids[:count])

    def close(self):
        self.c.llama_model_free(self.model)


class Model:
    def __init__(self, library, pointer, context):
        self.c = library.c
        self.library = library
        self.pointer = pointer
        self.context = context
        self.vocab = self.c.llama_model_get_vocab(pointer)
        self.vocab_size = self.c.llama_vocab_n_tokens(self.vocab)

    def info(self):
        text = ctypes.create_string_buffer(256)
        self.c.llama_model_desc(self.pointer, text, len(text))
        template = self.c.llama_model_chat_template(self.pointer, None)
        return {
            "description": text.value.decode(),
            "parameters": self.c.llama_model_n_params(self.pointer),
            "vocabulary": self.vocab_size,
            "add_bos": self.c.llama_vocab_get_add_bos(self.vocab),
            "add_eos": self.c.llama_vocab_get_add_eos(self.vocab),
            "bos": self.c.llama_vocab_bos(self.vocab),
            "eos": self.c.llama_vocab_eos(self.vocab),
            "ends": [i for i in range(self.vocab_size) if self.c.llama_vocab_is_eog(self.vocab, i)],
            "chat_template": None if template is None else template.decode(),
        }

    def clear(self):
        self.c.llama_memory_clear(self.c.llama_get_memory(self.context), True)

    def decode(self, ids, first):
        """Logits f32 [tokens, vocabulary] of `ids` at positions first, first + 1 …, on top of what was decoded before."""
        batch = self.c.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i] = token
            batch.pos[i] = first + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = 1
        status = self.c.llama_decode(self.context, batch)
        self.c.llama_batch_free(batch)
        if status != 0:
            self.library.fail(f"llama_decode: status {status}")
        rows = self.c.llama_get_logits(self.context)
        return np.ctypeslib.as_array(rows, (len(ids), self.vocab_size)).copy()

    def logits(self, ids):
        self.clear()
        return self.decode(ids, 0)

    def generate(self, ids, count):
        """`count` greedy tokens after `ids`; equal logits: the smaller id."""
        self.clear()
        made = []
        row = self.decode(ids, 0)[-1]
        for position in range(len(ids), len(ids) + count):
            made.append(int(row.argmax()))
            row = self.decode(made[-1:], position)[-1]
        return made
