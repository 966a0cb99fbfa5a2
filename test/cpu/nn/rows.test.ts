import { describe, expect, it } from 'vitest';
import { bf16ToF32, f32ToBf16 } from '../../../src/core/dtype.js';
import { readReals } from '../../../src/engine/engine.js';
import { asMatrix } from '../../../src/engine/tensor.js';
import { CPU_CASES } from '../engines.js';
import { expectTable, randomTable, readTable, stridedView } from '../strided.js';
import type { Table } from '../strided.js';

function softmax(row: readonly number[]): number[] {
  const largest = Math.max(...row);
  const powers = row.map((value) => Math.exp(value - largest));
  const sum = powers.reduce((total, value) => total + value, 0);
  return powers.map((value) => value / sum);
}

function argmax(row: readonly number[]): number {
  return row.indexOf(Math.max(...row));
}

// Plan: norms, activations, positions, embedding and losses on ragged strided views against their formulas.
describe.each(CPU_CASES)('row operations · $name', ({ make, unit }) => {
  it('normalizes with f32 and bf16 weights, in place too', async () => {
    const engine = await make();
    const x = randomTable(5, 37, 1);
    const weights = randomTable(1, 37, 2)[0];
    const half = Uint16Array.from(weights.map(f32ToBf16));
    const norm = (factors: readonly number[]): Table =>
      x.map((row) => {
        const mean = row.reduce((sum, value) => sum + value * value, 0) / row.length;
        return row.map((value, j) => (value / Math.sqrt(mean + 1e-5)) * factors[j]);
      });
    const out = stridedView(engine, randomTable(5, 37, 3));
    const weight = engine.upload(Float32Array.from(weights), [37], 'f32', 'weight');
    engine.rmsNorm({ x: stridedView(engine, x), weight, eps: 1e-5, out });
    expectTable(await readTable(engine, out), norm(weights), 16 * unit);
    const place = stridedView(engine, x);
    engine.rmsNorm({
      x: place,
      weight: engine.upload(half, [37], 'bf16', 'weight'),
      eps: 1e-5,
      out: place,
    });
    expectTable(await readTable(engine, place), norm(Array.from(half, bf16ToF32)), 16 * unit);
    await engine.dispose();
  });

  it('rotates the first dimensions of each head by the position in the window', async () => {
    const engine = await make();
    const [seqLen, heads, headDim, rotaryDims] = [3, 2, 10, 6];
    const half = rotaryDims / 2;
    const x = randomTable(2 * seqLen, heads * headDim, 4);
    const angles = randomTable(seqLen + 2, half, 5);
    const table = (f: (angle: number) => number) =>
      engine.upload(Float64Array.from(angles.flat(), f), [seqLen + 2, half], 'f32', 'angles');
    const view = stridedView(engine, x);
    engine.rope({ x: view, cos: table(Math.cos), sin: table(Math.sin), seqLen, heads, headDim, rotaryDims });
    const wanted = x.map((row, r) => {
      const result = row.slice();
      for (let h = 0; h < heads; h++)
        for (let i = 0; i < half; i++) {
          const angle = angles[r % seqLen][i];
          const [u, v] = [row[h * headDim + i], row[h * headDim + i + half]];
          result[h * headDim + i] = u * Math.cos(angle) - v * Math.sin(angle);
          result[h * headDim + i + half] = v * Math.cos(angle) + u * Math.sin(angle);
        }
      return result;
    });
    expectTable(await readTable(engine, view), wanted, 8 * unit);
    await engine.dispose();
  });

  it('multiplies by silu into a third view and into its own operands, and adds', async () => {
    const engine = await make();
    const gate = randomTable(4, 21, 6).map((row) => row.map((value) => value * 20));
    const up = randomTable(4, 21, 7);
    const wanted = gate.map((row, i) => row.map((value, j) => (value / (1 + Math.exp(-value))) * up[i][j]));
    for (const target of ['other', 'gate', 'up']) {
      const g = stridedView(engine, gate);
      const u = stridedView(engine, up);
      const out = target === 'gate' ? g : target === 'up' ? u : stridedView(engine, up);
      engine.siluMul({ gate: g, up: u, out });
      expectTable(await readTable(engine, out), wanted, 80 * unit);
    }
    const sum = stridedView(engine, gate);
    engine.addTo({ x: sum, y: stridedView(engine, up) });
    expectTable(
      await readTable(engine, sum),
      gate.map((row, i) => row.map((value, j) => value + up[i][j])),
      40 * unit,
    );
    await engine.dispose();
  });

  it('gathers embeddings from panels of different size', async () => {
    const engine = await make();
    const table = randomTable(11, 6, 8).map((row) => row.map((value) => bf16ToF32(f32ToBf16(value))));
    const panel = (rows: Table) =>
      engine.upload(Uint16Array.from(rows.flat(), f32ToBf16), [rows.length, 6], 'bf16', 'panel');
    const tokens = [10, 0, 4, 5, 5, 3];
    const out = engine.create([6, 6], 'f32', 'embedded');
    engine.embed({
      tokens: engine.upload(Uint32Array.from(tokens), [6], 'u32', 'tokens'),
      panels: [panel(table.slice(0, 4)), panel(table.slice(4, 5)), panel(table.slice(5))],
      out,
    });
    expectTable(
      await readTable(engine, asMatrix(out)),
      tokens.map((token) => table[token]),
      0,
    );
    await engine.dispose();
  });

  it('gives token losses and divergences, also for huge and equal logits', async () => {
    const engine = await make();
    const reference = randomTable(5, 29, 9).map((row) => row.map((value) => value * 6));
    const logits = reference.map((row, i) => row.map((value, j) => value + ((i * 7 + j) % 5) * 0.25 - 0.5));
    reference[1] = reference[1].map(() => 0);
    logits[1] = logits[1].map(() => 3);
    reference[2][3] = 900;
    logits[2][3] = 901;
    logits[4][11] = 9;
    const targets = [0, 28, 3, 7, 7];
    const indices = engine.upload(Uint32Array.from(targets), [5], 'u32', 'targets');
    const losses = engine.create([5], 'f32', 'losses');
    engine.tokenLoss({ logits: stridedView(engine, logits), targets: indices, losses });
    const wantedLosses = logits.map((row, i) => {
      const largest = Math.max(...row);
      const sum = row.reduce((total, value) => total + Math.exp(value - largest), 0);
      return largest + Math.log(sum) - row[targets[i]];
    });
    expectTable([Array.from(await readReals(engine, losses))], [wantedLosses], 2000 * unit);

    const stats = engine.create([5, 4], 'f32', 'stats');
    engine.tokenDivergence({
      reference: stridedView(engine, reference),
      logits: stridedView(engine, logits),
      targets: indices,
      stats,
    });
    const wanted = logits.map((row, i) => {
      const [p, q] = [softmax(reference[i]), softmax(row)];
      const divergence = p.reduce(
        (sum, value, j) => (value > 0 ? sum + value * Math.log(value / q[j]) : sum),
        0,
      );
      return [divergence, p[targets[i]], q[targets[i]], argmax(reference[i]) === argmax(row) ? 1 : 0];
    });
    expectTable(await readTable(engine, asMatrix(stats)), wanted, 2000 * unit);
    expect(wanted.map((row) => row[3])).toContain(0);
    await engine.dispose();
  });

  it('lets NaN logits show', async () => {
    const engine = await make();
    const logits = randomTable(1, 5, 1);
    const spoilt = [[0, NaN, 1, 2, 3]];
    const targets = engine.upload(new Uint32Array([2]), [1], 'u32', 'targets');
    const stats = engine.create([4], 'f32', 'stats');
    for (const [reference, other] of [
      [logits, spoilt],
      [spoilt, logits],
    ]) {
      engine.tokenDivergence({
        reference: stridedView(engine, reference),
        logits: stridedView(engine, other),
        targets,
        stats,
      });
      expect((await readReals(engine, stats))[0]).toBeNaN();
    }
    await engine.dispose();
  });
});
