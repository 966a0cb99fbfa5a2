/**
 * Data-free quantization of a synthetic checkpoint, file to file: halfbyte on the cpu engine and on webgpu to NF4
 * (bitsandbytes) and Q4_0 (GGUF), beside bitsandbytes and llama.cpp's own quantize on the same machine, turn by turn. Prints a
 * Markdown table. Times are of reading, quantizing and writing; hashing the source is told apart.
 *
 *   npx tsx scripts/bench/data-free.ts [--gb 2] [--rounds 1] [--folder DIR] [--keep] [--cli dist/cli/main.js]
 *     [--python PYTHON] [--llama FOLDER_OF_LIBLLAMA] [--only cpu,webgpu,bitsandbytes,llama.cpp]
 *
 * The peers come from scripts/conformance/setup.sh and setup-npm.sh unless they are named.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { makeSyntheticCheckpoint } from './synthetic-checkpoint.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SAMPLE_MS = 50;

const { values: flags } = parseArgs({
  options: {
    gb: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '1' },
    folder: { type: 'string', default: join(tmpdir(), 'halfbyte-data-free') },
    keep: { type: 'boolean', default: false },
    cli: { type: 'string', default: 'dist/cli/main.js' },
    python: { type: 'string' },
    llama: { type: 'string' },
    only: { type: 'string', default: 'cpu,webgpu,bitsandbytes,llama.cpp' },
    adapter: { type: 'string', default: 'llvmpipe' },
  },
});

interface Measured {
  readonly program: string;
  readonly target: 'NF4' | 'Q4_0';
  readonly weights: number;
  readonly sourceBytes: number;
  /** Reading, quantizing, writing. */
  readonly seconds: number;
  /** Of all threads, program start included: comparable on a busy machine too. */
  readonly cpuSeconds: number;
  readonly note: string;
  readonly peakRssBytes: number;
  readonly peakGpuBytes?: number;
}

interface Finished {
  readonly output: string;
  readonly cpuSeconds: number;
  readonly peakRssBytes: number;
}

/** Runs a program to its end and watches its memory and processor time (Linux: /proc). */
function watch(command: string, args: readonly string[]): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    let errors = '';
    let peakRssBytes = 0;
    let cpuSeconds = 0;
    const sample = setInterval(() => {
      peakRssBytes = Math.max(peakRssBytes, residentPeak(child.pid));
      cpuSeconds = Math.max(cpuSeconds, processorSeconds(child.pid));
    }, SAMPLE_MS);
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
    child.on('error', reject);
    child.on('close', (code) => {
      clearInterval(sample);
      if (code === 0) resolve({ output, peakRssBytes, cpuSeconds });
      else reject(new Error(`${command} ${args.join(' ')} ended with ${code}:\n${errors.slice(-2000)}`));
    });
  });
}

/** The text of /proc/PID/name; empty when the program has ended or this is not Linux: what was seen before counts. */
function processFile(pid: number | undefined, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch {
    return '';
  }
}

function residentPeak(pid: number | undefined): number {
  return Number(/VmHWM:\s+(\d+)/.exec(processFile(pid, 'status'))?.[1] ?? 0) * 1024;
}

/** User and system time in hundredths of seconds are the 12th and 13th numbers after the program's name. */
function processorSeconds(pid: number | undefined): number {
  const [, rest = ''] = processFile(pid, 'stat').split(') ');
  const fields = rest.split(' ').map(Number);
  return rest === '' ? 0 : (fields[11] + fields[12]) / 100;
}

