import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const ENTRY = join(ROOT, 'src/cli/main.ts');

export const tiny = (name: string): string => join(ROOT, 'test/fixtures/tiny', name);

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The command that starts the TypeScript entry in a fresh process. */
export function cliCommand(args: readonly string[]): readonly string[] {
  return [process.execPath, '--import', 'tsx', ENTRY, ...args];
}

export function startCli(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  const [command, ...rest] = cliCommand(args);
  return spawn(command, rest, {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
}

/** Runs the real command line to its end. */
export async function runCli(args: readonly string[], env?: Record<string, string>): Promise<CliResult> {
  return collect(startCli(args, env));
}

export function collect(child: ChildProcess): Promise<CliResult> {
  const text = { stdout: '', stderr: '' };
  child.stdout?.on('data', (bytes: Buffer) => (text.stdout += bytes.toString()));
  child.stderr?.on('data', (bytes: Buffer) => (text.stderr += bytes.toString()));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, ...text }));
  });
}

/** A folder for one test file, removed at its end. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'halfbyte-test-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Text in the tiny models' alphabet: `sentences` different lines of about fifty characters. */
export function writeText(folder: string, name: string, sentences: number): string {
  const lines = Array.from(
    { length: sentences },
    (_, i) => `Fox number ${i} ran over hill ${(i * 37) % 101} and saw ${(i * 7) % 89} birds.\n`,
  );
  const path = join(folder, name);
  writeFileSync(path, lines.join(''));
  return path;
}

/** What a folder holds, hidden entries counted: leftovers have names that begin with a dot. */
export function entries(folder: string): string[] {
  return readdirSync(folder).sort();
}
