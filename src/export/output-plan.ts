import { Bug } from '../core/errors.js';

import type { TensorInfo } from '../formats/safetensors/header.js';
import type { PlannedTensor } from '../formats/safetensors/shard-plan.js';
import type { QuantSpec } from '../quant/records.js';

/** A linear that will be quantized, with what decides the shapes of its tensors. */
export interface PlannedLinear {
  /** Module path, such as "model.layers.0.self_attn.q_proj". */
  readonly name: string;
  /** N. */
  readonly outFeatures: number;
  /** K. */
  readonly inFeatures: number;
  readonly bits: QuantSpec['bits'];
  /** Groups along K. */
  readonly groups: number;
}

/** A tensor of the output and where its bytes come from. */
export interface PlannedOutput extends PlannedTensor {
  /** Copied bit by bit from the checkpoint, or one of the tensors of a quantized linear. */
  readonly origin: { readonly kind: 'copied' } | { readonly kind: 'quantized'; readonly module: string };
}

/** GPTQ's tensors of one linear, in the order they are written. */
export function gptqTensors({ name, outFeatures, inFeatures, bits, groups }: PlannedLinear): PlannedTensor[] {
  return [
    { name: `${name}.qweight`, dtype: 'I32', shape: [(inFeatures * bits) / 32, outFeatures] },
    { name: `${name}.qzeros`, dtype: 'I32', shape: [groups, (outFeatures * bits) / 32] },
    { name: `${name}.scales`, dtype: 'F16', shape: [groups, outFeatures] },
    { name: `${name}.g_idx`, dtype: 'I32', shape: [inFeatures] },
  ];
}

/**
 * All tensors of the output, in the order in which a run can produce them: what stands before the layers, then layer by
 * layer (other tensors first, then each linear of `linears` in the order given, its bias behind it), then the rest.
 * So a layer's tensors can be written while the next layer is still to be quantized.
 */
export function planOutput(
  tensors: Iterable<TensorInfo>,
  linears: readonly PlannedLinear[],
): readonly PlannedOutput[] {
  const byModule = new Map(linears.map((linear, order) => [linear.name, { linear, order }]));
  const found = new Set<string>();
  const ranked = [...tensors].map((info, position) => {
    const module = info.name.replace(/\.[^.]*$/, '');
    const planned = byModule.get(module);
    const replaced = planned !== undefined && info.name.endsWith('.weight');
    if (replaced) found.add(module);
    const outputs: PlannedOutput[] = replaced
      ? gptqTensors(planned.linear).map((tensor) => ({ ...tensor, origin: { kind: 'quantized', module } }))
      : [{ name: info.name, dtype: info.dtype, shape: info.shape, origin: { kind: 'copied' } }];
    const rank = [layerRank(info.name), planned?.order ?? -1, replaced ? 0 : 1, position];
    return { outputs, rank };
  });
  const missing = linears.filter((linear) => !found.has(linear.name));
  if (missing.length > 0)
    throw new Bug(`internal: no weight to replace for ${missing.map((linear) => linear.name).join(', ')}`);
  ranked.sort((a, b) => compareRanks(a.rank, b.rank));
  return ranked.flatMap((entry) => entry.outputs);
}

const BEFORE_LAYERS = -1;

/** Position of a tensor in the order of a forward pass: embedding, layer number, final norm and head. */
function layerRank(name: string): number {
  const layer = /(?:^|\.)(?:layers|h|blocks)\.(\d+)\./.exec(name)?.[1];
  if (layer !== undefined) return Number(layer);
  return /embed|wte|wpe/.test(name) ? BEFORE_LAYERS : Infinity;
}

function compareRanks(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((value, i) => value !== b[i]);
  return at < 0 ? 0 : a[at] < b[at] ? -1 : 1;
}
