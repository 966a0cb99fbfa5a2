import { relativeNameProblem } from '../io/relative-name.js';

/** A repository on the Hub. */
export interface HubRef {
  /** "owner/name". */
  readonly id: string;
  /** Branch, tag or commit. */
  readonly revision: string;
}

/** The Hub's rule for owner and name; neither may begin or end with "-" or ".", which also keeps ".." out. */
const PART = '[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?';
const HUB_REF = new RegExp(`^(${PART}/${PART})(?:@(.+))?$`);
const MAX_ID_LENGTH = 96;

/** Reads "owner/name" or "owner/name@revision"; undefined for anything else. */
export function parseHubRef(ref: string): HubRef | undefined {
  const match = HUB_REF.exec(ref);
  if (match === null || match[1].length > MAX_ID_LENGTH) return undefined;
  const revision = match[2] ?? 'main';
  if (match[1].includes('--') || relativeNameProblem(revision) !== undefined) return undefined;
  return { id: match[1], revision };
}
