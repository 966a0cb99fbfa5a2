/**
 * Writes the logits of our own forward pass for a few windows of a text, so that other programs can be compared with it:
 * a folder with model.safetensors that holds input_ids I32 [windows, tokens] and logits F32 [windows, tokens, V].
 *
 *   tsx scripts/conformance/logits.ts MODEL TEXT OUT_DIR [WINDOWS] [SEQ_LEN] [DEVICE]
 */
import { basename } from 'node:path';
import { bytesOf } from '../../src/io/byte-views.js';
import { writeOutputFolder } from '../../src/io/output-folder.js';
import { planShards } from '../../src/formats/safetensors/shard-plan.js';
import { writeShards } from '../../src/formats/safetensors/write-shards.js';
import { asMatrix } from '../../src/engine/tensor.js';
import { readReals } from '../../src/engine/engine.js';
import { loadHead, runLayers } from '../../src/model/index.js';
import { openModel, openTokenizer } from '../../src/pipeline/open-model.js';
import { streamed } from '../../src/pipeline/streamed-model.js';
import { createOutputFolder } from '../../src/platform/node/files/output-folder.js';
import { openEngine } from '../../src/platform/node/open-engine.js';
import { openFileSource } from '../../src/platform/node/files/file-source.js';
import { resolveNodeModel } from '../../src/platform/node/model-files.js';
import { collectWindows, readText } from '../../src/text/index.js';

const [modelRef, textFile, outDir, windowCount = '4', seqLen = '128', device = 'cpu'] = process.argv.slice(2);

const engine = await openEngine({ device });
const opened = await openModel(await resolveNodeModel(modelRef));
const tokenizer = await openTokenizer(opened);
const { windows } = await collectWindows({
  ids: tokenizer.encodeStream(readText(await openFileSource(textFile))),
  seqLen: Number(seqLen),
  count: Number(windowCount),
  name: basename(textFile),
});
const model = streamed(opened, engine);
const hidden = await runLayers({ engine, ...model, windows });
const head = await loadHead({ engine, ...model });
const vocab = opened.config.vocabSize;
const logits = new Float32Array(windows.length * Number(seqLen) * vocab);
let offset = 0;
for (const { batch, states } of hidden) {
  const rows = states.length / opened.config.hiddenSize;
  const x = engine.upload(states, [rows, opened.config.hiddenSize], 'f32', 'hidden');
  const tensor = head.logits(asMatrix(x));
  logits.set(await readReals(engine, tensor), offset);
  offset += rows * vocab;
  engine.free(x, tensor);
  if (batch.windows * batch.seqLen !== rows) throw new Error(`micro-batch of ${rows} rows`);
}
head.free();

const ids = Int32Array.from(windows.flatMap((window) => [...window]));
const shape = [windows.length, Number(seqLen)];
const data: Record<string, Uint8Array> = { input_ids: bytesOf(ids), logits: bytesOf(logits) };
const plan = planShards([
  { name: 'input_ids', dtype: 'I32', shape },
  { name: 'logits', dtype: 'F32', shape: [...shape, vocab] },
]);
await writeOutputFolder(await createOutputFolder(outDir), (folder) =>
  writeShards(plan, folder, (name) => Promise.resolve(data[name])),
);
const { adapter } = engine.info;
await engine.dispose();
process.stdout.write(
  `${JSON.stringify({ windows: windows.length, seqLen: Number(seqLen), vocab, adapter })}\n`,
);
process.exit(0);
