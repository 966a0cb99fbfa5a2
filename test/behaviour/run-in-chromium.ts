import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build, type Rollup } from 'vite';
import type { PageReport } from './page.js';

/**
 * Headless Chromium with WebGPU on SwiftShader, and nothing that reaches for the network. `--enable-unsafe-webgpu` is
 * what lets a software adapter through.
 */
const FLAGS = [
  '--headless',
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** Path of a Chromium, from CHROMIUM or the usual places; undefined when there is none. */
export function findChromium(): string | undefined {
  return [process.env.CHROMIUM ?? '', ...PLACES].find((path) => path !== '' && existsSync(path));
}

/** Bundles the page, serves it on this machine only, and returns what it reports. */
export async function runInChromium(chromium: string, timeoutMs: number): Promise<PageReport> {
  const script = await bundlePage();
  const profile = mkdtempSync(join(tmpdir(), 'halfbyte-chromium-'));
  let browser: ChildProcess | undefined;
  let server: Server | undefined;
  try {
    return await new Promise<PageReport>((resolve, reject) => {
      server = createServer((request, response) => {
        if (request.method === 'POST') {
          response.end();
          readBody(request).then((body) => resolve(JSON.parse(body) as PageReport), reject);
          return;
        }
        const isScript = request.url === '/page.js';
        response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
        response.end(isScript ? script : '<!doctype html><script type="module" src="/page.js"></script>');
      });
      server.listen(0, '127.0.0.1', () => {
        const { port } = server?.address() as AddressInfo;
        const url = `http://localhost:${port}/`;
        // A process group of its own: the helpers a browser starts write into the profile until they are killed too.
        browser = spawn(chromium, [...FLAGS, `--user-data-dir=${profile}`, url], {
          stdio: 'ignore',
          detached: true,
          // Chromium brings SwiftShader; the drivers chosen for Node's tests are not for it.
          env: { ...process.env, VK_ICD_FILENAMES: undefined, VK_DRIVER_FILES: undefined },
        });
        browser.on('error', reject);
      });
      setTimeout(
        () => reject(new Error(`no report from ${chromium} after ${timeoutMs} ms`)),
        timeoutMs,
      ).unref();
    });
  } finally {
    await stop(browser);
    server?.close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}

async function bundlePage(): Promise<string> {
  const output = (await build({
    configFile: false,
    logLevel: 'error',
    root: import.meta.dirname,
    build: {
      write: false,
      target: 'esnext',
      minify: false,
      rollupOptions: { input: join(import.meta.dirname, 'page.ts'), preserveEntrySignatures: false },
    },
  })) as Rollup.RollupOutput;
  const entry = output.output[0];
  return entry.code;
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

async function stop(browser: ChildProcess | undefined): Promise<void> {
  if (browser === undefined || browser.exitCode !== null) return;
  const gone = new Promise((resolve) => browser.once('exit', resolve));
  if (browser.pid === undefined) return;
  process.kill(-browser.pid, 'SIGKILL');
  await gone;
}
