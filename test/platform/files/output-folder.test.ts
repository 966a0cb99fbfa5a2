// Plan: the folder appears by one rename or not at all: after success, failure, refusal, a full disk, and kill -9 at
// arbitrary moments of writing and replacing. Control: a plain write and commit.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HalfbyteError, UserError } from '../../../src/core/errors.js';
import { writeOutputFolder } from '../../../src/io/output-folder.js';
import { createOutputFolder } from '../../../src/platform/node/files/output-folder.js';
import { isStale, partialName } from '../../../src/platform/node/files/partial-name.js';

let root: string;
let target: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'halfbyte-out-'));
  target = join(root, 'model');
});
afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

async function writeModel(content: string, overwrite = false): Promise<string> {
  return writeOutputFolder(await createOutputFolder(target, { overwrite }), async (folder) => {
    await folder.writeText('config.json', content);
    const sink = await folder.create('deep/weights.bin');
    for (let i = 0; i < 5; i++) await sink.append(new Uint8Array(700_001).fill(i));
    await sink.seal();
  });
}

describe('createOutputFolder', () => {
  it('writes a complete folder and leaves nothing beside it', async () => {
    const folder = await createOutputFolder(target);
    await folder.writeText('config.json', '{}');
    expect(existsSync(target)).toBe(false);
    await folder.commit();
    expect(readdirSync(root)).toEqual(['model']);
    await folder.abort();
    expect(readFileSync(join(target, 'config.json'), 'utf8')).toBe('{}');
  });

  it('keeps the order of small and big chunks', async () => {
    await writeModel('x');
    const bytes = readFileSync(join(target, 'deep/weights.bin'));
    expect(bytes.byteLength).toBe(5 * 700_001);
    for (let i = 0; i < 5; i++) {
      expect(bytes[i * 700_001]).toBe(i);
      expect(bytes[(i + 1) * 700_001 - 1]).toBe(i);
    }
  });

  it('leaves nothing behind when writing fails', async () => {
    const failing = writeOutputFolder(await createOutputFolder(target), async (folder) => {
      await folder.writeText('config.json', '{}');
      await folder.create('half.bin');
      throw new Error('boom');
    });
    await expect(failing).rejects.toThrow('boom');
    expect(readdirSync(root)).toEqual([]);
  });

  it('refuses an existing folder without overwrite, before and after writing', async () => {
    const early = await createOutputFolder(target);
    await early.writeText('config.json', 'late');
    await writeModel('first');
    await expect(createOutputFolder(target)).rejects.toThrow(UserError);
    const refusal: unknown = await createOutputFolder(target).catch((error: unknown) => error);
    expect((refusal as UserError).advice).toContain('--overwrite');
    await expect(early.commit()).rejects.toThrow('already exists');
    await early.abort();
    expect(readFileSync(join(target, 'config.json'), 'utf8')).toBe('first');
    expect(readdirSync(root)).toEqual(['model']);
  });

  it('replaces a model folder with overwrite, at commit and not before', async () => {
    await writeModel('old');
    writeFileSync(join(target, 'extra.txt'), 'gone afterwards');
    const folder = await createOutputFolder(target, { overwrite: true });
    await folder.writeText('config.json', 'new');
    expect(readFileSync(join(target, 'config.json'), 'utf8')).toBe('old');
    await folder.commit();
    expect(readdirSync(target)).toEqual(['config.json']);
    expect(readFileSync(join(target, 'config.json'), 'utf8')).toBe('new');
    expect(readdirSync(root)).toEqual(['model']);
  });

  it('never replaces what is no model folder', async () => {
    mkdirSync(target);
    writeFileSync(join(target, 'thesis.txt'), 'years of work');
    await expect(createOutputFolder(target, { overwrite: true })).rejects.toThrow('no model');
    rmSync(target, { recursive: true });
    writeFileSync(target, 'a file');
    await expect(createOutputFolder(target, { overwrite: true })).rejects.toThrow('not a folder');
    rmSync(target);
    symlinkSync(tmpdir(), target);
    await expect(createOutputFolder(target, { overwrite: true })).rejects.toThrow('not a folder');
  });

  it.each(['../escape', '/etc/x', 'a\\b', ''])('refuses the file name %j', async (name) => {
    const folder = await createOutputFolder(target);
    await expect(folder.create(name)).rejects.toThrow(UserError);
    await folder.abort();
  });

  it('says so at once when the disk cannot hold what is expected', async () => {
    const asked = createOutputFolder(target, { expectedBytes: 1e15 });
    await expect(asked).rejects.toThrow(/the disk is full: 1000000000000000 bytes needed, \d+ bytes free/);
    expect(readdirSync(root)).toEqual([]);
  });
});

