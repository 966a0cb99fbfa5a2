/** A checkpoint of random weights in the shapes of a one-billion Llama, for measurements: seeded, bfloat16, one file. */
import { closeSync, copyFileSync, existsSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { product } from '../../src/core/dims.js';
import { f32ToBf16 } from '../../src/core/dtype.js';
import { createRng } from '../../src/core/rng.js';
import { planShards } from '../../src/formats/safetensors/shard-plan.js';
import { bytesOf } from '../../src/io/byte-views.js';

const HIDDEN = 2048;
const INTERMEDIATE = 8192;
const KEY_VALUE = 512;
/** That of the bundled tokenizer, so that the GGUF is a whole one. */
const VOCABULARY = 2048;
const LAYER: Readonly<Record<string, readonly number[]>> = {
  'input_layernorm.weight': [HIDDEN],
  'self_attn.q_proj.weight': [HIDDEN, HIDDEN],
  'self_attn.k_proj.weight': [KEY_VALUE, HIDDEN],
  'self_attn.v_proj.weight': [KEY_VALUE, HIDDEN],
  'self_attn.o_proj.weight': [HIDDEN, HIDDEN],
  'post_attention_layernorm.weight': [HIDDEN],
  'mlp.gate_proj.weight': [INTERMEDIATE, HIDDEN],
  'mlp.up_proj.weight': [INTERMEDIATE, HIDDEN],
  'mlp.down_proj.weight': [HIDDEN, INTERMEDIATE],
};

export interface SyntheticCheckpoint {
  readonly folder: string;
  readonly layers: number;
  /** Bytes of all weights. */
  readonly bytes: number;
  /** Weights of the linears in the decoder layers, and of the embedding that is tied to the head. */
  readonly linearWeights: number;
  readonly tableWeights: number;
}

/** Weights are cut out of a pool of this many random numbers, each tensor at its own place. */
const POOL_ELEMS = 2 ** 24;

/** Writes config, tokenizer and about `gigabytes`·10⁹ bytes of weights into `folder`, unless they are there. */
export function makeSyntheticCheckpoint(folder: string, gigabytes: number): SyntheticCheckpoint {
  const perLayer = Object.values(LAYER).reduce((sum, shape) => sum + product(shape), 0);
  const table = VOCABULARY * HIDDEN;
  const layers = Math.max(1, Math.round(((gigabytes * 1e9) / 2 - table) / perLayer));
  const tensors = [
    { name: 'model.embed_tokens.weight', shape: [VOCABULARY, HIDDEN] },
    ...Array.from({ length: layers }, (_, layer) =>
      Object.entries(LAYER).map(([name, shape]) => ({ name: `model.layers.${layer}.${name}`, shape })),
    ).flat(),
    { name: 'model.norm.weight', shape: [HIDDEN] },
  ].map((tensor) => ({ ...tensor, dtype: 'BF16' as const }));
  const norms = HIDDEN * (2 * layers + 1);
  const file = `${folder}/model.safetensors`;
  if (!existsSync(file)) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(`${folder}/config.json`, JSON.stringify(configOf(layers), null, 2));
    const bundled = fileURLToPath(new URL('../../test/fixtures/bundled/', import.meta.url));
    for (const name of ['tokenizer.json', 'tokenizer_config.json', 'generation_config.json'])
      copyFileSync(`${bundled}${name}`, `${folder}/${name}`);
    writeWeights(file, tensors);
  }
  return {
    folder,
    layers,
    bytes: 2 * (perLayer * layers + table + HIDDEN),
    linearWeights: perLayer * layers + HIDDEN - norms,
    tableWeights: table,
  };
}

function configOf(layers: number): Record<string, unknown> {
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_size: HIDDEN,
    intermediate_size: INTERMEDIATE,
    num_hidden_layers: layers,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: 64,
    vocab_size: VOCABULARY,
    max_position_embeddings: 4096,
    rms_norm_eps: 1e-5,
    rope_theta: 500000,
    tie_word_embeddings: true,
    torch_dtype: 'bfloat16',
    bos_token_id: 0,
    eos_token_id: 1,
  };
}

function writeWeights(
  path: string,
  tensors: readonly { readonly name: string; readonly dtype: 'BF16'; readonly shape: readonly number[] }[],
): void {
  const [shard] = planShards(tensors, { maxShardBytes: Number.MAX_SAFE_INTEGER }).shards;
  const rng = createRng(20_24);
  const pool = bytesOf(Uint16Array.from({ length: POOL_ELEMS }, () => f32ToBf16(rng.normal() * 0.02)));
  const handle = openSync(path, 'wx');
  try {
    writeSync(handle, shard.header);
    for (const { begin, end } of shard.tensors) {
      let start = 2 * rng.int(POOL_ELEMS);
      for (let left = end - begin; left > 0; start = 0)
        left -= writeSync(handle, pool.subarray(start, start + Math.min(left, pool.byteLength - start)));
    }
  } finally {
    closeSync(handle);
  }
}
