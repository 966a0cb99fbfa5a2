/**
 * What an interrupted, killed or disk-less run leaves: no output folder, or a complete one. Ctrl-C also removes the
 * hidden folder the run was writing to; kill -9 cannot, but the next run for the same target does.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  cliCommand,
  collect,
  entries,
  runCli,
  startCli,
  temporaryFolder,
  tiny,
  writeText,
} from './run-cli.js';
import type { CliResult } from './run-cli.js';

const work = temporaryFolder();
/** Enough calibration to be busy for a long time. */
const long = writeText(work, 'long.txt', 20_000);
const LONG = ['--device', 'cpu', '--group-size', '32', '--samples', '4000', '--calib', long];
const SHORT = ['--device', 'cpu', '--group-size', '32', '--method', 'rtn', '--quiet', '--json'];

/** Starts a long run, waits until it is writing, and sends a signal. */
async function interrupted(place: string, signal: NodeJS.Signals): Promise<CliResult> {
  mkdirSync(place);
  const child = startCli(['quantize', tiny('llama'), '--out', join(place, 'out'), ...LONG]);
  const ended = collect(child);
  const deadline = Date.now() + 60_000;
  while (!entries(place).some((name) => name.includes('.partial-'))) {
    if (child.exitCode !== null || Date.now() > deadline)
      throw new Error(`never wrote: ${(await ended).stderr}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  child.kill(signal);
  return ended;
}

describe('interruption', () => {
  it('Ctrl-C exits 130 and removes what was written', async () => {
    const place = join(work, 'sigint');
    const result = await interrupted(place, 'SIGINT');
    expect(result.code).toBe(130);
    expect(result.stderr).toMatch(/halfbyte: interrupted/);
    expect(result.stdout).toBe('');
    expect(entries(place)).toEqual([]);
  });

  it('kill -9 leaves no output folder, and the next run cleans up behind it', async () => {
    const place = join(work, 'sigkill');
    const result = await interrupted(place, 'SIGKILL');
    expect(result.code).toBe(null);
    expect(existsSync(join(place, 'out'))).toBe(false);
    const next = await runCli(['quantize', tiny('llama'), '--out', join(place, 'out'), ...SHORT]);
    expect(next).toMatchObject({ code: 0, stderr: '' });
    expect(entries(place)).toEqual(['out']);
  });

  it('killed at random moments it leaves no folder or a complete one', async () => {
    const place = join(work, 'random');
    mkdirSync(place);
    // Moments spread over start, writing, the rename and after it; the run takes about a second on an idle machine.
    for (const [run, delayMs] of [600, 1000, 1400, 1900, 2500].entries()) {
      const out = join(place, `out-${run}`);
      const child = startCli(['quantize', tiny('llama'), '--out', out, ...SHORT]);
      const ended = collect(child);
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      child.kill('SIGKILL');
      await ended;
      if (existsSync(out))
        expect(Object.keys(recordedFiles(out)).sort()).toEqual(filesBut(out, 'halfbyte.json'));
    }
  });
});

function recordedFiles(out: string): Record<string, string> {
  return (JSON.parse(readFileSync(join(out, 'halfbyte.json'), 'utf8')) as { files: Record<string, string> })
    .files;
}

function filesBut(folder: string, name: string): string[] {
  return entries(folder).filter((entry) => entry !== name);
}

/** Runs the command with `place` being a disk of `size` bytes of its own, and prints what is left there. */
function onSmallDisk(
  place: string,
  size: string,
  args: readonly string[],
): { code: number | null; text: string } {
  const quoted = cliCommand(args).map((word) => `'${word}'`);
  const script = `mount -t tmpfs -o size=${size} tmpfs '${place}' && ${quoted.join(' ')}; code=$?; echo "left: $(ls -A '${place}')"; exit $code`;
  const done = spawnSync('unshare', ['-Urm', 'sh', '-c', script], { encoding: 'utf8' });
  return { code: done.status, text: `${done.stdout}${done.stderr}` };
}

const canMount = spawnSync('unshare', ['-Urm', 'sh', '-c', 'mount -t tmpfs tmpfs /mnt']).status === 0;

describe.skipIf(!canMount)('a full disk (needs unshare with user namespaces)', () => {
  // Weights take 57 kB, the whole folder 80 kB: the first disk is refused beforehand, the second fills up.
  for (const [size, what] of [
    ['32k', /the disk is full: \d+ bytes needed/],
    ['64k', /the disk is full: stopped after/],
  ] as const)
    it(`of ${size} exits 1 and leaves nothing`, () => {
      const place = join(work, `disk-${size}`);
      mkdirSync(place);
      const { code, text } = onSmallDisk(place, size, [
        ...['quantize', tiny('llama'), '--out', join(place, 'out'), ...SHORT],
      ]);
      expect(text).toMatch(what);
      expect(text).toMatch(/→ free some space/);
      expect(text).toMatch(/^left: $/m);
      expect(code).toBe(1);
    });
});
