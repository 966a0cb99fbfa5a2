/**
 * Calibrates and quantizes one decoder layer in true-sequential order (quant/README.md section 2, step 10): q, k, v, then o,
 * then gate, up, then down, each from inputs that passed through the parts quantized before it.
 * Engine memory: the layer, the Hessian of one group of linears (K² elements), one micro-batch; then the same without
 * the micro-batch but with one linear being quantized. Hidden states stay on the host.
 */
import { throwIfAborted } from '../core/abort.js';
import type { ProgressListener } from '../core/progress.js';
import { readReals } from '../engine/engine.js';
import type { Engine } from '../engine/engine.js';
import { asMatrix } from '../engine/tensor.js';
import type { MatrixView } from '../engine/tensor.js';
import { forwardContext, freeLinearWeight } from '../model/index.js';
import type {
  Block,
  DecoderLayer,
  ForwardContext,
  HiddenBatch,
  LinearGroup,
  LinearSlot,
} from '../model/index.js';
import {
  accumulateHessian,
  createHessian,
  finishHessian,
  freeHessian,
  freeHessianSum,
  quantizeLinear,
} from '../quant/index.js';
import type { Hessian, HessianSum, QuantizeLinearResult, QuantSpec } from '../quant/index.js';

/** A layer and what runs through it. */
export interface LayerRun {
  readonly engine: Engine;
  /** Its slots' weights are replaced by quantized ones, the old tensors freed. */
  readonly layer: DecoderLayer;
  /** Inputs of the layer; replaced by the outputs of the quantized layer. */
  readonly hidden: readonly HiddenBatch[];
  readonly rope: Pick<ForwardContext, 'cos' | 'sin'>;
  readonly signal?: AbortSignal | undefined;
  /** Counts micro-batches, in stages "calibrate" and "forward". */
  readonly onProgress?: ProgressListener | undefined;
}

export interface QuantizeLayerOptions extends LayerRun {
  /** How to quantize a linear, or undefined to leave it as it is. */
  readonly select: (slot: LinearSlot) => QuantSpec | undefined;
  /** True when nothing needs the layer's outputs any more: the last block is then not run. */
  readonly isLast?: boolean;
  /** See quantizeLinear. */
  readonly allowRtnFallback?: boolean;
  readonly compare?: boolean;
}

/** A linear just quantized. The weight is in the slot and belongs to the layer; read it before going on. */
export interface CalibratedLinear extends QuantizeLinearResult {
  readonly slot: LinearSlot;
  readonly spec: QuantSpec;
}

/**
 * Yields every selected linear once its quantized weight is in place. Errors: AbortError; NumericError naming the linear
 * for inputs or weights that are not finite and Hessians that cannot be factored; UserError for shapes.
 */
export async function* quantizeLayer(
  options: QuantizeLayerOptions,
): AsyncGenerator<CalibratedLinear, void, undefined> {
  const { blocks } = options.layer;
  for (const [index, block] of blocks.entries()) {
    for (const group of block.groups.keys()) yield* quantizeGroup(options, block, group);
    const needed = options.isLast !== true || index + 1 < blocks.length;
    if (needed) await advanceBlock(options, block);
  }
}

async function* quantizeGroup(
  options: QuantizeLayerOptions,
  block: Block,
  index: number,
): AsyncGenerator<CalibratedLinear, void, undefined> {
  const { engine, select, signal, allowRtnFallback = false, compare = true } = options;
  const group = block.groups[index];
  const chosen = group.linears.flatMap((slot) => {
    const spec = select(slot);
    return spec === undefined ? [] : [{ slot, spec }];
  });
  if (chosen.length === 0) return;
  const calibrated = chosen.some(({ spec }) => spec.method === 'gptq');
  const hessian = calibrated ? await gatherHessian(options, block, index) : undefined;
  try {
    for (const { slot, spec } of chosen) {
      throwIfAborted(signal);
      const { name, outFeatures, inFeatures } = slot;
      const result = await quantizeLinear(engine, {
        name,
        weight: slot.weight,
        outFeatures,
        inFeatures,
        spec,
        allowRtnFallback,
        compare,
        ...(hessian === undefined ? {} : { hessian }),
      });
      freeLinearWeight(engine, slot.weight);
      slot.weight = result.weight;
      yield { ...result, slot, spec };
    }
  } finally {
    if (hessian !== undefined) freeHessian(engine, hessian);
  }
}

/** The Hessian of a group's inputs; the caller frees it. */
export async function gatherHessian(options: LayerRun, block: Block, index: number): Promise<Hessian> {
  const { engine } = options;
  const group = block.groups[index];
  const name = groupName(group);
  const sum: HessianSum = createHessian(engine, group.linears[0].inFeatures, name);
  try {
    await forEachBatch(options, 'calibrate', name, (x, context) => {
      block.captureInput(index, x, context, (input) => {
        accumulateHessian(engine, sum, input);
      });
      return Promise.resolve();
    });
  } catch (error) {
    freeHessianSum(engine, sum);
    throw error;
  }
  return finishHessian(engine, sum, name);
}

/** All linears of a group by name, since they share their inputs. */
function groupName(group: LinearGroup): string {
  return group.linears.map((slot) => slot.name).join(', ');
}

/** Replaces the hidden states by the block's output. */
export async function advanceBlock(options: LayerRun, block: Block): Promise<void> {
  const { engine, layer } = options;
  await forEachBatch(options, 'forward', `model.layers.${layer.index}`, async (x, context, batch) => {
    block.forward(x, context);
    batch.states = await readReals(engine, x.tensor);
  });
}

/** Uploads each micro-batch's hidden states in turn; one is on the engine at a time. */
async function forEachBatch(
  options: LayerRun,
  stage: string,
  item: string,
  use: (x: MatrixView, context: ForwardContext, batch: HiddenBatch) => Promise<void>,
): Promise<void> {
  const { engine, hidden, rope, signal, onProgress } = options;
  for (const [done, entry] of hidden.entries()) {
    throwIfAborted(signal);
    onProgress?.({ stage, item, done, total: hidden.length });
    const rows = entry.batch.windows * entry.batch.seqLen;
    const x = engine.upload(entry.states, [rows, entry.states.length / rows], 'f32', 'hidden states');
    try {
      await use(asMatrix(x), forwardContext(entry.batch, rope), entry);
      // Keeps what is recorded ahead, and so the memory it holds, to one micro-batch.
      await engine.sync();
    } finally {
      engine.free(x);
    }
  }
}
