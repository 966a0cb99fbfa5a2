/**
 * Plan: the head takes a tied table, a separate one cut into panels, or one on a grid, and gives the same logits as a
 * product computed here; rows per chunk respect both bounds.
 */
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/rng.js';
import type { Engine } from '../../src/engine/engine.js';
import { readReals } from '../../src/engine/engine.js';
import type { LinearWeight } from '../../src/engine/nn.js';
import { asMatrix } from '../../src/engine/tensor.js';
import type { ModelConfig, WeightSource } from '../../src/model/index.js';
import { loadHead, logitRows } from '../../src/model/index.js';
import { readTiny } from '../helpers/checkpoint-source.js';
import { describeEngines, openOracle } from '../helpers/engines.js';

const VOCAB = 37;
const HIDDEN = 16;
const GROUP = 8;
const ROWS = 5;

/** A 4-bit weight [37, 16] in groups of 8 and its values. */
function makeGrid() {
  const rng = createRng(21);
  const codes = new Uint32Array((VOCAB * HIDDEN) / 8);
  const values = new Float32Array(VOCAB * HIDDEN);
  const groups = HIDDEN / GROUP;
  const scales = Float32Array.from({ length: VOCAB * groups }, () => 2 ** -(3 + rng.int(3)));
  const zeros = Float32Array.from({ length: VOCAB * groups }, () => rng.int(16));
  for (let at = 0; at < values.length; at++) {
    const code = rng.int(16);
    const group = Math.floor(at / HIDDEN) * groups + Math.floor((at % HIDDEN) / GROUP);
    codes[at >> 3] |= code << (4 * (at & 7));
    values[at] = scales[group] * (code - zeros[group]);
  }
  return { codes, values, scales, zeros, groups };
}

type Kind = 'tied' | 'panels' | 'grid';

/** A source that has exactly the tensors of its kind. */
function headSource(engine: Engine, kind: Kind, norm: Float32Array): WeightSource {
  const grid = makeGrid();
  const upload = engine.upload.bind(engine);
  const panelRows = kind === 'tied' ? VOCAB : 10;
  const table = kind === 'tied' ? 'model.embed_tokens.weight' : 'lm_head.weight';
  return {
    has: (name) => kind !== 'grid' && name === table,
    dense: () => Promise.resolve(upload(norm, [HIDDEN], 'f32', 'norm')),
    densePanels: (name) => {
      expect(name).toBe(table);
      const starts = Array.from({ length: Math.ceil(VOCAB / panelRows) }, (_, i) => i * panelRows);
      return Promise.resolve(
        starts.map((start) => {
          const rows = Math.min(panelRows, VOCAB - start);
          const part = grid.values.slice(start * HIDDEN, (start + rows) * HIDDEN);
          return upload(part, [rows, HIDDEN], 'f32', `rows ${start}`);
        }),
      );
    },
    linear: (module): Promise<LinearWeight> => {
      expect([kind, module]).toEqual(['grid', 'lm_head']);
      const groupOf = Uint32Array.from({ length: HIDDEN }, (_, k) => Math.floor(k / GROUP));
      return Promise.resolve({
        kind: 'affine',
        bits: 4,
        outFeatures: VOCAB,
        inFeatures: HIDDEN,
        codes: upload(grid.codes, [VOCAB, HIDDEN / 8], 'u32', 'codes'),
        scales: upload(grid.scales, [VOCAB, grid.groups], 'f32', 'scales'),
        zeros: upload(grid.zeros, [VOCAB, grid.groups], 'f32', 'zeros'),
        groupOf: upload(groupOf, [HIDDEN], 'u32', 'groups'),
      });
    },
  };
}

function headConfig(kind: Kind): ModelConfig {
  const { config } = readTiny('llama');
  return { ...config, vocabSize: VOCAB, hiddenSize: HIDDEN, tieWordEmbeddings: kind === 'tied' };
}

describeEngines('the head', (make) => {
  it.each(['tied', 'panels', 'grid'] as const)('gives logits: %s', async (kind) => {
    const engine = await make();
    const rng = createRng(2);
    const states = Float32Array.from({ length: ROWS * HIDDEN }, () => rng.normal());
    const norm = Float32Array.from({ length: HIDDEN }, () => 1 + 0.2 * rng.normal());
    const config = headConfig(kind);
    const head = await loadHead({ engine, config, source: headSource(engine, kind, norm) });
    const x = engine.upload(states, [ROWS, HIDDEN], 'f32', 'x');
    const logits = head.logits(asMatrix(x));
    expect(logits.shape).toEqual([ROWS, VOCAB]);
    const found = await readReals(engine, logits);
    const { values } = makeGrid();
    for (let row = 0; row < ROWS; row++) {
      const part = states.subarray(row * HIDDEN, (row + 1) * HIDDEN);
      const square = part.reduce((sum, value) => sum + value * value, 0) / HIDDEN;
      const unit = Array.from(part, (value, i) => (value / Math.sqrt(square + config.rmsNormEps)) * norm[i]);
      for (let token = 0; token < VOCAB; token++) {
        const expected = unit.reduce((sum, value, i) => sum + value * values[token * HIDDEN + i], 0);
        expect(Math.abs(found[row * VOCAB + token] - expected) <= 1e-5).toBe(true);
      }
    }
    engine.free(x, logits);
    head.free();
    expect(engine.memory().tensors).toBe(0);
    await engine.dispose();
  });
});

describe('rows of logits', () => {
  it('fit the bound and the engine, and are at least one', async () => {
    const engine = await openOracle();
    const config = headConfig('tied');
    expect(logitRows(engine, config, 4 * VOCAB * 9 + 1)).toBe(9);
    expect(logitRows(engine, config, 3)).toBe(1);
    expect(logitRows({ ...engine, maxTensorBytes: 4 * VOCAB * 2 }, config)).toBe(2);
    await engine.dispose();
  });

  it('frees the norm when the head cannot be loaded', async () => {
    const engine = await openOracle();
    const source: WeightSource = {
      ...headSource(engine, 'tied', new Float32Array(HIDDEN)),
      densePanels: () => Promise.reject(new Error('no table')),
    };
    await expect(loadHead({ engine, config: headConfig('tied'), source })).rejects.toThrow('no table');
    expect(engine.memory().tensors).toBe(0);
    await engine.dispose();
  });
});
