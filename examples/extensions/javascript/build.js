// Makes lister.wasm and picker.wasm.
import { componentize } from '@bytecodealliance/componentize-js';
import { writeFile } from 'node:fs/promises';

for (const world of ['lister', 'picker']) {
  const { component } = await componentize({ sourcePath: `${world}.js`, witPath: '../wit', worldName: world });
  await writeFile(`${world}.wasm`, component);
}
