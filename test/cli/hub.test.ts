/** A Hub id on the command line: downloaded once into the cache, pinned to its commit, named in card and record. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HubServer, RepoFile } from '../hub/hub-server.js';
import { startHubServer } from '../hub/hub-server.js';
import { runCli, temporaryFolder, tiny } from './run-cli.js';

const COMMIT = 'c0ffee'.padEnd(40, '0');
const work = temporaryFolder();
let server: HubServer;

beforeAll(async () => {
  const files: Record<string, RepoFile> = {
    'README.md': { content: new TextEncoder().encode('---\nlicense: mit\n---\n# tiny') },
    'pytorch_model.bin': { content: new Uint8Array(100), lfs: true },
  };
  for (const name of readdirSync(tiny('llama')))
    if (name !== 'expected.safetensors')
      files[name] = {
        content: new Uint8Array(readFileSync(join(tiny('llama'), name))),
        lfs: name.endsWith('.safetensors'),
      };
  server = await startHubServer({
    'someone/tiny-llama': { commit: COMMIT, branches: ['main'], files, token: 'secret' },
  });
});
afterAll(() => server.close());

const env = (): Record<string, string> => {
  return { HF_ENDPOINT: server.endpoint, HF_HOME: join(work, 'home'), HF_TOKEN: 'secret', HF_HUB_CACHE: '' };
};

describe('a Hub id', () => {
  it('is quantized from the cache, and the card names base model, revision and licence', async () => {
    const out = join(work, 'out');
    const args = ['--method', 'rtn', '--group-size', '32', '--device', 'cpu', '--json'];
    const result = await runCli(['quantize', 'someone/tiny-llama', '--out', out, ...args], env());
    expect(result).toMatchObject({ code: 0, stderr: '' });
    const card = readFileSync(join(out, 'README.md'), 'utf8');
    expect(card).toMatch(
      /^---\nbase_model: someone\/tiny-llama\nbase_model_relation: quantized\nlicense: mit\n/,
    );
    expect(card).toContain(`halfbyte quantize someone/tiny-llama@${COMMIT} --out DIR --method rtn`);
    const record = JSON.parse(readFileSync(join(out, 'halfbyte.json'), 'utf8')) as object;
    expect(record).toMatchObject({ source: { model: 'someone/tiny-llama', revision: COMMIT, sha256: {} } });
    const fetched = server.requests.filter(({ path }) => path.includes('pytorch_model.bin'));
    expect(fetched).toEqual([]);
  });

  it('that nobody has exits 1 with advice', async () => {
    const result = await runCli(['inspect', 'someone/nothing', '--json'], env());
    expect(result).toMatchObject({ code: 1, stdout: '' });
    expect(result.stderr).toMatch(/someone\/nothing@main: not found/);
    expect(result.stderr).toMatch(/→ /);
  });
});
