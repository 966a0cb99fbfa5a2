import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT, runNpmPeer, runPeer } from './peers.js';

/**
 * Plan: every consumer that the suite is to run against can be imported, in the version that is pinned. What is missing
 * fails here unless exceptions.txt names it with a reason.
 */
const SCRIPTS = join(ROOT, 'scripts/conformance');

/** NAME → reason. */
function exceptions(text: string): Map<string, string> {
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const at = line.indexOf(':');
      return at < 0 ? [line.trim(), ''] : [line.slice(0, at).trim(), line.slice(at + 1).trim()];
    }),
  );
}

/** What is wrong with the installed versions: one line a package. */
function complaints(
  pinned: ReadonlyMap<string, string>,
  installed: Readonly<Record<string, string | null>>,
  excepted: ReadonlyMap<string, string>,
): string[] {
  return [...pinned].flatMap(([name, version]) => {
    if (installed[name] === version) return [];
    if ((installed[name] ?? null) === null && (excepted.get(name) ?? '') !== '') return [];
    return [`${name}: ${installed[name] ?? 'missing'}, pinned ${version}`];
  });
}

function pinnedPython(): Map<string, string> {
  const lines = ['requirements.txt', 'requirements-unisolated.txt'].flatMap((file) =>
    readFileSync(join(SCRIPTS, file), 'utf8').split('\n'),
  );
  const pins = lines.flatMap((line) => {
    const pin = /^([\w-]+)==([^;\s]+)(;.*)?$/.exec(line);
    return pin === null || (pin[3]?.includes('linux') && process.platform !== 'linux') ? [] : [pin];
  });
  return new Map(pins.map(([, name, version]) => [name, version]));
}

const excepted = exceptions(readFileSync(join(SCRIPTS, 'exceptions.txt'), 'utf8'));

describe('the consumers of our files', () => {
  it('are all there in Python', async () => {
    const pinned = pinnedPython();
    expect(pinned.size).toBeGreaterThan(15);
    const { versions, reasons } = await runPeer('python_versions.py', []);
    process.stdout.write(`${JSON.stringify({ versions, reasons })}\n`);
    expect(complaints(pinned, versions as Record<string, string | null>, excepted)).toEqual([]);
  });

  it('are all there in JavaScript', async () => {
    const { dependencies } = JSON.parse(readFileSync(join(SCRIPTS, 'npm/package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
    };
    const { versions } = await runNpmPeer('npm_versions.mjs', []);
    process.stdout.write(`${JSON.stringify({ versions })}\n`);
    const pinned = new Map(Object.entries(dependencies));
    expect(complaints(pinned, versions as Record<string, string | null>, excepted)).toEqual([]);
  });

  it('are excepted with a reason or not at all', () => {
    expect([...excepted].filter(([, reason]) => reason === '').map(([name]) => name)).toEqual([]);
  });

  it('are missed: absent, of another version, excepted without a reason', () => {
    const pinned = new Map([
      ['here', '1'],
      ['other', '1'],
      ['absent', '1'],
      ['excused', '1'],
      ['unexcused', '1'],
    ]);
    const installed = { here: '1', other: '2', absent: null, excused: null };
    const lines = complaints(pinned, installed, exceptions('# x\nexcused: no wheel\nunexcused\n'));
    expect(lines).toEqual([
      'other: 2, pinned 1',
      'absent: missing, pinned 1',
      'unexcused: missing, pinned 1',
    ]);
  });
});
