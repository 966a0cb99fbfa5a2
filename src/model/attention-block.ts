import { Bug } from '../core/errors.js';
import type { Engine } from '../engine/engine.js';
import { asMatrix } from '../engine/tensor.js';
import type { MatrixView, Tensor } from '../engine/tensor.js';
import { applyLinear } from './apply-linear.js';
import type { LayerWeights } from './layer-weights.js';
import { normName } from './layer-weights.js';
import type { Block, ForwardContext, LinearSlot, ModelConfig } from './types.js';

/**
 * The attention half of a decoder layer: groups q,k,v and o. Engine memory of one call beside x, with n rows and F = 4
 * bytes: at most F·n·(D + H·E + 2·Hkv·E) while q, k and v are made, F·n·(2·H·E + 2·Hkv·E) while attending; every
 * intermediate is freed right after its last use.
 */
export function createAttentionBlock(
  engine: Engine,
  config: ModelConfig,
  index: number,
  weights: LayerWeights,
): Block {
  const parts: AttentionParts = { engine, config, weights, slidingWindow: config.slidingWindows[index] };
  return {
    groups: [
      {
        linears: [weights.q, weights.k, weights.v],
        source: { kind: 'norm', name: normName(index, 'input_layernorm'), weight: weights.inputNorm },
      },
      {
        linears: [weights.o],
        // With fewer value heads than query heads an output of v reaches several inputs of o.
        ...(config.numAttentionHeads === config.numKeyValueHeads
          ? { source: { kind: 'linear', slot: weights.v } }
          : {}),
      },
    ],

    captureInput(group, x, context, use) {
      if (group !== 0 && group !== 1) throw new Bug(`internal: attention has groups 0 and 1, not ${group}`);
      const input = group === 0 ? normalize(parts, x) : attend(parts, x, context);
      use(asMatrix(input));
      engine.free(input);
    },

    forward(x, context) {
      const mixed = attend(parts, x, context);
      const added = engine.create([x.rows, config.hiddenSize], 'f32', 'attention output');
      applyLinear(engine, weights.o, asMatrix(mixed), asMatrix(added));
      engine.free(mixed);
      engine.addTo({ x, y: asMatrix(added) });
      engine.free(added);
    },
  };
}

interface AttentionParts {
  readonly engine: Engine;
  readonly config: ModelConfig;
  readonly weights: LayerWeights;
  readonly slidingWindow: number | undefined;
}

function normalize({ engine, config, weights }: AttentionParts, x: MatrixView): Tensor {
  const out = engine.create([x.rows, config.hiddenSize], 'f32', 'attention norm');
  engine.rmsNorm({ x, weight: weights.inputNorm, eps: config.rmsNormEps, out: asMatrix(out) });
  return out;
}

/** The input of o: [rows, H·E]. */
function attend(parts: AttentionParts, x: MatrixView, context: ForwardContext): Tensor {
  const { engine, config, weights, slidingWindow } = parts;
  const { numAttentionHeads: heads, numKeyValueHeads: kvHeads, headDim } = config;
  const normed = normalize(parts, x);
  const rawQ = project(engine, weights.q, normed);
  const rawK = project(engine, weights.k, normed);
  const v = project(engine, weights.v, normed);
  engine.free(normed);
  const q = rotate(parts, normalizeHeads(parts, rawQ, weights.qNorm), context, heads);
  const k = rotate(parts, normalizeHeads(parts, rawK, weights.kNorm), context, kvHeads);
  const out = engine.create([x.rows, heads * headDim], 'f32', 'attention heads');
  engine.attention({
    q: asMatrix(q),
    k: asMatrix(k),
    v: asMatrix(v),
    out: asMatrix(out),
    seqLen: context.seqLen,
    heads,
    kvHeads,
    headDim,
    scale: 1 / Math.sqrt(headDim),
    ...(slidingWindow === undefined ? {} : { slidingWindow }),
  });
  engine.free(q, k, v);
  return out;
}

function project(engine: Engine, slot: LinearSlot, input: Tensor): Tensor {
  const out = engine.create([input.shape[0], slot.outFeatures], 'f32', slot.name);
  applyLinear(engine, slot, asMatrix(input), asMatrix(out));
  return out;
}

/** RMS norm over each head (qwen3): consumes `x` and returns the normed tensor, or `x` where there is no norm. */
function normalizeHeads(parts: AttentionParts, x: Tensor, weight: Tensor | undefined): Tensor {
  if (weight === undefined) return x;
  const { engine, config } = parts;
  const out = engine.create(x.shape, 'f32', `${x.label} normed`);
  engine.rmsNorm({
    x: byHead(x, config.headDim),
    weight,
    eps: config.rmsNormEps,
    out: byHead(out, config.headDim),
  });
  engine.free(x);
  return out;
}

/** [rows, heads·E] seen as [rows·heads, E]. */
function byHead(tensor: Tensor, headDim: number): MatrixView {
  const { rows, cols } = asMatrix(tensor);
  return { tensor, rows: (rows * cols) / headDim, cols: headDim, offset: 0, stride: headDim };
}

function rotate(parts: AttentionParts, x: Tensor, context: ForwardContext, heads: number): Tensor {
  const { headDim, rope } = parts.config;
  parts.engine.rope({
    x: asMatrix(x),
    cos: context.cos,
    sin: context.sin,
    seqLen: context.seqLen,
    heads,
    headDim,
    rotaryDims: rope.rotaryDims,
  });
  return x;
}
