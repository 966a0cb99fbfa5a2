// A model on disk as an export run sees it, with a plain quantizer of the test's own: nearest codes, scales from the
// extremes, no search.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { castElements, isCastSource } from '../../src/core/cast-elements.js';
import { packCodes } from '../../src/core/code-stream.js';
import { gridOf } from '../../src/core/describe-grid.js';
import { roundToF16 } from '../../src/core/dtype.js';
import type { GridSpec, QuantizedLinear } from '../../src/core/quantized-linear.js';
import { K_QUANTS, SUPER_BLOCK } from '../../src/core/quantized-linear.js';
import { ggufFormat } from '../../src/export/formats/gguf.js';
import type { GgufFormatName } from '../../src/export/gguf/gguf-targets.js';
import { planItems } from '../../src/export/model-items.js';
import type { DenseRows, ModelToWrite, ModelWriter, PlannedLinear } from '../../src/export/output-format.js';
import type { Checkpoint } from '../../src/formats/safetensors/checkpoint.js';
import { openCheckpoint } from '../../src/formats/safetensors/checkpoint.js';
import type { ByteSource } from '../../src/io/byte-source.js';
import { viewBytes } from '../../src/io/byte-views.js';
import type { JsonObject } from '../../src/io/json.js';
import { createMemoryFolder } from '../../src/io/memory-folder.js';
import { createMemorySource } from '../../src/io/memory-source.js';
import type { OutputFolder } from '../../src/io/output-folder.js';
import { parseModelConfig } from '../../src/model/index.js';

export const FIXTURES = new URL('../fixtures/', import.meta.url).pathname;

export interface ModelOnDisk {
  readonly checkpoint: Checkpoint;
  readonly sideFiles: ReadonlyMap<string, ByteSource>;
  readonly configJson: JsonObject;
}

export async function openFixture(name: string): Promise<ModelOnDisk> {
  const folder = join(FIXTURES, name);
  const files = new Map(
    readdirSync(folder).map((file) => [file, createMemorySource(file, readFileSync(join(folder, file)))]),
  );
  files.delete('expected.safetensors');
  const configJson = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as JsonObject;
  return { checkpoint: await openCheckpoint(files), sideFiles: files, configJson };
}

/** Plans linears of decoder layers on the format's own grid, unless `keepDense`. */
export function toWrite(
  model: ModelOnDisk,
  name: GgufFormatName,
  options: { readonly keepDense?: (module: string) => boolean; readonly maxShardBytes?: number } = {},
): ModelToWrite {
  const format = ggufFormat(name);
  const dense = [...model.checkpoint.tensors.values()];
  const linears: PlannedLinear[] = [];
  const skipped: string[] = [];
  for (const { name: tensor, shape, dtype } of dense) {
    const module = tensor.replace(/\.weight$/, '');
    if (format.nativeGrid === undefined || !/_proj\.weight$/.test(tensor)) continue;
    const [outFeatures, inFeatures] = shape;
    if (options.keepDense?.(module) === true) {
      skipped.push(module);
      continue;
    }
    const grid = gridOf(
      quantizeNearest(
        new Float32Array(inFeatures),
        inFeatures,
        format.nativeGrid({ outFeatures, inFeatures }),
      ),
    );
    linears.push({ name: module, outFeatures, inFeatures, sourceDType: dtype, grid });
  }
  const taken = new Set(linears.map((linear) => `${linear.name}.weight`));
  return {
    config: parseModelConfig(model.configJson),
    configJson: model.configJson,
    configText: JSON.stringify(model.configJson),
    items: planItems(
      dense.filter((tensor) => !taken.has(tensor.name)),
      linears,
    ),
    skipped,
    sideFiles: model.sideFiles,
    name: 'owner/name',
    settings: { method: 'rtn' },
    toolVersion: '1.2.3',
    quantizeRows: (rows, grid) => Promise.resolve(quantizeNearest(toFloat32(rows), rows.cols, grid)),
    ...(options.maxShardBytes === undefined ? {} : { maxShardBytes: options.maxShardBytes }),
  };
}

function toFloat32({ bytes, dtype }: Pick<DenseRows, 'bytes' | 'dtype'>): Float32Array {
  if (!isCastSource(dtype)) throw new Error(`no cast from ${dtype}`);
  return viewBytes(castElements(bytes, dtype, 'F32'), Float32Array);
}

/** Writes all items in order; dense tensors in chunks of odd sizes, linears by `quantize`. */
export async function writeModel(
  model: ModelOnDisk,
  name: GgufFormatName,
  toBeWritten: ModelToWrite,
  folder: OutputFolder,
  quantize: (name: string) => Promise<QuantizedLinear> = async (module) => readQuantized(model, module, name),
): Promise<ModelWriter> {
  const plan = await ggufFormat(name).plan(toBeWritten);
  const writer = await plan.open(folder);
  for (const item of toBeWritten.items) {
    if (item.kind === 'linear') {
      await writer.linear(item.linear.name, await quantize(item.linear.name));
      continue;
    }
    const sink = await writer.dense(item.tensor.name);
    for await (const chunk of model.checkpoint.stream(item.tensor.name, { windowBytes: 8 * 1021 }))
      await sink.append(chunk);
    await sink.end();
  }
  await writer.finish();
  return writer;
}

