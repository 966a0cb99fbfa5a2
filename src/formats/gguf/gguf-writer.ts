import { Bug } from '../../core/errors.js';
import type { ByteSink } from '../../io/byte-sink.js';
import type { OutputFolder } from '../../io/output-folder.js';
import { padding } from './encode-header.js';
import type { GgufTensorInfo } from './gguf-header.js';
import type { GgufPlan } from './gguf-plan.js';

/** Takes the tensors of a plan in its order and writes its files. */
export interface GgufWriter {
  /** The next bytes of a tensor; each tensor is finished before the next begins. */
  append(name: string, bytes: Uint8Array): Promise<void>;
  /** Ends the last file. */
  finish(): Promise<void>;
  /** Lets go of an open file; harmless after finish. */
  abort(): Promise<void>;
}

/** Bug naming the tensor whose bytes come out of turn, are too many or too few. The caller commits the folder. */
export function createGgufWriter(plan: GgufPlan, folder: OutputFolder): GgufWriter {
  const places = plan.files.flatMap((file) => file.tensors.map((info) => ({ file, info })));
  let next = 0;
  let filled = 0;
  let sink: ByteSink | undefined;
  let open: string | undefined;

  const turnTo = async (file: (typeof plan.files)[number]): Promise<ByteSink> => {
    if (sink !== undefined && open === file.file) return sink;
    await sink?.seal();
    sink = await folder.create(file.file);
    open = file.file;
    await sink.append(file.header);
    return sink;
  };

  return {
    append: async (name, bytes) => {
      const place = places[next];
      if (place?.info.name !== name) throw outOfTurn(name, place?.info);
      const { file, info } = place;
      const length = info.end - info.begin;
      if (filled + bytes.byteLength > length) throw lengthError(info, filled + bytes.byteLength);
      const target = await turnTo(file);
      await target.append(bytes);
      filled += bytes.byteLength;
      if (filled < length) return;
      await target.append(new Uint8Array(padding(length)));
      next += 1;
      filled = 0;
    },
    finish: async () => {
      if (next < places.length) throw lengthError(places[next].info, filled);
      // A model without tensors still has its metadata.
      if (sink === undefined) sink = await turnTo(plan.files[0]);
      await sink.seal();
      sink = undefined;
    },
    abort: async () => {
      await sink?.abort();
      sink = undefined;
    },
  };
}

function outOfTurn(name: string, expected: GgufTensorInfo | undefined): Bug {
  const turn = expected === undefined ? 'nothing' : `"${expected.name}"`;
  return new Bug(`internal: bytes of tensor "${name}" where ${turn} is expected`);
}

function lengthError({ name, type, shape, file, begin, end }: GgufTensorInfo, actual: number): Bug {
  const planned = `${type} [${shape.join(', ')}] of ${end - begin} bytes`;
  return new Bug(`internal: tensor "${name}" of ${file}: planned as ${planned}, produced ${actual} bytes`);
}
