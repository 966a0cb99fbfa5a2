/** The program of scripts/library-example.mts runs as it stands, with `halfbyte` meaning this source tree. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { entries, ROOT, temporaryFolder, tiny, writeText } from './run-cli.js';

const work = temporaryFolder();

describe('scripts/library-example.mts', () => {
  it('quantizes, evaluates and prints', () => {
    const out = join(work, 'out');
    const args = [
      '--import',
      'tsx',
      'scripts/library-example.mts',
      tiny('llama'),
      out,
      writeText(work, 'text.txt', 60),
    ];
    const done = spawnSync(process.execPath, args, {
      cwd: ROOT,
      encoding: 'utf8',
      env: { ...process.env, DEVICE: 'cpu', TSX_TSCONFIG_PATH: join(ROOT, 'test/cli/tsconfig.example.json') },
    });
    expect(done.stderr).toBe('');
    expect(done.stdout).toMatch(
      /^14 linears at 5\.21 bits per weight\nlargest output error: .* in model\.layers.*\nperplexity [\d.]+ → [\d.]+\nmean KLD 0\.\d+\n$/,
    );
    expect(done.status).toBe(0);
    expect(entries(out)).toContain('halfbyte.json');
  });
});
