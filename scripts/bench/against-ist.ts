/**
 * GPTQ of one decoder layer of the 1.1-billion-parameter Llama shape: the cpu engine in float32 against the published
 * algorithm in PyTorch float32, on the same processor, turn by turn in the same run. Both get their inputs ready made and are
 * timed over Hessians and quantization alone. Prints JSON; needs the Python of scripts/conformance/setup.sh.
 *
 *   npx tsx scripts/bench/against-ist.ts [--rounds 3]
 */
import { execFileSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const TOKENS = '2048';

function run(command: string, args: readonly string[]): string {
  return execFileSync(command, args, { cwd: ROOT, encoding: 'utf8', maxBuffer: 2 ** 26 });
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '3' } } });
const python = join(
  run('bash', ['scripts/conformance/setup.sh']).trim().split('\n').at(-1) ?? '',
  'bin/python',
);
const ours: number[] = [];
const theirs: number[] = [];
for (let round = 0; round < Number(values.rounds); round++) {
  const own = run(process.execPath, [
    '--import',
    'tsx',
    'scripts/bench/cpu-gptq-layer.ts',
    '--tokens',
    TOKENS,
  ]);
  ours.push((JSON.parse(own) as { seconds: number }).seconds);
  const threads = String(availableParallelism());
  const peer = run(python, ['scripts/bench/ist_gptq_layer.py', '--tokens', TOKENS, '--threads', threads]);
  theirs.push((JSON.parse(peer) as { seconds: { total: number } }).seconds.total);
}
const ratio = median(theirs) / median(ours);
process.stdout.write(
  `${JSON.stringify({ oursSeconds: ours, pytorchSeconds: theirs, timesAsFast: ratio }, null, 2)}\n`,
);
