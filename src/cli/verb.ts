import type { CommonOptions, Session } from './session.js';

/** Runs the body of a verb inside a session: signals, printing, clean-up. Supplied by main. */
export type VerbRunner = (options: CommonOptions, body: (session: Session) => Promise<void>) => Promise<void>;
