// Prints the pods of a namespace in one list, page by page, or as a watch that ends with a pod called `last`.
import { asking, KubernetesError } from '../../extensions/javascript/errors.js';
import { client } from './incluster.js';

const [command, namespace = 'default', serviceAccount] = process.argv.slice(2);
const { listNamespacedPods, loadInclusterConfig, pageNamespacedPods, watchNamespacedPods } = client({ serviceAccount });

const commands = {
  list(config) {
    const { items } = asking('list pods', () => listNamespacedPods(config, namespace, {}));
    for (const pod of items) console.log(`${pod.metadata.name} ${pod.status.phase}`);
  },
  pages(config) {
    const pages = asking('list pods', () => pageNamespacedPods(config, namespace, { limit: 3 }, {}));
    for (let page; (page = asking('list pods', () => pages.next())); ) console.log(page.items.map((pod) => pod.metadata.name).join(' '));
  },
  watch(config) {
    const watch = asking('watch pods', () => watchNamespacedPods(config, namespace, {}));
    for (;;) {
      const event = asking('watch pods', () => watch.next());
      if (event.tag === 'synced') console.log('that is all; changes follow');
      if (event.tag !== 'changed') continue;
      console.log(`${event.val.kind} ${event.val.pod.metadata.name}`);
      if (event.val.pod.metadata.name === 'last') return;
    }
  },
};

if (!Object.hasOwn(commands, command)) {
  console.error('usage: node main.js list|pages|watch [NAMESPACE [SERVICE-ACCOUNT-FOLDER]]');
  process.exit(2);
}
try {
  commands[command](asking('load the configuration', loadInclusterConfig));
} catch (error) {
  if (!(error instanceof KubernetesError)) throw error;
  console.error(error.message);
  process.exit(1);
}
