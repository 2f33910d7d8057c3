// Creates instances of the client component, which exports `incluster:kubernetes/client`.
import { WASIShim } from '@bytecodealliance/preview2-shim/instantiation';
import { readFileSync } from 'node:fs';
import { instantiate } from './plugin/plugin.js';

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

const module = (name) => new WebAssembly.Module(readFileSync(new URL(`plugin/${name}`, import.meta.url)));

function httpErrorCode({ payload }) {
  return payload?.tag === undefined ? { tag: 'connection-terminated' } : payload;
}

/** Returns a client in an instance of its own. `serviceAccount` is the folder of the token; `host` and `port` are the API server's. */
export function client({
  serviceAccount = SERVICE_ACCOUNT,
  host = process.env.KUBERNETES_SERVICE_HOST,
  port = process.env.KUBERNETES_SERVICE_PORT,
} = {}) {
  // The component gets only this: by default, the shim would give it the whole file system and the whole environment.
  const env = Object.fromEntries(
    Object.entries({ KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port }).filter(([, value]) => value !== undefined),
  );
  const wasi = new WASIShim({ sandbox: { preopens: { [SERVICE_ACCOUNT]: serviceAccount }, env, args: ['incluster'] } });
  const imports = wasi.getImportObject();
  // For a truncated answer, the shim returns an Error instead of an error code, which would trap the component.
  return instantiate(module, { ...imports, 'wasi:http/types': { ...imports['wasi:http/types'], httpErrorCode } }).client;
}
