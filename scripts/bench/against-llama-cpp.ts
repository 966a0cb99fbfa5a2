/**
 * Our 4-bit GGUF files (GPTQ on the block grid) against llama.cpp's own quantization of the same F16 file: KL divergence to
 * that file and perplexity, all measured in llama.cpp. llama.cpp quantizes twice: with the same type for every tensor as
 * in our file, and with its default mixture for that type. Prints Markdown. Needs `npm run build`.
 *
 *   tsx scripts/bench/against-llama-cpp.ts [--model DIR] [--text FILE] [--samples 64] [--seq-len 256] [--windows 0]
 *
 * The model's calibration.txt and evaluation.txt are used unless told otherwise; --windows 0 takes the whole text.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createTokenizer } from '../../src/text/index.js';
import { BUNDLED, halfbyte, npmPeers, runPeer, withFolder } from '../../test/conformance/peers.js';
import { findLlamaLibraries } from '../conformance/llama-libraries.js';

export interface Settings {
  readonly model: string;
  readonly text: string;
  readonly samples: number;
  readonly seqLen: number;
  /** Windows of the text that are judged; 0 for all. */
  readonly windows: number;
  /** Further flags of `halfbyte quantize`. */
  readonly flags?: readonly string[];
}

export interface Row {
  /** Block type of the linears, as llama.cpp calls it. */
  readonly type: string;
  readonly maker: 'halfbyte' | 'llama.cpp, same types' | 'llama.cpp, default mixture';
  readonly bytes: number;
  /** Mean KL divergence to the F16 file, nats per token. */
  readonly kld: number;
  readonly perplexity: number;
  /** Perplexity of the F16 file. */
  readonly reference: number;
  /** Tokens whose most likely successor is that of the F16 file. */
  readonly sameTop: number;
}

/** Our format, llama.cpp's file type for "the same types" and its default. */
const TYPES = [
  { type: 'Q4_0', format: 'gguf-q4_0', own: 'Q4_0' },
  { type: 'Q4_1', format: 'gguf-q4_1', own: 'Q4_1' },
  { type: 'Q4_K', format: 'gguf-q4_k', own: 'Q4_K_S' },
] as const;

/** The type in which our files keep a head, or an embedding that serves as one. */
const HEAD_TYPE = 'Q6_K';

export const DEFAULT_SETTINGS: Settings = {
  model: BUNDLED,
  text: join(BUNDLED, 'evaluation.txt'),
  samples: 64,
  seqLen: 256,
  windows: 0,
};

/** Quantizes with both programs and measures; rows in the order of TYPES, ours first. */
export async function compareWithLlamaCpp(settings: Settings): Promise<Row[]> {
  const libraries = findLlamaLibraries(await npmPeers());
  const llama = (...args: readonly string[]): Promise<Record<string, unknown>> =>
    runPeer('llama_cpp.py', [libraries, ...args]);
  return withFolder(async (folder) => {
    const ids = join(folder, 'ids.json');
    writeFileSync(ids, JSON.stringify(readWindows(settings)));
    await halfbyte('convert', settings.model, '--to', 'gguf-f16', '--out', join(folder, 'f16'));
    const reference = join(folder, 'f16/model.gguf');
    const files: { readonly type: string; readonly maker: Row['maker']; readonly file: string }[] = [];
    for (const { type, format, own } of TYPES) {
      const ours = join(folder, type);
      await quantizeOurs(settings, format, ours);
      files.push({ type, maker: 'halfbyte', file: join(ours, 'model.gguf') });
      const same = join(folder, `${type}-same.gguf`);
      await llama(
        'quantize',
        reference,
        same,
        own,
        '--pure',
        '--output-type',
        HEAD_TYPE,
        '--table-type',
        HEAD_TYPE,
      );
      files.push({ type, maker: 'llama.cpp, same types', file: same });
      const mixed = join(folder, `${type}-default.gguf`);
      await llama('quantize', reference, mixed, own);
      files.push({ type, maker: 'llama.cpp, default mixture', file: mixed });
    }
    const measured = await llama('divergence', reference, ids, ...files.map(({ file }) => file));
    const models = measured.models as readonly Record<string, number>[];
    return files.map(({ type, maker }, i) => ({
      type,
      maker,
      bytes: models[i].bytes,
      kld: models[i].kld,
      perplexity: models[i].perplexity,
      reference: models[i].reference_perplexity,
      sameTop: models[i].same_top,
    }));
  });
}

async function quantizeOurs(settings: Settings, format: string, out: string): Promise<void> {
  const calibration = ['--samples', String(settings.samples), '--seq-len', String(settings.seqLen)];
  const flags = ['--device', 'cpu', '--no-verify', ...(settings.flags ?? [])];
  await halfbyte('quantize', settings.model, '--out', out, '--format', format, ...calibration, ...flags);
}

/** Windows of token ids; the text's last tokens that fill no window are left out. */
function readWindows({ model, text, seqLen, windows }: Settings): number[][] {
  const tokenizer = createTokenizer({
    tokenizer: JSON.parse(readFileSync(join(model, 'tokenizer.json'), 'utf8')) as unknown,
  });
  const ids = Array.from(tokenizer.encode(readFileSync(text, 'utf8')));
  const whole = Math.floor(ids.length / seqLen);
  const count = windows === 0 ? whole : Math.min(windows, whole);
  return Array.from({ length: count }, (_, i) => ids.slice(i * seqLen, (i + 1) * seqLen));
}

/** By how much our KL divergence is lower than that of another row, 0 … 1. */
export function reduction(rows: readonly Row[], type: string, maker: Row['maker']): number {
  const kld = (wanted: Row['maker']): number =>
    rows.find((row) => row.type === type && row.maker === wanted)?.kld ?? NaN;
  return 1 - kld('halfbyte') / kld(maker);
}

export function formatMarkdown(rows: readonly Row[]): string {
  const lines = rows.map((row) => {
    const lower =
      row.maker === 'halfbyte' ? '' : `${(100 * reduction(rows, row.type, row.maker)).toFixed(1)} %`;
    return `| ${row.type} | ${row.maker} | ${(row.bytes / 1e6).toFixed(2)} | ${row.kld.toExponential(3)} | ${lower} | ${row.perplexity.toFixed(4)} | ${(100 * row.sameTop).toFixed(1)} % |`;
  });
  return [
    '| linears | quantized by | MB | KLD to F16 | ours lower by | perplexity | same top token |',
    '|---|---|---|---|---|---|---|',
    ...lines,
    '',
    `Perplexity of the F16 file: ${rows[0].reference.toFixed(4)}.`,
  ].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      model: { type: 'string', default: DEFAULT_SETTINGS.model },
      text: { type: 'string' },
      samples: { type: 'string', default: String(DEFAULT_SETTINGS.samples) },
      'seq-len': { type: 'string', default: String(DEFAULT_SETTINGS.seqLen) },
      windows: { type: 'string', default: '0' },
    },
  });
  const rows = await compareWithLlamaCpp({
    model: values.model,
    text: values.text ?? join(values.model, 'evaluation.txt'),
    samples: Number(values.samples),
    seqLen: Number(values['seq-len']),
    windows: Number(values.windows),
  });
  process.stdout.write(`${formatMarkdown(rows)}\n`);
}
