const TOKEN =
  /[ \t\r\n]*(?:([{}[\]:,])|("(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null))/y;
const SPACE = /[ \t\r\n]*/y;

/** What may come next, beside what closes the open bracket. */
type Expected = 'value' | 'value or end' | 'key' | 'key or end' | 'colon' | 'comma or end';

/**
 * Index of the first character at which `text` stops being JSON, or its length when it ends too early. Engines word their
 * syntax errors differently and often leave the place out; this finds it after the fact, so it may be slow.
 */
export function jsonErrorPosition(text: string): number {
  const open: ('{' | '[')[] = [];
  let expected: Expected = 'value';
  let at = 0;
  for (;;) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (match === null) return skipSpace(text, at);
    const [, mark, scalar] = match;
    const start = TOKEN.lastIndex - (mark ?? scalar).length;
    const next = advance(open, expected, mark ?? scalar);
    if (next === undefined) return start;
    expected = next;
    at = TOKEN.lastIndex;
    if (open.length === 0) return skipSpace(text, at);
  }
}

/** The state after `token`, with `open` updated; undefined when the token may not stand here. */
function advance(open: ('{' | '[')[], expected: Expected, token: string): Expected | undefined {
  const inObject = open.at(-1) === '{';
  switch (token) {
    case '{':
    case '[':
      if (!expected.startsWith('value')) return undefined;
      open.push(token);
      return token === '{' ? 'key or end' : 'value or end';
    case '}':
    case ']':
      if (!expected.endsWith('end') || inObject !== (token === '}')) return undefined;
      open.pop();
      return 'comma or end';
    case ':':
      return expected === 'colon' ? 'value' : undefined;
    case ',':
      if (expected !== 'comma or end') return undefined;
      return inObject ? 'key' : 'value';
    default:
      if (expected.startsWith('key')) return token.startsWith('"') ? 'colon' : undefined;
      return expected.startsWith('value') ? 'comma or end' : undefined;
  }
}

function skipSpace(text: string, at: number): number {
  SPACE.lastIndex = at;
  SPACE.exec(text);
  return SPACE.lastIndex;
}
