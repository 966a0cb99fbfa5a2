import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { bf16ToF32, f16ToF32 } from '../../src/core/dtype.js';
import type { Engine } from '../../src/engine/engine.js';
import { planRowPanels } from '../../src/engine/panels.js';
import type { Tensor, TensorDType } from '../../src/engine/tensor.js';
import { TENSOR_DTYPE_BYTES } from '../../src/engine/tensor.js';
import type { ModelConfig, WeightSource } from '../../src/model/index.js';
import { parseModelConfig } from '../../src/model/index.js';

/**
 * A safetensors file read by a second, naive implementation, so that model tests do not lean on formats/.
 */
export interface FileTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

const ENGINE_DTYPES: Readonly<Record<string, TensorDType>> = { F32: 'f32', F16: 'f16', BF16: 'bf16' };

export function readSafetensors(path: string): Map<string, FileTensor> {
  const file = new Uint8Array(readFileSync(path));
  const headerBytes = Number(new DataView(file.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + headerBytes))) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, FileTensor>();
  for (const [name, { dtype, shape, data_offsets: at }] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    // slice copies, so that typed-array views are aligned.
    const bytes = file.slice(8 + headerBytes + at[0], 8 + headerBytes + at[1]);
    tensors.set(name, { dtype, shape, bytes });
  }
  return tensors;
}

/** Values as float64, exactly. */
export function toReals(tensor: FileTensor): Float64Array {
  const { bytes, dtype } = tensor;
  if (dtype === 'F32') return Float64Array.from(new Float32Array(bytes.buffer));
  if (dtype === 'F16') return Float64Array.from(new Uint16Array(bytes.buffer), f16ToF32);
  if (dtype === 'BF16') return Float64Array.from(new Uint16Array(bytes.buffer), bf16ToF32);
  throw new Error(`no reals in ${dtype}`);
}

/** A folder of test/fixtures/tiny. */
export interface TinyModel {
  readonly config: ModelConfig;
  readonly tensors: Map<string, FileTensor>;
  /** int32 token ids [windows, seqLen] that the logits belong to. */
  readonly windows: readonly Uint32Array[];
  /** [windows, seqLen, V], transformers in float32. */
  readonly logits: Float32Array;
}

export function readTiny(name: string): TinyModel {
  const folder = fileURLToPath(new URL(`../fixtures/tiny/${name}/`, import.meta.url));
  const expected = readSafetensors(`${folder}expected.safetensors`);
  const ids = take(expected, 'input_ids');
  const [windows, seqLen] = ids.shape;
  const flat = Uint32Array.from(new Int32Array(ids.bytes.buffer));
  return {
    config: parseModelConfig(JSON.parse(readFileSync(`${folder}config.json`, 'utf8'))),
    tensors: readSafetensors(`${folder}model.safetensors`),
    windows: Array.from({ length: windows }, (_, i) => flat.slice(i * seqLen, (i + 1) * seqLen)),
    logits: new Float32Array(take(expected, 'logits').bytes.buffer),
  };
}

function take(tensors: Map<string, FileTensor>, name: string): FileTensor {
  const tensor = tensors.get(name);
  if (tensor === undefined) throw new Error(`the file has no ${name}`);
  return tensor;
}

export interface MapSourceOptions {
  /** Bound on one panel of a table, to force several. */
  readonly panelBytes?: number;
  /** Replaces values after reading, for models that differ a little. */
  readonly change?: (name: string, values: Float64Array) => void;
  /** This tensor fails to load, to test that nothing leaks. */
  readonly failAt?: string;
}

/** A WeightSource over tensors in memory. */
export function createMapSource(
  engine: Engine,
  tensors: Map<string, FileTensor>,
  options: MapSourceOptions = {},
): WeightSource {
  const find = (name: string, shape: readonly number[]): FileTensor => {
    if (name === options.failAt) throw new Error(`failing at ${name}`);
    const found = take(tensors, name);
    if (found.shape.join() !== shape.join())
      throw new Error(`${name} is [${found.shape.join()}], [${shape.join()}] expected`);
    if (options.change === undefined) return found;
    const values = toReals(found);
    options.change(name, values);
    return { dtype: 'F32', shape, bytes: new Uint8Array(Float32Array.from(values).buffer) };
  };
  const upload = (name: string, part: FileTensor): Tensor =>
    engine.upload(part.bytes, part.shape, ENGINE_DTYPES[part.dtype], name);
  return {
    has: (name) => tensors.has(name),
    dense: (name, shape) => attempt(() => upload(name, find(name, shape))),
    densePanels: (name, shape) =>
      attempt(() => {
        const whole = find(name, shape);
        const rowBytes = shape[1] * TENSOR_DTYPE_BYTES[ENGINE_DTYPES[whole.dtype]];
        const panels = planRowPanels(shape[0], rowBytes, options.panelBytes ?? engine.maxTensorBytes);
        return panels.map(({ start, rows }) => {
          const bytes = whole.bytes.slice(start * rowBytes, (start + rows) * rowBytes);
          return upload(`${name} ${start}`, { ...whole, shape: [rows, shape[1]], bytes });
        });
      }),
    linear: (module, outFeatures, inFeatures) =>
      attempt(() => ({
        kind: 'dense',
        tensor: upload(module, find(`${module}.weight`, [outFeatures, inFeatures])),
      })),
  };
}

/** A promise of what `run` returns or throws. */
function attempt<T>(run: () => T): Promise<T> {
  return new Promise((resolve) => {
    resolve(run());
  });
}
