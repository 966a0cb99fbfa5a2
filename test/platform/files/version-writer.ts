/**
 * Run as a child process, to be killed: replaces one output folder again and again, every file of version v holding only
 * v. Prints a line per commit. Arguments: target folder, bytes per file.
 */
import { createOutputFolder } from '../../../src/platform/node/files/output-folder.js';
import { writeOutputFolder } from '../../../src/io/output-folder.js';

const [target, bytes] = [process.argv[2], Number(process.argv[3])];
for (let version = 1; ; version++) {
  const folder = await createOutputFolder(target, { overwrite: true });
  await writeOutputFolder(folder, async () => {
    await folder.writeText('config.json', JSON.stringify({ version }));
    for (const name of ['a.bin', 'deep/b.bin']) {
      const sink = await folder.create(name);
      for (let i = 0; i < 4; i++) await sink.append(new Uint8Array(bytes / 4).fill(version & 0xff));
      await sink.seal();
    }
  });
  process.stdout.write(`${version}\n`);
}
