// Prints the pods of a namespace, page by page; its services; the address of one; or what changes, until a pod is called `last`.
import { getJson, loadInclusterConfig, pageJson, pageNamespacedPods, watchNamespacedPods } from 'incluster:kubernetes/client@0.1.0';
import { getArguments } from 'wasi:cli/environment@0.2.0';
import { KubernetesError, asking } from './errors.js';

export const run = {
  run() {
    // Not outside of a function: that runs once, when the component is built.
    const [, command, namespace = 'default'] = getArguments();
    try {
      if (!Object.hasOwn(commands, command ?? '')) throw new Error(`usage: lister ${Object.keys(commands).join('|')} [NAMESPACE]`);
      const config = asking('load the configuration', loadInclusterConfig);
      commands[command](config, namespace);
    } catch (error) {
      // What is thrown from here is the exit status 1, and is not shown: a mistake of the program's own has to be printed, too.
      if (error instanceof KubernetesError) console.error(`${error.message} (${error.retryable ? 'try again' : 'trying again does not help'})`);
      else console.error(`${error}\n${error?.stack ?? ''}`);
      throw undefined;
    }
  },
};

const commands = {
  list(config, namespace) {
    const pages = asking('list pods', () => pageNamespacedPods(config, namespace, { limit: 3 }, {}));
    for (let page; (page = asking('list pods', () => pages.next())); ) {
      for (const pod of page.items) console.log(`${pod.metadata.name} ${pod.status.phase}`);
    }
  },
  services(config, namespace) {
    const pages = asking('list services', () => pageJson(config, `/api/v1/namespaces/${namespace}/services`, {}, {}));
    for (let page; (page = asking('list services', () => pages.next())); ) {
      for (const item of page.items) console.log(JSON.parse(new TextDecoder().decode(item)).metadata.name);
    }
  },
  watch(config, namespace) {
    const watch = asking('watch pods', () => watchNamespacedPods(config, namespace, {}));
    for (;;) {
      const event = asking('watch pods', () => watch.next());
      if (event.tag !== 'changed') continue;
      console.log(`${event.val.kind} ${event.val.pod.metadata.name}`);
      if (event.val.pod.metadata.name === 'last') return;
    }
  },
  address(config, namespace) {
    const json = asking('get service web', () => getJson(config, `/api/v1/namespaces/${namespace}/services/web`));
    console.log(JSON.parse(new TextDecoder().decode(json)).spec.clusterIP);
  },
};
