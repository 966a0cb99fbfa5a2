import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Bug } from '../../core/errors.js';
import type { ByteSource } from '../../io/byte-source.js';
import { openFileSource } from './files/file-source.js';

/** Where the bundled calibration text lies: beside the compiled code, or among the fixtures when run from a clone. */
const CALIBRATION_PLACES = ['../../data/calibration.txt', '../../../test/fixtures/bundled/calibration.txt'];

/** The calibration text used when none is given: synthetic English, made by scripts/fixtures. */
export async function openBundledCalibration(): Promise<ByteSource> {
  const places = CALIBRATION_PLACES.map((place) => fileURLToPath(new URL(place, import.meta.url)));
  const found = places.find((place) => existsSync(place));
  if (found === undefined)
    throw new Bug('internal: the bundled calibration text is missing from the package', {
      advice: 'reinstall halfbyte, or give a text with --calib',
    });
  return openFileSource(found);
}