describe('what dead processes left', () => {
  it('is removed or put back, and nothing else is', async () => {
    const dead = spawn(process.execPath, ['-e', '']);
    await once(dead, 'exit');
    const tag = (name: string, pid: number): string => name.replace(`-${process.pid}-`, `-${pid}-`);
    const ofDead = tag(partialName('model', 'partial'), dead.pid ?? 0);
    const replaced = tag(partialName('model', 'replaced'), dead.pid ?? 0);
    const kept = [
      tag(partialName('model', 'partial'), process.ppid),
      tag(partialName('other', 'partial'), dead.pid ?? 0),
      partialName('model', 'partial').replace(/-[0-9a-f]{6}-\d+-/, `-abcdef-${dead.pid ?? 0}-`),
      '.model.partial-notes',
    ];
    for (const entry of [ofDead, replaced, ...kept]) mkdirSync(join(root, entry));
    writeFileSync(join(root, replaced, 'config.json'), 'the old one');

    await expect(createOutputFolder(target)).rejects.toThrow('already exists');
    expect(readFileSync(join(target, 'config.json'), 'utf8')).toBe('the old one');
    expect(readdirSync(root).sort()).toEqual(['model', ...kept].sort());
    expect(isStale(ofDead, 'model', 'partial')).toBe(true);
  });
});

describe('kill -9', () => {
  it('leaves no folder or a complete one, whenever it strikes', { timeout: 240_000 }, async () => {
    await Promise.all([3, 17, 53].map(killAfter));
  });

  async function killAfter(delayMs: number): Promise<void> {
    const place = join(root, String(delayMs));
    const model = join(place, 'model');
    const script = new URL('version-writer.ts', import.meta.url).pathname;
    const child = spawn(process.execPath, ['--import', 'tsx', script, model, '400000'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    await new Promise((done) => setTimeout(done, delayMs));
    child.kill('SIGKILL');
    await once(child, 'exit');
    if (existsSync(model)) expectWholeVersion(model);

    // The next run clears the ruins; it finds the last complete version even if the kill fell between the renames.
    const next = await createOutputFolder(model, { overwrite: true });
    expectWholeVersion(model);
    await next.abort();
    expect(readdirSync(place)).toEqual(['model']);
  }

  function expectWholeVersion(model: string): void {
    const { version } = JSON.parse(readFileSync(join(model, 'config.json'), 'utf8')) as { version: number };
    for (const name of ['a.bin', 'deep/b.bin']) {
      // Not toEqual, which takes seconds for so many elements.
      expect(readFileSync(join(model, name)).equals(Buffer.alloc(400_000, version & 0xff))).toBe(true);
    }
  }
});

/** A file system of 2 MB; undefined where mounting is not allowed. */
function mountTinyDisk(place: string): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  mkdirSync(place);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', place], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

describe('a full disk', () => {
  it('is explained and leaves nothing behind', async (context) => {
    const disk = join(root, 'disk');
    if (!mountTinyDisk(disk)) return context.skip('mounting a small file system needs root');
    try {
      const folder = await createOutputFolder(join(disk, 'model'));
      const failure: unknown = await writeOutputFolder(folder, async () => {
        const sink = await folder.create('big.bin');
        for (let i = 0; i < 10; i++) await sink.append(new Uint8Array(500_000));
        await sink.seal();
      }).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(HalfbyteError);
      expect((failure as HalfbyteError).message).toMatch(
        /the disk is full: stopped after \d+ bytes of big\.bin, \d+ bytes free/,
      );
      expect((failure as HalfbyteError).advice).toContain('free some space');
      expect(readdirSync(disk)).toEqual([]);
    } finally {
      execFileSync('umount', [disk]);
    }
  });
});
