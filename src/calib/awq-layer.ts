/**
 * AWQ for one decoder layer: per block, finds the input factors of every group whose source can take their inverse, folds
 * them into norms and linears, and rounds. The unquantized layer computes the same before and after folding: a norm's
 * factors are what its own dtype could really take, those of a linear with a bias are powers of two.
 * Engine memory beyond quantizeLayer's: the block's weights in float32, and the Hessians of its groups.
 */
import { throwIfAborted } from '../core/abort.js';
import { castElements } from '../core/cast-elements.js';
import { Bug } from '../core/errors.js';
import { readReals } from '../engine/engine.js';
import type { Engine } from '../engine/engine.js';
import { asMatrix } from '../engine/tensor.js';
import type { Tensor } from '../engine/tensor.js';
import { freeLinearWeight } from '../model/index.js';
import type { Block, InputSource, LinearGroup, LinearSlot } from '../model/index.js';
import {
  canClip,
  exactForm,
  freeHessian,
  quantizeLinear,
  roundingLoss,
  searchClip,
  searchInputScales,
} from '../quant/index.js';
import type { Hessian, QuantSpec } from '../quant/index.js';
import type { CalibratedLinear, QuantizeLayerOptions } from './quantize-layer.js';
import { advanceBlock, gatherHessian } from './quantize-layer.js';

/** What a group's linears were multiplied by, input column by input column. */
interface GroupScaling {
  readonly group: LinearGroup;
  readonly hessian: Hessian;
  readonly alpha: number;
  /** [K]; all 1 where nothing could be folded. */
  readonly factors: Float32Array;
}

/**
 * Quantizes every selected linear; norms and biases of the layer are changed in place on the engine. Yields like
 * quantizeLayer, a block's linears once all of them are folded. The specs' method is rtn.
 */
export async function* awqLayer(
  options: QuantizeLayerOptions,
): AsyncGenerator<CalibratedLinear, void, undefined> {
  const { engine, layer } = options;
  for (const [index, block] of layer.blocks.entries()) {
    const scalings: GroupScaling[] = [];
    try {
      for (const group of block.groups.keys()) {
        const scaling = await findScaling(options, block, group);
        if (scaling !== undefined) scalings.push(scaling);
      }
      const rows = await foldBlock(engine, scalings);
      for (const scaling of scalings)
        for (const slot of scaling.group.linears) {
          throwIfAborted(options.signal);
          const spec = options.select(slot);
          if (spec === undefined) continue;
          yield await quantizeScaled(engine, { slot, spec, scaling, rowFactors: rows.get(slot.name) });
        }
    } finally {
      for (const { hessian } of scalings) freeHessian(engine, hessian);
    }
    const needed = options.isLast !== true || index + 1 < layer.blocks.length;
    if (needed) await advanceBlock(options, block);
  }
}

async function findScaling(
  options: QuantizeLayerOptions,
  block: Block,
  index: number,
): Promise<GroupScaling | undefined> {
  const { engine, select } = options;
  const group = block.groups[index];
  const specs = group.linears.map(select);
  const spec = specs.find((candidate) => candidate !== undefined);
  if (spec === undefined) return undefined;
  const hessian = await gatherHessian(options, block, index);
  const columns = group.linears[0].inFeatures;
  // A linear that stays as it is would see scaled inputs all the same, and is not written anew to take factors either.
  const { source } = group;
  const foldable =
    source !== undefined &&
    specs.every((candidate) => candidate !== undefined) &&
    (source.kind === 'norm' || select(source.slot) !== undefined);
  if (!foldable) return { group, hessian, alpha: 0, factors: new Float32Array(columns).fill(1) };
  try {
    const weights = group.linears.map(denseWeight);
    const found = await searchInputScales(engine, { weights, hessian, spec });
    return { group, hessian, ...found };
  } catch (error) {
    freeHessian(engine, hessian);
    throw error;
  }
}

function denseWeight({ name, weight }: LinearSlot): Tensor {
  if (weight.kind === 'dense') return weight.tensor;
  throw new Bug(`internal: ${name} is quantized already`);
}

/** Moves all factors of a block where they belong; returns what rows were divided by, by linear. */
async function foldBlock(
  engine: Engine,
  scalings: readonly GroupScaling[],
): Promise<ReadonlyMap<string, Float32Array>> {
  const rowFactors = new Map<string, Float32Array>();
  for (const { group, factors } of scalings) {
    const { source } = group;
    if (source === undefined || factors.every((factor) => factor === 1)) continue;
    if (source.kind === 'norm') await foldIntoNorm(engine, source, factors);
    else {
      await foldIntoLinear(engine, source.slot, factors);
      rowFactors.set(source.slot.name, factors);
    }
    for (const slot of group.linears) scaleWeight(engine, slot, factors, 'columns');
  }
  return rowFactors;
}

/** norm ← norm / factors, rounded to its dtype; `factors` become what that really divided by. */
async function foldIntoNorm(
  engine: Engine,
  { weight }: Extract<InputSource, { kind: 'norm' }>,
  factors: Float32Array,
): Promise<void> {
  const before = await readDense(engine, weight);
  const divided = before.map((value, i) => value / factors[i]);
  const bytes = toDense(divided, weight);
  const after = fromDense(bytes, weight);
  for (let i = 0; i < factors.length; i++) {
    const factor = before[i] / after[i];
    const usable = Number.isFinite(factor) && factor !== 0;
    factors[i] = usable ? factor : 1;
    if (!usable) after[i] = before[i];
  }
  engine.write(weight, toDense(after, weight));
}

