/** Progress as plain events; who shows them (terminal, page, nobody) is not the sender's business. */
export interface ProgressEvent {
  /** Stage of the run, such as "download", "calibrate", "quantize", "evaluate". */
  readonly stage: string;
  /** What is being worked on, such as a layer or file name. */
  readonly item?: string;
  readonly done: number;
  readonly total: number;
  /** Extra figures to show beside the item, for example { loss: 0.12 }. */
  readonly figures?: Readonly<Record<string, number | string>>;
}

export type ProgressListener = (event: ProgressEvent) => void;

/** A line a person should see once: a notice or a warning. Never used for errors. */
export type NoticeListener = (message: string) => void;
