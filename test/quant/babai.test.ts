// Plan: the judge is judged. Nearest-plane in its own form (quant/README.md section 2, steps 4 and 5, no inverse anywhere)
// gives the codes of the published three-step form; and the comparator finds what it must find.
import { describe, expect, it } from 'vitest';
import type { AffineLinear } from '../../src/core/quantized-linear.js';
import { compareCodes } from './compare-codes.js';
import { hessianOf, oracle } from './oracle.js';
import { DEFAULT_SPEC, makeProblem } from './problem.js';

const PROBLEM = makeProblem({ outFeatures: 8, inFeatures: 96, seed: 41 });
const SPEC = { ...DEFAULT_SPEC, groupSize: -1 };

/** R upper with H = R·Rᵀ, straight from the definition. */
function reverseCholesky(h: readonly Float64Array[]): Float64Array[] {
  const r = h.map((row) => new Float64Array(row.length));
  for (let j = h.length - 1; j >= 0; j--)
    for (let i = j; i >= 0; i--) {
      let sum = h[i][j];
      for (let k = j + 1; k < h.length; k++) sum -= r[i][k] * r[j][k];
      r[i][j] = i === j ? Math.sqrt(sum) : sum / r[j][j];
    }
  return r;
}

describe('the oracle', () => {
  it('agrees with the nearest-plane form without an inverse', () => {
    const expected = oracle(PROBLEM, SPEC);
    const h = hessianOf(PROBLEM);
    const mean = h.reduce((sum, row, j) => sum + row[j], 0) / h.length;
    h.forEach((row, j) => (row[j] += SPEC.damp * mean));
    const r = reverseCholesky(h);
    const size = PROBLEM.inFeatures;
    for (let row = 0; row < PROBLEM.outFeatures; row++) {
      const error = new Float64Array(size);
      for (let j = 0; j < size; j++) {
        let carried = 0;
        for (let i = 0; i < j; i++) carried += error[i] * r[i][j];
        const w = PROBLEM.weight[row * size + j];
        const [scale, zero] = [expected.scales[row], expected.zeros[row]];
        const corrected = w + carried / r[j][j];
        expect(corrected / scale + zero).toBeCloseTo(expected.unrounded[row * size + j], 8);
        error[j] = w - scale * (expected.codes[row * size + j] - zero);
      }
    }
  });
});

describe('compareCodes', () => {
  const expected = oracle(PROBLEM, SPEC);
  const linear = (change: (codes: Uint8Array, scales: Float32Array) => void): AffineLinear => {
    const codes = expected.codes.slice();
    const scales = Float32Array.from(expected.scales);
    change(codes, scales);
    const packed = new Uint32Array(codes.length / 8);
    codes.forEach((code, index) => {
      packed[index >> 3] |= code << ((index & 7) * 4);
    });
    return {
      kind: 'affine',
      outFeatures: PROBLEM.outFeatures,
      inFeatures: PROBLEM.inFeatures,
      bits: 4,
      groupSize: PROBLEM.inFeatures,
      codes: packed,
      scales,
      zeros: Uint8Array.from(expected.zeros),
      groupOf: expected.groupOf,
    };
  };

  it('passes what is equal', () => {
    const result = compareCodes(
      linear(() => undefined),
      expected,
      1e-9,
    );
    expect(result).toEqual({ equalRows: PROBLEM.outFeatures, boundaryRows: 0, faults: [] });
  });

  it('reports a code off by one', () => {
    const off = linear((codes) => (codes[100] = codes[100] === 0 ? 1 : codes[100] - 1));
    expect(compareCodes(off, expected, 1e-9).faults).toHaveLength(1);
  });

  it('counts a code off by one at a boundary', () => {
    const off = linear((codes) => (codes[100] = codes[100] === 0 ? 1 : codes[100] - 1));
    expect(compareCodes(off, expected, 0.5)).toMatchObject({ boundaryRows: 1, faults: [] });
  });

  it('reports a wrong scale and a NaN', () => {
    expect(
      compareCodes(
        linear((_, scales) => (scales[2] *= 1.01)),
        expected,
        0.5,
      ).faults,
    ).toHaveLength(1);
    expect(
      compareCodes(
        linear((_, scales) => (scales[2] = NaN)),
        expected,
        0.5,
      ).faults,
    ).toHaveLength(1);
  });
});
