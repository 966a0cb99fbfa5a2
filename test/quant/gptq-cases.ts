import type { QuantSpec } from '../../src/quant/records.js';
import { DEFAULT_SPEC } from './problem.js';
import type { ProblemOptions } from './problem.js';

export interface GptqCase {
  readonly title: string;
  readonly problem: ProblemOptions;
  readonly spec: QuantSpec;
  /** Pretended limit on tensors, so that H spans several panels and rows several chunks. */
  readonly maxTensorBytes?: number;
}

function makeCase(
  title: string,
  problem: Partial<ProblemOptions>,
  spec: Partial<QuantSpec>,
  maxTensorBytes?: number,
): GptqCase {
  return {
    title,
    problem: { outFeatures: 32, inFeatures: 256, seed: 1, ...problem },
    spec: { ...DEFAULT_SPEC, ...spec },
    ...(maxTensorBytes === undefined ? {} : { maxTensorBytes }),
  };
}

/** Shapes, grids, orders and hard Hessians; the same table runs on every engine. */
export const GPTQ_CASES: readonly GptqCase[] = [
  makeCase('groups of 128', { seed: 1 }, {}),
  makeCase('groups of 16, ragged K', { inFeatures: 160, outFeatures: 64, seed: 2 }, { groupSize: 16 }),
  makeCase('groups of 32, asymmetric', { inFeatures: 224, seed: 3 }, { groupSize: 32, rule: 'asymmetric' }),
  makeCase(
    'groups of 48, across blocks',
    { inFeatures: 288, seed: 4 },
    { groupSize: 48, rule: 'asymmetric' },
  ),
  makeCase('groups of 240, wider than a block', { inFeatures: 480, seed: 5 }, { groupSize: 240 }),
  makeCase('per channel, 3 bits', { inFeatures: 352, seed: 6 }, { groupSize: -1, bits: 3 }),
  makeCase('2 bits, asymmetric', { seed: 7 }, { bits: 2, groupSize: 64, rule: 'asymmetric' }),
  makeCase('8 bits', { seed: 8 }, { bits: 8, groupSize: 64 }),
  makeCase('act-order, dynamic groups', { seed: 9 }, { order: 'act', groupSize: 32 }),
  makeCase('act-order, static groups', { seed: 10 }, { order: 'act', groupSize: 64, staticGroups: true }),
  makeCase('act-order, per channel', { seed: 11 }, { order: 'act', groupSize: -1, rule: 'asymmetric' }),
  makeCase('group-aware order', { seed: 12 }, { order: 'group-aware', groupSize: 32 }),
  makeCase(
    'group-aware order, static groups',
    { seed: 13 },
    { order: 'group-aware', groupSize: 64, staticGroups: true, rule: 'asymmetric' },
  ),
  makeCase('static groups', { seed: 14 }, { staticGroups: true, groupSize: 64 }),
  makeCase('MSE range', { inFeatures: 128, seed: 15 }, { range: 'mse', groupSize: 32 }),
  makeCase('MSE range, asymmetric', { inFeatures: 128, seed: 16 }, { range: 'mse', rule: 'asymmetric' }),
  makeCase('dead columns', { seed: 17, dead: [0, 77, 255] }, { groupSize: 64 }),
  makeCase(
    'dead columns, act-order',
    { seed: 18, dead: [5, 130] },
    { groupSize: 64, order: 'act', rule: 'asymmetric' },
  ),
  makeCase('ill-conditioned H', { seed: 19, decay: 0.7, noise: 1e-4 }, { groupSize: 64 }),
  makeCase('fewer tokens than columns', { seed: 20, tokens: 100 }, { groupSize: 64 }),
  makeCase('three panels', { inFeatures: 352, seed: 21 }, { groupSize: 32 }, 128 * 352 * 4),
  makeCase(
    'three panels, act-order',
    { inFeatures: 320, seed: 22 },
    { groupSize: 64, order: 'act' },
    128 * 320 * 4,
  ),
  makeCase('panels under a wide group', { inFeatures: 384, seed: 23 }, { groupSize: 192 }, 128 * 384 * 4),
];
