import { assert } from '../../core/errors.js';
import type { ExternalPlan } from '../../formats/onnx/external-data.js';
import type { ByteSink } from '../../io/byte-sink.js';
import type { OutputFolder } from '../../io/output-folder.js';

export interface ExternalWriter {
  /** The next bytes of a tensor; tensors come in the order of the plan, each front to back. */
  append(name: string, bytes: Uint8Array): Promise<void>;
  /** After the last tensor. */
  finish(): Promise<void>;
  abort(): Promise<void>;
}

/** Writes the files of a plan as their tensors come. Memory: what one call brings. */
export function createExternalWriter(
  plan: ExternalPlan,
  folder: OutputFolder,
  directory: string,
): ExternalWriter {
  let next = 0;
  let done = 0;
  let position = 0;
  let open: { readonly name: string; readonly sink: ByteSink } | undefined;

  const seal = async (): Promise<void> => {
    await open?.sink.seal();
    open = undefined;
  };
  const seek = async (file: string, offset: number): Promise<ByteSink> => {
    if (open?.name !== file) {
      await seal();
      open = { name: file, sink: await folder.create(`${directory}/${file}`) };
      position = 0;
    }
    if (offset > position) await open.sink.append(new Uint8Array(offset - position));
    position = offset;
    return open.sink;
  };
  const skipComplete = (): void => {
    while (next < plan.tensors.length && done === plan.tensors[next].data.length) {
      next++;
      done = 0;
    }
  };

  return {
    async append(name, bytes) {
      const tensor = plan.tensors.at(next);
      assert(tensor?.name === name, `${name} written where ${tensor?.name ?? 'nothing'} is due`);
      if (tensor === undefined) return;
      assert(done + bytes.byteLength <= tensor.data.length, `${name}: more bytes than planned`);
      const sink = await seek(tensor.data.location, tensor.data.offset + done);
      await sink.append(bytes);
      position += bytes.byteLength;
      done += bytes.byteLength;
      skipComplete();
    },
    async finish() {
      assert(next === plan.tensors.length, `${plan.tensors.at(next)?.name ?? ''} is incomplete`);
      await seal();
    },
    async abort() {
      await open?.sink.abort();
    },
  };
}
