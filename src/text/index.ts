/** Text in, windows of token ids out. */
export { chatTemplateProblem } from './chat-template.js';
export { readText } from './dataset.js';
export { sha256Hex, sha256OfSource } from './sha256.js';
export type { TextTokenizer, TokenizerOptions } from './tokenizer.js';
export { createTokenizer } from './tokenizer.js';
export type { TokenWindows, WindowOptions } from './windows.js';
export { collectWindows } from './windows.js';
