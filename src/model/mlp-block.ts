import { Bug } from '../core/errors.js';
import type { Engine } from '../engine/engine.js';
import { asMatrix, rowRange } from '../engine/tensor.js';
import type { MatrixView, Tensor } from '../engine/tensor.js';
import { applyLinear } from './apply-linear.js';
import type { LayerWeights } from './layer-weights.js';
import { normName } from './layer-weights.js';
import type { Block, ModelConfig } from './types.js';

/**
 * Bound on each [rows, I] intermediate. The MLP works row by row, so a micro-batch is cut into row chunks: 16 MiB is 744
 * rows at I = 5632, enough for full-speed matrix products, and keeps gate and up out of the peak.
 */
const CHUNK_BYTES = 16 * 1024 * 1024;
const F32_BYTES = 4;
const CHUNK_ROW_MULTIPLE = 64;

/**
 * The gated MLP half of a decoder layer: groups gate,up and down. Engine memory of one call beside x, n rows of which c
 * are in a chunk and F = 4 bytes: F·n·D for the norm, and F·c·(2·I + D) in `forward`; capturing the input of down gives
 * all rows at once, F·n·I + F·c·I.
 */
export function createMlpBlock(
  engine: Engine,
  config: ModelConfig,
  index: number,
  weights: LayerWeights,
): Block {
  const parts: MlpParts = { engine, config, weights };
  return {
    groups: [
      {
        linears: [weights.gate, weights.up],
        source: {
          kind: 'norm',
          name: normName(index, 'post_attention_layernorm'),
          weight: weights.postAttentionNorm,
        },
      },
      { linears: [weights.down], source: { kind: 'linear', slot: weights.up } },
    ],

    captureInput(group, x, _context, use) {
      if (group !== 0 && group !== 1) throw new Bug(`internal: the MLP has groups 0 and 1, not ${group}`);
      const normed = normalize(parts, x);
      if (group === 0) {
        use(asMatrix(normed));
        engine.free(normed);
        return;
      }
      const gated = engine.create([x.rows, config.intermediateSize], 'f32', 'mlp gated');
      forEachChunk(parts, x.rows, (start, rows) => {
        gate(parts, rowRange(asMatrix(normed), start, rows), rowRange(asMatrix(gated), start, rows));
      });
      engine.free(normed);
      use(asMatrix(gated));
      engine.free(gated);
    },

    forward(x) {
      const normed = normalize(parts, x);
      forEachChunk(parts, x.rows, (start, rows) => {
        const gated = engine.create([rows, config.intermediateSize], 'f32', 'mlp gated');
        gate(parts, rowRange(asMatrix(normed), start, rows), asMatrix(gated));
        const added = engine.create([rows, config.hiddenSize], 'f32', 'mlp output');
        applyLinear(engine, weights.down, asMatrix(gated), asMatrix(added));
        engine.free(gated);
        engine.addTo({ x: rowRange(x, start, rows), y: asMatrix(added) });
        engine.free(added);
      });
      engine.free(normed);
    },
  };
}

interface MlpParts {
  readonly engine: Engine;
  readonly config: ModelConfig;
  readonly weights: LayerWeights;
}

function normalize({ engine, config, weights }: MlpParts, x: MatrixView): Tensor {
  const out = engine.create([x.rows, config.hiddenSize], 'f32', 'mlp norm');
  engine.rmsNorm({ x, weight: weights.postAttentionNorm, eps: config.rmsNormEps, out: asMatrix(out) });
  return out;
}

/** out [c, I] = silu(gate(normed)) · up(normed). */
function gate({ engine, weights }: MlpParts, normed: MatrixView, out: MatrixView): void {
  applyLinear(engine, weights.gate, normed, out);
  const up = engine.create([normed.rows, weights.up.outFeatures], 'f32', weights.up.name);
  applyLinear(engine, weights.up, normed, asMatrix(up));
  engine.siluMul({ gate: out, up: asMatrix(up), out });
  engine.free(up);
}

function forEachChunk(parts: MlpParts, rows: number, run: (start: number, rows: number) => void): void {
  const fitting = Math.floor(CHUNK_BYTES / (parts.config.intermediateSize * F32_BYTES));
  const chunk = Math.max(CHUNK_ROW_MULTIPLE, Math.floor(fitting / CHUNK_ROW_MULTIPLE) * CHUNK_ROW_MULTIPLE);
  for (let start = 0; start < rows; start += chunk) run(start, Math.min(chunk, rows - start));
}
