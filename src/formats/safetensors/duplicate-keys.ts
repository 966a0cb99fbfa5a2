/**
 * Keys that occur twice in one object of a JSON text, which JSON.parse quietly resolves in favour of the last: two
 * readers could then see two different files. `text` must be valid JSON. Each duplicate is returned once.
 */
export function duplicateKeys(text: string): string[] {
  /** The keys seen so far of each open object; undefined for an open array. */
  const open: (Set<string> | undefined)[] = [];
  const duplicates = new Set<string>();
  let lastString = '';
  for (let i = 0; i < text.length; i++) {
    switch (text[i]) {
      case '{':
        open.push(new Set());
        break;
      case '[':
        open.push(undefined);
        break;
      case '}':
      case ']':
        open.pop();
        break;
      case '"': {
        const end = stringEnd(text, i);
        lastString = text.slice(i, end + 1);
        i = end;
        break;
      }
      case ':': {
        // Two spellings of one key ("a", "\u0061") are one key.
        const key = JSON.parse(lastString) as string;
        const keys = open.at(-1);
        if (keys?.has(key) === true) duplicates.add(`"${key}"`);
        keys?.add(key);
        break;
      }
      default:
        break;
    }
  }
  return [...duplicates];
}

/** Index of the quote that closes the string opened at `start`. */
function stringEnd(text: string, start: number): number {
  let i = start + 1;
  while (text[i] !== '"') i += text[i] === '\\' ? 2 : 1;
  return i;
}