/** Rows and bias of a linear ← divided by factors; with a bias these are rounded to powers of two, which divide exactly. */
async function foldIntoLinear(engine: Engine, slot: LinearSlot, factors: Float32Array): Promise<void> {
  if (slot.bias !== undefined) {
    for (let i = 0; i < factors.length; i++) factors[i] = 2 ** Math.round(Math.log2(factors[i]));
    const bias = await readDense(engine, slot.bias);
    const divided = bias.map((value, i) => value / factors[i]);
    engine.write(slot.bias, toDense(divided, slot.bias));
  }
  scaleWeight(engine, slot, inverse(factors), 'rows');
}

/** Replaces the slot's weight by a float32 one with its rows or columns multiplied. */
function scaleWeight(
  engine: Engine,
  slot: LinearSlot,
  factors: Float32Array,
  axis: 'rows' | 'columns',
): void {
  const from = denseWeight(slot);
  const scaled = engine.create([slot.outFeatures, slot.inFeatures], 'f32', slot.name);
  engine.copy({ from: asMatrix(from), to: asMatrix(scaled) });
  scaleBy(engine, scaled, factors, axis);
  freeLinearWeight(engine, slot.weight);
  slot.weight = { kind: 'dense', tensor: scaled };
}

function scaleBy(engine: Engine, x: Tensor, factors: Float32Array, axis: 'rows' | 'columns'): void {
  const vector = engine.upload(factors, [factors.length], 'f32', 'awq factors');
  engine.scaleLines({ x: asMatrix(x), factors: vector, axis });
  engine.free(vector);
}

function inverse(factors: Float32Array): Float32Array {
  return factors.map((factor) => 1 / factor);
}

interface ScaledLinear {
  readonly slot: LinearSlot;
  readonly spec: QuantSpec;
  readonly scaling: GroupScaling;
  /** What the rows were divided by; undefined where they were not. */
  readonly rowFactors: Float32Array | undefined;
}

/** Rounds one folded linear; losses are those of the original weights, so both foldings are undone in the error. */
async function quantizeScaled(
  engine: Engine,
  { slot, spec, scaling, rowFactors }: ScaledLinear,
): Promise<CalibratedLinear> {
  const { name, outFeatures, inFeatures, weight } = slot;
  const { hessian, factors } = scaling;
  // As in AWQ's code, queries and keys are not clipped: their products are too sensitive.
  const clips = canClip(spec, inFeatures) && !/\.[qk]_proj$/.test(name);
  const grid = clips
    ? await searchClip(engine, { weight: denseWeight(slot), factors, hessian, spec })
    : undefined;
  const { weight: quantized, stats } = await quantizeLinear(engine, {
    name,
    weight,
    outFeatures,
    inFeatures,
    spec,
    ...(grid === undefined ? {} : { grid }),
    compare: false,
  });
  const restore = (x: Tensor): void => {
    scaleBy(engine, x, inverse(factors), 'columns');
    if (rowFactors !== undefined) scaleBy(engine, x, rowFactors, 'rows');
  };
  const original = engine.create([outFeatures, inFeatures], 'f32', name);
  const error = engine.create([outFeatures, inFeatures], 'f32', `${name} error`);
  try {
    engine.copy({ from: asMatrix(denseWeight(slot)), to: asMatrix(original) });
    engine.dequantize({ weight: quantized, out: asMatrix(error) });
    engine.scale({ x: asMatrix(error), factor: -1 });
    engine.addTo({ x: asMatrix(error), y: asMatrix(original) });
    restore(error);
    restore(original);
    const loss = await exactForm(engine, hessian, asMatrix(error));
    const energy = await exactForm(engine, hessian, asMatrix(original));
    const ones = new Float32Array(inFeatures).fill(1);
    const rtnLoss = await roundingLoss(engine, { w: asMatrix(original), factors: ones, hessian, spec });
    freeLinearWeight(engine, slot.weight);
    slot.weight = quantized;
    const relativeOutputError = energy > 0 ? loss / energy : 0;
    const awq = { ...stats, loss, rtnLoss, relativeOutputError, alpha: scaling.alpha };
    return { slot, spec, weight: quantized, method: 'rtn', stats: awq };
  } finally {
    engine.free(original, error);
  }
}

/** A norm or bias as numbers. */
async function readDense(engine: Engine, tensor: Tensor): Promise<Float64Array> {
  if (tensor.dtype === 'f32') return Float64Array.from(await readReals(engine, tensor));
  const bits = await engine.read(tensor);
  return fromDense(new Uint8Array(bits.buffer, bits.byteOffset, bits.byteLength), tensor);
}

const CAST_DTYPES = { f32: 'F32', f16: 'F16', bf16: 'BF16' } as const;

function castDType({ dtype, label }: Tensor): 'F32' | 'F16' | 'BF16' {
  if (dtype === 'f32' || dtype === 'f16' || dtype === 'bf16') return CAST_DTYPES[dtype];
  throw new Bug(`internal: ${label} holds ${dtype}, not real numbers`);
}

function toDense(values: Float64Array, tensor: Tensor): Uint8Array {
  const bytes = new Uint8Array(Float64Array.from(values).buffer);
  return castElements(bytes, 'F64', castDType(tensor));
}

function fromDense(bytes: Uint8Array, tensor: Tensor): Float64Array {
  const wide = castElements(bytes, castDType(tensor), 'F32');
  return Float64Array.from(new Float32Array(wide.slice().buffer));
}
