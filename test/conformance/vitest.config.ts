import { defineConfig } from 'vitest/config';

/** The suite against real consumers of our files; needs the Python environment of scripts/conformance/setup.sh. */
export default defineConfig({
  test: {
    include: ['test/conformance/**/*.conformance.ts'],
    globalSetup: ['test/helpers/global-setup.ts'],
    pool: 'forks',
    // One at a time: the peers want both cores, and two copies of PyTorch in memory help nobody.
    maxWorkers: 1,
    fileParallelism: false,
    testTimeout: 900_000,
    hookTimeout: 900_000,
  },
});
