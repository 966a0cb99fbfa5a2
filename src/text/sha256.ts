import type { ByteSource } from '../io/byte-source.js';

/**
 * SHA-256 of bytes as 64 lower-case hexadecimal digits, by WebCrypto (FIPS 180-4), which Node and browsers share. WebCrypto
 * has no streaming form.
 */
export async function sha256Hex(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await globalThis.crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** SHA-256 of a file's bytes. Memory: the file; meant for texts and settings. */
export async function sha256OfSource(source: ByteSource, signal?: AbortSignal): Promise<string> {
  return sha256Hex(new Uint8Array(await source.read(0, source.size, signal)));
}
