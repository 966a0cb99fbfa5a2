/**
 * Plan: text and jsonl files come out as they went in whatever the read windows cut through; lines without text are named;
 * windows are consecutive, in order or shuffled by seed, and a short text is an error that says what to do.
 */
import { describe, expect, it } from 'vitest';
import { FormatError, UserError } from '../../src/core/errors.js';
import type { ByteSource } from '../../src/io/byte-source.js';
import { collectWindows, readText, sha256Hex, sha256OfSource } from '../../src/text/index.js';

function sourceOf(name: string, content: string | Uint8Array): ByteSource {
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
  return {
    name,
    size: bytes.length,
    read: (offset, length) => Promise.resolve(bytes.slice(offset, offset + length)),
  };
}

async function textOf(source: ByteSource): Promise<string> {
  let text = '';
  for await (const chunk of readText(source)) text += chunk;
  return text;
}

describe('text files', () => {
  it('are read across windows that cut characters', async () => {
    // 3-byte characters: a window of 1 MiB ends inside one.
    const text = '漢字\n'.repeat(400_000);
    expect(await textOf(sourceOf('a.txt', text))).toBe(text);
    expect(await textOf(sourceOf('empty.txt', ''))).toBe('');
    expect(await textOf(sourceOf('bom.txt', '\ufeffhello'))).toBe('hello');
  });

  it('must be UTF-8', async () => {
    const source = sourceOf('latin.txt', Uint8Array.of(99, 97, 102, 0xe9, 33));
    await expect(textOf(source)).rejects.toThrow(FormatError);
    await expect(textOf(source)).rejects.toThrow(/latin\.txt, byte 0: not valid UTF-8/);
    await expect(textOf(sourceOf('cut.txt', Uint8Array.of(99, 0xe6)))).rejects.toThrow(FormatError);
  });
});

describe('jsonl files', () => {
  it('are documents joined by blank lines', async () => {
    const lines = [
      '{"text": "one\\nline", "id": 1}',
      '',
      '  ',
      '{"id": 2, "text": ""}',
      '{"text": "three"}\r',
    ];
    expect(await textOf(sourceOf('a.jsonl', lines.join('\n')))).toBe('one\nline\n\n\n\nthree');
    expect(await textOf(sourceOf('A.JSONL', `${lines.join('\n')}\n`))).toBe('one\nline\n\n\n\nthree');
  });

  it.each([
    ['{"text": "a"}\n\n{"txt": "b"}', UserError, /a\.jsonl line 3: .* found fields txt/],
    ['{"text": 5}', UserError, /line 1: .*string field "text" expected, found fields text/],
    ['[1]', UserError, /line 1/],
    ['{}', UserError, /found fields none/],
    ['{"text": "a"}\n{"text": ', FormatError, /a\.jsonl: line 2 is not valid JSON/],
  ])('%j', async (content, type, message) => {
    await expect(textOf(sourceOf('a.jsonl', content))).rejects.toThrow(type);
    await expect(textOf(sourceOf('a.jsonl', content))).rejects.toThrow(message);
  });
});

describe('windows', () => {
  const ids = Uint32Array.from({ length: 23 }, (_, i) => i);
  const parts = [ids.subarray(0, 3), ids.subarray(3, 3), ids.subarray(3, 14), ids.subarray(14)];
  const collect = async (options: { seqLen: number; count?: number; shuffleSeed?: number }) => {
    const found = await collectWindows({ ids: parts, name: 'text t.txt', ...options });
    return found.windows.map((window) => Array.from(window));
  };

  it('are consecutive and do not overlap', async () => {
    expect(await collect({ seqLen: 5 })).toEqual(
      [0, 5, 10, 15].map((start) => [0, 1, 2, 3, 4].map((i) => start + i)),
    );
    expect(await collect({ seqLen: 5, count: 2 })).toEqual([
      [0, 1, 2, 3, 4],
      [5, 6, 7, 8, 9],
    ]);
    expect((await collect({ seqLen: 5, count: 99 })).length).toBe(4);
    expect(await collect({ seqLen: 23 })).toEqual([Array.from(ids)]);
  });

  it('stop reading when there are enough', async () => {
    let asked = 0;
    function* counted() {
      for (const part of parts) {
        asked += 1;
        yield part;
      }
    }
    await collectWindows({ ids: counted(), seqLen: 3, count: 1, name: 't' });
    expect(asked).toBe(1);
  });

  it('are shuffled by seed, over the whole text', async () => {
    const first = await collect({ seqLen: 2, count: 5, shuffleSeed: 1 });
    expect(await collect({ seqLen: 2, count: 5, shuffleSeed: 1 })).toEqual(first);
    expect(await collect({ seqLen: 2, count: 5, shuffleSeed: 2 })).not.toEqual(first);
    expect(new Set(first.map(([start]) => start)).size).toBe(5);
    expect(first.every(([start, next]) => start % 2 === 0 && next === start + 1)).toBe(true);
    expect(first.some(([start]) => start >= 10)).toBe(true);
  });

  it('need a text of one window', async () => {
    await expect(collect({ seqLen: 24 })).rejects.toThrow(UserError);
    await expect(collect({ seqLen: 24 })).rejects.toThrow('text t.txt has 23 tokens, one window needs 24');
  });
});

describe('sha256', () => {
  it('gives the published digest of "abc"', async () => {
    const expected = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
    expect(await sha256Hex(new TextEncoder().encode('abc'))).toBe(expected);
    expect(await sha256OfSource(sourceOf('a', 'abc'))).toBe(expected);
  });
});
