import type { Hasher } from '../export/sha256.js';

/** What the pipeline asks of the platform it runs on; everything but the version has a plain substitute. */
export interface PipelineHost {
  /** Version of halfbyte, for halfbyte.json and the config. */
  readonly version: string;
  /** A native SHA-256, where there is one. */
  readonly createHasher?: () => Hasher;
  /** Most host memory the process ever used, bytes. */
  readonly peakRssBytes?: () => number;
}
