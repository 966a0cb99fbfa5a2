import { throwIfAborted } from '../core/abort.js';
import { DTYPE_BYTES } from '../core/dtype.js';
import { Bug } from '../core/errors.js';
import type { NoticeListener } from '../core/progress.js';
import type { DenseSink, ModelItem, ModelWriter, PlannedDense } from '../export/output-format.js';
import type { Checkpoint } from '../formats/safetensors/checkpoint.js';
import { assertFinite } from './check-finite.js';
import type { FinishedLinear, FinishedPart } from './finished-part.js';

export interface WriteModelOptions {
  readonly items: readonly ModelItem[];
  readonly writers: readonly ModelWriter[];
  /** Where dense tensors come from, unless a part of the run replaces them. */
  readonly checkpoint: Checkpoint;
  /** Dense tensors that the run makes or changes (AWQ folds scales into norms): their bytes come as parts. */
  readonly replaced?: ReadonlySet<string>;
  /** Yields linears and replaced tensors in the order of the items. */
  readonly parts: AsyncGenerator<FinishedPart, void, undefined>;
  /** Told about each linear once, as it arrives. */
  readonly onLinear: (linear: FinishedLinear) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Tells what writers found only while writing; what they knew before is told before. */
export function tellLateNotes(
  planned: readonly Pick<ModelWriter, 'notes'>[],
  writers: readonly ModelWriter[],
  onNotice: NoticeListener | undefined,
): void {
  const known = new Set(planned.flatMap(({ notes }) => notes));
  for (const note of new Set(writers.flatMap(({ notes }) => notes))) if (!known.has(note)) onNotice?.(note);
}

/**
 * Hands every item to every writer: dense tensors stream from the checkpoint, read once; quantized ones are pulled out of
 * the run when their turn comes, so the pace of writing drives the quantization. Memory: one linear, one read window.
 */
export async function writeModel(options: WriteModelOptions): Promise<void> {
  const { items, writers, parts, signal } = options;
  try {
    for (const item of items) {
      throwIfAborted(signal);
      if (item.kind === 'linear') await writeLinear(options, item.linear.name);
      else await writeDense(options, item.tensor);
    }
    // Lets the producer run to its end, so that it reports its last step and frees what it holds.
    await parts.next();
    for (const writer of writers) await writer.finish();
  } catch (error) {
    await Promise.allSettled(writers.map((writer) => writer.abort()));
    throw error;
  } finally {
    await parts.return();
  }
}

async function writeLinear({ parts, writers, onLinear }: WriteModelOptions, name: string): Promise<void> {
  const part = await nextPart(parts, name);
  if (part.kind !== 'linear') throw new Bug(`internal: linear ${name} expected, a dense tensor came`);
  onLinear(part);
  for (const writer of writers) await writer.linear(name, part.linear);
}

async function nextPart(
  parts: AsyncGenerator<FinishedPart, void, undefined>,
  name: string,
): Promise<FinishedPart> {
  const next = await parts.next();
  if (next.done !== true && next.value.name === name) return next.value;
  throw new Bug(`internal: ${name} expected next, ${next.done === true ? 'nothing' : next.value.name} came`);
}

async function writeDense(options: WriteModelOptions, tensor: PlannedDense): Promise<void> {
  const sinks: DenseSink[] = [];
  for (const writer of options.writers) sinks.push(await writer.dense(tensor.name));
  let firstElement = 0;
  for await (const bytes of await denseBytes(options, tensor)) {
    assertFinite(bytes, { tensor: tensor.name, dtype: tensor.dtype, firstElement });
    firstElement += bytes.byteLength / DTYPE_BYTES[tensor.dtype];
    for (const sink of sinks) await sink.append(bytes);
  }
  for (const sink of sinks) await sink.end();
}

async function denseBytes(
  { checkpoint, replaced, parts, signal }: WriteModelOptions,
  { name }: PlannedDense,
): Promise<AsyncIterable<Uint8Array> | Iterable<Uint8Array>> {
  if (replaced?.has(name) !== true) return checkpoint.stream(name, { signal });
  const part = await nextPart(parts, name);
  if (part.kind !== 'dense') throw new Bug(`internal: dense tensor ${name} expected, a linear came`);
  return part.bytes;
}
