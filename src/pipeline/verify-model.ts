/** Whether a folder is complete, undamaged and close to what it was made from: the last step of every quantization. */
import { AbortError, HalfbyteError } from '../core/errors.js';
import type { ProgressListener } from '../core/progress.js';
import { DTYPE_BYTES } from '../core/dtype.js';
import type { Engine } from '../engine/engine.js';
import type { Evaluation } from '../eval/index.js';
import type { Hasher } from '../export/sha256.js';
import { createSha256 } from '../export/sha256.js';
import type { ResolvedModel } from '../hub/index.js';
import type { ByteSource } from '../io/byte-source.js';
import { isJsonObject, readJsonObject, readText } from '../io/json.js';
import { listOffenders } from '../io/list-offenders.js';
import { streamChunks } from '../io/stream-chunks.js';
import { HEAD_NAME } from '../model/index.js';
import { chatTemplateProblem } from '../text/index.js';
import { assertFinite } from './check-finite.js';
import { evaluateModel } from './evaluate-model.js';
import type { OpenedModel } from './open-model.js';
import { openModel, openTokenizer } from './open-model.js';

export interface VerifyModelOptions {
  readonly model: ResolvedModel;
  /** What it was made from, for the divergence. */
  readonly reference?: ResolvedModel;
  readonly engine: Engine;
  /** A short text for the forward pass; its first windows are used. */
  readonly text: ByteSource;
  readonly createHasher?: () => Hasher;
  readonly signal?: AbortSignal;
  readonly onProgress?: ProgressListener;
}

export interface VerifyCheck {
  readonly name: string;
  readonly ok: boolean;
  /** What was found, or what is wrong. */
  readonly detail: string;
}

/** What `verify --json` prints. */
export interface VerifyReport {
  readonly model: string;
  readonly ok: boolean;
  readonly checks: readonly VerifyCheck[];
  /** Figures of the forward pass; null where it could not run. */
  readonly evaluation: Evaluation | null;
}

/** Enough to tell a broken packing (KLD near ln V) from honest rounding, and no more: big models pass through here. */
const FORWARD_TOKENS = 128;
const FORWARD_WINDOWS = 2;

/** A check that ends well says what it saw; one that does not throws. */
type Check = (opened: OpenedModel) => Promise<string>;

/** Never throws for what is wrong with the model: that is in the report. AbortError; DeviceError where the engine fails. */
export async function verifyModel(options: VerifyModelOptions): Promise<VerifyReport> {
  const checks: VerifyCheck[] = [];
  let opened: OpenedModel | undefined;
  checks.push(
    await runCheck('config and weights', async () => {
      opened = await openModel(options.model, options.signal);
      const packed = opened.quantized?.modules.size ?? 0;
      return `${opened.config.modelType}, ${opened.config.numHiddenLayers} layers, every weight there, ${packed} modules in ${opened.quantized?.format ?? 'plain numbers'}`;
    }),
  );
  let evaluation: Evaluation | null = null;
  if (opened !== undefined) {
    const rest: readonly (readonly [string, Check])[] = [
      ['index', checkIndex],
      ['head', checkHead],
      ['tokenizer', (model) => checkTokenizer(model, options.signal)],
      ['chat template', (model) => checkTemplate(model, options.signal)],
      ['values', (model) => checkValues(model, options)],
      ['hashes', (model) => checkHashes(model, options)],
    ];
    for (const [name, check] of rest) {
      const model = opened;
      checks.push(await runCheck(name, () => check(model)));
    }
    checks.push(
      await runCheck('forward', async () => {
        evaluation = await runForward(options);
        return forwardText(evaluation);
      }),
    );
  }
  return { model: options.model.name, ok: checks.every(({ ok }) => ok), checks, evaluation };
}

async function runCheck(name: string, check: () => Promise<string>): Promise<VerifyCheck> {
  try {
    return { name, ok: true, detail: await check() };
  } catch (error) {
    if (error instanceof AbortError || !(error instanceof HalfbyteError)) throw error;
    return { name, ok: false, detail: error.message };
  }
}

/** A finding of a check: damaged or incomplete. */
class Finding extends HalfbyteError {}

function checkIndex({ checkpoint, files }: OpenedModel): Promise<string> {
  const stray = [...files.keys()].filter(
    (name) => /\.safetensors$/.test(name) && !checkpoint.shards.includes(name),
  );
  const problems = [
    ...checkpoint.unindexed.map((name) => `"${name}" lies in a shard, the index does not name it`),
    ...stray.map((name) => `${name} belongs to no index`),
  ];
  if (problems.length > 0) throw new Finding(`index and files disagree:${listOffenders(problems)}`);
  return Promise.resolve(`${checkpoint.shards.length} weight files`);
}

