/** The only place that reads environment variables. */
export interface Environment {
  /** HF_TOKEN, or the older HUGGING_FACE_HUB_TOKEN. */
  readonly hubToken: string | undefined;
  /** HF_ENDPOINT: another server that speaks the Hub's HTTP API. */
  readonly hubEndpoint: string | undefined;
  /** HF_HUB_CACHE, or the `hub` folder of HF_HOME or XDG_CACHE_HOME; undefined for the default below the home folder. */
  readonly hubCache: string | undefined;
  /** HALFBYTE_DEBUG: print stacks with every error. */
  readonly debug: boolean;
  /** TERM=dumb or CI: no redrawn lines even on a terminal. */
  readonly plainTerminal: boolean;
}

type Variables = Readonly<Record<string, string | undefined>>;

export function readEnvironment(variables: Variables = process.env): Environment {
  const set = (name: string): string | undefined => {
    const value = variables[name]?.trim();
    return value === '' ? undefined : value;
  };
  const home = set('HF_HOME') ?? joined(set('XDG_CACHE_HOME'), 'huggingface');
  return {
    hubToken: set('HF_TOKEN') ?? set('HUGGING_FACE_HUB_TOKEN'),
    hubEndpoint: set('HF_ENDPOINT')?.replace(/\/+$/, ''),
    hubCache: set('HF_HUB_CACHE') ?? joined(home, 'hub'),
    debug: set('HALFBYTE_DEBUG') !== undefined,
    plainTerminal: set('TERM') === 'dumb' || set('CI') !== undefined,
  };
}

function joined(folder: string | undefined, name: string): string | undefined {
  return folder === undefined ? undefined : `${folder.replace(/\/+$/, '')}/${name}`;
}