function lastJson(output: string): Record<string, unknown> {
  return JSON.parse(output.slice(Math.max(0, output.search(/^\{/m)))) as Record<string, unknown>;
}

function cli(...args: readonly string[]): readonly [string, readonly string[]] {
  const loader = flags.cli.endsWith('.ts') ? ['--import', 'tsx'] : [];
  return [process.execPath, [...loader, flags.cli, ...args]];
}

interface Report {
  readonly seconds: number;
  readonly stages: Readonly<Record<string, number>>;
  readonly peakGpuBytes: number;
  readonly adapter: string;
}

const checkpoint = makeSyntheticCheckpoint(join(flags.folder, `bf16-${flags.gb}gb`), Number(flags.gb));
const { linearWeights, tableWeights, bytes: sourceBytes } = checkpoint;
const chosen = new Set(flags.only.split(','));
const out = join(flags.folder, 'out');
const threads = String(availableParallelism());

async function ours(device: 'cpu' | 'webgpu', target: Measured['target']): Promise<Measured> {
  const method =
    target === 'NF4'
      ? ['--method', 'nf4']
      : ['--method', 'rtn', '--range', 'minmax', '--format', 'gguf-q4_0'];
  const [command, args] = cli('quantize', checkpoint.folder, '--out', out, ...method);
  const where = device === 'cpu' ? 'cpu' : flags.adapter;
  const run = await watch(command, [...args, '--device', where, '--no-verify', '--overwrite', '--json']);
  const { stages, peakGpuBytes, adapter } = lastJson(run.output) as unknown as Report;
  const { hash = 0, quantize = 0, finish = 0 } = stages;
  return {
    program: device === 'cpu' ? 'halfbyte, cpu engine' : `halfbyte, webgpu (${adapter})`,
    target,
    weights: linearWeights + (target === 'Q4_0' ? tableWeights : 0),
    sourceBytes,
    seconds: quantize + finish,
    cpuSeconds: run.cpuSeconds,
    note: `and ${hash.toFixed(1)} s hashing the source`,
    peakRssBytes: run.peakRssBytes,
    peakGpuBytes,
  };
}

async function bitsandbytes(): Promise<Measured> {
  mkdirSync(out, { recursive: true });
  const file = join(out, 'bnb.safetensors');
  const script = join(ROOT, 'scripts/bench/bnb_quantize.py');
  const run = await watch(python(), [script, checkpoint.folder, file, '--threads', threads]);
  const { seconds, quantizing } = lastJson(run.output) as { seconds: number; quantizing: number };
  return {
    program: 'bitsandbytes, cpu',
    target: 'NF4',
    weights: linearWeights,
    sourceBytes,
    seconds,
    cpuSeconds: run.cpuSeconds,
    note: `${quantizing.toFixed(1)} s of it in quantize_4bit`,
    peakRssBytes: run.peakRssBytes,
  };
}

/** llama.cpp starts from a float16 GGUF of the same weights, made once. */
async function llama(): Promise<Measured> {
  const source = join(flags.folder, `f16-${flags.gb}gb`);
  const file = join(source, 'model.gguf');
  if (statSync(file, { throwIfNoEntry: false }) === undefined)
    await watch(...cli('convert', checkpoint.folder, '--to', 'gguf-f16', '--out', source, '--no-verify'));
  mkdirSync(out, { recursive: true });
  const script = join(ROOT, 'scripts/conformance/llama_cpp.py');
  const args = [
    script,
    '--threads',
    threads,
    llamaFolder(),
    'quantize',
    file,
    join(out, 'llama.gguf'),
    'Q4_0',
  ];
  const run = await watch(python(), args);
  const { seconds } = lastJson(run.output) as { seconds: number };
  return {
    program: `llama.cpp, ${threads} threads`,
    target: 'Q4_0',
    weights: linearWeights + tableWeights,
    sourceBytes: statSync(file).size,
    seconds,
    cpuSeconds: run.cpuSeconds,
    note: 'from float16',
    peakRssBytes: run.peakRssBytes,
  };
}

function setUp(script: string, ...args: readonly string[]): string {
  const text = execFileSync('bash', [`scripts/conformance/${script}`, ...args], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  return text.trim().split('\n').at(-1) ?? '';
}

function python(): string {
  return flags.python ?? join(setUp('setup.sh', '--use'), 'bin/python');
}

function llamaFolder(): string {
  return flags.llama ?? join(setUp('setup-npm.sh'), 'node_modules/@node-llama-cpp/linux-x64/bins/linux-x64');
}

async function measureAll(): Promise<Measured[]> {
  const best = new Map<string, Measured>();
  const keep = (found: Measured): void => {
    const key = `${found.target} ${found.program}`;
    const before = best.get(key);
    if (before === undefined || found.seconds < before.seconds) best.set(key, found);
    rmSync(out, { recursive: true, force: true });
  };
  for (let round = 0; round < Number(flags.rounds); round++) {
    if (chosen.has('cpu')) keep(await ours('cpu', 'NF4'));
    if (chosen.has('bitsandbytes')) keep(await bitsandbytes());
    if (chosen.has('cpu')) keep(await ours('cpu', 'Q4_0'));
    if (chosen.has('llama.cpp')) keep(await llama());
    if (chosen.has('webgpu')) {
      keep(await ours('webgpu', 'NF4'));
      keep(await ours('webgpu', 'Q4_0'));
    }
  }
  return [...best.values()];
}

function row(found: Measured): string {
  const cells = [
    found.target,
    found.program,
    found.seconds.toFixed(1),
    found.cpuSeconds.toFixed(1),
    (found.sourceBytes / found.seconds / 1e9).toFixed(2),
    (found.weights / found.seconds / 1e6).toFixed(0),
    (found.peakRssBytes / 1e6).toFixed(0),
    found.peakGpuBytes === undefined ? '' : (found.peakGpuBytes / 1e6).toFixed(0),
    found.note,
  ];
  return `| ${cells.join(' | ')} |`;
}

const found = (await measureAll()).sort((a, b) => a.target.localeCompare(b.target));
const lines = [
  `${(sourceBytes / 1e9).toFixed(2)} GB of bfloat16, ${checkpoint.layers} layers, ${cpus()[0].model}, ${threads} threads, best of ${flags.rounds}`,
  '',
  '| target | program | s | processor s | GB/s of source | M weights/s | peak RSS MB | peak engine MB | |',
  '|---|---|---|---|---|---|---|---|---|',
  ...found.map(row),
];
process.stdout.write(`${lines.join('\n')}\n`);
if (!flags.keep) rmSync(flags.folder, { recursive: true, force: true });