/** One linear on the format's own grid. */
export async function readQuantized(
  model: ModelOnDisk,
  module: string,
  name: GgufFormatName,
): Promise<QuantizedLinear> {
  const { dtype, shape } = model.checkpoint.info(`${module}.weight`);
  const [outFeatures, inFeatures] = shape;
  const grid = ggufFormat(name).nativeGrid?.({ outFeatures, inFeatures });
  if (grid === undefined) throw new Error(`${name} has no grid`);
  const bytes = await model.checkpoint.read(`${module}.weight`);
  return quantizeNearest(toFloat32({ bytes, dtype }), inFeatures, grid);
}

export async function writeToMemory(
  model: ModelOnDisk,
  name: GgufFormatName,
  toBeWritten: ModelToWrite = toWrite(model, name),
): Promise<{ files: ReadonlyMap<string, ByteSource>; writer: ModelWriter }> {
  const folder = createMemoryFolder();
  const writer = await writeModel(model, name, toBeWritten, folder);
  await folder.commit();
  return { files: folder.files, writer };
}

/** Round to nearest on GGUF's grids: 'signed', 'min', 'q4_k', 'q6_k'. `values` [N, K]. */
export function quantizeNearest(values: Float32Array, inFeatures: number, grid: GridSpec): QuantizedLinear {
  const outFeatures = values.length / inFeatures;
  const shape = { outFeatures, inFeatures };
  const { bits, groupSize, rule } = grid;
  const codes = new Uint8Array(values.length);
  const groups = values.length / groupSize;
  const group = (i: number): Float32Array => values.subarray(i * groupSize, (i + 1) * groupSize);
  const put = (i: number, scale: number, min: number): void => {
    group(i).forEach((value, k) => {
      const code = scale === 0 ? 0 : Math.round((value - min) / scale);
      codes[i * groupSize + k] = Math.min(2 ** bits - 1, Math.max(0, code));
    });
  };
  const groupOf = Uint32Array.from({ length: inFeatures }, (_, k) => Math.floor(k / groupSize));
  if (rule === 'signed' || rule === 'min') {
    const scales = new Float32Array(groups);
    const mins = new Float32Array(groups);
    const half = 2 ** (bits - 1);
    for (let i = 0; i < groups; i++) {
      const [lo, hi] = [Math.min(...group(i)), Math.max(...group(i))];
      const peak = -lo > hi ? lo : hi;
      scales[i] = roundToF16(rule === 'signed' ? -peak / half : (hi - lo) / (2 ** bits - 1));
      mins[i] = rule === 'signed' ? -half * scales[i] : roundToF16(lo);
      put(i, scales[i], mins[i]);
    }
    const shared = { ...shape, bits, groupSize, codes: packCodes(codes, bits), scales, groupOf };
    if (rule === 'min') return { ...shared, kind: 'affine-min', mins };
    return { ...shared, kind: 'affine', zeros: new Uint8Array(groups).fill(half) };
  }
  if (rule !== 'q4_k' && rule !== 'q6_k') throw new Error(`no quantizer for ${rule}`);
  const { subBlock } = K_QUANTS[rule];
  const blocks = values.length / SUPER_BLOCK;
  const perBlock = SUPER_BLOCK / subBlock;
  const record = {
    ...{ ...shape, kind: 'k-quant' as const, type: rule },
    d: new Float32Array(blocks),
    dmin: new Float32Array(rule === 'q4_k' ? blocks : 0),
    scales: new Int8Array(groups),
    mins: new Uint8Array(rule === 'q4_k' ? groups : 0),
  };
  const lows = Array.from({ length: groups }, (_, i) => Math.min(0, ...group(i)));
  const wanted = lows.map((lo, i) =>
    rule === 'q4_k' ? (Math.max(0, ...group(i)) - lo) / 15 : Math.max(...group(i).map(Math.abs)) / 31,
  );
  for (let block = 0; block < blocks; block++) {
    const first = block * perBlock;
    record.d[block] = roundToF16(
      Math.max(...wanted.slice(first, first + perBlock)) / (rule === 'q4_k' ? 63 : 127),
    );
    if (rule === 'q4_k')
      record.dmin[block] = roundToF16(Math.max(...lows.slice(first, first + perBlock).map((lo) => -lo)) / 63);
    for (let i = first; i < first + perBlock; i++) {
      const d = record.d[block];
      record.scales[i] = d === 0 ? 0 : Math.min(rule === 'q4_k' ? 63 : 127, Math.round(wanted[i] / d));
      if (rule === 'q4_k' && record.dmin[block] > 0)
        record.mins[i] = Math.min(63, Math.round(-lows[i] / record.dmin[block]));
      const scale = d * record.scales[i];
      put(i, scale, rule === 'q4_k' ? -record.dmin[block] * record.mins[i] : -32 * scale);
    }
  }
  return { ...record, codes: packCodes(codes, bits) };
}
