// Lets scripts of scripts/conformance/ import the packages of npm/package.json by name, from the folder that setup-npm.sh
// made (HALFBYTE_NPM_PEERS):  node --import …/npm/peer-modules.mjs SCRIPT.  In all other files names mean what they always do.
import { register } from 'node:module';
import { pathToFileURL } from 'node:url';

const peers = process.env.HALFBYTE_NPM_PEERS;
if (!peers)
  throw new Error('HALFBYTE_NPM_PEERS must name the folder that scripts/conformance/setup-npm.sh prints');
register('./resolve-peers.mjs', {
  parentURL: import.meta.url,
  data: { scripts: new URL('..', import.meta.url).href, peers: pathToFileURL(`${peers}/`).href },
});
