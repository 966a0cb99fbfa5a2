import type { ProgressEvent } from '../core/progress.js';
import { formatBytes, formatDuration } from '../report/text-table.js';

export interface ProgressLineOptions {
  /** Where lines go; the CLI passes process.stderr. */
  readonly write: (text: string) => void;
  /** Width to cut the line at; re-read at every draw since terminals are resized. */
  readonly columns: () => number;
  /** Milliseconds. */
  readonly now: () => number;
  /** Memory in use, shown at the end of the line. */
  readonly memory?: () => { readonly gpuBytes: number; readonly rssBytes: number };
}

export interface ProgressLine {
  show(event: ProgressEvent): void;
  /** Removes the line, so that other text can be printed. */
  clear(): void;
}

/** Drawing more often than people can read costs more than it tells. */
const REDRAW_MS = 80;
const CLEAR_LINE = '\r\u001b[K';

/** One line that is drawn over and over: stage, item, share done, figures, time left, memory. */
export function createProgressLine(options: ProgressLineOptions): ProgressLine {
  let drawn = false;
  let lastDraw = -Infinity;
  let stage = '';
  let stageStart = 0;

  return {
    show: (event) => {
      const now = options.now();
      if (event.stage !== stage) {
        stage = event.stage;
        stageStart = now;
      } else if (now - lastDraw < REDRAW_MS && event.done < event.total) return;
      lastDraw = now;
      drawn = true;
      const text = progressText(event, (now - stageStart) / 1000, options.memory?.());
      options.write(CLEAR_LINE + text.slice(0, Math.max(10, options.columns() - 1)));
    },
    clear: () => {
      if (drawn) options.write(CLEAR_LINE);
      drawn = false;
    },
  };
}

interface MemoryFigures {
  readonly gpuBytes: number;
  readonly rssBytes: number;
}

/** The line for one event; `seconds` since the stage began. */
export function progressText(event: ProgressEvent, seconds: number, memory?: MemoryFigures): string {
  const share = event.total > 0 ? event.done / event.total : 0;
  const figures = Object.entries(event.figures ?? {}).map(
    ([key, value]) => `${key} ${typeof value === 'number' ? Number(value.toPrecision(4)) : value}`,
  );
  const left =
    share > 0 && share < 1 && seconds > 1 ? [`ETA ${formatDuration(seconds / share - seconds)}`] : [];
  return [
    `${event.stage} ${String(Math.floor(share * 100)).padStart(3)} %`,
    ...left,
    ...figures,
    ...(memory === undefined
      ? []
      : [`engine ${formatBytes(memory.gpuBytes)}, RSS ${formatBytes(memory.rssBytes)}`]),
    // Last, because narrow terminals cut the line.
    ...(event.item === undefined ? [] : [event.item]),
  ].join(' · ');
}
