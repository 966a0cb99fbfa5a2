import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dequantizeLinear } from '../../src/core/dequantize-linear.js';
import { f32ToBf16, f32ToF16 } from '../../src/core/dtype.js';
import { DYNAMIC_MAP } from '../../src/core/dynamic-map.js';
import { NumericError } from '../../src/core/errors.js';
import type { CodebookLinear, CodebookName } from '../../src/core/quantized-linear.js';
import type { Engine } from '../../src/engine/engine.js';
import type { DenseDType } from '../../src/engine/tensor.js';
import { quantizeCodebookLinear } from '../../src/quant/codebook.js';
import { torchMean } from '../../src/quant/torch-mean.js';
import { describeEngines } from '../helpers/engines.js';
import { bell, KINDS, seededTensor, shapeOf } from './seeded-tensors.js';

// Plan: 100 seeded tensors in three dtypes and both codebooks give the bytes that bitsandbytes gave (SHA-256 recorded by
// scripts/fixtures/bitsandbytes_golden.py), on every engine: codes, absmax, double quantization, dequantized values.

interface Golden {
  readonly dynamicMap: string;
  readonly means: readonly { readonly length: number; readonly mean: string }[];
  readonly cases: readonly GoldenCase[];
}

interface GoldenCase {
  readonly case: number;
  readonly dtype: DenseDType;
  readonly codebook: CodebookName;
  readonly blockSize: number;
  readonly input: string;
  readonly codes: string;
  readonly absmax: string;
  readonly values: string;
  readonly nestedCodes?: string;
  readonly nestedAbsmax?: string;
  readonly offset?: string;
  readonly nestedValues?: string;
}

const GOLDEN = JSON.parse(
  readFileSync(new URL('../fixtures/bitsandbytes/golden.json', import.meta.url), 'utf8'),
) as Golden;

function sha256(view: ArrayBufferView): string {
  return createHash('sha256')
    .update(new Uint8Array(view.buffer, view.byteOffset, view.byteLength))
    .digest('hex');
}

/** Python's float.hex. */
function fromHex(text: string): number {
  const [, sign, whole, fraction, exponent] = /^(-?)0x([01])\.([0-9a-f]+)p([+-]\d+)$/.exec(text) ?? [];
  const mantissa = parseInt(whole + fraction, 16) / 16 ** fraction.length;
  return (sign === '-' ? -1 : 1) * mantissa * 2 ** Number(exponent);
}

function valuesAs(record: CodebookLinear, dtype: DenseDType): ArrayBufferView {
  const values = dequantizeLinear(record);
  if (dtype === 'f32') return values;
  return Uint16Array.from(values, dtype === 'f16' ? f32ToF16 : f32ToBf16);
}

/** What of the golden case is not the same. */
async function differences(engine: Engine, golden: GoldenCase): Promise<string[]> {
  const { dtype, codebook, blockSize } = golden;
  const [outFeatures, inFeatures] = shapeOf(golden.case);
  const elements = seededTensor(golden.case, dtype);
  const weight = engine.upload(elements, [outFeatures, inFeatures], dtype, 'weight');
  const common = { name: 'case', outFeatures, inFeatures, codebook, blockSize };
  const found: [string, string, string | undefined][] = [['input', sha256(elements), golden.input]];
  const plain = await quantizeCodebookLinear(engine, { ...common, weight, doubleQuant: false });
  found.push(['codes', sha256(plain.codes), golden.codes], ['absmax', sha256(plain.absmax), golden.absmax]);
  found.push(['values', sha256(valuesAs(plain, dtype)), golden.values]);
  if (golden.nestedCodes !== undefined) {
    // Run by run, as a streamed checkpoint comes.
    const read = (first: number, count: number): Promise<Float32Array | Uint16Array> =>
      Promise.resolve(elements.slice(first, first + count));
    const streamed = { ...common, weight: { dtype, read }, doubleQuant: true, runElems: 4096 };
    const double = await quantizeCodebookLinear(engine, streamed);
    const { nested } = double;
    found.push(['streamed codes', sha256(double.codes), golden.codes]);
    found.push(['nested codes', sha256(nested?.codes ?? elements), golden.nestedCodes]);
    found.push(['nested absmax', sha256(nested?.absmax ?? elements), golden.nestedAbsmax]);
    found.push(['offset', String(nested?.offset), String(fromHex(golden.offset ?? ''))]);
    found.push(['nested values', sha256(valuesAs(double, dtype)), golden.nestedValues]);
  }
  engine.free(weight);
  const at = `${golden.case} [${outFeatures}, ${inFeatures}] ${dtype} ${codebook} ${blockSize}`;
  return found.flatMap(([part, actual, wanted]) =>
    part === 'offset'
      ? actual === wanted
        ? []
        : [`${part} of ${at}`]
      : actual.startsWith(wanted ?? '?')
        ? []
        : [`${part} of ${at}`],
  );
}

