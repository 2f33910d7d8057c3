// The contract's client, in an instance of its own: see `incluster:kubernetes/client`.
import { WASIShim } from '@bytecodealliance/preview2-shim/instantiation';
import { readFileSync } from 'node:fs';
import { instantiate } from './plugin/plugin.js';

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

const module = (name) => new WebAssembly.Module(readFileSync(new URL(`plugin/${name}`, import.meta.url)));

function httpErrorCode({ payload }) {
  return payload?.tag === undefined ? { tag: 'connection-terminated' } : payload;
}

/** `serviceAccount` is the folder of the token; `host` and `port` are the API server's. */
export function client({
  serviceAccount = SERVICE_ACCOUNT,
  host = process.env.KUBERNETES_SERVICE_HOST,
  port = process.env.KUBERNETES_SERVICE_PORT,
} = {}) {
  // What is not given here is not there: by default, the shim has all of the file system, and all of the environment.
  const env = Object.fromEntries(
    Object.entries({ KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port }).filter(([, value]) => value !== undefined),
  );
  const wasi = new WASIShim({ sandbox: { preopens: { [SERVICE_ACCOUNT]: serviceAccount }, env, args: ['incluster'] } });
  const imports = wasi.getImportObject();
  // Of an answer that breaks off, the shim makes no error code, but an Error, on which the component would end.
  return instantiate(module, { ...imports, 'wasi:http/types': { ...imports['wasi:http/types'], httpErrorCode } }).client;
}
