// Builds a component from each program in this folder.
import { componentize } from '@bytecodealliance/componentize-js';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';

for (const world of ['lister', 'picker'].filter((world) => existsSync(`${world}.js`))) {
  const { component } = await componentize({ sourcePath: `${world}.js`, witPath: '../wit', worldName: world });
  await writeFile(`${world}.wasm`, component);
}
