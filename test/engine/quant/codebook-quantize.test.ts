import { expect, it } from 'vitest';
import { codebookQuantize } from '../../../src/cpu/quant/codebook-quantize.js';
import type { CodebookName } from '../../../src/core/quantized-linear.js';
import { CODEBOOK_BLOCK_SIZES } from '../../../src/engine/codebook.js';
import type { Engine, HostArray } from '../../../src/engine/engine.js';
import { elementCount } from '../../../src/engine/tensor.js';
import type { DenseDType } from '../../../src/engine/tensor.js';
import { KINDS, seededTensor, shapeOf } from '../../quant/seeded-tensors.js';
import { describeKernels } from '../kernel-cases.js';
import { firstMismatch } from '../placed.js';

// Plan: codes and absmax are the same bits as those of the pure function, which test/quant/codebook.test.ts holds against
// what bitsandbytes made of the same tensors; every dtype, both codebooks, every block size, guards behind the results.

const DTYPES: readonly DenseDType[] = ['f32', 'f16', 'bf16'];
const GUARD_BLOCKS = 2;
const GUARD_BYTES = 8;

interface Case {
  readonly w: Float32Array | Uint16Array;
  readonly dtype: DenseDType;
  readonly codebook: CodebookName;
  readonly blockSize: number;
  readonly first?: number;
  readonly count?: number;
}

function expected({ w, dtype, codebook, blockSize, first = 0, count = w.length - first }: Case): {
  codes: Uint8Array;
  absmax: Float32Array;
} {
  const codes = new Uint8Array(Math.ceil(count / 2));
  const absmax = new Float32Array(Math.ceil(count / blockSize));
  codebookQuantize({ w: w.subarray(first, first + count), dtype, codebook, blockSize, codes, absmax });
  return { codes, absmax };
}

async function run(engine: Engine, options: Case): Promise<{ codes: HostArray; absmax: HostArray }> {
  const { w, dtype, codebook, blockSize, first = 0, count = w.length - first } = options;
  const blocks = Math.ceil(count / blockSize);
  // Whole words, as the contract leaves the bytes up to one unspecified.
  const bytes = Math.ceil(count / 8) * 4;
  const source = engine.upload(w, [w.length], dtype, 'w');
  const codes = engine.upload(
    new Uint8Array(bytes + GUARD_BYTES).fill(0xc3),
    [bytes + GUARD_BYTES],
    'u8',
    'codes',
  );
  const absmax = engine.upload(
    new Float32Array(blocks + GUARD_BLOCKS).fill(4711),
    [blocks + GUARD_BLOCKS],
    'f32',
    'absmax',
  );
  engine.codebookQuantize({ w: source, first, count, codebook, blockSize, codes, absmax });
  const [readCodes, readAbsmax] = [await engine.read(codes), await engine.read(absmax)];
  expect(readCodes.subarray(bytes).every((byte) => byte === 0xc3)).toBe(true);
  expect(readAbsmax.subarray(blocks).every((value) => value === 4711)).toBe(true);
  expect(elementCount(source)).toBe(w.length);
  engine.free(source, codes, absmax);
  return { codes: readCodes.slice(0, Math.ceil(count / 2)), absmax: readAbsmax.slice(0, blocks) };
}

async function check(engine: Engine, options: Case, note: string): Promise<void> {
  const actual = await run(engine, options);
  const wanted = expected(options);
  expect(firstMismatch(actual.absmax, wanted.absmax), `absmax ${note}`).toBe(-1);
  expect(firstMismatch(actual.codes, wanted.codes), `codes ${note}`).toBe(-1);
}

describeKernels('codebookQuantize', (pair) => {
  it.each(KINDS.map((kind, i) => ({ kind, i })))(
    'ten tensors: $kind',
    { timeout: 60_000 },
    async ({ kind, i }) => {
      for (let seed = i; seed < 100; seed += KINDS.length)
        for (const dtype of DTYPES)
          for (const codebook of ['nf4', 'fp4'] as const) {
            const blockSize =
              CODEBOOK_BLOCK_SIZES[(seed + (codebook === 'nf4' ? 0 : 3)) % CODEBOOK_BLOCK_SIZES.length];
            const w = seededTensor(seed, dtype);
            const note = `${kind} ${seed} [${shapeOf(seed).join(', ')}] ${dtype} ${codebook} ${blockSize}`;
            await check(pair().engine, { w, dtype, codebook, blockSize }, note);
          }
    },
  );

  it('a run in the middle of a tensor, lengths around a word and a block', async () => {
    const w = seededTensor(0, 'bf16');
    for (const count of [1, 2, 7, 8, 9, 63, 64, 65, 127, 128, 129, 1000])
      await check(
        pair().engine,
        { w, dtype: 'bf16', codebook: 'nf4', blockSize: 64, first: 192, count },
        `${count} elements`,
      );
  });

  it('the largest and smallest numbers of float32', async () => {
    const bits = Uint32Array.of(
      0x7f7fffff,
      0x00000001,
      0x80000001,
      0x00800000,
      0x007fffff,
      0x3f800000,
      0xff7fffff,
      0,
    );
    const numbers = new Float32Array(bits.buffer);
    for (const top of [...numbers, 2 ** 126, 2 ** 127, 1.5 * 2 ** 127, 2 ** -126, 1e-38, 1.1e-38])
      for (const codebook of ['nf4', 'fp4'] as const) {
        const w = Float32Array.from({ length: 96 }, (_, i) =>
          i % 8 === 0
            ? top
            : i % 3 === 0
              ? (numbers[i % 8] / 8) * (i % 2 === 0 ? 1 : -1)
              : (top * (i - 48)) / 64,
        ).map((value) => Math.max(-Math.abs(top), Math.min(Math.abs(top), value)));
        await check(pair().engine, { w, dtype: 'f32', codebook, blockSize: 64 }, `${top} ${codebook}`);
      }
  });

  it('refuses block sizes and places that it does not know', () => {
    const { engine } = pair();
    const w = engine.create([256], 'f32', 'w');
    const codes = engine.create([128], 'u8', 'codes');
    const absmax = engine.create([8], 'f32', 'absmax');
    const common = { w, codes, absmax, codebook: 'nf4' } as const;
    expect(() => engine.codebookQuantize({ ...common, blockSize: 48 })).toThrow(/block size 48/);
    expect(() => engine.codebookQuantize({ ...common, blockSize: 64, first: 32 })).toThrow(/multiple/);
    expect(() => engine.codebookQuantize({ ...common, blockSize: 64, first: 192, count: 65 })).toThrow(
      /leave/,
    );
    expect(() => engine.codebookQuantize({ ...common, blockSize: 64, codes: absmax })).toThrow(/codes/);
  });
});
