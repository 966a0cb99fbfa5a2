import { buildShaders } from '../../scripts/build-shaders.js';

/** Tests read the same generated shader module as the package. */
export default function setup(): void {
  buildShaders();
}
