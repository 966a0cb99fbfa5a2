/**
 * Writes what the codes of a quantized folder stand for, by our own reader and dequantization in float32, so that other
 * programs can be compared with it: a folder with model.safetensors that holds MODULE.weight F32 [N, K]. Prints the SHA-256
 * of each, by name.
 *
 *   tsx scripts/conformance/dequantized.ts MODEL OUT_DIR
 */
import { createHash } from 'node:crypto';
import { dequantizeLinear } from '../../src/core/dequantize-linear.js';
import { planShards } from '../../src/formats/safetensors/shard-plan.js';
import { writeShards } from '../../src/formats/safetensors/write-shards.js';
import { bytesOf } from '../../src/io/byte-views.js';
import { writeOutputFolder } from '../../src/io/output-folder.js';
import { openModel } from '../../src/pipeline/open-model.js';
import { createOutputFolder } from '../../src/platform/node/files/output-folder.js';
import { resolveNodeModel } from '../../src/platform/node/model-files.js';

const [modelRef, outDir] = process.argv.slice(2);
const { quantized } = await openModel(await resolveNodeModel(modelRef));
if (quantized === undefined) throw new Error(`${modelRef} is not quantized`);
const modules = [...quantized.modules];
const sha256: Record<string, string> = {};
const plan = planShards(
  modules.map((module) => ({ name: `${module}.weight`, dtype: 'F32', shape: quantized.shape(module) })),
);
await writeOutputFolder(await createOutputFolder(outDir), (folder) =>
  writeShards(plan, folder, async (name) => {
    const bytes = bytesOf(dequantizeLinear(await quantized.read(name.replace(/\.weight$/, ''))));
    sha256[name] = createHash('sha256').update(bytes).digest('hex');
    return bytes;
  }),
);
process.stdout.write(`${JSON.stringify({ modules: modules.length, sha256 })}\n`);
