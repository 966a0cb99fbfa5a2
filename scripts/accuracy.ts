/**
 * Makes the accuracy table of README.md: the bundled model under several settings, all calibrated on the same text and
 * judged on the same held-out text against the 16-bit original. Prints Markdown.
 *
 *   npm run accuracy [-- --samples 32 --device cpu]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Engine, QuantizeReport, QuantizeSettings } from '../src/index.js';
import { DEFAULT_SETTINGS, evaluateModel, quantizeModel } from '../src/index.js';
import {
  createOutputFolder,
  nodeHost,
  openEngine,
  openFileSource,
  resolveNodeModel,
} from '../src/platform/node/index.js';

type Spec = Partial<QuantizeSettings>;

const MODEL = fileURLToPath(new URL('../test/fixtures/bundled', import.meta.url));
const SEQ_LEN = 512;

const ROWS: readonly (readonly [name: string, spec: Spec])[] = [
  ['rtn 8-bit g128', { method: 'rtn', bits: 8 }],
  ['rtn 4-bit g128', { method: 'rtn' }],
  ['rtn 4-bit g128, range mse', { method: 'rtn', range: 'mse' }],
  ['gptq 4-bit g128', {}],
  ['gptq 4-bit g128, refine 2', { refine: 2 }],
  ['gptq 4-bit g128, act-order', { order: 'act' }],
  ['gptq 4-bit g128, group-aware order', { order: 'group-aware' }],
  ['gptq 4-bit g128, range mse', { range: 'mse' }],
  ['gptq 4-bit g32', { groupSize: 32 }],
  ['gptq 4-bit per channel', { groupSize: -1 }],
  ['hqq 4-bit g128 (mlx)', { method: 'hqq', groupSize: 128 }],
  ['rtn 4-bit g128, asymmetric', { method: 'rtn', symmetric: false }],
  ['awq 4-bit g128, asymmetric', { method: 'awq', groupSize: 128 }],
  ['gptq 4-bit g128, asymmetric', { symmetric: false }],
  ['nf4, blocks of 64, double quantization', { method: 'nf4' }],
  ['fp4, blocks of 64, double quantization', { method: 'fp4' }],
  ['rtn gguf-q4_0', { method: 'rtn', formats: ['gguf-q4_0'] }],
  ['gptq gguf-q4_0', { formats: ['gguf-q4_0'] }],
  ['gptq gguf-q4_1', { formats: ['gguf-q4_1'] }],
  ['rtn gguf-q4_k', { method: 'rtn', formats: ['gguf-q4_k'] }],
  ['gptq gguf-q4_k', { formats: ['gguf-q4_k'] }],
  ['gptq gguf-q4_k, refine 2', { formats: ['gguf-q4_k'], refine: 2 }],
  ['gptq gguf-q6_k', { formats: ['gguf-q6_k'] }],
  ['rtn 3-bit g128', { method: 'rtn', bits: 3 }],
  ['gptq 3-bit g128', { bits: 3 }],
  ['gptq 3-bit g128, refine 2', { bits: 3, refine: 2 }],
  ['gptq 2-bit g32', { bits: 2, groupSize: 32 }],
  ['gptq 2-bit g32, range mse, refine 2', { bits: 2, groupSize: 32, range: 'mse', refine: 2 }],
];

async function quantize(engine: Engine, spec: Spec, samples: number, out: string): Promise<QuantizeReport> {
  return quantizeModel({
    model: await resolveNodeModel(MODEL),
    engine,
    settings: { ...DEFAULT_SETTINGS, ...spec, samples, seqLen: SEQ_LEN },
    calibration: { source: await openFileSource(join(MODEL, 'calibration.txt')), label: 'calibration.txt' },
    openOutput: (expectedBytes) => createOutputFolder(out, { expectedBytes, overwrite: true }),
    host: nodeHost(),
  });
}

const { values } = parseArgs({
  options: { samples: { type: 'string', default: '32' }, device: { type: 'string', default: 'auto' } },
});
const engine = await openEngine({ device: values.device });
const folder = mkdtempSync(join(tmpdir(), 'halfbyte-accuracy-'));
const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};
try {
  say('| setting | bits/weight | perplexity | mean KLD | KLD p99 | same top token |');
  say('|---|---:|---:|---:|---:|---:|');
  for (const [index, [name, spec]] of ROWS.entries()) {
    const out = join(folder, 'model');
    const report = await quantize(engine, spec, Number(values.samples), out);
    const result = await evaluateModel({
      model: await resolveNodeModel(out),
      reference: await resolveNodeModel(MODEL),
      engine,
      text: await openFileSource(join(MODEL, 'evaluation.txt')),
      seqLen: SEQ_LEN,
    });
    const { reference, perplexity, protocol } = result;
    if (reference === undefined) throw new Error('no reference figures');
    if (index === 0) say(`| original, bf16 | 16 | ${reference.perplexity.toFixed(4)} | | | |`);
    const kld = [reference.kld.mean, reference.kld.p99].map((value) => value.toExponential(2)).join(' | ');
    const figures = `${perplexity.toFixed(4)} | ${kld} | ${(100 * reference.sameTop).toFixed(2)} %`;
    say(`| ${name} | ${report.bitsPerWeight.toFixed(2)} | ${figures} |`);
    if (index === ROWS.length - 1)
      say(
        `\nProtocol: ${protocol.windows} windows of ${protocol.seqLen} tokens, ${result.tokens} scored, ${values.samples} calibration windows of ${SEQ_LEN} tokens, ${engine.info.adapter}.`,
      );
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
  await engine.dispose();
}
process.exit(0);
