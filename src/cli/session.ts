import type { ProgressListener } from '../core/progress.js';
import type { Engine } from '../engine/engine.js';
import { readEnvironment } from '../platform/node/options.js';
import { currentRssBytes } from '../platform/node/host.js';
import { createProgressLine } from './progress-line.js';

/** Options that every verb has. */
export interface CommonOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
  /** False with --no-progress. */
  readonly progress?: boolean;
}

/** What a verb needs of the terminal and of the process it runs in. */
export interface Session {
  /** Fires on Ctrl-C. */
  readonly signal: AbortSignal;
  readonly onProgress: ProgressListener;
  readonly onNotice: (message: string) => void;
  /** The engine whose memory the progress line shows; disposed at the end whatever happens. */
  useEngine(engine: Engine): void;
  /** The result: JSON with --json, else text for people. Called once. */
  print(result: { readonly json: unknown; readonly text: string }): Promise<void>;
}

export interface OpenSession extends Session {
  close(): Promise<void>;
}

export function openSession(options: CommonOptions, signal: AbortSignal): OpenSession {
  let engine: Engine | undefined;
  const { stderr, stdout } = process;
  const line = createProgressLine({
    write: (text) => stderr.write(text),
    // A pseudo-terminal without a size says 0.
    columns: () => stderr.columns || 80,
    now: () => performance.now(),
    memory: () => ({ gpuBytes: engine?.memory().allocatedBytes ?? 0, rssBytes: currentRssBytes() }),
  });
  const showsProgress =
    stderr.isTTY && options.progress !== false && options.quiet !== true && !readEnvironment().plainTerminal;
  return {
    signal,
    onProgress: showsProgress ? (event) => line.show(event) : () => undefined,
    onNotice: (message) => {
      if (options.quiet === true) return;
      line.clear();
      stderr.write(`halfbyte: ${message}\n`);
    },
    useEngine: (opened) => (engine = opened),
    print: async ({ json, text }) => {
      line.clear();
      await writeAll(stdout, options.json === true ? `${JSON.stringify(json, null, 2)}\n` : `${text}\n`);
    },
    close: async () => {
      line.clear();
      await engine?.dispose();
    },
  };
}

/** Resolves when the text has left the process: process.exit would cut off what a pipe has not taken yet. */
export function writeAll(stream: NodeJS.WriteStream, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(text, (error) => (error ? reject(error) : resolve()));
  });
}