/** A tied head has no tensor of its own: loaders would use it, or drop it, as they like. */
function checkHead({ checkpoint, config, quantized }: OpenedModel): Promise<string> {
  const own = checkpoint.tensors.has(`${HEAD_NAME}.weight`) || quantized?.modules.has(HEAD_NAME) === true;
  if (config.tieWordEmbeddings && own)
    throw new Finding('config.json ties the head to the embeddings, yet there is an lm_head of its own');
  return Promise.resolve(config.tieWordEmbeddings ? 'tied to the embeddings' : 'separate');
}

async function checkTokenizer(opened: OpenedModel, signal?: AbortSignal): Promise<string> {
  const tokenizer = await openTokenizer(opened, signal);
  const { vocabSize } = opened.config;
  if (tokenizer.vocabularySize > vocabSize)
    throw new Finding(`${tokenizer.vocabularySize} tokens, the model has ${vocabSize}`);
  return `${tokenizer.vocabularySize} tokens`;
}

async function checkTemplate({ files }: OpenedModel, signal?: AbortSignal): Promise<string> {
  const own = files.get('chat_template.jinja');
  const config = files.get('tokenizer_config.json');
  const inConfig = config === undefined ? undefined : (await readJsonObject(config, signal)).chat_template;
  const template = own === undefined ? inConfig : await readText(own, signal);
  if (typeof template !== 'string') return 'none';
  const problem = chatTemplateProblem(template);
  if (problem !== undefined) throw new Finding(`it does not parse: ${problem}`);
  return `${template.length} characters`;
}

async function checkValues(
  { checkpoint, quantized }: OpenedModel,
  { signal, onProgress }: VerifyModelOptions,
): Promise<string> {
  const names = [...checkpoint.tensors.keys()].filter((name) => quantized?.packing.has(name) !== true);
  const total = names.length + (quantized?.modules.size ?? 0);
  let done = 0;
  for (const name of names) {
    onProgress?.({ stage: 'verify', item: name, done: done++, total });
    const { dtype } = checkpoint.info(name);
    let firstElement = 0;
    for await (const bytes of checkpoint.stream(name, { signal })) {
      assertFinite(bytes, { tensor: name, dtype, firstElement });
      firstElement += bytes.byteLength / DTYPE_BYTES[dtype];
    }
  }
  for (const module of quantized?.modules ?? []) {
    onProgress?.({ stage: 'verify', item: module, done: done++, total });
    // The reader checks ranges and finiteness of all it reads.
    await quantized?.read(module, signal);
  }
  return `${names.length} plain tensors and ${total - names.length} packed modules, all finite and in range`;
}

async function checkHashes(
  { files }: OpenedModel,
  { createHasher = createSha256, signal, onProgress }: VerifyModelOptions,
): Promise<string> {
  const record = files.get('halfbyte.json');
  if (record === undefined) return 'no halfbyte.json to compare with';
  const { files: listed } = await readJsonObject(record, signal);
  if (!isJsonObject(listed)) throw new Finding('halfbyte.json lists no files');
  const problems: string[] = [];
  const entries = Object.entries(listed);
  for (const [done, [name, expected]] of entries.entries()) {
    onProgress?.({ stage: 'hash', item: name, done, total: entries.length });
    const source = files.get(name);
    if (source === undefined) {
      problems.push(`${name} is missing`);
      continue;
    }
    const hasher = createHasher();
    for await (const bytes of streamChunks(source, 0, source.size, { signal })) hasher.update(bytes);
    if (hasher.digest() !== expected) problems.push(`${name} is not what was written`);
  }
  if (problems.length > 0) throw new Finding(`files changed since they were made:${listOffenders(problems)}`);
  return `${entries.length} files as written`;
}

function runForward(options: VerifyModelOptions): Promise<Evaluation> {
  const { model, reference, engine, text, signal, onProgress } = options;
  return evaluateModel({
    model,
    engine,
    text,
    seqLen: FORWARD_TOKENS,
    maxWindows: FORWARD_WINDOWS,
    ...(reference === undefined ? {} : { reference }),
    ...(signal === undefined ? {} : { signal }),
    ...(onProgress === undefined ? {} : { onProgress }),
  });
}

function forwardText({ tokens, perplexity, reference }: Evaluation): string {
  const divergence =
    reference === undefined
      ? ''
      : `, KLD ${reference.kld.mean.toExponential(2)} to the reference, same top token ${(reference.sameTop * 100).toFixed(1)} %`;
  return `${tokens} tokens, perplexity ${perplexity.toPrecision(5)}${divergence}`;
}
