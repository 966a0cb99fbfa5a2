/**
 * Every bad input of the contract through the real command line: the message says what, where and what to do, the exit
 * code is right, nothing is left behind and nothing is printed on stdout. The control is quantize.test.ts: the same
 * command on the undamaged model succeeds.
 */
import { readFileSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { copyModel, editHeader, editJson, pokeElement, shardModel } from './broken-models.js';
import { entries, runCli, temporaryFolder, tiny, writeText } from './run-cli.js';

const work = temporaryFolder();
const calib = writeText(work, 'calib.txt', 60);
const weights = (model: string): string => join(model, 'model.safetensors');

interface BadInput {
  readonly what: string;
  /** Makes the model and returns its path. */
  readonly make: () => string | Promise<string>;
  readonly args?: readonly string[];
  readonly code: 1 | 2;
  /** Every one must match stderr. */
  readonly says: readonly RegExp[];
}

let count = 0;
const model = (from?: string): string => copyModel(work, `model-${count++}`, from);
const damaged = (damage: (path: string) => void, from?: string): string => {
  const path = model(from);
  damage(path);
  return path;
};

const FILES: readonly BadInput[] = [
  {
    what: 'a missing shard',
    make: async () => {
      const path = model();
      await shardModel(path, 100_000);
      unlinkSync(join(path, 'model-00002-of-00002.safetensors'));
      return path;
    },
    code: 1,
    says: [/model-00002-of-00002\.safetensors/, /→ /],
  },
  {
    what: 'a truncated shard',
    make: async () => {
      const path = model();
      await shardModel(path, 100_000);
      truncateSync(join(path, 'model-00002-of-00002.safetensors'), 12_000);
      return path;
    },
    code: 1,
    says: [/model-00002-of-00002\.safetensors/, /12000/, /→ .*again/],
  },
  {
    what: 'an index that leaves the folder',
    make: async () => {
      const path = model();
      await shardModel(path, 100_000);
      editJson(join(path, 'model.safetensors.index.json'), (index) => {
        (index.weight_map as Record<string, string>)['model.norm.weight'] = '../secret.safetensors';
      });
      return path;
    },
    code: 1,
    says: [/\.\.\/secret\.safetensors/, /"\.\."/],
  },
  {
    what: 'a header longer than the file',
    make: () =>
      damaged((path) => {
        const bytes = readFileSync(weights(path));
        bytes.writeBigUInt64LE(90_000_000n, 0);
        writeFileSync(weights(path), bytes);
      }),
    code: 1,
    says: [/model\.safetensors/, /90000000 bytes declared/, /→ /],
  },
  {
    what: 'an unknown dtype',
    make: () =>
      damaged((path) =>
        editHeader(weights(path), (header) => {
          (header['model.norm.weight'] as { dtype: string }).dtype = 'F4';
        }),
      ),
    code: 1,
    says: [/model\.norm\.weight/, /unknown dtype "F4"/],
  },
  {
    what: 'a weight of an integer dtype',
    make: () =>
      damaged((path) =>
        editHeader(weights(path), (header) => {
          (header['model.layers.0.mlp.up_proj.weight'] as { dtype: string }).dtype = 'I16';
        }),
      ),
    code: 1,
    says: [/model\.layers\.0\.mlp\.up_proj\.weight/, /I16 found/, /→ /],
  },
  {
    what: 'NaN in a linear',
    make: () =>
      damaged((path) => pokeElement(weights(path), 'model.layers.1.mlp.up_proj.weight', 77, 0x7fc0)),
    code: 1,
    says: [/model\.layers\.1\.mlp\.up_proj\.weight/, /element 77/, /NaN or infinity/],
  },
  {
    what: 'infinity in a norm',
    make: () => damaged((path) => pokeElement(weights(path), 'model.norm.weight', 5, 0xff80)),
    code: 1,
    says: [/model\.norm\.weight/, /element 5/, /NaN or infinity/],
  },
  {
    what: 'missing tensors, all of them listed',
    make: () =>
      damaged((path) =>
        editJson(join(path, 'config.json'), (config) => {
          config.num_hidden_layers = 3;
        }),
      ),
    code: 1,
    says: [
      /model\.layers\.2\.input_layernorm\.weight/,
      /model\.layers\.2\.mlp\.down_proj\.weight/,
      /missing/,
    ],
  },
  {
    what: 'an unknown architecture',
    make: () =>
      damaged((path) =>
        editJson(join(path, 'config.json'), (config) => {
          config.model_type = 'mamba';
        }),
      ),
    code: 2,
    says: [/config\.json/, /"mamba"/, /llama/, /→ /],
  },
  {
    what: 'no config',
    make: () => damaged((path) => unlinkSync(join(path, 'config.json'))),
    code: 1,
    says: [/config\.json is missing/],
  },
  {
    what: 'a tokenizer without a vocabulary',
    make: () =>
      damaged((path) =>
        editJson(join(path, 'tokenizer.json'), (tokenizer) => {
          (tokenizer.model as Record<string, unknown>).vocab = {};
        }),
      ),
    code: 1,
    says: [/tokenizer\.json/, /no vocabulary/, /→ /],
  },
];

const SETTINGS: readonly BadInput[] = [
  {
    what: 'calibration text shorter than one window',
    make: () => tiny('llama'),
    args: ['--calib', writeText(work, 'short.txt', 0)],
    code: 2,
    says: [/short\.txt/, /0 tokens, one window needs 64/, /→ /],
  },
  {
    what: 'a calibration file that is not there',
    make: () => tiny('llama'),
    args: ['--calib', join(work, 'nowhere.txt')],
    code: 2,
    says: [/nowhere\.txt: no such file/],
  },
  {
    what: 'a group size that does not divide, every linear listed',
    make: () => tiny('llama'),
    args: ['--group-size', '48'],
    code: 2,
    says: [
      /14 linears/,
      /layers\.0\.self_attn\.q_proj/,
      /layers\.1\.mlp\.down_proj/,
      /group size 48/,
      /--skip-unsupported/,
    ],
  },
  {
    what: 'a group size out of range',
    make: () => tiny('llama'),
    args: ['--group-size', '8'],
    code: 2,
    says: [/group size 8/],
  },
  {
    what: 'a tied head that is to be quantized',
    make: () => tiny('llama'),
    args: ['--lm-head'],
    code: 2,
    says: [/lm_head is tied to the embeddings/, /leave out --lm-head/],
  },
  {
    what: 'an option that has no meaning for the method',
    make: () => tiny('llama'),
    args: ['--method', 'rtn', '--refine', '2', '--calib', calib],
    code: 2,
    says: [/--refine/, /rtn/],
  },
  {
    what: 'an adapter that is not there',
    make: () => tiny('llama'),
    args: ['--device', 'no-such-gpu'],
    code: 1,
    says: [/no WebGPU adapter named "no-such-gpu"/, /--device cpu/],
  },
  {
    what: 'a memory budget that is too small',
    make: () => tiny('llama'),
    args: ['--gpu-memory', '20kB'],
    code: 1,
    says: [/budget|largest tensor/i],
  },
  {
    what: 'a model that is not there',
    make: () => join(work, 'no', 'such', 'model'),
    code: 2,
    says: [/no such file or folder/, /owner\/name/],
  },
];

async function expectRefusal({ make, args = [], code, says }: BadInput): Promise<void> {
  const path = await make();
  const place = copyModel(work, `place-${count++}`);
  const before = entries(place);
  const out = join(place, 'out');
  const defaults = ['--group-size', '32', '--device', 'cpu', '--samples', '4', '--json'];
  const withCalib = args.includes('--method') || args.includes('--calib') ? [] : ['--calib', calib];
  const result = await runCli(['quantize', path, '--out', out, ...defaults, ...withCalib, ...args]);
  for (const pattern of says) expect(result.stderr).toMatch(pattern);
  expect(result.stderr).toMatch(/^halfbyte: /m);
  expect(result.stderr).not.toMatch(/mistake in halfbyte/);
  expect(result.stdout).toBe('');
  expect(result.code).toBe(code);
  expect(entries(place)).toEqual(before);
}

describe('damaged files', () => {
  for (const input of FILES) it(`${input.what} exits ${input.code}`, () => expectRefusal(input));
});

describe('impossible settings', () => {
  for (const input of SETTINGS) it(`${input.what} exits ${input.code}`, () => expectRefusal(input));
});
