import type { RunRecord } from '../report/run-record.js';
import type { ModelCardFacts } from './output-format.js';

export interface ModelCardOptions {
  readonly record: Omit<RunRecord, 'files'>;
  /** Bytes of the weight files, before and after. */
  readonly originalBytes: number;
  readonly quantizedBytes: number;
  /** `license` of the original model card, where it had one. */
  readonly license: string | undefined;
  readonly card: ModelCardFacts;
}

/** How transformers loads a folder, and what it needs for that. */
export function transformersLoading(needs: string): string {
  return [
    '```python',
    'from transformers import AutoModelForCausalLM, AutoTokenizer',
    '',
    'model = AutoModelForCausalLM.from_pretrained("path/to/this/folder")',
    'tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")',
    '```',
    '',
    needs,
  ].join('\n');
}

/** README.md: front matter for the Hub, what was done, the exact command, and how to load the folder. */
export function modelCard(options: ModelCardOptions): string {
  const { record, card } = options;
  return [
    frontMatter(options),
    `# ${record.source.model}, ${bitsText(record)} ${methodName(record)}`,
    '',
    `Made with halfbyte ${record.tool.version}${engineText(record.engine)}.`,
    'Everything that decided the result stands in `halfbyte.json`.',
    '',
    '## Recipe',
    '',
    '```sh',
    record.command,
    '```',
    '',
    ...recipeTable(options),
    '',
    ...skippedSection(record),
    ...notesSection(record.notes),
    '## Loading',
    '',
    card.loading,
    '',
  ].join('\n');
}

function frontMatter({ record, license, card }: ModelCardOptions): string {
  const isHubId = record.source.revision !== null;
  return [
    '---',
    ...(isHubId ? [`base_model: ${record.source.model}`, 'base_model_relation: quantized'] : []),
    ...(license === undefined ? [] : [`license: ${license}`]),
    `library_name: ${card.libraryName}`,
    'pipeline_tag: text-generation',
    'tags:',
    ...card.tags.map((tag) => `  - ${tag}`),
    '  - halfbyte',
    `  - ${String(record.settings.bits)}-bit`,
    '---',
    '',
  ].join('\n');
}

function engineText(engine: RunRecord['engine']): string {
  return engine === null ? '' : ` on ${engine.adapter} (${engine.engine} engine)`;
}

function bitsText(record: ModelCardOptions['record']): string {
  return `${String(record.settings.bits)}-bit`;
}

function methodName({ settings, format }: ModelCardOptions['record']): string {
  const names: Readonly<Record<string, string>> = {
    gptq: 'GPTQ',
    awq: 'AWQ',
    hqq: 'HQQ',
    rtn: 'round-to-nearest',
    nf4: 'NF4',
    fp4: 'FP4',
  };
  return `${names[String(settings.method)] ?? String(settings.method)} in ${format} format`;
}

function recipeTable({ record, originalBytes, quantizedBytes }: ModelCardOptions): string[] {
  const { calibration, settings } = record;
  const sizeText = (bytes: number): string =>
    bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(2)} MB`;
  const rows: [string, string][] = [
    ['base model', `${record.source.model}${revisionText(record.source.revision)}`],
    ['bits per weight', record.bitsPerWeight.toFixed(3)],
    ['weight files', `${sizeText(quantizedBytes)}, from ${sizeText(originalBytes)}`],
    ['quantized linears', String(record.layers.length)],
    ...Object.entries(settings).map(([key, value]): [string, string] => [key, String(value)]),
    [
      'calibration',
      calibration === null
        ? 'none'
        : `${calibration.samples} windows of ${calibration.seqLen} tokens of ${calibration.text} (sha256 ${calibration.sha256})`,
    ],
  ];
  return ['| | |', '|---|---|', ...rows.map(([key, value]) => `| ${key} | ${value} |`)];
}

function revisionText(revision: string | null): string {
  return revision === null ? '' : ` at ${revision}`;
}

function skippedSection({ skipped }: ModelCardOptions['record']): string[] {
  if (skipped.length === 0) return [];
  return ['## Left in 16-bit', '', ...skipped.map(({ name, reason }) => `- \`${name}\`: ${reason}`), ''];
}

function notesSection(notes: readonly string[]): string[] {
  return notes.length === 0 ? [] : ['## Notes', '', ...notes.map((note) => `- ${note}`), ''];
}

/** `license:` of a model card's YAML front matter; undefined where there is none. */
export function licenseOf(card: string): string | undefined {
  const front = /^---\r?\n([\s\S]*?)\r?\n---/.exec(card)?.[1];
  const value =
    front === undefined ? undefined : /^license:[ \t]*["']?([\w.+-]+)["']?[ \t]*$/m.exec(front)?.[1];
  return value;
}
