/** A file being written front to back. */
export interface ByteSink {
  /** Adds bytes at the end; resolves when they are accepted, and the caller may then reuse its buffer. */
  append(bytes: Uint8Array): Promise<void>;
  /** Ends the file and makes its bytes durable. No append afterwards. */
  seal(): Promise<void>;
  /** Ends the file without promising anything about its content; harmless after seal or a failure. */
  abort(): Promise<void>;
}