describeEngines('codebook quantization', (make) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await make();
  });
  afterAll(() => engine.dispose());

  it.each(KINDS.map((kind, i) => ({ kind, i })))(
    'makes what bitsandbytes makes of ten tensors: $kind',
    { timeout: 120_000 },
    async ({ i }) => {
      const cases = GOLDEN.cases.filter((golden) => golden.case % KINDS.length === i);
      expect(cases).toHaveLength(60);
      const wrong: string[] = [];
      for (const golden of cases) wrong.push(...(await differences(engine, golden)));
      expect(wrong).toEqual([]);
    },
  );

  it('sees a changed weight', async () => {
    const golden = GOLDEN.cases[0];
    expect(await differences(engine, { ...golden, case: golden.case + 70 })).not.toEqual([]);
  });

  it('names the block of a weight that is not finite', async () => {
    const weight = Float32Array.from({ length: 6 * 50 }, (_, i) => bell(1, i));
    weight[130] = Infinity;
    const read = (first: number, count: number): Promise<Float32Array> =>
      Promise.resolve(weight.slice(first, first + count));
    const options = {
      name: 'layer',
      outFeatures: 6,
      inFeatures: 50,
      codebook: 'nf4',
      blockSize: 64,
    } as const;
    const run = quantizeCodebookLinear(engine, {
      ...options,
      weight: { dtype: 'f32', read },
      doubleQuant: false,
    });
    await expect(run).rejects.toThrow(NumericError);
    await expect(run).rejects.toThrow(/block 2/);
    expect(engine.memory().tensors).toBe(0);
  });

  it('passes a failed read on and frees everything', async () => {
    const read = (first: number): Promise<Float32Array> =>
      first === 0 ? Promise.resolve(new Float32Array(4096)) : Promise.reject(new Error('disk gone'));
    const options = {
      name: 'layer',
      outFeatures: 2,
      inFeatures: 4096,
      codebook: 'fp4',
      blockSize: 64,
    } as const;
    const weight = { dtype: 'f32', read } as const;
    await expect(
      quantizeCodebookLinear(engine, { ...options, weight, doubleQuant: true, runElems: 4096 }),
    ).rejects.toThrow(/disk gone/);
    expect(engine.memory().tensors).toBe(0);
  });
});

describe('double quantization', () => {
  it('has the dynamic map of bitsandbytes', () => {
    expect(sha256(DYNAMIC_MAP)).toBe(GOLDEN.dynamicMap);
  });

  it("adds up in PyTorch's order", () => {
    const wrong = GOLDEN.means.filter(({ length, mean }) => {
      const values = Float32Array.from({ length }, (_, i) => Math.abs(bell(length, i)));
      return torchMean(values) !== fromHex(mean);
    });
    expect(wrong).toEqual([]);
    expect(GOLDEN.means.length).toBeGreaterThan(50);
  });
});
