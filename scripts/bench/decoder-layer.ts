import { quantizeLayer } from '../../src/calib/index.js';
import type { Engine } from '../../src/engine/engine.js';
import type { Tensor } from '../../src/engine/tensor.js';
import { loadDecoderLayer, parseModelConfig, planMicroBatches, uploadRope } from '../../src/model/index.js';
import type { ModelConfig, WeightSource } from '../../src/model/types.js';
import { createRng } from '../../src/core/rng.js';
import type { QuantSpec } from '../../src/quant/index.js';
import { peakRssBytes } from '../../src/platform/node/host.js';
import type { Shape } from './operations.js';
import { randomBf16 } from './measure.js';

export interface LayerResult {
  /** Wall-clock seconds by stage; a linear's stage ends when it is quantized and its loss is known. */
  readonly stages: Readonly<Record<string, number>>;
  readonly seconds: number;
  /** Whether RTN's loss and the output error of every linear were computed as well. */
  readonly compare: boolean;
  readonly peakGpuBytes: number;
  /** The layer's bf16 weights + its largest Hessian + the activations of one micro-batch at their widest. */
  readonly allowanceBytes: number;
  readonly peakShare: number;
  readonly peakRssBytes: number;
  readonly meanLossRatio: number | null;
}

const SPEC: QuantSpec = {
  method: 'gptq',
  rule: 'symmetric',
  bits: 4,
  groupSize: 128,
  order: 'natural',
  staticGroups: false,
  damp: 0.01,
  range: 'minmax',
  refine: 0,
  minZero: 0,
};

function llamaConfig(shape: Shape): ModelConfig {
  return parseModelConfig({
    model_type: 'llama',
    architectures: ['LlamaForCausalLM'],
    hidden_size: shape.hidden,
    intermediate_size: shape.intermediate,
    num_hidden_layers: 1,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.kvHeads,
    vocab_size: 32000,
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    hidden_act: 'silu',
    tie_word_embeddings: false,
  });
}

/** Random bf16 weights of the asked shapes; norms near one. */
function syntheticWeights(engine: Engine): WeightSource {
  let seed = 1;
  const make = (name: string, shape: readonly number[]): Tensor => {
    const count = shape.reduce((total, dim) => total * dim, 1);
    if (shape.length === 1) return engine.upload(new Float32Array(count).fill(1), shape, 'f32', name);
    return engine.upload(randomBf16(count, seed++, 0.05), shape, 'bf16', name);
  };
  return {
    has: (name) => !name.endsWith('.bias'),
    dense: (name, shape) => Promise.resolve(make(name, shape)),
    densePanels: (name, shape) => Promise.resolve([make(name, shape)]),
    linear: (module, outFeatures, inFeatures) =>
      Promise.resolve({ kind: 'dense', tensor: make(module, [outFeatures, inFeatures]) }),
  };
}

/** Hidden states with neighbouring columns correlated, so that GPTQ has errors to compensate. */
function syntheticHidden(rows: number, columns: number): Float32Array {
  const rng = createRng(7);
  const data = new Float32Array(rows * columns);
  for (let i = 0; i < data.length; i++) {
    const fresh = rng.next() + rng.next() - 1;
    data[i] = i % columns === 0 ? fresh : 0.6 * data[i - 1] + 0.8 * fresh;
  }
  return data;
}

/** Whole GPTQ of one decoder layer: capture, Hessians, factorisation, quantization, outputs recomputed. */
export async function measureLayer(engine: Engine, shape: Shape, compare: boolean): Promise<LayerResult> {
  const config = llamaConfig(shape);
  const seqLen = Math.min(2048, shape.tokens);
  const windows = Array.from({ length: shape.tokens / seqLen }, () => new Uint32Array(seqLen));
  engine.resetPeak();
  const layer = await loadDecoderLayer({ engine, config, source: syntheticWeights(engine), index: 0 });
  const rope = uploadRope(engine, config.rope, seqLen);
  const hidden = planMicroBatches(windows).map((batch) => ({
    batch,
    states: syntheticHidden(batch.windows * seqLen, shape.hidden),
  }));
  await engine.sync();

  const stages: Record<string, number> = {};
  const ratios: number[] = [];
  const start = performance.now();
  let last = start;
  const lap = (stage: string): void => {
    const now = performance.now();
    stages[stage] = (now - last) / 1000;
    last = now;
  };
  for await (const { slot, stats } of quantizeLayer({
    engine,
    layer,
    hidden,
    rope,
    select: () => SPEC,
    compare,
  })) {
    lap(slot.name.replace('model.layers.0.', ''));
    if (stats.loss !== undefined && stats.rtnLoss !== undefined) ratios.push(stats.loss / stats.rtnLoss);
  }
  lap('outputs');
  const { peakBytes } = engine.memory();
  layer.free();
  engine.free(rope.cos, rope.sin);
  await engine.sync();
  const allowance = allowanceBytes(shape);
  return {
    stages,
    seconds: (performance.now() - start) / 1000,
    compare,
    peakGpuBytes: peakBytes,
    allowanceBytes: allowance,
    peakShare: peakBytes / allowance,
    peakRssBytes: peakRssBytes(),
    meanLossRatio: ratios.length === 0 ? null : ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length,
  };
}

function allowanceBytes({ hidden, intermediate, heads, kvHeads, tokens }: Shape): number {
  const kv = (hidden / heads) * kvHeads;
  const weights = 2 * (2 * hidden * hidden + 2 * kv * hidden + 3 * hidden * intermediate);
  const largestHessian = 4 * intermediate * intermediate;
  const microBatch = 4 * Math.min(tokens, 2048) * (hidden + intermediate);
  return weights + largestHessian + microBatch;
}
