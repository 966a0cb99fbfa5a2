import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const execFileAsync = promisify(execFile);

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const BUNDLED = join(ROOT, 'test/fixtures/bundled');

const MAX_OUTPUT_BYTES = 64 * 2 ** 20;

/** The folder that one of the setup scripts prints, made on first use. */
async function setUp(script: string, ...flags: readonly string[]): Promise<string> {
  const { stdout } = await execFileAsync('bash', [join(ROOT, 'scripts/conformance', script), ...flags], {
    timeout: 1_800_000,
    maxBuffer: MAX_OUTPUT_BYTES,
  });
  return stdout.trim().split('\n').at(-1) ?? '';
}

/** The Python environment with the peers of scripts/conformance/requirements*.txt. */
export function pythonPeers(): Promise<string> {
  return setUp('setup.sh', '--use');
}

/** The folder whose node_modules holds the peers of scripts/conformance/npm/package.json. */
export function npmPeers(): Promise<string> {
  return setUp('setup-npm.sh');
}

/** Runs one of scripts/conformance/*.py and parses the JSON document it prints last. */
export async function runPeer(script: string, args: readonly string[]): Promise<Record<string, unknown>> {
  const python = join(await pythonPeers(), 'bin/python');
  const { stdout } = await execFileAsync(python, [join(ROOT, 'scripts/conformance', script), ...args], {
    maxBuffer: MAX_OUTPUT_BYTES,
    env: { ...process.env, HF_HUB_OFFLINE: '1', TRANSFORMERS_VERBOSITY: 'error' },
  });
  return parseLastJson(stdout);
}

/** Runs a TypeScript script of ours and parses the JSON document it prints. */
export function runScript(script: string, args: readonly string[]): Promise<Record<string, unknown>> {
  return runProgram(['--import', 'tsx', join(ROOT, script), ...args]);
}

/**
 * Runs a script of scripts/conformance/ (.mjs, .ts) in which the packages of npm/package.json can be imported by name, and
 * parses the JSON document it prints.
 */
export async function runNpmPeer(script: string, args: readonly string[]): Promise<Record<string, unknown>> {
  const scripts = join(ROOT, 'scripts/conformance');
  const flags = ['--import', 'tsx', '--import', join(scripts, 'npm/peer-modules.mjs')];
  return runProgram([...flags, join(scripts, script), ...args], { HALFBYTE_NPM_PEERS: await npmPeers() });
}

/** Runs the built command line with --json, as people do; `npm run build` makes it. */
export function halfbyte(...args: readonly string[]): Promise<Record<string, unknown>> {
  return runProgram([join(ROOT, 'dist/cli/main.js'), ...args, '--json']);
}

async function runProgram(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Record<string, unknown>> {
  const { stdout } = await execFileAsync(process.execPath, args, {
    cwd: ROOT,
    maxBuffer: MAX_OUTPUT_BYTES,
    env: { ...process.env, ...env },
  });
  return parseLastJson(stdout);
}

function parseLastJson(stdout: string): Record<string, unknown> {
  const text = stdout.slice(Math.max(0, stdout.search(/^\{/m)));
  return JSON.parse(text) as Record<string, unknown>;
}

/** A folder that lives as long as the callback. */
export async function withFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'halfbyte-conformance-'));
  try {
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
