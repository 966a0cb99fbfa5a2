import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { packCodes } from '../../../src/core/code-stream.js';
import { dequantizeLinear } from '../../../src/core/dequantize-linear.js';
import { gridOf } from '../../../src/core/describe-grid.js';
import type { DType } from '../../../src/core/dtype.js';
import { roundToF16 } from '../../../src/core/dtype.js';
import type { AffineLinear, Bits } from '../../../src/core/quantized-linear.js';
import { planItems } from '../../../src/export/model-items.js';
import type { ModelToWrite, OutputFormat } from '../../../src/export/output-format.js';
import type { ByteSource } from '../../../src/io/byte-source.js';
import type { JsonObject } from '../../../src/io/json.js';
import { createMemorySource } from '../../../src/io/memory-source.js';
import type { OutputFolder } from '../../../src/io/output-folder.js';
import { linearNames, parseModelConfig } from '../../../src/model/index.js';
import type { FileTensor } from '../../helpers/checkpoint-source.js';
import { readSafetensors, toReals } from '../../helpers/checkpoint-source.js';

/** A folder of test/fixtures with its tensors in memory. */
export interface FixtureModel {
  readonly configText: string;
  readonly tensors: Map<string, FileTensor>;
  readonly sideFiles: ReadonlyMap<string, ByteSource>;
}

export function readFixture(name: string): FixtureModel {
  const folder = fileURLToPath(new URL(`../../fixtures/${name}/`, import.meta.url));
  const files =
    name === 'bundled'
      ? ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']
      : ['model.safetensors'];
  const generation = new Uint8Array(readFileSync(`${folder}generation_config.json`));
  return {
    configText: readFileSync(`${folder}config.json`, 'utf8'),
    tensors: new Map(files.flatMap((file) => [...readSafetensors(folder + file)])),
    sideFiles: new Map([
      ['generation_config.json', createMemorySource('generation_config.json', generation)],
    ]),
  };
}

export interface NearestSpec {
  readonly bits: Bits;
  readonly groupSize: number;
  readonly symmetric: boolean;
}

/** Rounds W [N, K] to the nearest points of min-max ranges; scales are float16 values. A second, naive quantizer. */
export function roundToGrid(values: ArrayLike<number>, outFeatures: number, spec: NearestSpec): AffineLinear {
  const { bits, symmetric } = spec;
  const inFeatures = values.length / outFeatures;
  const groupSize = spec.groupSize === -1 ? inFeatures : spec.groupSize;
  const groups = Math.ceil(inFeatures / groupSize);
  const top = 2 ** bits - 1;
  const codes: number[] = [];
  const scales = new Float32Array(outFeatures * groups);
  const zeros = new Uint8Array(outFeatures * groups);
  for (let n = 0; n < outFeatures; n++)
    for (let g = 0; g < groups; g++) {
      const row = Array.from(
        { length: Math.min(groupSize, inFeatures - g * groupSize) },
        (_, i) => values[n * inFeatures + g * groupSize + i],
      );
      const [lo, hi] = [Math.min(0, ...row), Math.max(0, ...row)];
      const scale = roundToF16((symmetric ? 2 * Math.max(-lo, hi) : hi - lo) / top) || 2 ** -14;
      const zero = symmetric ? 2 ** (bits - 1) : Math.min(top, Math.max(0, Math.round(-lo / scale)));
      scales[n * groups + g] = scale;
      zeros[n * groups + g] = zero;
      codes.push(...row.map((value) => Math.min(top, Math.max(0, Math.round(value / scale) + zero))));
    }
  return {
    kind: 'affine',
    outFeatures,
    inFeatures,
    bits,
    groupSize,
    codes: packCodes(codes, bits),
    scales,
    zeros,
    groupOf: Uint32Array.from({ length: inFeatures }, (_, k) => Math.floor(k / groupSize)),
  };
}

export interface WrittenModel {
  readonly model: ModelToWrite;
  readonly records: ReadonlyMap<string, AffineLinear>;
  /** The model as our own forward must see it: linears of the records as float32. */
  readonly tensors: Map<string, FileTensor>;
}

/** Quantizes the linears of `fixture` (but those of `leave`) and hands everything to `format`, as a run does. */
export async function writeFixture(
  format: OutputFormat,
  folder: OutputFolder,
  fixture: FixtureModel,
  options: NearestSpec & {
    readonly leave?: readonly string[];
    readonly head?: boolean;
    readonly maxShardBytes?: number;
  },
): Promise<WrittenModel> {
  const configJson = JSON.parse(fixture.configText) as JsonObject;
  const config = parseModelConfig(configJson);
  const names = Array.from({ length: config.numHiddenLayers }, (_, i) => linearNames(i))
    .flat()
    .concat(options.head === true ? ['lm_head'] : [])
    .filter((name) => options.leave?.includes(name) !== true);
  const records = new Map<string, AffineLinear>();
  const tensors = new Map(fixture.tensors);
  for (const name of names) {
    const tensor = fixture.tensors.get(`${name}.weight`);
    if (tensor === undefined) throw new Error(`no ${name}`);
    const record = roundToGrid(toReals(tensor), tensor.shape[0], options);
    records.set(name, record);
    const bytes = new Uint8Array(dequantizeLinear(record).buffer);
    tensors.set(`${name}.weight`, { dtype: 'F32', shape: tensor.shape, bytes });
  }
  const dense = [...fixture.tensors].filter(([name]) => !records.has(name.replace(/\.weight$/, '')));
  const model: ModelToWrite = {
    config,
    configJson,
    configText: fixture.configText,
    items: planItems(
      dense.map(([name, { dtype, shape }]) => ({ name, dtype: dtype as DType, shape })),
      [...records].map(([name, record]) => ({
        name,
        outFeatures: record.outFeatures,
        inFeatures: record.inFeatures,
        grid: gridOf(record),
        sourceDType: 'F32',
      })),
    ),
    skipped: options.leave ?? [],
    sideFiles: fixture.sideFiles,
    name: 'fixture',
    settings: {},
    toolVersion: '0.0.0',
    quantizeRows: () => Promise.reject(new Error('not asked for')),
    ...(options.maxShardBytes === undefined ? {} : { maxShardBytes: options.maxShardBytes }),
  };
  await writeModel(format, folder, model, { records, tensors: fixture.tensors });
  return { model, records, tensors };
}

/** Plans, hands over every item, commits. Dense tensors come in chunks that end anywhere between elements. */
export async function writeModel(
  format: OutputFormat,
  folder: OutputFolder,
  model: ModelToWrite,
  content: Pick<WrittenModel, 'records'> & { readonly tensors: ReadonlyMap<string, FileTensor> },
): Promise<void> {
  const planned = await format.plan(model);
  const writer = await planned.open(folder);
  for (const item of model.items) {
    if (item.kind === 'linear') {
      const record = content.records.get(item.linear.name);
      if (record === undefined) throw new Error(`no record of ${item.linear.name}`);
      await writer.linear(item.linear.name, record);
      continue;
    }
    const tensor = content.tensors.get(item.tensor.name);
    if (tensor === undefined) throw new Error(`no tensor ${item.tensor.name}`);
    const sink = await writer.dense(item.tensor.name);
    const step = 24 * 331;
    for (let at = 0; at < tensor.bytes.byteLength; at += step)
      await sink.append(tensor.bytes.subarray(at, at + step));
    await sink.end();
  }
  await writer.finish();
  await folder.commit();
}
