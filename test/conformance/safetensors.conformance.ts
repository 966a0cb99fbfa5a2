import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runPeer, runScript, withFolder } from './peers.js';

/** Plan: the Python safetensors library writes every dtype, we read and rewrite it, the library reads that back. */
const SHARD_BYTES = '2000';

describe('safetensors, both directions', () => {
  it('reads what Python wrote and writes what Python reads', async () => {
    await withFolder(async (folder) => {
      const made = join(folder, 'python.safetensors');
      await runPeer('safetensors_check.py', ['write', made]);
      const seen = await runScript('scripts/conformance/safetensors-roundtrip.ts', [
        made,
        join(folder, 'ours'),
        SHARD_BYTES,
      ]);
      expect(Object.keys(seen).length).toBeGreaterThan(0);
      for (const form of ['single', 'sharded']) {
        const result = await runPeer('safetensors_check.py', [
          'verify',
          join(folder, 'ours', form),
          `${made}.json`,
        ]);
        expect(result).toMatchObject({ ok: true, problems: [] });
      }
    });
  });

  it('notices a difference', async () => {
    await withFolder(async (folder) => {
      const made = join(folder, 'python.safetensors');
      await runPeer('safetensors_check.py', ['write', made]);
      await runScript('scripts/conformance/safetensors-roundtrip.ts', [
        made,
        join(folder, 'ours'),
        SHARD_BYTES,
      ]);
      writeFileSync(
        join(folder, 'wrong.json'),
        JSON.stringify({ absent: { dtype: 'F32', shape: [1], sha256: '' } }),
      );
      const check = runPeer('safetensors_check.py', [
        'verify',
        join(folder, 'ours', 'single'),
        join(folder, 'wrong.json'),
      ]);
      await expect(check).rejects.toThrow();
    });
  });
});
