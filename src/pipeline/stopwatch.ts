/** Seconds spent per stage of a run, and in all. */
export interface Stopwatch {
  /** Ends the running stage and begins another. */
  begin(stage: string): void;
  /** Ends the running stage. */
  stop(): void;
  readonly stages: Readonly<Record<string, number>>;
  totalSeconds(): number;
}

/** `now` gives milliseconds. A stage begun twice adds up. */
export function createStopwatch(now: () => number): Stopwatch {
  const start = now();
  const stages: Record<string, number> = {};
  let running: { readonly stage: string; readonly since: number } | undefined;
  const stop = (): void => {
    if (running === undefined) return;
    stages[running.stage] = (stages[running.stage] ?? 0) + (now() - running.since) / 1000;
    running = undefined;
  };
  return {
    begin: (stage) => {
      stop();
      running = { stage, since: now() };
    },
    stop,
    stages,
    totalSeconds: () => (now() - start) / 1000,
  };
}
