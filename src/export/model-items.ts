import type { ModelItem, PlannedDense, PlannedLinear } from './output-format.js';

/**
 * All parts of a model in the order in which a run can produce them: what stands before the layers, then layer by layer
 * (dense tensors first, then each linear in the order given, its bias behind it), then the rest. So a layer can be written
 * while the next is still to be quantized. `dense` are the tensors taken over as they are.
 */
export function planItems(
  dense: Iterable<PlannedDense>,
  linears: readonly PlannedLinear[],
): readonly ModelItem[] {
  const orderOf = new Map(linears.map((linear, order) => [linear.name, order]));
  const ranked: { item: ModelItem; rank: number[] }[] = linears.map((linear, order) => ({
    item: { kind: 'linear', linear },
    rank: [layerRank(linear.name), order, 0, 0],
  }));
  let position = 0;
  for (const { name, dtype, shape } of dense) {
    const order = orderOf.get(name.replace(/\.[^.]*$/, '')) ?? -1;
    const item: ModelItem = { kind: 'dense', tensor: { name, dtype, shape } };
    ranked.push({ item, rank: [layerRank(name), order, 1, position++] });
  }
  ranked.sort((a, b) => compareRanks(a.rank, b.rank));
  return ranked.map((entry) => entry.item);
}

const BEFORE_LAYERS = -1;
const BEHIND_LAYERS = Number.MAX_SAFE_INTEGER;

/** Position of a tensor in the order of a forward pass: embedding, layer number, final norm and head. */
function layerRank(name: string): number {
  const layer = /(?:^|\.)(?:layers|h|blocks)\.(\d+)\./.exec(name)?.[1];
  if (layer !== undefined) return Number(layer);
  if (/embed|wte|wpe/.test(name)) return BEFORE_LAYERS;
  // The head comes last whether it is a linear or a plain tensor, so that a file written again has the same order.
  return /^lm_head(\.|$)/.test(name) ? Infinity : BEHIND_LAYERS;
}

function compareRanks(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((value, i) => value !== b[i]);
  return at < 0 ? 0 : a[at] < b[at] ? -1 : 1;
}
