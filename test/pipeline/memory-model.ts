import { readFileSync } from 'node:fs';
import { f32ToBf16 } from '../../src/core/dtype.js';
import { product } from '../../src/core/dims.js';
import { createRng } from '../../src/core/rng.js';
import { planShards } from '../../src/formats/safetensors/shard-plan.js';
import { writeShards } from '../../src/formats/safetensors/write-shards.js';
import type { ResolvedModel } from '../../src/hub/index.js';
import type { ByteSource } from '../../src/io/byte-source.js';
import { bytesOf } from '../../src/io/byte-views.js';
import { createMemoryFolder } from '../../src/io/memory-folder.js';
import { createTextSource } from '../../src/io/memory-source.js';

/** A llama small enough to quantize in a blink; sizes differ so that mix-ups show. */
export const CONFIG = {
  model_type: 'llama',
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 16,
  vocab_size: 160,
  max_position_embeddings: 32,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: false,
};

/** Tensors of the model above, by name. */
export const SHAPES: Readonly<Record<string, readonly number[]>> = Object.fromEntries([
  ['model.embed_tokens.weight', [160, 64]],
  ...[0, 1].flatMap((layer) =>
    Object.entries({
      'input_layernorm.weight': [64],
      'self_attn.q_proj.weight': [64, 64],
      'self_attn.k_proj.weight': [32, 64],
      'self_attn.v_proj.weight': [32, 64],
      'self_attn.o_proj.weight': [64, 64],
      'post_attention_layernorm.weight': [64],
      'mlp.gate_proj.weight': [96, 64],
      'mlp.up_proj.weight': [96, 64],
      'mlp.down_proj.weight': [64, 96],
    }).map(([name, shape]) => [`model.layers.${layer}.${name}`, shape] as const),
  ),
  ['model.norm.weight', [64]],
  ['lm_head.weight', [160, 64]],
]);

export interface TensorData {
  readonly dtype: 'BF16' | 'F32' | 'F64' | 'F16' | 'F8_E4M3' | 'F8_E5M2';
  readonly bytes: Uint8Array;
}

/** Seeded random weights in bfloat16, norms near 1. */
export function randomTensor(name: string, shape: readonly number[]): TensorData {
  const seed = [...name].reduce((hash, char) => Math.imul(hash, 31) + char.charCodeAt(0), 7) >>> 0;
  const rng = createRng(seed);
  const isNorm = shape.length === 1;
  const values = Uint16Array.from({ length: product(shape) }, () =>
    f32ToBf16(isNorm ? 1 + 0.1 * rng.normal() : 0.1 * rng.normal()),
  );
  return { dtype: 'BF16', bytes: bytesOf(values) };
}

export interface MemoryModelOptions {
  readonly config?: Readonly<Record<string, unknown>>;
  /** Tensors that differ from the random ones. */
  readonly tensors?: Readonly<Record<string, TensorData>>;
  /** More files, by name. */
  readonly files?: Readonly<Record<string, string>>;
}

/** A whole model folder in memory. */
export async function memoryModel(options: MemoryModelOptions = {}): Promise<ResolvedModel> {
  const data = Object.entries(SHAPES).map(([name, shape]) => {
    const tensor = options.tensors?.[name] ?? randomTensor(name, shape);
    return { name, shape, ...tensor };
  });
  const folder = createMemoryFolder('memory');
  await writeShards(planShards(data), folder, (name) => {
    const found = data.find((tensor) => tensor.name === name);
    return Promise.resolve(found?.bytes ?? new Uint8Array());
  });
  await folder.commit();
  const tokenizer = readFileSync(new URL('../fixtures/tiny/llama/tokenizer.json', import.meta.url), 'utf8');
  const texts = {
    'config.json': JSON.stringify({ ...CONFIG, ...options.config }),
    'tokenizer.json': tokenizer,
    ...options.files,
  };
  const files = new Map<string, ByteSource>(folder.files);
  for (const [name, text] of Object.entries(texts)) files.set(name, createTextSource(name, text));
  return { name: 'memory/model', source: 'local', files };
}

/** Text in the tokenizer's alphabet. */
export function textSource(lines: number): ByteSource {
  const text = Array.from({ length: lines }, (_, i) => `A fox saw ${i} birds and ${(i * 7) % 13} owls.\n`);
  return createTextSource('text.txt', text.join(''));
}
