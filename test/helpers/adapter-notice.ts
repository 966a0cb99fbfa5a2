/**
 * Prints a notice when the adapter that GPU tests want is not there; nothing otherwise. A program of its own, because
 * asking Dawn keeps a process alive.
 */
import { listAdapters, SOFTWARE_ADAPTER_INSTALL } from '../../src/platform/node/gpu/index.js';

const wanted = process.env.HALFBYTE_TEST_ADAPTER ?? 'lavapipe';
const part = wanted === 'lavapipe' ? 'llvmpipe' : wanted.toLowerCase();
const names = (await listAdapters()).map((entry) => entry.name);
if (!names.some((name) => name.toLowerCase().includes(part)))
  process.stdout.write(
    `SKIPPED: every GPU test, for want of the WebGPU adapter "${wanted}" (found: ${names.join(', ') || 'none'}). To install one:\n${SOFTWARE_ADAPTER_INSTALL}\n`,
  );
process.exit(0);
