import { afterAll, describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/rng.js';
import type { Matrix } from '../../src/cpu/matrix.js';
import { ROW_OPERANDS, runRowKernel } from '../../src/cpu/row-kernels.js';
import type { RowKernelArgs, RowKernelName } from '../../src/cpu/row-kernels.js';
import { RowScratch } from '../../src/cpu/row-scratch.js';
import { createWorkerRowPool } from '../../src/platform/node/cpu/worker-row-pool.js';

const [ROWS, COLS] = [37, 24];
const rng = createRng(77);

function reals(cols: number, spread = 1): Matrix<Float32Array> {
  const stride = cols + 3;
  const data = Float32Array.from({ length: 5 + ROWS * stride }, () => (rng.next() - 0.5) * spread);
  return { data, rows: ROWS, cols, offset: 5, stride };
}

function integers<T extends Uint8Array | Uint16Array | Uint32Array>(
  data: T,
  cols: number,
  below: number,
): Matrix<T> {
  return { data: data.map(() => rng.int(below)) as T, rows: ROWS, cols, offset: 0, stride: cols };
}

const grid = {
  bits: 4,
  scales: { ...reals(2), data: reals(2).data.map((value) => 0.05 + Math.abs(value) / 5) },
  zeros: { ...reals(2), data: reals(2).data.map(() => rng.int(16)) },
  groupOf: Uint32Array.from({ length: COLS }, (_, k) => (k < 12 ? 0 : 1)),
  firstColumn: 0,
} as const;
/** A block inside a larger matrix, as GPTQ passes it. */
const square: Matrix<Float32Array> = {
  data: new Float32Array(100 * 100).map(() => 0.5 + rng.next()),
  rows: COLS,
  cols: COLS,
  offset: 309,
  stride: 100,
};

const ARGS: { readonly [Name in RowKernelName]: () => RowKernelArgs<Name> } = {
  'gptq-block': () => ({
    ...grid,
    w: reals(COLS),
    carried: reals(COLS),
    l: square,
    error: reals(COLS),
    codes: integers(new Uint8Array(ROWS * COLS), COLS, 16),
    losses: reals(1),
  }),
  'refine-block': () => ({
    ...grid,
    w: reals(COLS),
    gradient: reals(COLS, 10),
    h: square,
    diagonal: square.data,
    error: reals(COLS),
    codes: integers(new Uint8Array(ROWS * COLS), COLS, 16),
  }),
  'group-range': () => ({
    w: reals(COLS),
    bits: 4,
    groupSize: 12,
    rule: 'asymmetric',
    range: 'mse',
    minZero: 1,
    scales: reals(2),
    zeros: reals(2),
  }),
  'hqq-zeros': () => ({
    w: reals(COLS),
    bits: 4,
    groupSize: 12,
    zeroKind: 'half-min',
    scales: reals(2),
    zeros: reals(2),
  }),
  'super-block-range': () => ({
    type: 'q4_k',
    w: reals(256),
    scales: reals(8),
    zeros: reals(8),
    blocks: reals(2),
  }),
  'quantize-nearest': () => ({
    ...grid,
    w: reals(COLS),
    codes: integers(new Uint8Array(ROWS * COLS), COLS, 16),
    error: reals(COLS),
  }),
  'quantize-groups': () => ({
    w: { ...reals(COLS), data: integers(new Uint16Array(5 + ROWS * (COLS + 3)), COLS, 0x4000).data },
    dtype: 'bf16',
    rule: 'asymmetric',
    bits: 4,
    groupSize: 12,
    minZero: 0,
    packed: integers(new Uint32Array(ROWS * 3), 3, 2 ** 31),
    scales: reals(2),
    zeros: reals(2),
    nonFinite: integers(new Uint32Array(ROWS), 1, 9),
  }),
  'codebook-blocks': () => ({
    w: integers(new Uint16Array(ROWS * 32), 32, 0x3c00),
    dtype: 'f16',
    codebook: 'nf4',
    codes: integers(new Uint8Array(ROWS * 16), 16, 256),
    absmax: { ...integers(new Uint32Array(0), 1, 1), data: new Float32Array(ROWS) },
  }),
  'silu-mul': () => ({ gate: reals(COLS), up: reals(COLS), out: reals(COLS) }),
  'token-loss': () => ({
    logits: reals(COLS),
    targets: integers(new Uint32Array(ROWS), 1, COLS),
    losses: reals(1),
  }),
  'token-divergence': () => ({
    reference: reals(COLS),
    logits: reals(COLS),
    targets: integers(new Uint32Array(ROWS), 1, COLS),
    stats: reals(4),
  }),
};

const names = Object.keys(ARGS) as RowKernelName[];

// Plan: every row kernel gives the same bits on workers as on this thread, guards beside rows included; a cheap
// operation is not handed out; a failing kernel rejects.
describe('worker row pool', () => {
  const pool = createWorkerRowPool(2);
  afterAll(() => pool.dispose());

  it.each(names)('%s equals the same kernel on one thread', async (name) => {
    const args = ARGS[name]();
    const copy = structuredClone(args);
    const untouched = structuredClone(args);
    const promise = pool.run(name, args, 1e12);
    expect(promise).toBeDefined();
    await promise;
    runRowKernel(name, copy, new RowScratch());
    expect(args).toEqual(copy);
    expect(args).not.toEqual(untouched);
    expect(Object.keys(ROW_OPERANDS[name]).length).toBeGreaterThan(1);
  });

  it('lets workers use operands in shared memory where they are', async () => {
    const args = ARGS['quantize-groups']();
    const copy = structuredClone(args);
    const scales = new Float32Array(new SharedArrayBuffer(args.scales.data.byteLength));
    const packed = new Uint32Array(new SharedArrayBuffer(args.packed.data.byteLength));
    scales.set(args.scales.data);
    packed.set(args.packed.data);
    const placed = {
      ...args,
      scales: { ...args.scales, data: scales },
      packed: { ...args.packed, data: packed },
    };
    await pool.run('quantize-groups', placed, 1e12);
    runRowKernel('quantize-groups', copy, new RowScratch());
    expect(Array.from(scales)).toEqual(Array.from(copy.scales.data));
    expect(Array.from(packed)).toEqual(Array.from(copy.packed.data));
    expect(placed.zeros).toEqual(copy.zeros);
  });

  it('leaves cheap work and single rows to the caller', () => {
    expect(pool.run('silu-mul', ARGS['silu-mul'](), 1000)).toBeUndefined();
    const one = ARGS['silu-mul']();
    const rows = 1;
    expect(
      pool.run(
        'silu-mul',
        { gate: { ...one.gate, rows }, up: { ...one.up, rows }, out: { ...one.out, rows } },
        1e12,
      ),
    ).toBeUndefined();
  });
});
