/** What people see while a run works and when it fails: pure text functions, no process. */
import { describe, expect, it } from 'vitest';
import { AbortError, Bug, DeviceError, UserError } from '../../src/core/errors.js';
import { errorText, exitCodeOf } from '../../src/cli/print-error.js';
import { parseBytes, parseInteger, parseShare } from '../../src/cli/parse-values.js';
import { createProgressLine, progressText } from '../../src/cli/progress-line.js';
import { readEnvironment } from '../../src/platform/node/options.js';
import { formatBytes, formatDuration, formatFigure, textTable } from '../../src/report/text-table.js';

describe('progress', () => {
  const event = {
    stage: 'quantize',
    item: 'model.layers.3.mlp.up_proj',
    done: 5,
    total: 20,
    figures: { loss: 0.123456 },
  };

  it('tells share, time left, figures, memory and item', () => {
    const memory = { gpuBytes: 1_500_000, rssBytes: 250_000_000 };
    expect(progressText(event, 30, memory)).toBe(
      'quantize  25 % · ETA 1 min 30 s · loss 0.1235 · engine 1.50 MB, RSS 250.0 MB · model.layers.3.mlp.up_proj',
    );
    expect(progressText({ stage: 'hash', done: 0, total: 0 }, 0)).toBe('hash   0 %');
  });

  it('draws one line, cut to the terminal, at most every 80 ms, and removes it', () => {
    const written: string[] = [];
    let now = 0;
    const line = createProgressLine({
      write: (text) => written.push(text),
      columns: () => 20,
      now: () => now,
    });
    line.show(event);
    now = 40;
    line.show({ ...event, done: 6 });
    now = 90;
    line.show({ ...event, done: 7 });
    line.clear();
    line.clear();
    expect(written).toEqual(['\r\u001b[Kquantize  25 % · lo', '\r\u001b[Kquantize  35 % · lo', '\r\u001b[K']);
  });
});

describe('errors', () => {
  it('map to exit codes', () => {
    expect(exitCodeOf(new UserError('x'))).toBe(2);
    expect(exitCodeOf(new AbortError())).toBe(130);
    expect(exitCodeOf(new DeviceError('x'))).toBe(1);
    expect(exitCodeOf('anything')).toBe(1);
  });

  it('show message and advice; a stack only where the fault is ours', () => {
    expect(errorText(new UserError('no', { advice: 'do this' }), false)).toBe('halfbyte: no\n  → do this\n');
    expect(errorText(new Bug('internal: oops'), false)).toMatch(/please report[^]*at /);
    expect(errorText(new TypeError('oops'), false)).toMatch(/^halfbyte: oops\n[^]*please report/);
  });
});

describe('values', () => {
  it('sizes are decimal, binary with an i', () => {
    expect(['6GB', '1.5 g', '512MiB', '800', '2kb'].map(parseBytes)).toEqual([
      6e9,
      1.5e9,
      2 ** 29,
      800,
      2000,
    ]);
    for (const text of ['', '-1', '0', '6XB', '1e9', 'GB']) expect(() => parseBytes(text)).toThrow(/size/);
  });

  it('numbers are whole and in range, shares strictly inside', () => {
    expect(parseInteger({ min: -1 })('-1')).toBe(-1);
    for (const text of ['1.5', '', 'x', '-2', '0x10'])
      expect(() => parseInteger({ min: -1 })(text)).toThrow(/whole number/);
    expect(parseShare('0.01')).toBe(0.01);
    for (const text of ['0', '1', '', 'nan', '-1']) expect(() => parseShare(text)).toThrow(/between 0 and 1/);
  });
});

describe('text', () => {
  it('aligns figures right and words left', () => {
    expect(
      textTable(
        ['name', 'loss'],
        [
          ['a', '1.5'],
          ['long name', '12'],
        ],
      ),
    ).toBe('name       loss\n---------  ----\na           1.5\nlong name    12');
  });

  it('rounds for people', () => {
    expect([0, 999, 1000, 2_737_080, 5e9].map(formatBytes)).toEqual([
      '0 B',
      '999 B',
      '1.00 kB',
      '2.74 MB',
      '5.00 GB',
    ]);
    expect([0.04, 47.4, 185, 7800].map(formatDuration)).toEqual([
      '0.0 s',
      '47 s',
      '3 min 05 s',
      '2 h 10 min',
    ]);
    expect([null, 0, 0.0001234, 1234.5678].map((value) => formatFigure(value))).toEqual([
      '-',
      '0',
      '1.23e-4',
      '1235',
    ]);
  });
});

describe('environment', () => {
  it('finds token, endpoint and cache as the Python client does', () => {
    expect(readEnvironment({ HF_TOKEN: ' t ', HF_ENDPOINT: 'http://x/', HF_HOME: '/h' })).toMatchObject({
      hubToken: 't',
      hubEndpoint: 'http://x',
      hubCache: '/h/hub',
    });
    expect(
      readEnvironment({ HF_HUB_CACHE: '/c', HF_HOME: '/h', HUGGING_FACE_HUB_TOKEN: 'old' }),
    ).toMatchObject({
      hubCache: '/c',
      hubToken: 'old',
    });
    expect(readEnvironment({ XDG_CACHE_HOME: '/x' }).hubCache).toBe('/x/huggingface/hub');
    expect(readEnvironment({ HF_TOKEN: '' })).toMatchObject({ hubToken: undefined, hubCache: undefined });
  });
});
