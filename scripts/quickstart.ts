/**
 * `npm run quickstart`: quantizes the bundled model on the best engine of this machine, measures what it cost, and, where a
 * WebGPU adapter is present, runs the shaders too and tells how far the two engines agree. Takes a minute or two on two cores
 * without a GPU.
 */
import { rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Engine, Evaluation, QuantizeReport, ResolvedModel } from '../src/index.js';
import { DEFAULT_SETTINGS, evaluateModel, quantizeModel } from '../src/index.js';
import {
  createOutputFolder,
  listAdapters,
  nodeHost,
  openCpuEngine,
  openFileSource,
  openWebGpu,
  resolveNodeModel,
} from '../src/platform/node/index.js';
import { formatBytes, formatDuration, textTable } from '../src/report/text-table.js';
import { compareFolders } from './quickstart-agreement.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const MODEL = join(ROOT, 'test/fixtures/bundled');
const RESULTS = join(ROOT, 'halfbyte-quickstart');

/** How much work a run does; a software adapter gets a small share. */
interface Size {
  readonly samples: number;
  readonly seqLen: number;
  readonly evaluationWindows: number;
}
const FULL: Size = { samples: 24, seqLen: 512, evaluationWindows: 16 };
const SMALL: Size = { samples: 4, seqLen: 256, evaluationWindows: 4 };

interface Run {
  readonly engine: string;
  readonly label: string;
  readonly report: QuantizeReport;
  readonly evaluation: Evaluation;
}

interface RunOptions {
  readonly engine: Engine;
  readonly model: ResolvedModel;
  readonly size: Size;
  readonly method: 'gptq' | 'rtn';
  readonly folder: string;
}

const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

async function runOnce({ engine, model, size, method, folder }: RunOptions): Promise<Run> {
  const { info } = engine;
  say(`${method} on ${info.adapter} (${info.engine} engine), ${size.samples} × ${size.seqLen} tokens …`);
  const out = join(RESULTS, folder);
  const calibration = await openFileSource(join(MODEL, 'calibration.txt'));
  const report = await quantizeModel({
    model,
    engine,
    settings: { ...DEFAULT_SETTINGS, ...size, method },
    calibration: { source: calibration, label: 'calibration.txt' },
    openOutput: (expectedBytes) => createOutputFolder(out, { expectedBytes, overwrite: true }),
    host: nodeHost(),
  });
  const evaluation = await evaluateModel({
    model: await resolveNodeModel(out),
    reference: model,
    engine,
    text: await openFileSource(join(MODEL, 'evaluation.txt')),
    textName: 'evaluation.txt',
    seqLen: size.seqLen,
    maxWindows: size.evaluationWindows,
  });
  return { engine: info.engine, label: info.adapter, report, evaluation };
}

function row({ engine, label, report, evaluation }: Run): string[] {
  const { reference } = evaluation;
  return [
    engine,
    label.length > 40 ? `${label.slice(0, 39)}…` : label,
    report.method,
    report.bitsPerWeight.toFixed(3),
    formatBytes(report.bytes),
    reference?.perplexity.toFixed(4) ?? '-',
    evaluation.perplexity.toFixed(4),
    reference?.kld.mean.toFixed(5) ?? '-',
    reference === undefined ? '-' : `${(reference.sameTop * 100).toFixed(1)} %`,
    formatDuration(report.seconds),
  ];
}

const HEADER = [
  ...['engine', 'adapter', 'method', 'bits/weight', 'size'],
  ...['ppl before', 'ppl after', 'KLD', 'same top', 'time'],
];

/** A real GPU if there is one, else a software adapter, else nothing. */
async function openShaders(): Promise<Engine | undefined> {
  const adapters = await listAdapters().catch(() => []);
  const chosen = adapters.find((adapter) => !adapter.software) ?? adapters.at(0);
  return chosen === undefined ? undefined : openWebGpu({ name: chosen.name });
}

async function main(): Promise<void> {
  rmSync(RESULTS, { recursive: true, force: true });
  const model = await resolveNodeModel(MODEL);
  const cpu = await openCpuEngine();
  const shaders = await openShaders();
  const hasGpu = shaders !== undefined && !shaders.info.software;
  const best = hasGpu ? shaders : cpu;
  const runs: Run[] = [];
  const add = async (options: Omit<RunOptions, 'model'>): Promise<Run> => {
    const run = await runOnce({ ...options, model });
    runs.push(run);
    return run;
  };
  const main = await add({ engine: best, size: FULL, method: 'gptq', folder: 'gptq' });
  await add({ engine: best, size: FULL, method: 'rtn', folder: 'rtn' });
  const agreement: string[] = [];
  if (shaders === undefined) {
    agreement.push(
      'no WebGPU adapter here, so the shaders did not run; `npx halfbyte doctor` says what is missing',
    );
  } else {
    // The same small job on both engines, so that the figures may be compared.
    const size = hasGpu ? FULL : SMALL;
    const byShaders = hasGpu
      ? main
      : await add({ engine: shaders, size, method: 'gptq', folder: 'gptq-shaders' });
    const byCpu = await add({ engine: cpu, size, method: 'gptq', folder: 'gptq-cpu' });
    agreement.push(...(await compareFolders(byShaders, byCpu)));
  }
  const original = [...model.files].filter(([name]) => name.endsWith('.safetensors'));
  const originalBytes = original.reduce((total, [, file]) => total + file.size, 0);
  say(`\n${textTable(HEADER, runs.map(row))}\n`);
  const small = shaders?.info.software === true ? '; the last two rows use less text' : '';
  say(`original weights: ${formatBytes(originalBytes)} in bfloat16${small}`);
  for (const line of agreement) say(line);
  say(`result: ${relative(process.cwd(), main.report.out)}`);
  await cpu.dispose();
  await shaders?.dispose();
}

const started = performance.now();
await main();
say(`whole run: ${formatDuration((performance.now() - started) / 1000)}`);
process.exit(0);
